"""The FHIR server of the sandbox: what a client of ours, the CDS Hooks Sandbox and a SMART client ask of it."""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import waitress
from fhir.resources.R4B import get_fhir_model_class
from flask import Flask
from flask.testing import FlaskClient
from support import URL, Resource, is_outcome, patient_view, put_in_prefetch, templates, to_the_letter, type_of

from cds_service.edge.invented import invented
from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app
from cds_service.knowledge.load import load
from cds_service.synthetic.record import record

FHIR = "/sandbox/fhir"
WRITER = invented(load())
RECORDS = {story.id: record(story, WRITER.vocabulary) for story in WRITER.stories}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[FlaskClient]:
    """A client of a service whose sandbox is open."""
    app = create_app(site=Settings(sandbox=True))
    yield app.test_client()
    app.extensions["store"].close()


def searched(client: FlaskClient, query: str, **headers: str) -> Resource:
    """The searchset of a query, which must be one and valid."""
    answer = client.get(f"{FHIR}/{query}", headers=headers)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.content_type == "application/fhir+json"
    body: Resource = answer.get_json()
    get_fhir_model_class("Bundle").model_validate(body)
    assert body["type"] == "searchset"
    return body


def ids(bundle: Resource, mode: str = "match") -> list[str]:
    """The ids of the entries of one mode, in order."""
    return [entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == mode]


def link(bundle: Resource, relation: str) -> str:
    """The URL of a link below the server; '' where there is none."""
    urls = [one["url"] for one in bundle["link"] if one["relation"] == relation]
    return urls[0].partition(f"{FHIR}/")[2] if urls else ""


# THE QUERIES OF DISCOVERY


