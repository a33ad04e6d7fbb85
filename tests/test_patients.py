"""The twenty example patients, each in three styles of record, at the front door (tests/patients/README.md)."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from support import (
    LISTED,
    STYLES,
    URL,
    example,
    expected_patients,
    options,
    patient_view,
    put_in_prefetch,
    statuses,
    to_the_letter,
)

EXPECTED = expected_patients()
RECORDS = [(patient, style) for patient in EXPECTED for style in STYLES]
CODED = [(patient, style) for patient, style in RECORDS if style != "text"]
#: a record outside the gate is expected to support nothing at all
OUTSIDE = [patient for patient, expected in EXPECTED.items() if not expected["supported"]]
every_record = pytest.mark.parametrize(("patient", "style"), RECORDS, ids=[".".join(record) for record in RECORDS])


@pytest.fixture(scope="module")
def answers(client: FlaskClient, services: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for patient, style in RECORDS:
        ident, resources = example(patient, style)
        response = client.post(URL, json=patient_view(ident, put_in_prefetch(resources, ident, services)))
        assert response.status_code == 200
        found[patient, style] = response.get_json()
    return found


@pytest.fixture(scope="module")
def searched(client: FlaskClient, services: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The answers for the coded records when the client searches by code, category and intent as the templates say."""
    found = {}
    for patient, style in CODED:
        ident, resources = example(patient, style)
        prefetch = to_the_letter(put_in_prefetch(resources, ident, services), services)
        found[patient, style] = client.post(URL, json=patient_view(ident, prefetch)).get_json()
    return found


def scored(patient: str) -> set[str]:
    """The options on which the expected answer takes a stand."""
    expected = EXPECTED[patient]
    needed = {entry["option"] for entry in expected["needs_data"]}
    return needed | set(expected["supported"]) | set(expected["not_supported"])


def test_there_are_twenty_patients_of_whom_two_stand_outside_the_gate() -> None:
    assert len(EXPECTED) == 20
    assert len(OUTSIDE) == 2


@every_record
def test_what_the_sources_support_is_listed(answers: dict, patient: str, style: str) -> None:
    found = statuses(answers[patient, style])
    lacking = {
        option: found.get(option) for option in EXPECTED[patient]["supported"] if found.get(option) not in LISTED
    }
    assert not lacking


@every_record
def test_what_the_sources_do_not_support_is_not_listed_as_if_they_did(answers: dict, patient: str, style: str) -> None:
    found = statuses(answers[patient, style])
    assert not {option for option in EXPECTED[patient]["not_supported"] if found.get(option) in LISTED}


@every_record
def test_what_hangs_on_a_missing_fact_says_which(answers: dict, patient: str, style: str) -> None:
    found = options(answers[patient, style])
    wrong = {}
    for entry in EXPECTED[patient]["needs_data"]:
        listed = found.get(entry["option"], {"status": "not listed", "missing": []})
        named = all(set(names.split("|")) & set(listed["missing"]) for names in entry["missing"])
        if listed["status"] != "needs-data" or not named:
            wrong[entry["option"]] = (listed["status"], listed["missing"], entry["missing"])
    assert not wrong


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("patient", OUTSIDE)
def test_a_patient_outside_the_gate_gets_no_card(answers: dict, patient: str, style: str) -> None:
    assert answers[patient, style]["cards"] == []


@pytest.mark.parametrize("patient", EXPECTED)
def test_the_style_of_the_record_changes_no_status(answers: dict, patient: str) -> None:
    by_style = {style: statuses(answers[patient, style]) for style in STYLES}
    differing = {
        option: {style: found.get(option, "not listed") for style, found in by_style.items()}
        for option in scored(patient)
        if len({found.get(option) for found in by_style.values()}) > 1
    }
    assert not differing


@pytest.mark.parametrize(("patient", "style"), CODED, ids=[".".join(record) for record in CODED])
def test_the_searches_of_discovery_find_all_that_a_coded_record_needs(searched: dict, patient: str, style: str) -> None:
    found, expected = options(searched[patient, style]), EXPECTED[patient]
    status = {option: entry["status"] for option, entry in found.items()}
    needed = {entry["option"]: entry["missing"] for entry in expected["needs_data"]}
    assert {option for option in expected["supported"] if status.get(option) not in LISTED} == set()
    assert {option for option in expected["not_supported"] if status.get(option) in LISTED} == set()
    assert {option for option in needed if status.get(option) != "needs-data"} == set()


@every_record
def test_every_option_cites_and_what_needs_data_names_it(answers: dict, patient: str, style: str) -> None:
    for entry in options(answers[patient, style]).values():
        assert entry["citations"], entry["option"]
        assert entry["missing"] or entry["status"] != "needs-data", entry["option"]


@pytest.mark.parametrize("died", [{"deceasedBoolean": True}, {"deceasedDateTime": "2026-05"}])
def test_nothing_is_listed_for_the_dead(
    client: FlaskClient, services: list[dict[str, Any]], died: dict[str, Any]
) -> None:
    ident, resources = example("VA-01", "mcode")
    resources = [{**one, **died} if one["resourceType"] == "Patient" else one for one in resources]
    answer = client.post(URL, json=patient_view(ident, put_in_prefetch(resources, ident, services))).get_json()

    assert answer["cards"] == []
    assert "died" in answer["extension"]["org.cds-service"]["noCard"]["reason"]
