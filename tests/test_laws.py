"""Laws that hold for every record, tried on the example patients and on what can be made of them."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import (
    STYLES,
    URL,
    Resource,
    example,
    expected_patients,
    facts,
    of_somebody_else,
    patient_view,
    put_in_prefetch,
    searchset,
    statuses,
    templates,
    type_of,
)

from cds_service.errors import Refusal
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import parse
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home, load

RECORDS = [(patient, style) for patient in expected_patients() for style in STYLES]
CLINICAL = {"Condition", "Observation", "MedicationRequest", "MedicationStatement", "Procedure", "AllergyIntolerance"}
#: how a resource of a type says that it does not count
VOID = {
    "Condition": ("entered-in-error", "refuted"),
    "AllergyIntolerance": ("entered-in-error", "refuted"),
    "Observation": ("entered-in-error", "cancelled"),
    "MedicationRequest": ("entered-in-error", "cancelled"),
    "MedicationStatement": ("entered-in-error",),
    "MedicationAdministration": ("entered-in-error",),
    "Procedure": ("entered-in-error",),
}
Steps = tuple[str | int, ...]


def tries(count: int) -> settings:
    """Bounded, untimed, and the same every time on the build server."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


class Record(NamedTuple):
    """An example patient in one style."""

    name: str
    patient: str
    resources: list[Resource]


@cache
def record(patient: str, style: str) -> Record:
    return Record(f"{patient}.{style}", *example(patient, style))


@cache
def donors() -> list[Resource]:
    """The clinical resources of all example patients."""
    return [one for key in RECORDS for one in record(*key).resources if one["resourceType"] in CLINICAL]


records = st.sampled_from(RECORDS).map(lambda key: record(*key))


def answer(responder: Responder, patient: str, prefetch: dict[str, Any]) -> bytes:
    """The bytes of an answer. What is no refusal is an error of the service and goes up."""
    body = json.dumps(patient_view(patient, prefetch)).encode()
    try:
        return orjson.dumps(responder.respond(parse(body, HOOKS[0], home()[1])))
    except Refusal as refusal:
        return f"{refusal.status} {refusal}".encode()


def not_more(before: bytes, after: bytes) -> bool:
    """Whether no option was added and none has become supported."""
    old, new = statuses(json.loads(before)), statuses(json.loads(after))
    return set(new) <= set(old) and all(old[one] == "supported" for one in new if new[one] == "supported")


# ORDER AND REPETITION


@tries(150)
@given(one=records, random=st.randoms(use_true_random=False))
def test_the_order_of_entries_and_of_prefetch_keys_never_matters(
    responder: Responder, services: list[dict[str, Any]], one: Record, random: Random
) -> None:
    prefetch = put_in_prefetch(one.resources, one.patient, services)
    mixed = copy.deepcopy(prefetch)
    for value in mixed.values():
        if value and value["resourceType"] == "Bundle":
            random.shuffle(value["entry"])
    keys = list(mixed)
    random.shuffle(keys)
    shuffled = {key: mixed[key] for key in keys}
    assert answer(responder, one.patient, shuffled) == answer(responder, one.patient, prefetch)


@tries(100)
@given(one=records, random=st.randoms(use_true_random=False))
def test_it_never_matters_which_query_brought_an_observation(
    responder: Responder, services: list[dict[str, Any]], one: Record, random: Random
) -> None:
    prefetch = put_in_prefetch(one.resources, one.patient, services)
    keys = [key for key, template in templates(services).items() if type_of(template) == "Observation"]
    spread: dict[str, list[Resource]] = {key: [] for key in keys}
    for observation in (found for found in one.resources if found["resourceType"] == "Observation"):
        for key in random.sample(keys, random.randint(1, len(keys))):
            spread[key].append(observation)
    spread_out = {**prefetch, **{key: searchset(found) for key, found in spread.items()}}
    assert answer(responder, one.patient, spread_out) == answer(responder, one.patient, prefetch)


