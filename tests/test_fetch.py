"""The second door: what a call does not bring is fetched from the FHIR server that it names, if the site lists it.

The server of these tests is real, on loopback (fhir_server.py); a canary beside it must never hear a token.
"""

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fhir_server import TOKEN, Fault, FhirServer, body, late, raw, resources_of, status
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listener import Listener
from pydantic import ValidationError
from support import (
    URL,
    example,
    expected_patients,
    facts,
    is_outcome,
    of_somebody_else,
    options,
    patient_view,
    put_in_prefetch,
    templates,
    to_the_letter,
    type_of,
)

from cds_service.edge.fetch import Door
from cds_service.edge.settings import FhirServer as Listed
from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder, Trace
from cds_service.knowledge.load import home

PATIENT, RECORD = example("VA-01", "mcode")
REQUIRED = ("patient", "conditions")
#: seconds within which an answer must be there although the site allows one; machines that test are busy
SOON = 8.0
Prefetch = dict[str, Any]


@pytest.fixture(scope="module")
def running() -> Iterator[FhirServer]:
    with FhirServer(RECORD) as one:
        yield one


@pytest.fixture
def server(running: FhirServer) -> FhirServer:
    """The FHIR server of the client, well-behaved until told otherwise."""
    running.resources, running.page, running.token = list(RECORD), 50, TOKEN
    running.faults, running.asked = {}, []
    return running


@pytest.fixture(scope="module")
def canary() -> Iterator[Listener]:
    with Listener() as one:
        yield one


@pytest.fixture(autouse=True)
def nobody_else_hears_anything(canary: Listener) -> Iterator[None]:
    canary.heard.clear()
    yield
    assert canary.heard == []


def site(base: str, **more: Any) -> Settings:
    """The settings of a site that lists one server on loopback."""
    return Settings(fhir_servers=(Listed(base=base, private=True, http=True),), **{"fhir_seconds": 30, **more})


_APPS: list[Flask] = []


def served(settings: Settings) -> Flask:
    """The web application of a site."""
    _APPS.append(create_app(site=settings))
    return _APPS[-1]


@pytest.fixture(scope="module", autouse=True)
def stores_are_closed() -> Iterator[None]:
    yield
    for app in _APPS:
        app.extensions["store"].close()


@pytest.fixture(scope="module")
def patient_site(running: FhirServer) -> FlaskClient:
    """A site that can wait: what these tests expect to succeed does not fail because the machine is busy."""
    return served(site(running.base)).test_client()


@pytest.fixture(scope="module")
def hurried_site(running: FhirServer) -> FlaskClient:
    """A site that waits a second."""
    return served(site(running.base, fhir_seconds=1, fhir_bytes=200_000, fhir_pages=5)).test_client()


