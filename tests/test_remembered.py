"""What is remembered between calls: it never changes an answer, never mixes patients, and stays small."""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from support import (
    draft_of_letrozole,
    example,
    expected_patients,
    facts,
    options,
    put_in_prefetch,
    references,
    statuses,
)

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import HookCall, read
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home, load
from cds_service.patient.record import NotHad

KNOWLEDGE = load()
BY_NAME = {hook.name: hook for hook in HOOKS}
PATIENT, RECORD = example("VA-01", "mcode")
DRAFT = draft_of_letrozole(PATIENT)


@pytest.fixture
def warm() -> Responder:
    return Responder(KNOWLEDGE, remembered=2)


@pytest.fixture(scope="module")
def prefetch(services: list[dict[str, Any]]) -> dict[str, Any]:
    return put_in_prefetch(RECORD, PATIENT, services)


def call(prefetch: Mapping[str, Any], patient: str = PATIENT, hook: str = "patient-view", **context: Any) -> HookCall:
    body = {
        "hook": hook,
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/1", "patientId": patient, **context},
        "prefetch": prefetch,
    }
    return read(json.loads(json.dumps(body)), BY_NAME[hook], home()[1])


def cold(one: HookCall) -> dict[str, Any]:
    return Responder(KNOWLEDGE).respond(one)


def test_a_record_that_comes_again_is_read_once_and_answered_alike(warm, prefetch):
    first = warm.respond(call(prefetch))
    assert options(first)
    assert warm.respond(call(copy.deepcopy(prefetch))) == first == cold(call(prefetch))
    assert (warm.memory.hits, warm.memory.misses) == (1, 1)


def test_an_order_for_a_record_that_was_seen_is_answered_as_if_it_was_not(warm, prefetch):
    warm.respond(call(prefetch))
    order = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": DRAFT}]}
    signing = call(prefetch, hook="order-sign", draftOrders=order)
    assert warm.respond(signing) == cold(signing)
    assert warm.memory.hits == 1


@pytest.mark.parametrize("changed", ["a result", "another day", "one key less", "the patient"])
def test_whatever_differs_is_read_anew(warm, prefetch, changed):
    warm.respond(call(prefetch))
    other = copy.deepcopy(prefetch)
    one = call(other)
    if changed == "a result":
        other["conditions"]["entry"] = []
        one = call(other)
    elif changed == "another day":
        one = replace(one, today="1999-01-01")
    elif changed == "one key less":
        del other["allergies"]
        one = call(other)
    else:
        one = call({**other, "patient": {"resourceType": "Patient", "id": "somebody"}}, patient="somebody")
    assert warm.respond(one) == cold(one) != cold(call(prefetch))
    assert warm.memory.hits == 0


def test_what_could_not_be_fetched_is_not_remembered(warm, prefetch):
    """The server may answer next time; and what stands for it is no JSON that a client could send."""
    lacking = {key: value for key, value in prefetch.items() if key != "allergies"}
    one = replace(call(lacking), fhir_server="https://fhir.example")
    for _ in range(2):
        assert options(warm.respond(one, lambda asked, wanted: {"allergies": NotHad("it did not answer")}))
    assert (warm.memory.hits, warm.memory.misses) == (0, 0)


def test_conditions_that_a_call_creates_are_not_remembered_of_the_record(warm, prefetch):
    bare = {**prefetch, "conditions": None}
    creating = call(bare, hook="problem-list-item-create", conditions=prefetch["conditions"])
    assert options(warm.respond(creating))
    assert not options(warm.respond(call(bare)))
    assert options(warm.respond(creating))