@tries(150)
@given(one=records, data=st.data())
def test_of_two_versions_of_a_resource_the_same_one_counts_in_any_order(
    responder: Responder, services: list[dict[str, Any]], one: Record, data: st.DataObject
) -> None:
    held = [found for found in one.resources if found["resourceType"] in CLINICAL]
    original = data.draw(st.sampled_from(held))
    donor = data.draw(
        st.sampled_from([found for found in donors() if found["resourceType"] == original["resourceType"]])
    )
    owner = "patient" if original["resourceType"] == "AllergyIntolerance" else "subject"
    version = {**donor, "id": original["id"], owner: original[owner]}
    before, after = ([version, *one.resources], [*one.resources, version])
    assert answer(responder, one.patient, put_in_prefetch(before, one.patient, services)) == answer(
        responder, one.patient, put_in_prefetch(after, one.patient, services)
    )


def test_of_two_medications_of_one_name_the_same_one_counts_in_any_order(
    responder: Responder, services: list[dict[str, Any]]
) -> None:
    one = record("B-V22", "uscore")
    medication = next(found for found in one.resources if found["resourceType"] == "Medication")
    namesake = {**medication, "code": {"text": "letrozole"}}
    before, after = ([namesake, *one.resources], [*one.resources, namesake])
    assert answer(responder, one.patient, put_in_prefetch(before, one.patient, services)) == answer(
        responder, one.patient, put_in_prefetch(after, one.patient, services)
    )


@pytest.mark.parametrize("key", RECORDS, ids=".".join)
def test_the_same_call_gets_the_same_bytes_again(
    responder: Responder, services: list[dict[str, Any]], key: tuple[str, str]
) -> None:
    one = record(*key)
    prefetch = put_in_prefetch(one.resources, one.patient, services)
    first = answer(responder, one.patient, prefetch)
    assert answer(responder, one.patient, prefetch) == first
    assert answer(responder, one.patient, copy.deepcopy(prefetch)) == first


def test_a_new_responder_gives_the_same_bytes_in_any_order_of_patients(
    responder: Responder, services: list[dict[str, Any]]
) -> None:
    fresh = Responder(load())
    for key in reversed(RECORDS):
        one = record(*key)
        prefetch = put_in_prefetch(one.resources, one.patient, services)
        assert answer(fresh, one.patient, prefetch) == answer(responder, one.patient, prefetch)


PROCESS = """
import hashlib
from conftest import create_app, Responder, load
import test_laws
services = create_app().test_client().get("/cds-services").get_json()["services"]
responder, digest = Responder(load()), hashlib.sha256()
for key in test_laws.RECORDS:
    one = test_laws.record(*key)
    prefetch = test_laws.put_in_prefetch(one.resources, one.patient, services)
    digest.update(test_laws.answer(responder, one.patient, prefetch))
print(digest.hexdigest())
"""


