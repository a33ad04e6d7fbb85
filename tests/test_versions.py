"""A record in DSTU2 or STU3 is read like its twin in R4, as far as the older version can say the same.

The twins are written here from R4, element by element as the resource pages of the three versions name them.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from support import (
    PATIENTS,
    STYLES,
    URL,
    Resource,
    example,
    expected_patients,
    facts,
    patient_view,
    put_in_prefetch,
    statuses,
)

MINE = {"reference": "Patient/va-01"}
LETROZOLE = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "72965"}]}


def bare(concept: Any) -> Any:
    """The code of a status."""
    return concept["coding"][0]["code"] if isinstance(concept, dict) and "coding" in concept else concept


def moved(resource: Resource, names: dict[str, str], change: Callable[[Any], Any] = lambda one: one) -> None:
    for now, before in names.items():
        if now in resource:
            resource[before] = change(resource.pop(now))


def first(values: list[Any]) -> Any:
    return values[0]


def stu3(r4: Resource) -> Resource:
    """The twin of an R4 resource in STU3."""
    twin = copy.deepcopy(r4)
    kind = twin["resourceType"]
    if kind in ("Condition", "AllergyIntolerance"):
        moved(twin, {name: name for name in ("clinicalStatus", "verificationStatus")}, bare)
        moved(twin, {"recordedDate": "assertedDate"})
        if len(twin.get("stage", ())) == 1:
            moved(twin, {"stage": "stage"}, first)
    moved(twin, {"encounter": "context"})
    if kind == "Observation":
        for element in (twin, *twin.get("component", ())):
            moved(element, {"interpretation": "interpretation"}, first)
        members = twin.pop("hasMember", [])
        if members:
            twin["related"] = [{"type": "has-member", "target": one} for one in members]
    if kind == "MedicationRequest":
        moved(twin, {"category": "category"}, first)
    if kind == "MedicationStatement":
        twin["taken"] = "y"
        denied(twin, "not-taken", "active", {"taken": "n"}, "reasonNotTaken")
    if kind == "MedicationAdministration":
        denied(twin, "not-done", "completed", {"notGiven": True}, "reasonNotGiven")
    if kind == "Procedure":
        denied(twin, "not-done", "completed", {"notDone": True}, "notDoneReason")
    return twin


def denied(twin: Resource, now: str, before: str, how: Resource, reason: str) -> None:
    if twin["status"] == now:
        moved(twin, {"statusReason": reason})
        twin |= {"status": before, **how}


def dstu2(r4: Resource) -> Resource:
    """The twin of an R4 resource in DSTU2."""
    twin = stu3(r4)
    kind = twin["resourceType"]
    moved(twin, {"context": "encounter"})
    if kind == "Condition":
        moved(twin, {"subject": "patient", "assertedDate": "dateRecorded"})
    if kind == "Observation":
        moved(twin, {"note": "comments"}, str)
        for row in twin.get("referenceRange", ()):
            moved(row, {"type": "meaning"})
    if kind == "MedicationRequest":
        twin["resourceType"] = "MedicationOrder"
        assert twin.pop("intent") == "order"
        moved(twin, {"subject": "patient", "authoredOn": "dateWritten", "statusReason": "reasonEnded"})
        moved(twin, {"reasonCode": "reasonCodeableConcept", "reasonReference": "reasonReference"}, first)
    if kind == "MedicationStatement":
        moved(twin, {"subject": "patient"})
        twin["wasNotTaken"] = twin.pop("taken") == "n"
        moved(twin, {"reasonCode": "reasonForUseCodeableConcept", "reasonReference": "reasonForUseReference"}, first)
    if kind == "MedicationAdministration":
        moved(twin, {"subject": "patient", "notGiven": "wasNotGiven", "reasonCode": "reasonGiven"})
        moved(twin, {"effectiveDateTime": "effectiveTimeDateTime", "effectivePeriod": "effectiveTimePeriod"})
    if kind == "Procedure":
        moved(twin, {"notDone": "notPerformed"})
        moved(twin, {"notDoneReason": "reasonNotPerformed"}, lambda one: [one])
        moved(twin, {"reasonCode": "reasonCodeableConcept", "reasonReference": "reasonReference"}, first)
    if kind == "AllergyIntolerance":
        moved(twin, {"code": "substance", "onsetDateTime": "onset", "assertedDate": "recordedDate"})
        clinical, verification = twin.pop("clinicalStatus", None), twin.pop("verificationStatus", None)
        twin["status"] = verification if verification in ("refuted", "entered-in-error") else clinical or verification
    return twin


def ask(client: FlaskClient, services: list[dict[str, Any]], patient: str, resources: list[Resource]) -> dict[str, Any]:
    response = client.post(URL, json=patient_view(patient, put_in_prefetch(resources, patient, services)))
    assert response.status_code == 200
    return response.get_json()


def said(answer: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The options with their status, and the facts with their value."""
    return statuses(answer), {name: fact["value"] for name, fact in facts(answer).items()}


