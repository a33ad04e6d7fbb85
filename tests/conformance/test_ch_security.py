"""Ledger H: security; and production over TLS by a real server (CH-001, CH-190, CH-193)."""

import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import tokens
import trustme
from calls import FEEDBACK, overridden
from listener import Listener, http
from support import URL, is_outcome, patient_view
from tokens import DROP, EC, ISSUER, JKU, NOW, OTHER, P256, PUBLIC_URL, RSA, STRANGER

from cds_service.edge import keys, store
from cds_service.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
BODY = patient_view("p1", {"patient": None, "conditions": None})
ORIGIN = "https://ehr.example.org"


def call(client, token, url=URL, body=BODY, **headers):
    return client.post(url, json=body, headers={"Authorization": f"Bearer {token}", **headers})


def passes(client, token):
    """Whether a token passes; where it does not, it is a 401 of the right form."""
    answer = call(client, token)
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert is_outcome(answer.get_json())
        return False
    assert answer.status_code == 200
    return True


# TLS


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Tls:
    """The service in production under a real server that ends TLS and demands a certificate of its callers."""

    def __init__(self, folder, callers):
        authority, self.port = trustme.CA(), free_port()
        self.url = f"https://localhost:{self.port}"
        server, self._client = authority.issue_cert("localhost"), authority.issue_cert("ehr.example.org")
        files = {name: str(folder / name) for name in ("key", "chain", "ca")}
        server.private_key_pem.write_to_path(files["key"])
        for blob in server.cert_chain_pems:
            blob.write_to_path(files["chain"], append=True)
        authority.cert_pem.write_to_path(files["ca"])
        self._authority = authority
        production = {"CDS_PRODUCTION": "true", "CDS_TLS_TERMINATED": "true", "CDS_CALLERS": str(callers)}
        arguments = ["--keyfile", files["key"], "--certfile", files["chain"], "--ca-certs", files["ca"]]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "2", "-b", f"127.0.0.1:{self.port}",
             *arguments, "--cert-reqs", "2", "--graceful-timeout", "5", "--log-level", "critical",
             "cds_service.edge.wsgi:app"],
            env={**os.environ, **production, "CDS_PUBLIC_URL": self.url},
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, path, body=None, certificate=True, **versions):
        """Status, headers and body of a request with a good token."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        for name, version in versions.items():
            setattr(context, name, version)
        if certificate:
            self._client.configure_cert(context)
        now = int(time.time())
        headers = {"Authorization": f"Bearer {tokens.token(aud=self.url + path, iat=now, exp=now + 60)}"}
        data = None if body is None else json.dumps(body).encode()
        sent = urllib.request.Request(self.url + path, data, {**headers, "Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        with opener.open(sent, timeout=10) as answer:
            return answer.status, answer.headers, json.loads(answer.read())


@pytest.fixture(scope="module")
def tls(tmp_path_factory, callers):
    one = Tls(tmp_path_factory.mktemp("tls"), callers)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                one.ask("/cds-services")
                break
            except OSError:
                assert time.monotonic() < end, "it never came up"
                assert one.process.poll() is None, "it did not start"
                time.sleep(0.1)
        yield one
    finally:
        one.process.terminate()
        one.process.wait(60)


def test_ch_001_190_production_speaks_json_over_tls(tls):
    for path, body in (("/cds-services", None), (URL, BODY), (FEEDBACK, {"feedback": [overridden()]})):
        status, headers, answer = tls.ask(path, body)
        assert status == 200
        assert headers["Content-Type"] == "application/json"
        assert isinstance(answer, dict)


def test_ch_190_nothing_is_answered_without_tls_or_over_an_old_one(tls):
    with socket.create_connection(("127.0.0.1", tls.port), timeout=10) as plain:
        plain.sendall(b"GET /cds-services HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            answer = plain.recv(65536)
        except ConnectionError:
            answer = b""
    assert b"200 OK" not in answer
    assert b"services" not in answer
    with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises(OSError, match=r"(?i)ssl|reset"):
        tls.ask("/cds-services", maximum_version=ssl.TLSVersion.TLSv1_1, minimum_version=ssl.TLSVersion.TLSv1)


def test_ch_193_callers_can_be_asked_for_a_certificate_beside_their_token(tls):
    assert tls.ask("/cds-services")[0] == 200
    with pytest.raises(OSError):  # noqa: PT011 the handshake ends in more than one way
        tls.ask("/cds-services", certificate=False)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ({"tls_terminated": False}, "CDS_TLS_TERMINATED"),
        ({"public_url": "http://cds.example.org"}, "CDS_PUBLIC_URL"),
        ({"callers": None}, "CDS_CALLERS"),
    ],
)
def test_ch_190_191_production_does_not_start_without_tls_or_callers(served, callers, missing, named):
    safe = {"production": True, "tls_terminated": True, "public_url": PUBLIC_URL, "callers": callers}

    with pytest.raises(ConfigurationError, match=named):
        served(**{**safe, **missing})


# WHO CALLS


def test_ch_191_without_callers_only_this_machine_is_served(client):
    answer = client.post(URL, json=BODY, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})

    assert answer.status_code == 403
    assert client.post(URL, json=BODY).status_code == 200


def test_ch_192_every_request_needs_a_token(ehr):
    requests = [("GET", "/cds-services", None), ("POST", URL, BODY), ("POST", FEEDBACK, {"feedback": [overridden()]})]
    for method, path, body in requests:
        for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
            assert ehr.open(path, method=method, json=body, headers=headers).status_code == 401
        good = {"Authorization": f"Bearer {tokens.token(aud=PUBLIC_URL + path)}"}
        assert ehr.open(path, method=method, json=body, headers=good).status_code == 200


def test_ch_194_the_signature_must_be_of_the_callers_key(ehr):
    good = tokens.token()
    head, body, signature = good.split(".")

    assert not passes(ehr, tokens.signed(tokens.header(), tokens.claims(), STRANGER))
    assert not passes(ehr, f"{head}.{tokens.b64(tokens.claims())}.{signature}")
    assert not passes(ehr, f"{head}.{body}.{signature[:-8]}AAAAAAAA")
    assert passes(ehr, good)


@pytest.mark.parametrize(
    "head", [{"alg": DROP}, {"kid": DROP}, {"typ": DROP}, {"typ": "at+jwt"}, {"kid": "nobody"}, {"kid": ""}]
)
def test_ch_195_a_header_names_algorithm_key_and_type(ehr, head):
    assert not passes(ehr, tokens.signed(tokens.header(**head), tokens.claims()))
    assert passes(ehr, tokens.token())


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "iat", "jti"])
def test_ch_196_every_claim_is_demanded(ehr, claim):
    assert not passes(ehr, tokens.token(**{claim: DROP}))
    assert passes(ehr, tokens.token(tenant="whoever"))


@pytest.mark.parametrize(
    ("aud", "good"),
    [
        (PUBLIC_URL + URL, True),
        ([PUBLIC_URL + URL], True),
        (["https://elsewhere.example", PUBLIC_URL + URL], True),
        ([], False),
        (f"{PUBLIC_URL}/cds-services", False),
        (f"{PUBLIC_URL}{URL}/feedback", False),
        (f"https://localhost{URL}", False),
        (f"https://elsewhere.example{URL}", False),
    ],
)
def test_ch_197_a_token_is_made_out_to_the_url_called_under_its_public_name(ehr, aud, good):
    assert passes(ehr, tokens.token(aud=aud)) is good


def test_ch_198_an_expired_or_long_lived_token_is_refused(ehr, callers, served):
    assert not passes(ehr, tokens.token(iat=NOW - 300, exp=NOW - 60))
    assert passes(ehr, tokens.token(iat=NOW - 250, exp=NOW - 5))  # a small difference between clocks
    day = tokens.token(iat=NOW, exp=NOW + 3600)
    assert not passes(ehr, day)
    longer = served(callers=callers, public_url=PUBLIC_URL, token_seconds=3600, clock=lambda: NOW)
    assert passes(longer, day)


def test_ch_199_a_token_passes_once_and_its_id_is_kept_no_longer_than_it_lives(ehr, monkeypatch):
    token = tokens.token(jti="once")
    assert passes(ehr, token)
    assert not passes(ehr, token)
    assert passes(ehr, tokens.token(jti="another"))

    uses = ehr.application.extensions["store"]
    monkeypatch.setattr(store, "_PURGE_EVERY", 1)
    assert uses.first_use(ISSUER, "old", NOW - 10_000)
    assert uses.first_use(ISSUER, "old", NOW + 300)  # the first use was forgotten
    assert not uses.first_use(ISSUER, "old", NOW + 300)


def jwks_server(sets):
    """A server whose answer is the JWK Set that `sets` ends with when it is asked."""
    return Listener(lambda connection: connection.sendall(http(json.dumps(sets[-1]).encode())))


def trusting(served, folder, **caller):
    path = folder / "callers.json"
    path.write_text(json.dumps({"callers": [{"issuer": ISSUER, **caller}]}), encoding="utf-8")
    return served(callers=path, public_url=PUBLIC_URL, clock=lambda: NOW + 10)


def test_ch_200_nothing_is_fetched_for_an_issuer_or_key_url_that_is_not_listed(served, tmp_path):
    with jwks_server([tokens.jwks(STRANGER)]) as canary, jwks_server([tokens.jwks(EC)]) as listed:
        elsewhere, jku = (f"http://127.0.0.1:{one.port}/jwks.json" for one in (canary, listed))
        site = trusting(served, tmp_path, jku=[jku])
        for changes, head in (({}, {"jku": elsewhere}), ({"iss": OTHER}, {"jku": elsewhere}), ({"iss": OTHER}, {})):
            assert not passes(site, tokens.token(STRANGER, head=head, **changes))
        assert canary.heard == listed.heard == []
        assert passes(site, tokens.token(head={"jku": jku}))
        assert len(listed.heard) == 1


def test_ch_201_keys_that_were_exchanged_need_no_url(ehr, served, tmp_path):
    assert passes(ehr, tokens.token())
    site = trusting(served, tmp_path, jwks=tokens.jwks(EC))
    assert passes(site, tokens.token())
    assert not passes(site, tokens.token(head={"jku": JKU}))


def test_ch_202_a_new_key_costs_one_fetch_and_unknown_ones_no_more(served, tmp_path, monkeypatch):
    sets = [tokens.jwks(EC)]
    with jwks_server(sets) as listed:
        site = trusting(served, tmp_path, jku=[f"http://127.0.0.1:{listed.port}/jwks.json"])
        assert passes(site, tokens.token())
        sets.append(tokens.jwks(EC, RSA))
        assert not passes(site, tokens.token(RSA, "RS384"))  # the last fetch was a moment ago
        assert len(listed.heard) == 1
        monkeypatch.setattr(keys, "COOL_DOWN", 0)
        assert passes(site, tokens.token(RSA, "RS384"))
        assert passes(site, tokens.token())
        assert len(listed.heard) == 2


def test_ch_203_no_signature_is_never_accepted(ehr):
    for name in ("none", "None", "NONE"):
        head, body = tokens.b64(tokens.header(alg=name)), tokens.b64(tokens.claims())
        assert not passes(ehr, f"{head}.{body}.")
        assert not passes(ehr, f"{head}.{body}.{tokens.token().rpartition('.')[2]}")


def test_ch_204_a_shared_secret_is_never_accepted(ehr):
    public = RSA.as_pem(private=False)
    assert not passes(ehr, tokens.signed(tokens.header(alg="HS256", kid="rsa"), tokens.claims(), public, "HS256"))
    assert not passes(ehr, tokens.signed(tokens.header(alg="HS384", kid="rsa"), tokens.claims(), public, "HS384"))


def test_ch_205_two_algorithms_are_accepted_and_others_where_the_site_lists_them(ehr):
    assert passes(ehr, tokens.token())
    assert passes(ehr, tokens.token(RSA, "RS384"))
    assert not passes(ehr, tokens.token(RSA, "RS256"))
    assert passes(ehr, tokens.token(P256, "ES256", iss=OTHER, tenant="north"))
    assert not passes(ehr, tokens.token(iss=OTHER, tenant="north"))


def test_ch_206_a_bad_token_is_401_and_a_caller_who_may_not_is_403(ehr):
    assert not passes(ehr, "no.token.atall")
    answer = call(ehr, tokens.token(P256, "ES256", iss=OTHER, tenant="south"))

    assert answer.status_code == 403
    assert "WWW-Authenticate" not in answer.headers
    assert is_outcome(answer.get_json())


def test_ch_207_browsers_of_listed_origins_may_call_and_read_every_answer(ehr):
    asked = {"Access-Control-Request-Headers": "authorization,content-type"}
    for method, path in (("GET", "/cds-services"), ("POST", URL), ("POST", FEEDBACK)):
        preflight = ehr.options(path, headers={"Origin": ORIGIN, "Access-Control-Request-Method": method, **asked})
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert method in preflight.headers["Access-Control-Allow-Methods"]
        assert {"authorization", "content-type"} <= set(preflight.headers["Access-Control-Allow-Headers"].split(", "))
        refused = ehr.open(path, method=method, headers={"Origin": ORIGIN})
        assert refused.status_code == 401
        assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
        other = ehr.open(path, method=method, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
    assert call(ehr, tokens.token(), Origin=ORIGIN).headers["Access-Control-Allow-Origin"] == ORIGIN


def test_ch_208_every_call_leaves_a_line_that_names_the_caller_and_no_patient(ehr, caplog):
    caplog.set_level(logging.INFO, "cds_service.audit")
    call(ehr, tokens.token())
    call(ehr, "no.token.atall")

    lines = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [(line["status"], line.get("caller"), line.get("refused")) for line in lines] == [
        (200, ISSUER, None),
        (401, None, "malformed"),
    ]
    for secret in (BODY["hookInstance"], BODY["context"]["userId"], BODY["context"]["patientId"]):
        assert not any(secret in json.dumps(line) for line in lines)
