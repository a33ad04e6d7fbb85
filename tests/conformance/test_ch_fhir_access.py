"""Ledger E: FHIR resource access."""

import logging
import time
from pathlib import Path

import pytest
from calls import PATIENT, fetching, request, without
from fhir_server import TOKEN, late, status
from support import URL, facts

from cds_service.edge.settings import FhirServer as Listed


def post(client, body, status=200):
    answer = client.post(URL, json=body)
    assert answer.status_code == status
    return answer


def test_ch_081_every_request_carries_the_token(asking, server):
    server.page = 1
    post(asking, fetching(server.base))

    assert len(server.asked) > 9
    assert {one.headers.get("Authorization") for one in server.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("token", ["", "  ", None, 7, ["x"], "two words", "line\r\nbreak"])
def test_ch_082_without_a_usable_token_nothing_is_asked_and_nothing_breaks(asking, server, token):
    body = {**fetching(server.base), "fhirAuthorization": {"access_token": token, "token_type": "Bearer"}}
    post(asking, body, 412)

    assert server.asked == []


@pytest.mark.parametrize("gap", ["token_type", "expires_in", "scope", "subject"])
def test_ch_082_members_beside_the_token_may_be_absent(asking, server, prefetch, gap):
    body = fetching(server.base, without(prefetch, "patient"))
    del body["fhirAuthorization"][gap]

    assert post(asking, body).get_json()["cards"]


def test_ch_083_the_token_is_in_no_log_no_store_and_no_error(served, server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    listed = (Listed(base=server.base, private=True, http=True),)
    site = served(fhir_servers=listed, database=f"sqlite:///{tmp_path}/store.db", fhir_seconds=20)
    answers = [post(site, fetching(server.base))]
    server.faults["Condition"] = status(500)
    answers.append(post(site, fetching(server.base), 412))
    assert site.application.extensions["store"].problem() == ""

    assert all(TOKEN not in answer.get_data(as_text=True) for answer in answers)
    assert TOKEN not in caplog.text
    assert caplog.records
    kept = [path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert kept
    assert not any(TOKEN.encode() in content for content in kept)


def test_ch_084_nothing_is_asked_after_the_answer(served, server):
    site = served(fhir_servers=(Listed(base=server.base, private=True, http=True),), fhir_seconds=0.3)
    server.faults["Condition"] = late(0.6)
    server.page = 1
    post(site, fetching(server.base), 412)
    begun = len(server.asked)
    time.sleep(0.8)

    assert len(server.asked) == begun > 0


@pytest.mark.parametrize("code", [401, 403])
def test_ch_085_what_the_server_forbids_is_not_to_be_had(asking, server, prefetch, code):
    server.faults = {"AllergyIntolerance": status(code)}
    answer = post(asking, fetching(server.base, without(prefetch, "allergies"))).get_json()
    assert facts(answer)["contraindications"]["value"] == "unknown"

    server.faults = {"Patient": status(code)}
    post(asking, fetching(server.base, without(prefetch, "patient")), 412)


def test_ch_086_discovery_tells_the_scopes_that_are_needed_and_no_more(asking, server, services):
    post(asking, fetching(server.base))
    asked = {query.partition("?")[0].partition("/")[0] for query in server.queries()}

    for entry in services:
        scopes = {word.strip(".") for word in entry["usageRequirements"].split() if word.startswith("patient/")}
        assert scopes == {f"patient/{kind}.read" for kind in asked}


def test_ch_087_a_server_without_authorization_is_asked_only_where_it_is_listed_as_open(asking, served, server, client):
    server.token = ""
    call = fetching(server.base, token=None)
    for site in (client, asking):  # not listed; listed, but not as open
        post(site, call, 412)
        assert server.asked == []

    listed = (Listed(base=server.base, private=True, http=True, open=True),)
    assert post(served(fhir_servers=listed, fhir_seconds=20), call).get_json()["cards"]
    assert not any("Authorization" in one.headers for one in server.asked)


def test_ch_088_logs_and_errors_repeat_nothing_of_a_call(client, prefetch, caplog):
    caplog.set_level(logging.DEBUG)
    prefetch["patient"]["name"] = [{"family": "Canary-4711"}]
    body = request(prefetch=prefetch)
    post(client, body)
    wrong = {**body, "hook": "Canary-4711", "hookInstance": ["Canary-4711"], "context": {"patientId": ["Canary-4711"]}}
    answer = post(client, wrong, 400)

    assert caplog.records
    for said in (caplog.text, answer.get_data(as_text=True)):
        assert "Canary-4711" not in said
        assert PATIENT not in said
        assert body["hookInstance"] not in said