@pytest.mark.parametrize("older", [stu3, dstu2])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", sorted(expected_patients()))
def test_an_older_twin_of_a_record_says_the_same(
    client: FlaskClient, services: list[dict[str, Any]], name: str, style: str, older: Callable[[Resource], Resource]
) -> None:
    if not (PATIENTS / f"{name}.{style}.json").exists():
        pytest.skip("not among the example patients")
    patient, resources = example(name, style)
    twins = [older(one) for one in resources]
    assert twins != resources
    for one in resources if older is dstu2 else ():
        if one["resourceType"] == "MedicationStatement" and one["status"] == "completed":
            one["status"] = "stopped"  # DSTU2 has one word for both
    assert said(ask(client, services, patient, twins)) == said(ask(client, services, patient, resources))


TREATMENTS: dict[str, Resource] = {
    "stopped for progression": {
        "resourceType": "MedicationRequest", "id": "m", "status": "stopped", "intent": "order", "subject": MINE,
        "authoredOn": "2024-03-01", "statusReason": {"text": "disease progression"},
        "medicationCodeableConcept": LETROZOLE,
    },
    "a reason": {
        "resourceType": "MedicationRequest", "id": "m", "status": "completed", "intent": "order", "subject": MINE,
        "authoredOn": "2010-03-01", "reasonCode": [{"text": "adjuvant"}], "medicationCodeableConcept": LETROZOLE,
    },
    "taken": {
        "resourceType": "MedicationStatement", "id": "m", "status": "active", "subject": MINE,
        "effectivePeriod": {"start": "2024-03-01"}, "medicationCodeableConcept": LETROZOLE,
    },
    "not taken": {
        "resourceType": "MedicationStatement", "id": "m", "status": "not-taken", "subject": MINE,
        "statusReason": [{"text": "patient refused"}], "medicationCodeableConcept": LETROZOLE,
    },
    "given": {
        "resourceType": "MedicationAdministration", "id": "m", "status": "completed", "subject": MINE,
        "effectiveDateTime": "2024-03-01", "medicationCodeableConcept": LETROZOLE,
    },
    "not given": {
        "resourceType": "MedicationAdministration", "id": "m", "status": "not-done", "subject": MINE,
        "effectiveDateTime": "2024-03-01", "statusReason": [{"text": "patient refused"}],
        "medicationCodeableConcept": LETROZOLE,
    },
    "refused": {
        "resourceType": "Procedure", "id": "m", "status": "not-done", "subject": MINE,
        "code": {"text": "chemotherapy"}, "statusReason": {"text": "patient refused"},
    },
    "an allergy": {
        "resourceType": "AllergyIntolerance", "id": "m", "patient": MINE, "code": LETROZOLE,
        "clinicalStatus": {"coding": [{"code": "active"}]}, "recordedDate": "2024-03-01",
    },
    "a resolved allergy": {
        "resourceType": "AllergyIntolerance", "id": "m", "patient": MINE, "code": LETROZOLE,
        "clinicalStatus": {"coding": [{"code": "resolved"}]},
    },
}  # fmt: skip


@pytest.mark.parametrize("older", [stu3, dstu2])
@pytest.mark.parametrize("treatment", TREATMENTS.values(), ids=TREATMENTS)
def test_an_older_twin_of_a_treatment_says_the_same(
    client: FlaskClient, services: list[dict[str, Any]], treatment: Resource, older: Callable[[Resource], Resource]
) -> None:
    patient, resources = example("VA-01", "mcode")
    before = said(ask(client, services, patient, [*resources, treatment]))
    assert said(ask(client, services, patient, [*resources, older(treatment)])) == before


@pytest.mark.parametrize("treatment", TREATMENTS, ids=TREATMENTS)
def test_the_treatments_of_these_tests_are_read_at_all(
    client: FlaskClient, services: list[dict[str, Any]], treatment: str
) -> None:
    patient, resources = example("VA-01", "mcode")
    given = facts(ask(client, services, patient, [*resources, TREATMENTS[treatment]]))
    without = facts(ask(client, services, patient, resources))
    silent = ("a resolved allergy",)
    assert (given == without) is (treatment in silent)
    assert dstu2(TREATMENTS[treatment]) != TREATMENTS[treatment]


def test_an_older_order_is_cited_by_its_own_name(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    patient, resources = example("VA-01", "mcode")
    answer = ask(client, services, patient, [*resources, dstu2(TREATMENTS["stopped for progression"])])
    assert facts(answer)["progressed-on"]["references"] == ["MedicationOrder/m"]


def test_what_cannot_be_read_is_named_in_no_version(client: FlaskClient, services: list[dict[str, Any]]) -> None:
    """A medicine in the shape of R5 is no medicine that can be read: what was given so far is not known."""
    patient, resources = example("VA-01", "mcode")
    r5 = {**TREATMENTS["stopped for progression"], "medication": {"concept": LETROZOLE}}
    del r5["medicationCodeableConcept"]
    answer = ask(client, services, patient, [*resources, r5])
    assert {facts(answer)[name]["value"] for name in ("prior-medications", "progressed-on")} == {"unknown"}
