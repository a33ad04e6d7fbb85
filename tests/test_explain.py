"""`cds-service explain`: where every fact comes from, what was set aside and why, for calls and for bare records."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from support import PATIENTS, URL, example, facts, of_somebody_else, options, patient_view, put_in_prefetch

from cds_service.edge.cli import main
from cds_service.hooks.respond import Responder

PATIENT, RECORD = example("B-V22", "mcode")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def account(*arguments: object) -> dict[str, Any]:
    result = run("explain", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.fixture(autouse=True)
def knowledge_loaded_once(monkeypatch: pytest.MonkeyPatch, responder: Responder) -> None:
    """Reading the knowledge files takes a second each time and is tested elsewhere."""
    monkeypatch.setattr("cds_service.edge.command.explain.load", lambda cards=None: responder.knowledge)
    monkeypatch.setattr("cds_service.edge.command.explain.Responder", lambda knowledge: responder)


def fact(told: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in told["facts"] if one["fact"] == name)


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def call(tmp_path: Path, services: list[dict[str, Any]]) -> Path:
    """A hook request in a file."""
    return written(tmp_path, "call.json", patient_view(PATIENT, put_in_prefetch(RECORD, PATIENT, services)))


# EVERY FACT


@pytest.mark.parametrize("path", sorted(PATIENTS.glob("*.mcode.json")), ids=lambda path: path.stem)
def test_every_fact_says_where_it_comes_from_or_where_it_was_looked_for(path: Path) -> None:
    told = account(path)
    assert len(told["facts"]) > 15
    for one in told["facts"]:
        assert one["lookedIn"], one["fact"]
        if one["references"]:
            sources = {reading["reference"] for reading in one["readings"]}
            sources |= {reference for other in one["buildsOn"] for reference in other["references"]}
            assert sources & set(one["references"]), one["fact"]
        for reading in one["readings"]:
            assert reading["recognised"]


def test_the_text_shows_every_fact_with_its_value_and_every_reading(call: Path) -> None:
    text, told = run("explain", call).output, account(call)
    for one in told["facts"]:
        assert f"  {one['label']}: {one['value']}" in text
        for reading in one["readings"]:
            assert f"{reading['reference']}, {reading['date'] or 'no date'}: {reading['answer']}" in text
    assert "builds on “Oestrogen receptor”: negative (Observation/b-v22-er)" in text
    assert "no resource says it; looked in: Observation (delivered); Condition (delivered)" in text


def test_what_was_set_aside_is_shown_with_its_reason(tmp_path: Path, services: list[dict[str, Any]]) -> None:
    er = next(one for one in RECORD if one["id"] == "b-v22-er")
    void = {**copy.deepcopy(er), "id": "void", "status": "entered-in-error"}
    foreign = of_somebody_else({**copy.deepcopy(er), "id": "foreign"})
    prefetch = put_in_prefetch([*RECORD, void, foreign], PATIENT, services)
    told = account(written(tmp_path, "call.json", patient_view(PATIENT, prefetch)))
    assert {"reference": "Observation/void", "reason": "its status is entered-in-error"} in fact(told, "er")["setAside"]
    assert {"what": "Observation/foreign", "reason": "belongs to another patient"} in told["record"]["setAside"]


def test_how_each_key_was_delivered_is_shown(tmp_path: Path, services: list[dict[str, Any]]) -> None:
    prefetch = put_in_prefetch(RECORD, PATIENT, services)
    prefetch["mine"] = prefetch.pop("conditions")
    prefetch["allergies"] = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
    del prefetch["procedures"]
    told = account(written(tmp_path, "call.json", patient_view(PATIENT, prefetch)))
    states = {one["key"]: one["state"] for one in told["record"]["keys"]}
    assert states["medications"] == "delivered"
    assert states["procedures"] == states["conditions"] == "not delivered"
    assert states["allergies"].startswith("not delivered: an error")
    assert {one["type"]: one["state"] for one in told["record"]["types"]}["Condition"] == "delivered in part"
    aside = {one["what"]: one["reason"] for one in told["record"]["setAside"]}
    assert "a key that was not asked for" in aside["prefetch.mine"]
    assert {"type": "Procedure", "state": "not delivered"} in fact(told, "refusals")["lookedIn"]


def test_the_account_says_what_the_cards_say(client: FlaskClient, services: list[dict[str, Any]], call: Path) -> None:
    answer = client.post(URL, json=json.loads(call.read_text(encoding="utf-8"))).get_json()
    told = account(call)
    listed = {one["option"]: one["status"] for one in told["options"] if one["status"] != "not-supported"}
    assert listed == {option: entry["status"] for option, entry in options(answer).items()}
    assert told["gate"]["passed"]
    for name, said in facts(answer).items():
        assert (fact(told, name)["value"], fact(told, name)["references"]) == (said["value"], said["references"])


# BARE RECORDS


def essence(told: dict[str, Any]) -> tuple[Any, Any]:
    return told["facts"], told["options"]


def test_a_bundle_is_explained_like_the_call_that_holds_it(call: Path) -> None:
    assert essence(account(PATIENTS / "B-V22.mcode.json")) == essence(account(call))


def test_a_folder_is_explained_like_the_bundle_of_its_resources(tmp_path: Path, call: Path) -> None:
    folder = tmp_path / "record"
    (folder / "inside").mkdir(parents=True)
    for number, resource in enumerate(RECORD[:5]):
        written(folder, f"{number}.json", resource)
    lines = "\n".join(json.dumps(resource) for resource in RECORD[5:10])
    (folder / "inside" / "some.ndjson").write_text(lines, encoding="utf-8")
    written(folder, "more.json", {"resourceType": "Bundle", "entry": [{"resource": one} for one in RECORD[10:]]})
    assert essence(account(folder)) == essence(account(call))


def test_of_two_patients_one_has_to_be_named(tmp_path: Path, call: Path) -> None:
    resources = [*RECORD, *example("VA-01", "mcode")[1]]
    path = written(tmp_path, "both.json", resources)
    refused = run("explain", path)
    assert refused.exit_code == 1
    assert "2 patients" in json.loads(refused.output)["issue"][0]["diagnostics"]
    assert fact(account(path, "--patient", PATIENT), "er")["value"] == "negative"
    assert fact(account(path, "--patient", "Patient/va-01"), "er")["value"] == "positive"


def test_a_call_is_explained_for_its_own_patient_only(call: Path) -> None:
    assert run("explain", call, "--patient", PATIENT).exit_code == 0
    refused = run("explain", call, "--patient", "another")
    assert refused.exit_code == 1
    assert "--patient" in refused.output


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "text that is not JSON"),
        ("5", "neither an object nor a list"),
        ("[]", "no Patient"),
        ('{"resourceType": "Condition", "id": "c"}', "no Patient"),
        ('{"hook": "order-of-tea"}', "a hook that no service answers"),
        ("{}", "hookInstance"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content, encoding="utf-8")
    refused = run("explain", path)
    assert refused.exit_code == 1
    assert says in refused.output
    assert json.loads(refused.output)["resourceType"] == "OperationOutcome"


def test_a_patient_without_an_id_goes_by_the_address_of_its_entry(tmp_path: Path) -> None:
    urn = "urn:uuid:0b1c7f0e-3f5e-4f43-9a3c-5d4f3a1b2c3d"
    result = {"resourceType": "Observation", "status": "final", "subject": {"reference": urn}}
    result |= {"code": {"text": "ER"}, "valueString": "Positive"}
    patient = {"fullUrl": urn, "resource": {"resourceType": "Patient", "gender": "female"}}
    path = tmp_path / "bundle.json"
    path.write_text(
        json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [patient, {"resource": result}]})
    )
    assert fact(account(path), "er")["value"] == "positive"


def test_an_empty_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert "no file *.json" in run("explain", tmp_path).output


def test_a_record_that_announces_more_is_not_taken_for_all_there_is(tmp_path: Path) -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": one} for one in RECORD],
        "link": [{"relation": "next", "url": "https://ehr.example.org/2"}],
    }
    assert fact(account(written(tmp_path, "page.json", bundle)), "contraindications")["value"] == "unknown"
