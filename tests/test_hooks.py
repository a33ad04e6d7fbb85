"""Every hook at the front door: what its context must hold (CDS Hooks Library 1.0.1), what it may, what is let pass."""

import copy
import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from support import (
    EXTENSION,
    INSTANCE,
    SERVICE_ID,
    draft_of_letrozole,
    example,
    facts,
    is_outcome,
    put_in_prefetch,
    statuses,
)

from cds_service.hooks.catalogue import HOOKS, Answers
from cds_service.knowledge.load import home

RESPONSE = Draft202012Validator(json.loads((home()[1] / "hooks" / "response.schema.json").read_text(encoding="utf-8")))
PATIENT, RECORD = example("VA-01", "mcode")
USER = {"userId": "Practitioner/1"}
WHO = {**USER, "patientId": PATIENT}
DRAFT = draft_of_letrozole(PATIENT)
BUNDLE = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": DRAFT}]}
EMPTY = {"resourceType": "Bundle", "type": "collection", "entry": []}
#: the smallest context that each hook allows
SMALLEST: dict[str, dict[str, Any]] = {
    "patient-view": WHO,
    "encounter-start": {**WHO, "encounterId": "e"},
    "encounter-discharge": {**WHO, "encounterId": "e"},
    "appointment-book": {**WHO, "appointments": EMPTY},
    "problem-list-item-create": {**WHO, "conditions": EMPTY},
    "order-select": {**WHO, "selections": ["MedicationRequest/draft"], "draftOrders": BUNDLE},
    "order-sign": {**WHO, "draftOrders": BUNDLE},
    "order-dispatch": {"patientId": PATIENT, "performer": "Practitioner/2", "dispatchedOrders": []},
    "medication-refill": {"patientId": PATIENT, "medications": BUNDLE},
}
#: fields that the tables call optional, with a value
OPTIONAL: dict[str, dict[str, Any]] = {
    "patient-view": {"encounterId": "e"},
    "encounter-start": {},
    "encounter-discharge": {},
    "appointment-book": {"encounterId": "e"},
    "problem-list-item-create": {"encounterId": "e"},
    "order-select": {"encounterId": "e"},
    "order-sign": {"encounterId": "e"},
    "order-dispatch": {"fulfillmentTasks": [{"resourceType": "Task"}]},
    "medication-refill": {"userId": "Practitioner/1", "encounterId": "e"},
}
BY_NAME = {hook.name: hook for hook in HOOKS}
REQUIRED = [(hook, field) for hook, context in SMALLEST.items() for field in context]


@pytest.fixture(scope="module")
def prefetch(services):
    return put_in_prefetch(RECORD, PATIENT, services)


def post(client: FlaskClient, hook: str, context: Any, prefetch: Any = None, **more: Any) -> Any:
    body = {"hook": hook, "hookInstance": INSTANCE, "context": context, **more}
    if prefetch is not None:
        body["prefetch"] = prefetch
    return client.post(f"/cds-services/{BY_NAME[hook].service}", json=body)