def test_another_process_gives_the_same_bytes() -> None:
    """Sets of texts are ordered by a seed of the process: no answer may hang on it."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", PROCESS],
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_an_answer_leaves_the_call_as_it_was(responder: Responder, services: list[dict[str, Any]]) -> None:
    for key in RECORDS:
        one = record(*key)
        prefetch = put_in_prefetch(one.resources, one.patient, services)
        before = copy.deepcopy(prefetch)
        body = json.dumps(patient_view(one.patient, prefetch)).encode()
        call = parse(body, HOOKS[0], home()[1])
        responder.respond(call)
        assert call.prefetch == before


# WHAT DOES NOT COUNT


def voids(resource: Resource, patient: str, ident: str) -> Iterator[Resource]:
    """Copies of a resource that must not count for a patient: void by status, or of somebody else."""
    kind = resource["resourceType"]
    owner = "patient" if kind == "AllergyIntolerance" else "subject"
    mine = {**copy.deepcopy(resource), "id": ident, owner: {"reference": f"Patient/{patient}"}}
    for status in VOID.get(kind, ()):
        if kind in ("Condition", "AllergyIntolerance"):
            yield {**mine, "verificationStatus": {"coding": [{"code": status}]}}
        else:
            yield {**mine, "status": status}
    if kind == "MedicationRequest":
        yield {**mine, "status": "draft"}
        yield from ({**mine, "intent": intent} for intent in ("proposal", "plan", "option"))
    yield of_somebody_else(mine)
    yield of_somebody_else({**mine, "id": resource["id"]})


@pytest.mark.parametrize("key", RECORDS, ids=".".join)
def test_a_void_or_foreign_copy_of_any_resource_changes_nothing(
    responder: Responder, services: list[dict[str, Any]], key: tuple[str, str]
) -> None:
    one = record(*key)
    before = answer(responder, one.patient, put_in_prefetch(one.resources, one.patient, services))
    for resource in one.resources:
        if resource["resourceType"] not in CLINICAL:
            continue
        for void in voids(resource, one.patient, "a-copy"):
            after = answer(responder, one.patient, put_in_prefetch([*one.resources, void], one.patient, services))
            assert not_more(before, after), void
            assert after == before, void


@tries(300)
@given(one=records, data=st.data())
def test_a_void_or_foreign_copy_of_what_another_patient_has_changes_nothing(
    responder: Responder, services: list[dict[str, Any]], one: Record, data: st.DataObject
) -> None:
    donor = data.draw(st.sampled_from(donors()))
    void = data.draw(st.sampled_from(list(voids(donor, one.patient, "a-copy"))))
    before = answer(responder, one.patient, put_in_prefetch(one.resources, one.patient, services))
    after = answer(responder, one.patient, put_in_prefetch([*one.resources, void], one.patient, services))
    assert not_more(before, after)
    assert after == before


SOMEBODY = {"fullUrl": "urn:uuid:b6b3a3a0-0000-4000-8000-000000000001", "search": {"mode": "include"}}
#: ways to say that a resource belongs to somebody else
FOREIGN_OWNERS = (
    {"subject": {"reference": "Patient/somebody-else"}},
    {"subject": {"reference": "Patient/somebody-else/_history/3"}},
    {"subject": {"reference": "https://ehr.example.org/fhir/Patient/somebody-else"}},
    {"subject": {"reference": SOMEBODY["fullUrl"]}},
    {"patient": {"reference": "Patient/somebody-else"}},
)


@tries(150)
@given(one=records, data=st.data())
def test_a_record_some_of_which_belongs_to_somebody_else_is_read_like_the_rest_of_it(
    responder: Responder, services: list[dict[str, Any]], one: Record, data: st.DataObject
) -> None:
    """However their owner is named, even beside this patient under the other name."""
    theirs = data.draw(
        st.lists(st.sampled_from([r for r in one.resources if r["resourceType"] in CLINICAL]), unique_by=id)
    )
    owner = data.draw(st.sampled_from(FOREIGN_OWNERS))
    kept = [resource for resource in one.resources if not any(resource is other for other in theirs)]
    relabelled = [{**resource, **owner} for resource in theirs]
    prefetches = [put_in_prefetch(resources, one.patient, services) for resources in (kept, [*kept, *relabelled])]
    for prefetch in prefetches:
        somebody = {"resource": {"resourceType": "Patient", "id": "somebody-else"}, **SOMEBODY}
        prefetch["conditions"]["entry"].append(somebody)
    assert answer(responder, one.patient, prefetches[1]) == answer(responder, one.patient, prefetches[0])


# WHAT DOES NOT COUNT, IN SMALL


@pytest.mark.parametrize(
    "concept",
    [
        {"text": "No information about medications"},
        {"text": "no known medications"},
        {},
    ],
    ids=["no information", "none known", "nothing named"],
)
def test_a_medication_entered_in_error_says_nothing_about_the_list(
    responder: Responder, services: list[dict[str, Any]], concept: dict[str, Any]
) -> None:
    one = record("VA-01", "mcode")
    void = {
        "resourceType": "MedicationStatement",
        "id": "void",
        "status": "entered-in-error",
        "subject": {"reference": f"Patient/{one.patient}"},
        **({"medicationCodeableConcept": concept} if concept else {}),
    }
    before = answer(responder, one.patient, put_in_prefetch(one.resources, one.patient, services))
    after = answer(responder, one.patient, put_in_prefetch([*one.resources, void], one.patient, services))
    assert after == before


# REMOVING


@pytest.mark.parametrize("key", RECORDS, ids=".".join)
def test_a_record_without_any_one_of_its_resources_is_answered(
    responder: Responder, services: list[dict[str, Any]], key: tuple[str, str]
) -> None:
    one = record(*key)
    for i in range(len(one.resources)):
        left = one.resources[:i] + one.resources[i + 1 :]
        assert b'"cards"' in answer(responder, one.patient, put_in_prefetch(left, one.patient, services))


@tries(100)
@given(one=records, data=st.data())
def test_any_part_of_a_record_is_answered(
    responder: Responder, services: list[dict[str, Any]], one: Record, data: st.DataObject
) -> None:
    left = data.draw(st.lists(st.sampled_from(one.resources), unique_by=id))
    assert b'"cards"' in answer(responder, one.patient, put_in_prefetch(left, one.patient, services))


# JUNK


def nested(depth: int) -> dict[str, Any]:
    """An object in an object in an object."""
    value: dict[str, Any] = {"text": "the bottom"}
    for _ in range(depth):
        value = {"extension": [{"url": "urn:x", "valueCodeableConcept": value}]}
    return value


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["", " ", "positive", "٣+", "１%", "Patient/x", "entered-in-error", "2020-02-30", "x" * 100_000]),
)
NAMES = st.sampled_from(["coding", "code", "system", "text", "display", "value", "reference", "resourceType", "entry"])
JUNK = st.one_of(
    PLAIN,
    st.recursive(
        PLAIN,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from([20, 50, 90, 150]).map(nested),
)


def paths(value: Any, before: Steps = ()) -> Iterator[Steps]:
    """The path of everything inside a JSON value."""
    if before:
        yield before
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in inside:
        yield from paths(one, (*before, step))


def with_junk(body: Any, path: Steps, junk: Any) -> Any:
    """A copy of a body with another value at a path."""
    changed = place = copy.deepcopy(body)
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = junk
    return changed


def answered_or_refused(responder: Responder, body: Any) -> None:
    """Whatever is no refusal goes up and fails the test, with its trace (over HTTP it would be a 500)."""
    try:
        orjson.dumps(responder.respond(parse(json.dumps(body).encode(), HOOKS[0], home()[1])))
    except Refusal:
        return


@tries(700)
@given(one=records, data=st.data(), junk=JUNK)
def test_junk_at_any_place_of_a_call_makes_no_exception(
    responder: Responder, services: list[dict[str, Any]], one: Record, data: st.DataObject, junk: Any
) -> None:
    body = patient_view(one.patient, put_in_prefetch(one.resources, one.patient, services))
    path = data.draw(st.sampled_from(list(paths(body))))
    answered_or_refused(responder, with_junk(body, path, junk))


@tries(300)
@given(one=records, data=st.data(), junk=JUNK)
def test_junk_at_any_place_of_a_resource_makes_no_exception(
    responder: Responder, services: list[dict[str, Any]], one: Record, data: st.DataObject, junk: Any
) -> None:
    place = data.draw(st.sampled_from(range(len(one.resources))))
    path = data.draw(st.sampled_from(list(paths(one.resources[place]))))
    resources = [*one.resources]
    resources[place] = with_junk(resources[place], path, junk)
    answered_or_refused(responder, patient_view(one.patient, put_in_prefetch(resources, one.patient, services)))


#: one place of each kind of element, with what is hardest to read there
HARD = [
    ("Condition", ("verificationStatus", "coding", 0, "code"), {}),
    ("Condition", ("clinicalStatus", "coding", 0, "code"), []),
    ("Condition", ("clinicalStatus",), nested(150)),
    ("Condition", ("code",), nested(150)),
    ("Condition", ("code", "extension"), [nested(150)]),
    ("Condition", ("meta",), nested(150)),
    ("Condition", ("resourceType",), "DiagnosticReport"),
    ("Condition", ("resourceType",), "Basic"),
    ("Condition", ("stage",), True),
    ("Condition", ("bodySite",), 7),
    ("Observation", ("component",), True),
    ("Observation", ("interpretation",), True),
    ("Observation", ("interpretation",), [{"coding": [{"code": {}}]}]),
    ("Observation", ("referenceRange",), 7),
    ("Observation", ("focus",), 7),
    ("Observation", ("meta",), nested(150)),
    ("Observation", ("valueQuantity",), {"value": 1e308, "unit": []}),
    ("Observation", ("valueString",), "٣+"),
    ("MedicationRequest", ("extension",), True),
    ("MedicationRequest", ("extension",), 7),
    ("MedicationRequest", ("reasonReference",), True),
    ("MedicationRequest", ("reasonCode",), 7),
    ("MedicationRequest", ("category",), 7),
    ("MedicationRequest", ("contained",), 7),
    ("MedicationRequest", ("dispenseRequest",), 7),
    ("MedicationStatement", ("statusReason",), 7),
    ("Procedure", ("reasonCode",), 7),
    ("Procedure", ("bodySite",), 7),
    ("AllergyIntolerance", ("reaction",), 7),
    ("Patient", ("gender",), []),
    ("Patient", ("id",), []),
]


@pytest.mark.parametrize(
    ("kind", "path", "junk"),
    HARD,
    ids=[f"{kind}.{'.'.join(map(str, path))}-{i}" for i, (kind, path, _) in enumerate(HARD)],
)
def test_an_element_that_is_hard_to_read_makes_no_exception(
    responder: Responder, services: list[dict[str, Any]], kind: str, path: Steps, junk: Any
) -> None:
    tried = 0
    for key in RECORDS:
        one = record(*key)
        prefetch = put_in_prefetch(one.resources, one.patient, services)
        held = [found for found in one.resources if found["resourceType"] == kind]
        for resource in [found for found in held if len(path) == 1 or path[0] in found][:5]:
            hard = with_junk(resource, path, junk)
            answered_or_refused(responder, patient_view(one.patient, swapped(prefetch, resource, hard)))
            tried += 1
    assert tried


def swapped(prefetch: dict[str, Any], old: Resource, new: Resource) -> dict[str, Any]:
    """The prefetch with one resource in place of another, wherever that one stands."""
    changed = {}
    for key, value in prefetch.items():
        changed[key] = value
        if value is old:
            changed[key] = new
        elif value and value["resourceType"] == "Bundle":
            entries = [{**entry, "resource": new} if entry["resource"] is old else entry for entry in value["entry"]]
            changed[key] = {**value, "entry": entries}
    return changed


def test_a_subject_that_is_no_fhir_is_found_though_the_same_result_of_somebody_else_was_sound(client, services):
    """Results are validated once for all patients: what differs between two of them must still be seen."""
    for ident, more, value in (("one", {}, "positive"), ("two", {"display": 5}, "unknown"), ("three", {}, "positive")):
        subject = {"reference": f"Patient/{ident}"}
        breast = {"resourceType": "Condition", "id": "c", "subject": subject}
        breast["code"] = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "C50.912"}]}
        bone = {**breast, "id": "b", "code": {"coding": [{**breast["code"]["coding"][0], "code": "C79.51"}]}}
        result = {"resourceType": "Observation", "id": "o", "status": "final", "subject": {**subject, **more}}
        result["code"] = {"coding": [{"system": "http://loinc.org", "code": "85337-4"}]}
        record = [
            {"resourceType": "Patient", "id": ident},
            breast,
            bone,
            {**result, "valueString": "Positive, by mail"},
        ]
        answer = client.post(URL, json=patient_view(ident, put_in_prefetch(record, ident, services))).get_json()

        assert facts(answer)["er"]["value"] == value
