"""Why there is no card: the reason is exact, names both signals where two disagree, and repeats no free text."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from support import EXTENSION, URL, Resource, facts, patient_view, put_in_prefetch
from test_shapes import resource

BREAST = {"Condition": {"id": "b", "code": "icd10cm C50.912"}}
BONE = {"Condition": {"id": "m", "code": "icd10cm C79.51"}}
IV, M0 = (
    {"Observation": {"id": "iv", "code": "loinc 21908-9", "valueString": "IV", "effectiveDateTime": "2024-02-01"}},
    {"Observation": {"id": "m0", "code": "sct 399387003", "valueString": "cM0", "effectiveDateTime": "2024-02-01"}},
)
WORDED = {
    "coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "C34.11"}],
    "text": "Mrs Doe: breast cancer",
}
REASONS = {
    "no confirmed breast cancer on record": [BONE],
    "breast cancer on record, but no evidence of stage IV": [BREAST],
    "breast cancer on record, marked as over, but no evidence of stage IV": [
        {"Condition": {"code": "icd10cm C50.912", "clinicalStatus": "clinical remission"}}
    ],
    "breast cancer on record, but of a lower stage than IV": [
        {"Condition": {"code": "icd10cm C50.912", "stage": [{"summary": "IIA"}]}}
    ],
    "breast cancer on record, but whether it is stage IV is not clear (the record contradicts itself about the stage: "
    "stage IV by the words “stage iv”, a lower stage by the words “cm0”)": [BREAST, IV, M0],
    "breast cancer on record, but whether it is stage IV is not clear "
    "(a metastasis on record may be of another cancer)": [
        BREAST,
        BONE,
        {"Condition": {"code": "icd10cm C18.9"}},
    ],
    "breast cancer on record, but whether it is stage IV is not clear (a metastasis is marked as over)": [
        BREAST,
        {"Condition": {"code": "icd10cm C79.51", "clinicalStatus": "clinical resolved"}},
    ],
    "whether there is breast cancer is unknown "
    "(its words say breast cancer and its code something else (ICD-10 C34))": [
        {"Condition": {"code": WORDED}},
        BONE,
    ],
    "whether the patient lives is unknown (the record says that the patient lives, and gives a date of death)": [
        {"Patient": {"id": "p", "deceasedBoolean": False, "deceasedDateTime": "2021-03-04"}},
        BREAST,
        BONE,
    ],
}


def answered(client: FlaskClient, services: list[dict[str, Any]], entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer to a call with these resources."""
    patient = [] if any("Patient" in entry for entry in entries) else [{"Patient": {"id": "p", "gender": "female"}}]
    resources: list[Resource] = [resource(entry, i) for i, entry in enumerate([*patient, *entries])]
    return client.post(URL, json=patient_view("p", put_in_prefetch(resources, "p", services))).get_json()


@pytest.mark.parametrize(("reason", "entries"), REASONS.items(), ids=REASONS)
def test_the_reason_for_no_card_says_what_is_lacking(
    client: FlaskClient, services: list[dict[str, Any]], reason: str, entries: list[dict[str, Any]]
) -> None:
    answer = answered(client, services, entries)

    assert answer["cards"] == []
    assert answer["extension"][EXTENSION]["noCard"]["reason"] == reason


def test_the_gate_names_the_resources_of_signals_that_disagree(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    answer = answered(client, services, [BREAST, IV, M0])
    (stage,) = (one for one in answer["extension"][EXTENSION]["noCard"]["gate"] if one["fact"] == "stage")

    assert stage["references"] == ["Observation/iv", "Observation/m0"]


def test_pregnancy_on_record_changes_no_option_and_the_card_says_that_it_is_not_checked(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    without = answered(client, services, [BREAST, BONE])
    pregnant = answered(client, services, [BREAST, BONE, {"Condition": {"code": "sct 77386006"}}])

    assert facts(pregnant) == facts(without)
    assert [card["summary"] for card in pregnant["cards"]] == [card["summary"] for card in without["cards"]]
    assert all("pregnancy" in card["detail"].split("Not checked")[1] for card in pregnant["cards"])