def test_an_order_taken_out_of_the_record_is_not_remembered_out_of_it(warm, prefetch):
    order = {**DRAFT, "id": "own", "status": "active", "medicationCodeableConcept": {"text": "letrozole"}}
    own = {**prefetch, "medications": {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": order}]}}
    dispatching = call(own, hook="order-dispatch", performer="P/1", dispatchedOrders=["MedicationRequest/own"])
    for one in (call(own), dispatching, call(own), dispatching):
        assert warm.respond(one) == cold(one)


def test_no_more_records_are_remembered_than_there_is_room_for(warm, prefetch):
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    for day in (*days, days[2], days[0]):
        warm.respond(replace(call(prefetch), today=day))
    assert (warm.memory.hits, warm.memory.misses) == (1, 4)


def test_nothing_is_remembered_where_it_is_switched_off(prefetch):
    none = Responder(KNOWLEDGE, remembered=0)
    assert none.respond(call(prefetch)) == none.respond(call(prefetch))
    assert (none.memory.hits, none.memory.misses) == (0, 0)


def test_equal_contents_of_two_patients_are_answered_to_each_with_their_own_resources(responder, services):
    """Contents are remembered without what tells patients apart: it must all come back from the call."""
    for name in expected_patients():
        patient, record = example(name, "mcode")
        told = json.dumps(record)
        for ident in {resource["id"] for resource in record} | {patient}:
            told = told.replace(f'"id": "{ident}"', f'"id": "{ident}-2"').replace(f'/{ident}"', f'/{ident}-2"')
        twin = json.loads(told)
        one = responder.respond(call(put_in_prefetch(record, patient, services), patient))
        two = responder.respond(call(put_in_prefetch(twin, f"{patient}-2", services), f"{patient}-2"))
        assert statuses(two) == statuses(one)
        assert [f"{reference}-2" for reference in references(one)] == list(references(two))


def test_where_equal_contents_lead_is_read_in_each_record(responder, services):
    """The same metastasis, once of the breast cancer and once of another cancer on record."""
    colon = {
        "resourceType": "Condition",
        "id": "colon",
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "C18.9"}]},
        "subject": {"reference": f"Patient/{PATIENT}"},
    }
    url = "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-related-primary-cancer-condition"
    for primary, sites in (("va-01-primary-cancer", "bone"), ("colon", "unknown"), ("va-01-primary-cancer", "bone")):
        related = {"extension": [{"url": url, "valueReference": {"reference": f"Condition/{primary}"}}]}
        record = [{**one, **related} if one["id"] == "va-01-met-bone" else one for one in RECORD]
        answer = responder.respond(call(put_in_prefetch([*record, colon], PATIENT, services)))
        assert facts(answer)["sites"]["value"] == sites


def test_a_number_that_nobody_asks_for_makes_no_content_of_its_own(services):
    """One blood pressure is read as the other; a calcium, or a number beside words of ours, never is."""
    responder = Responder(KNOWLEDGE)

    def contents(*added: dict[str, Any]) -> int:
        answer = responder.respond(call(put_in_prefetch([*RECORD, *added], PATIENT, services)))
        said.append(facts(answer)["calcium"]["value"])
        return responder.caches()["contents"]().currsize

    said: list[str] = []
    contents()
    first = contents(blood_pressure(120))
    assert contents(blood_pressure(121)) == first
    one = contents(calcium(9.0))
    assert contents(calcium(13.0)) > one
    assert said == ["normal", "normal", "normal", "normal", "high"]
    beside = contents({**blood_pressure(120), "code": {"text": "blood pressure, postmenopausal"}})
    assert contents({**blood_pressure(121), "code": {"text": "blood pressure, postmenopausal"}}) > beside


def measured(code: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "measured",
        "status": "final",
        "effectiveDateTime": "2030-01-01",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{PATIENT}"},
        **more,
    }


def blood_pressure(value: float) -> dict[str, Any]:
    part = {"code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}, "valueQuantity": {"value": value}}
    return measured("85354-9", component=[part])


def calcium(value: float) -> dict[str, Any]:
    limits = {"low": {"value": 8.5, "unit": "mg/dL"}, "high": {"value": 10.5, "unit": "mg/dL"}}
    return measured("17861-6", valueQuantity={"value": value, "unit": "mg/dL"}, referenceRange=[limits])