def calling(
    server: FhirServer | str, prefetch: Prefetch | None = None, token: Any = TOKEN, patient: str = PATIENT
) -> dict[str, Any]:
    """The body of a call that names a FHIR server."""
    authorization = {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.read"}
    return {
        **patient_view(patient, prefetch),
        "fhirServer": server if isinstance(server, str) else server.base,
        **({"fhirAuthorization": {**authorization, "subject": "cds-service"}} if token is not None else {}),
    }


@pytest.fixture
def prefetch(services: list[dict[str, Any]]) -> Prefetch:
    """What a client sends that prefetches everything."""
    return to_the_letter(put_in_prefetch(RECORD, PATIENT, services), services)


@pytest.fixture
def all_prefetched(client: FlaskClient, prefetch: Prefetch) -> bytes:
    """The answer to a call that brings everything."""
    return answered(client, patient_view(PATIENT, prefetch))


def answered(client: FlaskClient, call: dict[str, Any]) -> bytes:
    response = client.post(URL, json=call)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response.data


def refused(client: FlaskClient, call: dict[str, Any]) -> dict[str, str]:
    """The diagnostics of a 412, by prefetch key."""
    response = client.post(URL, json=call)
    assert response.status_code == 412, response.get_data(as_text=True)[:200]
    assert is_outcome(response.get_json())
    assert TOKEN not in response.get_data(as_text=True)
    return {
        issue["expression"][0].removeprefix("$.prefetch."): issue["diagnostics"]
        for issue in response.get_json()["issue"]
    }


def without(prefetch: Prefetch, *keys: str) -> Prefetch:
    return {key: value for key, value in prefetch.items() if key not in keys}


# WHAT IS FETCHED


@cache
def examples() -> list[tuple[str, str]]:
    """Every example patient, in one of the styles that there are."""
    styles = ("mcode", "uscore", "text")
    return [(name, styles[place % 3]) for place, name in enumerate(sorted(expected_patients()))]


@pytest.mark.parametrize("page", [1, 3, 50])
def test_what_is_fetched_gives_the_cards_that_the_same_data_give_as_prefetch(
    client: FlaskClient,
    patient_site: FlaskClient,
    services: list[dict[str, Any]],
    server: FhirServer,
    page: int,
) -> None:
    server.page = page
    for name, style in examples() if page == 50 else examples()[::6]:
        ident, resources = example(name, style)
        server.resources = resources
        prefetched = to_the_letter(put_in_prefetch(resources, ident, services), services)
        expected = answered(client, patient_view(ident, prefetched))
        assert answered(patient_site, calling(server, patient=ident)) == expected, (name, style)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_makes_no_difference_which_keys_are_prefetched_and_which_are_fetched(
    patient_site: FlaskClient, prefetch: Prefetch, all_prefetched: bytes, server: FhirServer, data: st.DataObject
) -> None:
    keys = data.draw(st.sets(st.sampled_from(sorted(prefetch))))
    server.asked.clear()
    assert answered(patient_site, calling(server, without(prefetch, *keys))) == all_prefetched
    assert {type_of(query) for query in server.queries()} == {prefetch_type(key) for key in keys}


def prefetch_type(key: str) -> str:
    return {"patient": "Patient", "conditions": "Condition", "procedures": "Procedure"}.get(key) or {
        "medications": "MedicationRequest",
        "medication-statements": "MedicationStatement",
        "medication-administrations": "MedicationAdministration",
        "allergies": "AllergyIntolerance",
    }.get(key, "Observation")


def test_exactly_the_offered_queries_are_asked_with_the_token_of_the_call(
    patient_site: FlaskClient, server: FhirServer, services: list[dict[str, Any]]
) -> None:
    answered(patient_site, calling(server))
    assert sorted(server.queries()) == sorted(filled(services).values())
    for one in server.asked:
        assert one.headers["Authorization"] == f"Bearer {TOKEN}"
        assert one.headers["Accept"] == "application/fhir+json"


@pytest.mark.parametrize(
    "value",
    [None, {"resourceType": "Bundle", "type": "searchset", "total": 0}, {"resourceType": "OperationOutcome"}],
    ids=["null", "an empty Bundle", "an OperationOutcome"],
)
def test_what_was_looked_for_already_is_not_asked_again(
    patient_site: FlaskClient, server: FhirServer, prefetch: Prefetch, value: Any
) -> None:
    answered(patient_site, calling(server, {**prefetch, "procedures": value}))
    assert server.asked == []


def test_a_call_that_brings_everything_asks_nothing(
    patient_site: FlaskClient, server: FhirServer, prefetch: Prefetch, all_prefetched: bytes
) -> None:
    assert answered(patient_site, calling(server, prefetch)) == all_prefetched
    assert server.asked == []


def test_nothing_is_asked_once_the_answer_is_out(hurried_site: FlaskClient, server: FhirServer) -> None:
    """The client takes the token back when it has the answer (CDS Hooks 2.0, "FHIR Resource Access")."""
    server.faults["Condition"] = late(3)
    server.page = 1
    refused(hurried_site, calling(server))
    begun = list(server.asked)
    time.sleep(2.5)
    assert server.asked == begun


# FURTHER PAGES OF WHAT WAS PREFETCHED


def first_page(server: FhirServer, key: str, prefetch: Prefetch, size: int = 1) -> Prefetch:
    """A prefetch whose Bundle of a key ends after `size` entries, with the server's link to the next page."""
    query = {"patient": [PATIENT], "_count": [str(size)]}
    page = server.bundle(prefetch_type(key), query)
    assert page["link"][-1]["relation"] == "next"
    return {**prefetch, key: page}


def test_the_further_pages_of_a_prefetched_bundle_are_read(
    patient_site: FlaskClient, client: FlaskClient, server: FhirServer, prefetch: Prefetch, all_prefetched: bytes
) -> None:
    cut = first_page(server, "conditions", prefetch)
    assert answered(client, patient_view(PATIENT, cut)) != all_prefetched
    assert answered(patient_site, calling(server, cut)) == all_prefetched
    assert {type_of(query) for query in server.queries()} == {"Condition"}


def test_a_relative_link_leads_on_below_the_same_server(
    patient_site: FlaskClient, server: FhirServer, prefetch: Prefetch, all_prefetched: bytes
) -> None:
    cut = first_page(server, "conditions", prefetch)
    link = cut["conditions"]["link"][-1]
    for relative in (link["url"].removeprefix(f"{server.base}/"), f"/fhir/{link['url'].removeprefix(server.base)[1:]}"):
        link["url"] = relative
        assert answered(patient_site, calling(server, cut)) == all_prefetched


def elsewhere(port: int, canary: int) -> dict[str, str]:
    """Links that lead away from the base URL of the server at a port."""
    at, there = f"127.0.0.1:{port}", f"127.0.0.1:{canary}"
    return {
        "another port": f"http://{there}/fhir/Condition?page=2",
        "another host": f"http://localhost:{port}/fhir/Condition?page=2",
        "another scheme": f"https://{at}/fhir/Condition?page=2",
        "no scheme": f"//{there}/fhir/Condition?page=2",
        "no scheme, same host": f"//{at}/fhir/Condition?page=2",
        "a user": f"http://{at}@{there}/fhir/Condition?page=2",
        "a user at the same host": f"http://me@{at}/fhir/Condition?page=2",
        "upwards": f"http://{at}/fhir/../admin",
        "upwards, folded": f"http://{at}/fhir/%2e%2e/admin",
        "upwards, folded twice": f"http://{at}/fhir/%252e%252e/admin",
        "upwards behind a folded slash": f"http://{at}/fhir/x%2f..%2f..%2fadmin",
        "upwards with a parameter": f"http://{at}/fhir/..;x/admin",
        "upwards with a zero": f"http://{at}/fhir/..%00/admin",
        "upwards, backwards": f"http://{at}/fhir/..\\admin",
        "upwards, relative": "../../admin",
        "beside the base": f"http://{at}/fhirs/Condition?page=2",
        "the root": "/Condition?page=2",
        "a file": "file:///etc/hostname",
        "gopher": f"gopher://{there}/1",
        "a blank": f"http://{at}/fhir/Condition?page=2 HTTP/1.1",
        "a line break": f"http://{at}/fhir/Condition?page=2\r\nX: y",
        "broken": "http://[",
        "a fragment of another host": f"http://{there}#@{at}/fhir/",
        "a metadata service": "http://169.254.169.254/latest/meta-data",
    }


LINKS = list(elsewhere(1, 2))


@pytest.mark.parametrize("link", LINKS)
def test_a_prefetched_bundle_that_leads_elsewhere_stays_in_part(
    hurried_site: FlaskClient,
    client: FlaskClient,
    server: FhirServer,
    canary: Listener,
    prefetch: Prefetch,
    link: str,
) -> None:
    cut = first_page(server, "conditions", prefetch)
    cut["conditions"]["link"][-1]["url"] = elsewhere(server.port, canary.port)[link]
    assert answered(hurried_site, calling(server, cut)) == answered(client, patient_view(PATIENT, cut))
    assert server.asked == []


@pytest.mark.parametrize("link", LINKS)
def test_a_fetched_bundle_that_leads_elsewhere_is_not_had(
    hurried_site: FlaskClient, server: FhirServer, canary: Listener, prefetch: Prefetch, link: str
) -> None:
    page = server.bundle("Condition", {"patient": [PATIENT], "_count": ["1"]})
    page["link"][-1]["url"] = elsewhere(server.port, canary.port)[link]
    server.faults["Condition"] = body(page)
    found = refused(hurried_site, calling(server, without(prefetch, "conditions")))
    assert "its next page is not below fhirServer" in found["conditions"]
    assert server.queries() == [f"Condition?patient={PATIENT}"]


@pytest.mark.parametrize("entry", ["nothing", {"resource": "nothing"}, [7], [{"search": {"mode": "match"}}]])
def test_a_second_page_with_entries_that_are_none_leaves_the_answer_in_part(
    responder: Responder, server: FhirServer, prefetch: Prefetch, entry: Any
) -> None:
    link = [{"relation": "next", "url": f"{server.base}/second"}]
    server.faults["Procedure"] = body({"resourceType": "Bundle", "type": "searchset", "link": link})
    server.faults["second"] = body({"resourceType": "Bundle", "type": "searchset", "entry": entry})
    record = traced(responder, server, without(prefetch, "procedures")).record
    assert server.queries() == [f"Procedure?patient={PATIENT}", "second"]
    assert not record.delivered("Procedure")


def test_further_pages_that_cannot_be_had_are_named(
    responder: Responder, server: FhirServer, prefetch: Prefetch
) -> None:
    cut = first_page(server, "conditions", prefetch)
    server.faults["Condition"] = status(410)
    trace = traced(responder, server, cut)
    assert ("prefetch.conditions", "fhirServer was asked: it answered with status 410") in trace.record.set_aside
    assert ("prefetch.conditions", "the Bundle has further pages that were not sent") in trace.record.set_aside


def traced(responder: Responder, server: FhirServer, prefetch: Prefetch, **more: Any) -> Trace:
    call = read(json.loads(json.dumps(calling(server, prefetch))), HOOKS[0], home()[1])
    return responder.trace(call, Door(site(server.base, **more)))


# WHAT FAILS

#: a server that does not answer as it should, and what the client is told of it
FAULTS: dict[str, tuple[Fault, str]] = {
    "400": (status(400), "it answered with status 400"),
    "401": (status(401), "it answered with status 401"),
    "403": (status(403), "it answered with status 403"),
    "404": (status(404), "it answered with status 404"),
    "410": (status(410), "it answered with status 410"),
    "429": (status(429), "it answered with status 429"),
    "500": (status(500), "it answered with status 500"),
    "503": (status(503), "it answered with status 503"),
    "202": (raw(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"), "it answered with status 202"),
    "slow": (late(20), "it did not answer in time"),
    "dripping head": (raw(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100, pause=0.1), "it did not answer in time"),
    "dripping body": (raw(b"HTTP/1.1 200 OK\r\n\r\n", *[b" "] * 100, pause=0.1), "it did not answer in time"),
    "huge": (body(b'{"resourceType": "Bundle"}' + b" " * 200_000), "its answer is larger than 200000 bytes"),
    "endless": (raw(b"HTTP/1.1 200 OK\r\n\r\n", *[b" " * 50_000] * 400), "its answer is larger than 200000 bytes"),
    "cut": (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"resourceType"'), "the connection broke off"),
    "closed": (raw(b""), "the connection broke off"),
    "no HTTP": (raw(b"220 mail.example ESMTP\r\n"), "the connection broke off"),
    "a zip bomb": (body(b"\x1f\x8b\x08", ("Content-Encoding", "gzip")), "its answer is compressed"),
    "a web page": (body(b"<html>Please log in</html>", ("Content-Type", "text/html")), "its answer is not JSON"),
    "nothing": (body(b""), "its answer is not JSON"),
    "not a number": (body(b'{"resourceType": NaN}'), "its answer is not JSON"),
    "a deep nest": (body(b"[" * 100_000), "its answer is not JSON"),
    "half a resource": (body(b'{"resourceType": "Bundle", "entry": ['), "its answer is not JSON"),
    "a list": (body([]), "its answer is no FHIR resource"),
    "null": (body(None), "its answer is no FHIR resource"),
    "a text": (body(b'"fine"'), "its answer is no FHIR resource"),
    "an object": (body({"ok": True}), "its answer is no FHIR resource"),
    "an OperationOutcome": (body({"resourceType": "OperationOutcome"}), "its answer is an OperationOutcome"),
    "another patient": (
        body({"resourceType": "Patient", "id": "somebody-else", "gender": "female"}),
        {"patient": "its answer is another resource", "conditions": "its answer is no Bundle"},
    ),
    "another resource": (
        body({"resourceType": "Condition", "id": PATIENT}),
        {"patient": "its answer is another resource", "conditions": "its answer is no Bundle"},
    ),
}


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("case", FAULTS)
def test_what_is_required_and_not_to_be_had_is_refused_with_key_query_and_reason(
    hurried_site: FlaskClient, server: FhirServer, prefetch: Prefetch, case: str, key: str
) -> None:
    fault, reason = FAULTS[case]
    server.faults[prefetch_type(key)] = fault
    begun = time.monotonic()
    found = refused(hurried_site, calling(server, without(prefetch, key)))
    assert time.monotonic() - begun < SOON
    assert set(found) == {key}
    assert (reason if isinstance(reason, str) else reason[key]) in found[key]
    assert {"patient": "Patient/", "conditions": "Condition?patient="}[key] in found[key]
    assert PATIENT not in found[key]


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_optional_and_not_to_be_had_leaves_facts_unknown(
    hurried_site: FlaskClient, server: FhirServer, prefetch: Prefetch, case: str
) -> None:
    server.faults["Procedure"] = server.faults["AllergyIntolerance"] = FAULTS[case][0]
    answer = json.loads(answered(hurried_site, calling(server, without(prefetch, "procedures", "allergies"))))
    assert facts(answer)["refusals"]["value"] == "unknown"
    assert facts(answer)["contraindications"]["value"] == "unknown"


@pytest.mark.parametrize("key", ["procedures", "allergies", "laboratory", "medications", "medication-statements"])
def test_the_reason_for_an_optional_key_is_on_the_record(
    responder: Responder, server: FhirServer, prefetch: Prefetch, key: str
) -> None:
    server.faults[prefetch_type(key)] = status(403)
    record = traced(responder, server, without(prefetch, key)).record
    assert (f"prefetch.{key}", "fhirServer was asked: it answered with status 403") in record.set_aside
    assert not record.delivered(prefetch_type(key))


def test_a_look_at_medicines_that_failed_is_not_taken_for_none(
    hurried_site: FlaskClient, client: FlaskClient, server: FhirServer, prefetch: Prefetch
) -> None:
    """Statements and administrations add to the orders. A server that keeps none (404) is as a client that sends none;
    one that fails may hold what nobody saw.
    """
    left_out = without(prefetch, "medication-statements")
    server.faults["MedicationStatement"] = status(404)
    assert answered(hurried_site, calling(server, left_out)) == answered(client, patient_view(PATIENT, left_out))
    for code in (401, 403, 500):
        server.faults["MedicationStatement"] = status(code)
        answer = json.loads(answered(hurried_site, calling(server, left_out)))
        assert facts(answer)["prior-medications"]["value"] == "unknown"


def test_a_list_that_breaks_off_on_its_second_page_is_not_taken_for_none(
    hurried_site: FlaskClient, server: FhirServer, prefetch: Prefetch
) -> None:
    """Also where the second page is not found any more: half a list is no list."""
    page = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "next", "url": f"{server.base}/gone?page=2"}],
    }
    server.faults["MedicationStatement"] = body(page)
    server.faults["gone"] = status(404)
    answer = json.loads(answered(hurried_site, calling(server, without(prefetch, "medication-statements"))))
    assert facts(answer)["prior-medications"]["value"] == "unknown"


def test_endless_pages_come_to_an_end(hurried_site: FlaskClient, server: FhirServer, prefetch: Prefetch) -> None:
    count = iter(range(10_000))

    def onward(handler: Any) -> bool:
        url = f"{server.base}/Condition?patient={PATIENT}&page={next(count)}"
        link = [{"relation": "next", "url": url}]
        handler.send(200, {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": []})
        return True

    server.faults["Condition"] = onward
    found = refused(hurried_site, calling(server, without(prefetch, "conditions")))
    assert "its pages have no end" in found["conditions"]
    assert len(server.asked) == 5


def test_pages_in_a_circle_come_to_an_end(hurried_site: FlaskClient, server: FhirServer, prefetch: Prefetch) -> None:
    link = [{"relation": "next", "url": f"{server.base}/Condition?patient={PATIENT}"}]
    server.faults["Condition"] = body({"resourceType": "Bundle", "type": "searchset", "link": link})
    found = refused(hurried_site, calling(server, without(prefetch, "conditions")))
    assert "its pages have no end" in found["conditions"]
    assert len(server.asked) == 1


def test_the_bytes_of_all_pages_count_together(
    hurried_site: FlaskClient, server: FhirServer, prefetch: Prefetch
) -> None:
    count = iter(range(10_000))

    def onward(handler: Any) -> bool:
        link = [{"relation": "next", "url": f"{server.base}/Condition?page={next(count)}"}]
        page = {"resourceType": "Bundle", "type": "searchset", "link": link}
        handler.send(200, json.dumps(page).encode() + b" " * 90_000)
        return True

    server.faults["Condition"] = onward
    found = refused(hurried_site, calling(server, without(prefetch, "conditions")))
    assert "its answer is larger than" in found["conditions"]
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    hurried_site: FlaskClient, server: FhirServer, canary: Listener, prefetch: Prefetch, code: int
) -> None:
    for there in (f"http://127.0.0.1:{canary.port}/fhir/Condition", f"{server.base}/Elsewhere"):
        server.faults["Condition"] = raw(
            f"HTTP/1.1 {code} Moved\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        found = refused(hurried_site, calling(server, without(prefetch, "conditions")))
        assert "it answered with a redirect" in found["conditions"]
    assert server.queries() == [f"Condition?patient={PATIENT}"] * 2


def test_a_search_that_brings_another_patient_is_not_had(
    hurried_site: FlaskClient, server: FhirServer, services: list[dict[str, Any]], prefetch: Prefetch
) -> None:
    """A server that answers another question than the one asked is not believed when it leaves something out."""
    theirs = [of_somebody_else(one) for one in RECORD]
    for resources in (theirs, [*RECORD, *theirs]):
        server.faults["Condition"] = body(put_in_prefetch(resources, PATIENT, services)["conditions"])
        found = refused(hurried_site, calling(server, without(prefetch, "conditions")))
        assert "resources of another patient" in found["conditions"]


def test_everything_that_is_lacking_is_named_at_once(hurried_site: FlaskClient, server: FhirServer) -> None:
    server.token = "another"
    assert set(refused(hurried_site, calling(server))) == set(REQUIRED)


def test_slow_queries_wait_together_and_not_one_after_the_other(hurried_site: FlaskClient, server: FhirServer) -> None:
    for one in ("Patient", "Condition", "Observation", "MedicationRequest", "Procedure", "AllergyIntolerance"):
        server.faults[one] = late(20)
    begun = time.monotonic()
    refused(hurried_site, calling(server))
    assert time.monotonic() - begun < SOON


def test_a_server_that_is_down_is_a_reason(prefetch: Prefetch) -> None:
    with FhirServer() as gone:
        pass
    there = served(site(gone.base)).test_client()
    assert "no connection could be made" in refused(there, calling(gone))["conditions"]


# WHO MAY BE ASKED


def test_no_server_is_asked_unless_the_site_lists_it(
    client: FlaskClient, server: FhirServer, prefetch: Prefetch
) -> None:
    found = refused(client, calling(server))
    assert set(found) == set(REQUIRED)
    for diagnostics in found.values():
        assert "fhirServer is not one that this site allows" in diagnostics
    for key in ("procedures", "medication-statements"):
        left_out = without(prefetch, key)
        assert answered(client, calling(server, left_out)) == answered(client, patient_view(PATIENT, left_out))
    assert server.asked == []


def test_a_call_that_names_no_server_is_told_what_is_lacking_and_nothing_of_servers(client: FlaskClient) -> None:
    assert all("fhirServer" not in diagnostics for diagnostics in refused(client, patient_view(PATIENT, {})).values())


def others(port: int, canary: int) -> list[str]:
    """Base URLs that look like that of the server at a port, or like anything but one."""
    at, there = f"127.0.0.1:{port}", f"127.0.0.1:{canary}"
    return [
        f"http://{there}/fhir",
        f"https://{at}/fhir",
        f"http://{at}/",
        f"http://{at}/fhir/..",
        f"http://{at}/fhir/../fhir",
        f"http://{at}/fhir/%2e%2e/admin",
        f"http://{at}/fhir/tenant",
        f"http://{at}/FHIR",
        f"http://{at}/fhirs",
        f"http://{at}/fhir?x=y",
        f"http://{at}/fhir#x",
        f"http://{at}/fhir\\",
        f"http://{at}/fhir\r\n",
        f"http://user@{at}/fhir",
        f"http://{at}@{there}/fhir",
        f"http://{there}#@{at}/fhir",
        f"http://localhost:{port}/fhir",
        f"http://localhost.:{port}/fhir",
        f"http://[::1]:{port}/fhir",
        f"http://[::ffff:127.0.0.1]:{port}/fhir",
        f"http://0.0.0.0:{port}/fhir",
        f"http://2130706433:{port}/fhir",
        f"http://0x7f000001:{port}/fhir",
        f"http://0177.0.0.1:{port}/fhir",
        f"http://127.1:{port}/fhir",
        "http://169.254.169.254/fhir",
        "http://[",
        "http://",
        "https://fhir.example:99999/fhir",
    ]


@pytest.mark.parametrize("place", range(len(others(1, 2))))
def test_a_server_that_only_looks_like_a_listed_one_is_not_asked(
    hurried_site: FlaskClient, server: FhirServer, canary: Listener, place: int
) -> None:
    for diagnostics in refused(hurried_site, calling(others(server.port, canary.port)[place])).values():
        assert "fhirServer is not one that this site allows" in diagnostics
    assert server.asked == []


@pytest.mark.parametrize(
    "spelling", ["http://localhost:{}/fhir", "http://localhost:{}/fhir/", "http://LOCALHOST:{}/fhir"]
)
def test_a_listed_server_is_known_in_every_spelling_of_its_base(
    server: FhirServer, all_prefetched: bytes, spelling: str
) -> None:
    there = served(site(f"http://Localhost:{server.port}/fhir/")).test_client()
    assert answered(there, calling(spelling.format(server.port))) == all_prefetched


@pytest.mark.parametrize("scheme", ["file:///etc", "gopher://127.0.0.1", "ftp://127.0.0.1", "javascript:1", ""])
def test_a_server_that_is_none_of_http_is_a_bad_request(hurried_site: FlaskClient, scheme: str) -> None:
    assert hurried_site.post(URL, json=calling(scheme)).status_code == 400


def test_a_listed_server_at_a_private_address_needs_the_leave_of_the_site(
    server: FhirServer,
) -> None:
    """Whatever it is called by."""
    for host in ("127.0.0.1", "localhost", "127.1"):
        base = f"http://{host}:{server.port}/fhir"
        strict = served(Settings(fhir_servers=(Listed(base=base, http=True),))).test_client()
        assert "its address is not one that may be asked" in refused(strict, calling(base))["conditions"]
    assert server.asked == []


def test_a_listed_name_that_leads_to_a_metadata_service_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
    there = served(site("https://fhir.example/r4")).test_client()
    assert "its address is not one" in refused(there, calling("https://fhir.example/r4"))["conditions"]


def test_a_listed_name_is_resolved_once_for_every_connection(
    server: FhirServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, loopback when it is asked again."""
    public, loopback = "192.0.9.9", "127.0.0.1"
    for_thread = threading.local()

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        again = getattr(for_thread, "again", False)
        for_thread.again = True
        address = loopback if again and host != "fhir.example" else public
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected: list[str] = []

    def connect(_: socket.socket, address: Any) -> None:
        connected.append(address[0])
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("socket.socket.connect", connect)
    base = f"http://fhir.example:{server.port}/fhir"
    there = served(Settings(fhir_servers=(Listed(base=base, http=True),))).test_client()
    assert "no connection could be made" in refused(there, calling(base))["conditions"]
    assert set(connected) == {public}


# TOKENS


def raw_authorization(call: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {**call, "fhirAuthorization": {**call["fhirAuthorization"], **changed}}


NO_TOKENS: dict[str, dict[str, Any]] = {
    "blank": {"access_token": ""},
    "spaces": {"access_token": "   "},
    "null": {"access_token": None},
    "a number": {"access_token": 7},
    "two lines": {"access_token": "a\r\nX-Forwarded-For: b"},
    "two words": {"access_token": "a b"},
    "not ASCII": {"access_token": "tökén"},
    "expired": {"expires_in": 0},
    "long expired": {"expires_in": -5},
}


@pytest.mark.parametrize("case", NO_TOKENS)
def test_a_token_that_cannot_be_used_is_no_token(hurried_site: FlaskClient, server: FhirServer, case: str) -> None:
    found = refused(hurried_site, raw_authorization(calling(server), **NO_TOKENS[case]))
    assert all("no access token that could be used" in diagnostics for diagnostics in found.values())
    assert server.asked == []


def test_a_call_without_authorization_is_not_fetched_for(hurried_site: FlaskClient, server: FhirServer) -> None:
    server.token = ""
    assert "no access token" in refused(hurried_site, calling(server, token=None))["patient"]
    assert server.asked == []


def test_an_open_server_is_asked_without_a_token_where_the_site_says_so(
    server: FhirServer, all_prefetched: bytes
) -> None:
    """As the public sandbox does it: a fhirServer, and no fhirAuthorization."""
    server.token = ""
    listed = Listed(base=server.base, private=True, http=True, open=True)
    there = served(Settings(fhir_servers=(listed,), fhir_seconds=30)).test_client()
    assert answered(there, calling(server, token=None)) == all_prefetched
    assert all("Authorization" not in one.headers for one in server.asked)
    answered(there, calling(server))
    assert server.asked[-1].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("patient", ["..", ".", "a/../b", "a?b", "a&b=c", "a,b", "a b", "a%2fb", "a\r\nb", "é", "a|b"])
def test_a_patient_id_that_is_none_of_fhir_is_not_asked_for(
    hurried_site: FlaskClient, server: FhirServer, patient: str
) -> None:
    found = refused(hurried_site, calling(server, patient=patient))
    assert all("the patient's id is no id of FHIR" in diagnostics for diagnostics in found.values())
    assert server.asked == []


def test_neither_the_token_nor_the_patient_reaches_a_log_or_an_error(
    hurried_site: FlaskClient, server: FhirServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": f"{TOKEN} of {PATIENT}"}]}
    faults = [FAULTS["403"][0], FAULTS["cut"][0], body(echo, ("X-Echo", f"{TOKEN} {PATIENT}")), late(20)]
    for fault in (*faults, *[FAULTS[one][0] for one in ("dripping body", "huge", "a list")]):
        server.faults["Condition"] = fault
        response = hurried_site.post(URL, json=calling(server))
        assert response.status_code == 412
        assert TOKEN not in response.get_data(as_text=True)
    assert "conditions" in caplog.text
    assert TOKEN not in caplog.text
    assert PATIENT not in caplog.text


# MANY AT ONCE


KINDS = ("Patient", "Condition", "Observation", "Procedure", "AllergyIntolerance", "MedicationRequest")


def held_until(release: threading.Event) -> Fault:
    """Answers as usual, but not before the release."""

    def fault(_: Any) -> bool:
        release.wait(20)
        return False

    return fault


def test_no_more_queries_run_at_once_than_the_site_allows(server: FhirServer, all_prefetched: bytes) -> None:
    narrow = served(site(server.base, fhir_queries=2))
    release = threading.Event()
    server.faults = dict.fromkeys(KINDS, held_until(release))
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(answered, narrow.test_client(), calling(server)) for _ in range(3)]
        wait_until(lambda: len(server.asked) == 2)
        time.sleep(0.3)
        assert len(server.asked) == 2
        release.set()
        assert [one.result() for one in answers] == [all_prefetched] * 3


def test_a_slow_server_holds_up_its_own_calls_only(
    server: FhirServer, prefetch: Prefetch, all_prefetched: bytes
) -> None:
    """With every place taken, a further call is told so at once, and what was prefetched is answered as ever."""
    narrow = served(site(server.base, fhir_calls=2))
    release = threading.Event()
    server.faults["Condition"] = held_until(release)
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(answered, narrow.test_client(), calling(server)) for _ in range(2)]
        wait_until(lambda: server.queries().count(f"Condition?patient={PATIENT}") == 2)
        found = refused(narrow.test_client(), calling(server, without(prefetch, "conditions")))
        assert "too many calls are waiting" in found["conditions"]
        assert answered(narrow.test_client(), calling(server, prefetch)) == all_prefetched
        release.set()
        assert [one.result() for one in slow] == [all_prefetched] * 2
    assert answered(narrow.test_client(), calling(server)) == all_prefetched


def wait_until(holds: Callable[[], bool], seconds: float = 8) -> None:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    assert holds()


# WHAT A SITE SETS


def test_nothing_is_listed_unless_the_site_lists_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDS_FHIR_SERVERS", raising=False)
    assert Settings().fhir_servers == ()


def test_servers_are_listed_by_their_base_or_with_what_they_are_given_leave_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = '["https://FHIR.example:443/r4/", {"base": "http://127.0.0.1:8081/fhir", "private": true, "http": true}]'
    monkeypatch.setenv("CDS_FHIR_SERVERS", written)
    one, other = Settings().fhir_servers
    assert (one.base, one.private, one.http, one.open) == ("https://fhir.example/r4", False, False, False)
    assert (other.base, other.private, other.http, other.open) == ("http://127.0.0.1:8081/fhir", True, True, False)


@pytest.mark.parametrize(
    "base",
    [
        "http://fhir.example/r4",
        "fhir.example/r4",
        "ftp://fhir.example/r4",
        "https://me@fhir.example/r4",
        "https://fhir.example/r4?x=y",
        "https://fhir.example/r4/../x",
        "https://fhir.example/r4/%2e%2e/x",
        "https://",
        "*",
        "",
    ],
)
def test_a_base_that_could_not_be_meant_is_refused_at_the_start(base: str) -> None:
    with pytest.raises(ValidationError):
        Settings(fhir_servers=({"base": base},))


@pytest.mark.parametrize("name", ["fhir_seconds", "fhir_bytes", "fhir_pages", "fhir_queries", "fhir_calls"])
def test_a_bound_of_nothing_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ValidationError):
        Settings(**{name: 0})


# REAL PROCESSES

SAMPLES = Path(__file__).parents[2] / "shared" / "fhir-samples"
READ = sorted(
    path
    for folder in ("mcode-clinical-trial-matching-app", "hl7.fhir.us.mcode-4.0.0", "mcode-omop")
    for path in SAMPLES.glob(f"{folder}/*.json")
)


@contextmanager
def process(*command: str, until: str, **environment: str) -> Iterator[str]:
    """A Python process, ended afterwards; gives the first group of the line that says that it is ready."""
    root = Path(__file__).parents[1]
    started = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
    )
    with started:
        try:
            lines = (re.search(until, line) for line in started.stdout or ())
            yield next(found[1] for found in lines if found)
        finally:
            started.terminate()


@pytest.mark.skipif(not READ, reason="no ../shared/fhir-samples beside this checkout")
def test_the_service_reads_the_public_samples_from_a_fhir_server_as_from_prefetch(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    """Three processes, as at a site: the client here, the service, and a FHIR server that pages by five."""
    fhir = process("tests/fhir_server.py", *map(str, READ), until=r"^(http\S+)")
    with fhir as base, serving(base) as discovery:
        whole = FhirServer(resources_of(READ), page=10_000)
        listing = 0
        for patient in [one["id"] for one in whole.resources if one["resourceType"] == "Patient"]:
            prefetched = {key: whole.answer(query) for key, query in filled(services, patient).items()}
            found = fetched(discovery, calling(base, patient=patient))
            assert found == client.post(URL, json=patient_view(patient, prefetched)).get_json(), patient
            listing += bool(options(found))
    assert listing


def serving(base: str) -> AbstractContextManager[str]:
    """The service as a process that may ask the server of a base; gives the URL of discovery."""
    return process(
        *("-m", "cds_service.edge.cli", "serve", "--port", "0"),
        until=r"Discovery: (\S+)",
        CDS_FHIR_SERVERS=json.dumps([{"base": base, "private": True, "http": True}]),
        CDS_FHIR_SECONDS="30",
    )


def filled(services: list[dict[str, Any]], patient: str = PATIENT) -> dict[str, str]:
    """The offered queries for a patient, by prefetch key."""
    return {key: one.replace("{{context.patientId}}", patient) for key, one in templates(services).items()}


def fetched(discovery: str, call: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        discovery.replace("/cds-services", URL),
        json.dumps(call).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
