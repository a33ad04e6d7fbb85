"""The command line, as its users run it."""

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.edge.cli import main
from cds_service.knowledge.load import home

ROOT = Path(__file__).resolve().parent.parent
PATIENTS = ROOT / "tests" / "patients"
SOURCES = ROOT.parent / "shared" / "sources"


@pytest.fixture
def cards(tmp_path):
    """A copy of the knowledge that a test may spoil."""
    return Path(shutil.copytree(home()[0], tmp_path / "cards"))


@pytest.fixture
def request_file(tmp_path):
    """A hook request with a patient who gets cards."""
    bundle = json.loads((PATIENTS / "VA-01.mcode.json").read_text(encoding="utf-8"))
    by_type = {}
    for entry in bundle["entry"]:
        by_type.setdefault(entry["resource"]["resourceType"], []).append(entry)
    keys = {
        "conditions": "Condition",
        "medications": "MedicationRequest",
        "laboratory": "Observation",
        "procedures": "Procedure",
        "allergies": "AllergyIntolerance",
    }
    prefetch = {key: {"resourceType": "Bundle", "entry": by_type.get(kind, [])} for key, kind in keys.items()}
    prefetch["patient"] = by_type["Patient"][0]["resource"]
    call = {
        "hook": "patient-view",
        "hookInstance": "0b7a2f9a-8a2c-4a53-9a05-3b6d3c1f0a11",
        "context": {"userId": "Practitioner/1", "patientId": "va-01"},
        "prefetch": prefetch,
    }
    path = tmp_path / "request.json"
    path.write_text(json.dumps(call), encoding="utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_check_describes_sound_knowledge_and_its_reviews():
    result = run("check")

    assert result.exit_code == 0
    assert "is sound" in result.output
    assert "not reviewed by a clinician" in result.output


def test_check_reports_every_problem_of_every_file_at_once(cards):
    (cards / "systemic-treatment" / "immunotherapy.yaml").write_text("section: [", encoding="utf-8")
    drug = cards / "drugs" / "letrozole.yaml"
    drug.write_text(drug.read_text(encoding="utf-8").replace('code: "72965"', "code: 72965"), encoding="utf-8")
    fact = cards / "facts" / "er.yaml"
    fact.write_text(fact.read_text(encoding="utf-8") + "fact: er\n", encoding="utf-8")

    result = run("check", "--cards", cards)

    assert result.exit_code == 1
    for expected in ("immunotherapy.yaml:", "'72965', a number; expected quotes", "the key 'fact' twice"):
        assert expected in result.output


def test_explain_shows_facts_statements_status_and_why_not(request_file):
    result = run("explain", request_file)

    assert result.exit_code == 0
    for expected in (
        "GATE: passed",
        "Oestrogen receptor: positive",
        "SUPPORTED",
        "NOT-SUPPORTED",
        "false   supports",
        "HER2-negative",
    ):
        assert expected in result.output


def test_explain_says_why_there_is_no_card(request_file):
    call = json.loads(request_file.read_text(encoding="utf-8"))
    call["prefetch"]["conditions"] = None
    request_file.write_text(json.dumps(call), encoding="utf-8")

    assert "no card: no confirmed breast cancer on record" in run("explain", request_file).output


def test_explain_refuses_a_bad_request_with_an_operation_outcome(request_file):
    request_file.write_text('{"hook": "patient-view"}', encoding="utf-8")

    result = run("explain", request_file)

    assert result.exit_code == 1
    assert json.loads(result.output)["resourceType"] == "OperationOutcome"


def test_coverage_leaves_no_passage_over():
    result = run("sources", "coverage")

    assert result.exit_code == 0
    assert re.search(r"ccs-stage-4 +\d+ +\d+ +\d+ +0", result.output)


def test_coverage_names_a_passage_that_nothing_accounts_for(cards):
    tests = cards / "care-and-trials" / "palliative-care.yaml"
    tests.unlink()

    result = run("sources", "coverage", "--cards", cards)

    assert result.exit_code == 1
    assert "left over: healthline L132" in result.output


@pytest.mark.skipif(not SOURCES.is_dir(), reason="the five documents are copyrighted and not part of the project")
def test_every_passage_is_found_by_digest_in_the_documents():
    result = run("sources", "verify", SOURCES)

    assert result.exit_code == 0
    assert result.output.count("ok  ") == 5


def test_verify_tells_a_changed_passage_from_a_missing_document(tmp_path, cards):
    source = cards / "sources" / "empowher-2011.yaml"
    lines = [f"line {n}" if n > 6 else "furniture" for n in range(1, 33)]
    (tmp_path / "other.txt").write_text("\n".join(lines), encoding="utf-8")

    result = run("sources", "verify", tmp_path, "--cards", cards)

    assert source.exists()
    assert result.exit_code == 1
    assert result.output.count("no document found") == 5


def test_serve_starts_on_loopback_and_answers():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "cds_service.edge.cli", "serve", "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/cds-services", line)
        assert url is not None, line

        with urllib.request.urlopen(url.group(0)) as answer:
            services = json.load(answer)["services"]

        assert services[0]["hook"] == "patient-view"
    finally:
        server.terminate()
        server.communicate(timeout=20)
