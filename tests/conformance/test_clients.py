"""Requests as well-known clients make them, sent again (tests/data/clients)."""

import json

import pytest
import tokens
from calls import CLIENTS, bundle, prefetched
from support import example, facts, is_outcome, options, put_in_prefetch

ALL = sorted(path.stem for path in CLIENTS.glob("*.json"))
#: what each is answered with: the status and the number of cards
EXPECTED = {
    "healthchain-patient-view": (200, 3),
    "healthchain-random-patient": (200, 0),
    "healthchain-synthetic": (412, None),
    "sandbox-discovery": (200, None),
    "sandbox-feedback-accepted": (200, None),
    "sandbox-feedback-overridden": (200, None),
    "sandbox-order-select": (200, 0),
    "sandbox-order-select-drug": (412, None),
    "sandbox-order-sign": (200, 0),
    "sandbox-patient-view": (412, None),
}


def request_of(name):
    return json.loads((CLIENTS / f"{name}.json").read_text(encoding="utf-8"))


def send(client, sent, **more):
    body = {**sent["body"], **more} if "body" in sent else None
    data = None if body is None else json.dumps(body)
    return client.open(sent["path"], method=sent["method"], data=data, headers=sent["headers"])


@pytest.mark.parametrize("name", ALL)
def test_a_request_of_a_client_is_answered(client, name):
    status, cards = EXPECTED[name]
    answer = send(client, request_of(name))

    assert answer.status_code == status
    assert is_outcome(answer.get_json()) == (status >= 400)
    if cards is not None:
        assert len(answer.get_json()["cards"]) == cards


@pytest.mark.parametrize("name", ALL)
def test_a_browser_may_send_it_and_read_the_answer(served, name):
    sent = request_of(name)
    origin = "http://127.0.0.1:9000"
    site = browser(served)
    headers = {**sent["headers"], "Origin": origin}
    asked = {"Access-Control-Request-Method": sent["method"],
             "Access-Control-Request-Headers": "authorization,content-type"}  # fmt: skip
    preflight = site.options(sent["path"], headers={"Origin": origin, **asked})
    answer = send(site, {**sent, "headers": headers})

    assert preflight.status_code == 204
    for one in (preflight, answer):
        assert one.headers["Access-Control-Allow-Origin"] == origin
    assert answer.status_code == EXPECTED[name][0]


_BROWSERS = []


def browser(served):
    if not _BROWSERS:
        _BROWSERS.append(served(cors_origins=frozenset({"http://127.0.0.1:9000"})))
    return _BROWSERS[0]


def test_the_draft_of_the_sandbox_is_read_once_its_drug_is_chosen(client, services):
    """Its category is an object where FHIR has an array, its Bundle has no type."""
    patient, record = example("VA-01", "mcode")
    prefetch = prefetched(record, patient, services)

    answer = send(client, request_of("sandbox-order-select-drug"), prefetch=prefetch).get_json()

    assert [card["extension"]["org.cds-service"]["drug"]["drug"] for card in answer["cards"]] == ["letrozole"]


def test_the_prefetch_of_the_sandbox_lacks_what_it_could_not_read(client, services):
    """A read that failed is left out; an empty Bundle of another key proves nothing."""
    patient, record = example("VA-01", "mcode")
    prefetch = put_in_prefetch(record, patient, services)
    del prefetch["laboratory"], prefetch["observations"]
    sent = request_of("sandbox-patient-view")
    body = {**sent["body"], "context": {**sent["body"]["context"], "patientId": patient}}

    answer = send(client, {**sent, "body": body}, prefetch={**prefetch, "user": bundle()}).get_json()

    assert facts(answer)["er"]["value"] == "unknown"
    assert "tamoxifen" in options(answer)


def test_the_token_of_the_sandbox_passes_by_keys_that_the_site_gives(served, tmp_path):
    """It names a key URL that a machine without the internet cannot fetch; its issuer is the same wherever it runs."""
    issuer, base = "https://sandbox.cds-hooks.org", "http://127.0.0.1:8080"
    jku, path = f"{issuer}/.well-known/jwks.json", tmp_path / "callers.json"
    callers = [{"issuer": issuer, "jku": [jku], "jwks": tokens.jwks(tokens.EC)}]
    path.write_text(json.dumps({"callers": callers}), encoding="utf-8")
    site = served(callers=path, public_url=base, clock=lambda: tokens.NOW)
    for name in ("sandbox-discovery", "sandbox-order-sign", "sandbox-feedback-overridden"):
        sent = request_of(name)
        token = tokens.token(iss=issuer, aud=base + sent["path"], head={"jku": jku})
        sent["headers"]["Authorization"] = f"Bearer {token}"

        assert send(site, sent).status_code == 200, name


def test_healthchain_gets_nothing_of_a_record_that_is_not_its_patients(client):
    answer = send(client, request_of("healthchain-random-patient"))

    assert answer.get_json()["cards"] == []
    assert "va-01" not in answer.get_data(as_text=True)


def test_every_client_says_how_its_request_was_made():
    assert set(ALL) == set(EXPECTED)
    for name in ALL:
        sent = request_of(name)
        assert sent["client"]
        assert sent["how"]