def prefetched(client: FlaskClient, patient: str, services: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client puts into prefetch that asks this server for every template."""
    filled = {key: template.replace("{{context.patientId}}", patient) for key, template in templates(services).items()}
    return {key: client.get(f"{FHIR}/{query}").get_json() for key, query in filled.items()}


def test_every_template_of_every_service_is_answered(sandbox: FlaskClient, services: list[dict[str, Any]]) -> None:
    asked = [
        (template, patient)
        for service in services
        for template in service["prefetch"].values()
        for patient in ("bone-after-menopause", "nobody")
        if "{{context.patientId}}" in template
    ]
    assert len(asked) >= 2 * 6
    for template, patient in asked:
        query = template.replace("{{context.patientId}}", patient)
        if "?" in query or patient != "nobody":
            body = sandbox.get(f"{FHIR}/{query}").get_json()
            assert body["resourceType"] == ("Bundle" if "?" in query else "Patient"), query
            # nothing of what is asked may have been ignored
            assert "?" not in query or all(one["search"]["mode"] == "match" for one in body.get("entry", ())), query


@pytest.mark.parametrize("patient", RECORDS)
def test_a_template_brings_what_the_story_holds_and_the_cards_are_the_same(
    patient: str, sandbox: FlaskClient, services: list[dict[str, Any]]
) -> None:
    own = to_the_letter(put_in_prefetch(RECORDS[patient], patient, services), services)

    brought = prefetched(sandbox, patient, services)

    for key, template in templates(services).items():
        if "?" in template:
            assert sorted(ids(brought[key])) == sorted(ids(own[key])), key
            assert brought[key]["total"] == own[key]["total"]
        else:
            assert brought[key] == own[key]
    cards = [sandbox.post(URL, json=patient_view(patient, sent)).get_json()["cards"] for sent in (brought, own)]
    assert [without_ids(one) for one in cards[0]] == [without_ids(one) for one in cards[1]]


def without_ids(card: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in card.items() if name != "uuid"}


# SEARCH


@pytest.mark.parametrize("kind", sorted({type_of(one) for one in ("Observation", "Condition", "MedicationRequest")}))
def test_pages_bring_together_what_one_answer_brings(kind: str, sandbox: FlaskClient) -> None:
    whole = searched(sandbox, f"{kind}?patient=third-line")
    assert link(whole, "next") == ""
    assert whole["total"] == len(ids(whole)) > 3

    query, brought, pages = f"{kind}?patient=third-line&_count=2", [], 0
    while query:
        page = searched(sandbox, query)
        assert page["total"] == whole["total"]
        assert len(ids(page)) <= 2
        brought, pages, query = brought + ids(page), pages + 1, link(page, "next")

    assert brought == ids(whole)
    assert pages == -(-whole["total"] // 2)


def test_a_count_of_zero_tells_the_number_only(sandbox: FlaskClient) -> None:
    bundle = searched(sandbox, "Patient?_count=0")

    assert bundle["total"] == len(RECORDS)
    assert "entry" not in bundle
    assert link(bundle, "next") == ""


def test_a_search_by_post_is_the_same_search(sandbox: FlaskClient) -> None:
    got = searched(sandbox, "Observation?patient=third-line&category=laboratory&_count=2")

    form = {"category": "laboratory", "_count": "2"}
    posted = sandbox.post(f"{FHIR}/Observation/_search?patient=third-line", data=form)

    assert posted.status_code == 200
    assert (ids(posted.get_json()), posted.get_json()["total"]) == (ids(got), got["total"])
    assert ids(searched(sandbox, link(posted.get_json(), "next"))) == ids(searched(sandbox, link(got, "next")))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Condition?patient=bone-in-pain", 3),
        ("Condition?subject=bone-in-pain", 3),
        ("Condition?patient=Patient/bone-in-pain", 3),
        ("Condition?subject=http://localhost/sandbox/fhir/Patient/bone-in-pain", 3),
        ("Condition?patient=https://elsewhere.example.org/fhir/Patient/bone-in-pain", 0),
        ("Condition?patient=Group/bone-in-pain", 0),
        ("Condition?patient=nobody", 0),
        ("Condition?patient=a-man,bone-in-pain", 5),
        ("Condition?patient=a-man&patient=bone-in-pain", 0),
        ("Condition?patient=bone-in-pain&code=254837009", 1),
        ("Condition?patient=bone-in-pain&code=http://snomed.info/sct%7C254837009", 1),
        ("Condition?patient=bone-in-pain&code=http://snomed.info/sct%7C", 3),
        ("Condition?patient=bone-in-pain&code=http://loinc.org%7C254837009", 0),
        ("Condition?patient=bone-in-pain&code=%7C254837009", 0),
        ("Condition?patient=bone-in-pain&code=254837009,94222008", 2),
        ("Condition?patient=bone-in-pain&code=", 3),
        ("Condition?patient=bone-in-pain&clinical-status=active", 3),
        ("Condition?patient=marked-as-over&clinical-status=remission", 1),
        ("Condition?patient=bone-in-pain&category=problem-list-item", 3),
        ("MedicationRequest?patient=third-line&intent=order", 4),
        ("MedicationRequest?patient=third-line&intent=plan", 0),
        ("MedicationRequest?patient=third-line&status=active,stopped", 4),
        ("Encounter?patient=a-man&status=http://hl7.org/fhir/encounter-status%7Cfinished", 2),
        ("AllergyIntolerance?patient=bone-in-pain", 1),
        ("MedicationAdministration?patient=bone-in-pain", 0),
        ("Patient?_id=a-man", 1),
        ("Patient?_id=a-man,third-line,nobody", 2),
        ("Encounter?patient=a-man&status=finished", 2),
    ],
)  # fmt: skip
def test_a_search_finds(query: str, found: int, sandbox: FlaskClient) -> None:
    bundle = searched(sandbox, query)

    assert (bundle["total"], len(ids(bundle))) == (found, found)


def test_medicines_come_along_when_asked_for(sandbox: FlaskClient) -> None:
    query = "MedicationRequest?patient=triple-negative-after-taxane"

    alone, along = searched(sandbox, query), searched(sandbox, f"{query}&_include=MedicationRequest:medication")

    assert ids(alone, "include") == []
    assert ids(along) == ids(alone)
    assert len(ids(along, "include")) == len(ids(alone)) == along["total"] == 3
    assert "_include=MedicationRequest:medication" in link(along, "self")


def test_what_is_not_known_is_ignored_and_said_so(sandbox: FlaskClient) -> None:
    query = "Condition?patient=a-man&_sort=-date&birthplace=x"

    bundle = searched(sandbox, query)

    assert ids(bundle) == ids(searched(sandbox, "Condition?patient=a-man"))
    assert link(bundle, "self") == "Condition?patient=a-man"
    (remark,) = [entry["resource"] for entry in bundle["entry"] if entry["search"]["mode"] == "outcome"]
    assert is_outcome(remark)
    assert "_sort, birthplace" in remark["issue"][0]["diagnostics"]
    refused = sandbox.get(f"{FHIR}/{query}", headers={"Prefer": "respond-async, handling=strict"})
    assert refused.status_code == 400
    assert is_outcome(refused.get_json())


def test_a_parameter_name_with_markup_is_not_repeated(sandbox: FlaskClient) -> None:
    answer = sandbox.get(f"{FHIR}/Patient?<script>=1&_id=a-man")

    assert "script" not in answer.get_data(as_text=True)


# READ, AND WHAT IS REFUSED


def test_every_resource_can_be_read_by_its_id(sandbox: FlaskClient) -> None:
    for resource in RECORDS["her2-positive-second-line"]:
        answer = sandbox.get(f"{FHIR}/{resource['resourceType']}/{resource['id']}")
        assert answer.status_code == 200
        assert answer.get_json() == resource


def test_it_says_what_it_can_do(sandbox: FlaskClient) -> None:
    answer = sandbox.get(f"{FHIR}/metadata?_format=json", headers={"Accept": "application/json+fhir"})

    assert answer.content_type == "application/fhir+json"
    body = answer.get_json()
    get_fhir_model_class("CapabilityStatement").model_validate(body)
    assert body["fhirVersion"] == "4.0.1"
    told = {one["type"]: {row["name"] for row in one["searchParam"]} for one in body["rest"][0]["resource"]}
    for kind, names in told.items():
        for name in names:
            # what is told is known: nothing is ignored
            assert ids(searched(sandbox, f"{kind}?{name}=nothing-like-that"), "outcome") == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "Patient/nobody", 404),
        ("GET", "Condition/a-man", 404),
        ("GET", "Immunization", 404),
        ("GET", "Immunization/1", 404),
        ("GET", "", 404),
        ("GET", "no/such/path", 404),
        ("GET", "Patient/a-man/_history", 404),
        ("GET", "Patient/..%2f..%2fetc", 404),
        ("GET", "Condition?code:not=1", 400),
        ("GET", "Condition?patient.name=x&patient:Patient=1", 400),
        ("GET", "Condition?_count=many", 400),
        ("GET", "Condition?_page=-1", 400),
        ("GET", "Patient?_format=xml", 406),
        ("GET", "metadata?_format=application/fhir%2Bxml", 406),
        ("POST", "Patient", 405),
        ("POST", "", 404),
        ("PUT", "Patient/a-man", 405),
        ("PATCH", "Patient/a-man", 405),
        ("DELETE", "Patient/a-man", 405),
        ("PUT", "metadata", 405),
    ],
)
def test_what_is_refused_is_refused_with_a_reason(method: str, path: str, status: int, sandbox: FlaskClient) -> None:
    answer = sandbox.open(f"{FHIR}/{path}", method=method)

    assert answer.status_code == status
    assert answer.content_type == "application/fhir+json"
    assert is_outcome(answer.get_json())
    get_fhir_model_class("OperationOutcome").model_validate(answer.get_json())
    assert ("Allow" in answer.headers) == (status == 405)


def test_a_search_by_post_is_a_form(sandbox: FlaskClient) -> None:
    answer = sandbox.post(f"{FHIR}/Condition/_search", json={"patient": "a-man"})

    assert answer.status_code == 400
    assert is_outcome(answer.get_json())


# BROWSERS


def test_a_browser_may_read_it_from_anywhere(sandbox: FlaskClient) -> None:
    origin = {"Origin": "https://sandbox.cds-hooks.org"}
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}

    for path in ("metadata", "Patient", "Patient/a-man", "Condition?patient=a-man", "Patient/nobody"):
        assert sandbox.get(f"{FHIR}/{path}", headers=origin).headers["Access-Control-Allow-Origin"] == "*"
    for path in ("Patient", "Condition/_search", "metadata"):
        before = sandbox.options(f"{FHIR}/{path}", headers={**origin, **ask})
        assert before.status_code in (200, 204)
        assert "POST" in before.headers["Access-Control-Allow-Methods"]
        assert "content-type" in before.headers["Access-Control-Allow-Headers"]


def test_the_cds_hooks_sandbox_finds_what_it_starts_with(sandbox: FlaskClient) -> None:
    """Its order: metadata, patients, a patient, the problems; then each search by POST, with headers of its own."""
    old = {"Origin": "https://sandbox.cds-hooks.org", "Accept": "application/json+fhir"}
    assert sandbox.get(f"{FHIR}/metadata", headers=old).get_json()["fhirVersion"] == "4.0.1"
    by_post = sandbox.post(f"{FHIR}/Condition/_search", data={"patient": "a-man"}, headers=old)
    assert ids(by_post.get_json()) == ids(searched(sandbox, "Condition?patient=a-man"))
    first = searched(sandbox, "Patient")["entry"][0]["resource"]

    assert isinstance(first["name"][0]["given"], list)
    assert searched(sandbox, f"Condition?patient={first['id']}")["total"] > 0


# OUR OWN FETCHING


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    """The application on a port of this machine; its FHIR server's base URL."""
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}{FHIR}"
    finally:
        server.close()
        thread.join(timeout=10)