def rows(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What became of each thing in the context, by its reference."""
    return {row["reference"]: row for row in answer.get("extension", {}).get(EXTENSION, {}).get("context", [])}


# DISCOVERY


def test_every_hook_has_a_service_of_its_own_and_patient_view_comes_first(services):
    assert [service["hook"] for service in services] == list(SMALLEST)
    assert services[0]["id"] == SERVICE_ID
    assert len({service["id"] for service in services}) == len(services)
    for service in services:
        assert re.fullmatch(r"[a-z0-9-]+", service["id"])
        assert {"hook", "id", "title", "description", "prefetch", "usageRequirements"} == service.keys()
        assert "{" not in service["description"]


def test_templates_hold_no_token_but_the_patient_which_every_hook_allows(services):
    for service in services:
        assert service["prefetch"] == services[0]["prefetch"]
        for template in service["prefetch"].values():
            assert re.findall(r"{{(.*?)}}", template) == ["context.patientId"]


# CONTEXTS


@pytest.mark.parametrize("hook", SMALLEST)
def test_the_smallest_context_is_enough(client, prefetch, hook):
    answer = post(client, hook, SMALLEST[hook], prefetch)

    assert answer.status_code == 200
    assert not list(RESPONSE.iter_errors(answer.get_json()))


@pytest.mark.parametrize(("hook", "field"), REQUIRED)
def test_a_required_field_that_is_missing_is_named(client, prefetch, hook, field):
    context = {name: value for name, value in SMALLEST[hook].items() if name != field}
    answer = post(client, hook, context, prefetch)

    assert answer.status_code == 400
    assert is_outcome(answer.get_json())
    assert f"`{field}`" in answer.get_data(as_text=True)


@pytest.mark.parametrize(("hook", "field"), REQUIRED)
@pytest.mark.parametrize("value", [None, 7, ""])
def test_a_required_field_of_another_kind_is_refused(client, prefetch, hook, field, value):
    answer = post(client, hook, {**SMALLEST[hook], field: value}, prefetch)

    assert answer.status_code == 400
    assert f"$.context.{field}" in answer.get_data(as_text=True)


@pytest.mark.parametrize("hook", SMALLEST)
def test_optional_and_unknown_fields_change_nothing(client, prefetch, hook):
    more = {**OPTIONAL[hook], "someday": {"new": [1]}, "extension": {"org.example": True}}
    answer = post(client, hook, {**SMALLEST[hook], **more}, prefetch, someday=1, extension={"org.example": 1})

    assert answer.get_json() == post(client, hook, SMALLEST[hook], prefetch).get_json()


@pytest.mark.parametrize("appointments", [EMPTY, [], [{"resourceType": "Appointment"}], {"resourceType": "Bundle"}])
def test_appointments_may_come_as_a_bundle_or_as_a_bare_list(client, prefetch, appointments):
    answer = post(client, "appointment-book", {**WHO, "appointments": appointments}, prefetch)

    assert answer.status_code == 200
    assert answer.get_json()["cards"]


@pytest.mark.parametrize("hook", SMALLEST)
@pytest.mark.parametrize("other", SMALLEST)
def test_a_service_answers_its_own_hook_only(client, prefetch, hook, other):
    body = {"hook": other, "hookInstance": INSTANCE, "context": SMALLEST[other], "prefetch": prefetch}
    answer = client.post(f"/cds-services/{BY_NAME[hook].service}", json=body)

    assert answer.status_code == (200 if hook == other else 400)
    if hook != other:
        assert "$.hook" in answer.get_data(as_text=True)


def test_a_service_that_is_not_offered_is_not_found(client):
    assert client.post("/cds-services/stage-4-breast-cancer", json={}).status_code == 404


# THE ENVELOPE


@pytest.mark.parametrize("hook", SMALLEST)
@pytest.mark.parametrize(
    "authorization",
    [
        {},
        {
            "access_token": "t",
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": "user/Observation.rs",
            "subject": "s",
        },
        {"access_token": "t", "scope": "patient/Condition.rs?category=x launch openid", "patient": PATIENT},
        {"access_token": None, "expires_in": "soon", "scope": ["a"]},
    ],
)
def test_an_authorization_of_any_version_or_with_gaps_never_breaks_a_call(client, prefetch, hook, authorization):
    more = {"fhirServer": "https://fhir.example", "fhirAuthorization": authorization}
    answer = post(client, hook, SMALLEST[hook], prefetch, **more)

    assert answer.get_json() == post(client, hook, SMALLEST[hook], prefetch).get_json()


@pytest.mark.parametrize("hook", SMALLEST)
def test_an_authorization_without_its_server_is_refused(client, prefetch, hook):
    assert post(client, hook, SMALLEST[hook], prefetch, fhirAuthorization={}).status_code == 400


@pytest.mark.parametrize("hook", [hook for hook in SMALLEST if hook != "order-dispatch"])
def test_what_is_needed_and_not_there_is_412(client, hook):
    answer = post(client, hook, SMALLEST[hook])

    assert answer.status_code == 412
    assert is_outcome(answer.get_json())


# ANSWERS


@pytest.mark.parametrize("hook", SMALLEST)
def test_a_card_informs_and_does_nothing_else(client, prefetch, hook):
    answer = post(client, hook, SMALLEST[hook], prefetch).get_json()

    assert "systemActions" not in answer
    for card in answer["cards"]:
        assert card["indicator"] == "info"
        assert not {"suggestions", "selectionBehavior"} & card.keys()
    for value in values(answer):
        assert value not in (None, "", {})


def values(value: Any) -> Any:
    """Every value in an answer."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from values(inner)


@pytest.mark.parametrize(
    "hook", [hook.name for hook in HOOKS if hook.answers is Answers.OPTIONS and hook.name != "patient-view"]
)
def test_hooks_about_the_patient_give_the_cards_of_patient_view(client, prefetch, hook):
    def bare(name: str) -> list[dict[str, Any]]:
        cards = post(client, name, SMALLEST[name], prefetch).get_json()["cards"]
        return [{key: value for key, value in card.items() if key != "uuid"} for card in cards]

    assert bare(hook) == bare("patient-view") != []


SEPARATE = {"not-suitable", "record-wrong", "source-outdated", "patient-preference", "already-considered"}


def test_every_card_offers_coded_reasons_to_override_it(client, prefetch):
    over = copy.deepcopy(prefetch)
    for entry in over["conditions"]["entry"]:
        for coding in entry["resource"]["clinicalStatus"]["coding"]:
            coding["code"] = "remission"
    unsure = {**DRAFT, "medicationCodeableConcept": {"text": "paclitaxel or docetaxel", "coding": []}}
    drafts = {"entry": [{"resource": DRAFT}, {"resource": unsure}]}
    answers = [
        post(client, "patient-view", WHO, prefetch).get_json(),
        post(client, "patient-view", WHO, over).get_json(),
        post(client, "order-sign", {**WHO, "draftOrders": drafts}, prefetch).get_json(),
    ]

    assert all(answer["cards"] for answer in answers)
    assert "marked as inactive" in answers[1]["cards"][0]["summary"]
    for card in (card for answer in answers for card in answer["cards"]):
        assert all({"code", "system", "display"} == reason.keys() for reason in card["overrideReasons"])
        assert {reason["code"] for reason in card["overrideReasons"]} >= SEPARATE
        assert len({reason["system"] for reason in card["overrideReasons"]}) == 1


# CONDITIONS THAT ARE BEING CREATED


def coded(*codes: str) -> dict[str, Any]:
    return {"coding": [{"code": code} for code in codes]}


METASTASIS = {
    "resourceType": "Condition",
    "id": "new",
    "subject": {"reference": f"Patient/{PATIENT}"},
    "clinicalStatus": coded("active"),
    "verificationStatus": coded("confirmed"),
    "category": "problem-list-item",
    "code": {
        "coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "C78.7", "display": "Liver metastasis"}]
    },
}


@pytest.fixture
def localised(services):
    """The record without its evidence of stage IV."""
    evidence = ("va-01-stage-group", "va-01-m-category", "va-01-met-bone")
    kept = [copy.deepcopy(one) for one in RECORD if one["id"] not in evidence]
    for one in kept:
        one.pop("stage", None)
    return put_in_prefetch(kept, PATIENT, services)


def create(client, prefetch, *conditions, **bundle):
    held = {"resourceType": "Bundle", **bundle, "entry": [{"resource": one} for one in conditions]}
    return post(client, "problem-list-item-create", {**WHO, "conditions": held}, prefetch).get_json()


def test_without_the_new_condition_there_is_no_card(client, localised):
    assert not create(client, localised)["cards"]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"clinicalStatus": "active", "verificationStatus": "confirmed"},
        {"id": None},
        {"id": "va-01-primary-cancer"},
        {"subject": {"reference": f"https://fhir.example/Patient/{PATIENT}"}},
    ],
)
def test_a_confirmed_condition_of_the_patient_counts_and_is_said_to(client, localised, change):
    answer = create(client, localised, {key: value for key, value in {**METASTASIS, **change}.items() if value})

    assert not list(RESPONSE.iter_errors(answer))
    assert facts(answer)["sites"]["value"] == "liver"
    assert rows(answer) == {"conditions.entry[0]": {"reference": "conditions.entry[0]", "outcome": "counted"}}
    assert answer["cards"][0]["detail"].startswith("Counted as if on record: 1 condition being created.")
    assert "conditions.entry[0]" in facts(answer)["sites"]["references"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verificationStatus": coded("provisional")}, "confirmed"),
        ({"verificationStatus": "unconfirmed"}, "confirmed"),
        ({"verificationStatus": None}, "confirmed"),
        ({"verificationStatus": coded("refuted")}, "confirmed"),
        ({"subject": {"reference": "Patient/somebody-else"}}, "another"),
        ({"subject": None}, "no patient"),
        ({"resourceType": "Observation"}, "no condition"),
        ({"code": "C78.7"}, "not valid FHIR R4 at code"),
    ],
)
def test_any_other_condition_changes_nothing_and_says_why(client, localised, change, reason):
    condition = {key: value for key, value in {**METASTASIS, **change}.items() if value}
    answer = create(client, localised, condition)

    assert not answer["cards"]
    (row,) = rows(answer).values()
    assert row["outcome"] == "set-aside"
    assert reason in row["reason"]


def test_two_new_conditions_without_ids_both_count(client, localised):
    bare = {key: value for key, value in METASTASIS.items() if key != "id"}
    bone = {**bare, "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "C79.51"}]}}
    answer = create(client, localised, bare, bone)

    assert facts(answer)["sites"]["value"] == "bone, liver"
    assert "2 conditions being created" in answer["cards"][0]["detail"]
    assert set(statuses(answer)) >= {"denosumab"}


# ADDING A HOOK


def test_a_hook_is_one_entry_of_the_catalogue_and_one_schema():
    schemas = {path.name.removesuffix(".schema.json") for path in (home()[1] / "hooks").glob("context-*.schema.json")}

    assert schemas == {hook.schema for hook in HOOKS}
    assert all(hook.schema == f"context-{hook.name}" for hook in HOOKS)


@pytest.mark.parametrize("hook", SMALLEST)
def test_the_same_call_gives_the_same_bytes(client, prefetch, hook):
    first, second = (post(client, hook, SMALLEST[hook], prefetch).get_data() for _ in range(2))

    assert first == second