@pytest.mark.parametrize("page", [500, 2])
def test_what_is_fetched_from_it_gives_the_cards_of_what_is_prefetched(
    page: int, sandbox: FlaskClient, services: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cds_service.synthetic.search.PAGE", page)
    with listening(sandbox.application) as base:
        server = {"base": base, "private": True, "http": True, "open": True}
        app = create_app(site=Settings(fhir_servers=(server,), fhir_seconds=30))
        try:
            for patient in ("bone-in-pain", "third-line", "her2-positive-second-line", "all-in-words", "a-man"):
                own = to_the_letter(put_in_prefetch(RECORDS[patient], patient, services), services)
                call = {**patient_view(patient, None), "fhirServer": base}

                fetched = app.test_client().post(URL, json=call)

                assert fetched.status_code == 200, fetched.get_data(as_text=True)
                given = app.test_client().post(URL, json=patient_view(patient, own)).get_json()["cards"]
                assert [without_ids(one) for one in fetched.get_json()["cards"]] == [without_ids(one) for one in given]
                assert given
        finally:
            app.extensions["store"].close()


def test_one_process_is_enough_to_be_asked_and_to_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    server = json.dumps([{"base": f"{base}{FHIR}", "private": True, "http": True, "open": True}])
    with serving(port, CDS_FHIR_SERVERS=server, CDS_FHIR_SECONDS="30"):
        body = json.dumps({**patient_view("bone-after-menopause", None), "fhirServer": f"{base}{FHIR}"}).encode()
        call = urllib.request.Request(f"{base}{URL}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(call, timeout=60) as answer:
            cards = json.load(answer)["cards"]

    assert "HR positive, HER2 negative" in cards[0]["summary"]


# WHEN IT IS THERE


@contextmanager
def serving(port: int, **environment: str) -> Iterator[str]:
    """`cds-service serve` in a process of its own; what it says when it listens."""
    words = [sys.executable, "-u", "-m", "cds_service.edge.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_it_is_not_there_unless_it_is_switched_on(client: FlaskClient) -> None:
    assert client.get(f"{FHIR}/metadata").status_code == 404


def test_more_patients_can_be_invented_for_it() -> None:
    app = create_app(site=Settings(sandbox=True, sandbox_patients=3))
    try:
        bundle = searched(app.test_client(), "Patient")
    finally:
        app.extensions["store"].close()

    assert bundle["total"] == len(RECORDS) + 3
    assert ids(bundle)[-3:] == ["invented-1-1", "invented-1-2", "invented-1-3"]


@pytest.mark.parametrize(("switch", "there"), [({}, True), ({"CDS_SANDBOX": "false"}, False)])
def test_serve_opens_it_on_loopback_unless_told_otherwise(switch: dict[str, str], there: bool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(port, **switch) as said:
        assert "Discovery" in said
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{FHIR}/metadata", timeout=10) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()

    assert status == (200 if there else 404)
