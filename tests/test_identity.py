"""Who calls: tokens that pass, every way in which one fails, keys that rotate, and no door opened for a stranger."""

import contextlib
import json
import logging
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import tokens
from joserfc import jwk
from joserfc.jws import JWSRegistry
from support import URL, is_outcome, patient_view
from tokens import DROP, EC, ISSUER, JKU, NOW, OTHER, P256, PUBLIC_URL, RSA, STRANGER, Uses, b64, claims, header, signed

from cds_service.edge.callers import read_callers
from cds_service.edge.identity import Caller, Identity
from cds_service.edge.outbound import Unreachable
from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app
from cds_service.errors import ConfigurationError, Unauthenticated
from cds_service.knowledge.load import home

BODY = patient_view("p1", {"patient": None, "conditions": None})
OCTETS = RSA.as_pem(private=False)
OCTETS_OF_JWK = json.dumps(EC.as_dict(private=False)).encode()


@pytest.fixture(scope="module")
def callers_file(tmp_path_factory):
    """One caller with keys given and a jku it may name, one with tenants and another signature."""
    path = tmp_path_factory.mktemp("site") / "callers.json"
    (path.parent / "ehr.jwks.json").write_text(json.dumps(tokens.jwks(EC, RSA, P256)), encoding="utf-8")
    listed = [
        {"issuer": ISSUER, "jwks_file": "ehr.jwks.json", "jku": [JKU]},
        {"issuer": OTHER, "jwks": tokens.jwks(P256, EC), "algorithms": ["ES256"], "tenants": ["north", "south"]},
    ]
    path.write_text(json.dumps({"callers": listed}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ehr(callers_file):
    """The service at a moment that does not pass, behind a proxy with another host name."""
    site = Settings(callers=callers_file, public_url=PUBLIC_URL)
    return create_app(site=site, clock=lambda: NOW + 10).test_client()


def call(client, token, url=URL):
    """Post a call with a token; None sends none."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return client.post(url, json=BODY, headers=headers)


def refused(answer):
    """Whether a call was refused as the specification's best practices ask: 401 and no reason."""
    text = answer.get_data(as_text=True)
    return (
        answer.status_code == 401
        and answer.headers["WWW-Authenticate"] == "Bearer"
        and is_outcome(answer.get_json())
        and json.loads(text)["issue"][0]["diagnostics"].startswith("the header Authorization: found no token that is")
    )


# WHAT PASSES


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(tokens.token(), id="ES384"),
        pytest.param(tokens.token(RSA, "RS384"), id="RS384"),
        pytest.param(tokens.token(aud=[PUBLIC_URL + URL]), id="aud as an array"),
        pytest.param(tokens.token(aud=["https://elsewhere.example", PUBLIC_URL + URL]), id="aud among others"),
        pytest.param(tokens.token(exp=NOW + 300.5, iat=NOW + 0.5), id="fractions of seconds"),
        pytest.param(tokens.token(exp=NOW - 15, iat=NOW - 300), id="expired within the leeway"),
        pytest.param(tokens.token(iat=NOW + 35, exp=NOW + 300), id="issued within the leeway"),
        pytest.param(tokens.token(nbf=NOW), id="nbf past"),
        pytest.param(tokens.token(head={"jku": JKU}), id="a jku of this caller"),
        pytest.param(tokens.token(head={"x5t": "abc", "cty": "json"}), id="a header that means nothing here"),
        pytest.param(tokens.token(sub="whoever", tenant="anyone"), id="a tenant where none are listed; sub"),
        pytest.param(tokens.token(P256, "ES256", iss=OTHER, tenant="north"), id="a signature of that caller, a tenant"),
    ],
)
def test_a_good_token_passes(ehr, token):
    answer = call(ehr, token)

    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.get_json()["cards"] == []


def test_the_scheme_is_read_without_regard_to_case(ehr):
    answer = ehr.post(URL, json=BODY, headers={"Authorization": f"bearer {tokens.token()}"})

    assert answer.status_code == 200


def test_discovery_and_feedback_are_endpoints_of_their_own(ehr):
    discovery = {"Authorization": f"Bearer {tokens.token(aud=f'{PUBLIC_URL}/cds-services')}"}
    of_service = {"Authorization": f"Bearer {tokens.token()}"}

    assert ehr.get("/cds-services", headers=discovery).status_code == 200
    assert refused(ehr.get("/cds-services", headers=of_service))
    assert refused(ehr.get("/cds-services"))
    assert refused(call(ehr, tokens.token(aud=f"{PUBLIC_URL}{URL}/feedback")))
    for aud in (f"{PUBLIC_URL}{URL}/feedback", PUBLIC_URL + URL):
        assert (
            call(ehr, tokens.token(aud=aud), f"{URL}/feedback").status_code == 400
        )  # known, and its body is no feedback


def test_discovery_can_be_open_while_calls_are_not(callers_file):
    site = Settings(callers=callers_file, public_url=PUBLIC_URL, discovery_open=True)
    client = create_app(site=site, clock=lambda: NOW).test_client()

    assert client.get("/cds-services").status_code == 200
    assert client.get("/openapi.json").status_code == 200
    assert refused(call(client, None))


def test_a_public_url_may_have_a_path(callers_file):
    site = Settings(callers=callers_file, public_url="https://gateway.example.org/cds")
    client = create_app(site=site, clock=lambda: NOW).test_client()

    assert call(client, tokens.token(aud=f"https://gateway.example.org/cds{URL}")).status_code == 200
    assert refused(call(client, tokens.token(aud=f"https://gateway.example.org{URL}")))


# WHAT DOES NOT PASS

_GOOD_HEAD, _GOOD_BODY, _GOOD_SIGNATURE = tokens.token().split(".")
_AUD = PUBLIC_URL + URL


def respelt():
    """A token whose claims stand in base64url with bits set that no octet has, and are signed so."""
    body = next(body for n in range(3) if len(body := json.dumps(claims(filler="x" * n))) % 3 == 1)
    signing_input = f"{b64(header())}.{b64(body)}"
    signing_input = signing_input[:-1] + chr(ord(signing_input[-1]) + 1)
    return f"{signing_input}.{b64(JWSRegistry.algorithms['ES384'].sign(signing_input.encode(), EC))}"


FORMS = {
    "no token": None,
    "an empty token": "",
    "no token at all": "token",
    "two segments": f"{_GOOD_HEAD}.{_GOOD_BODY}",
    "four segments": f"{_GOOD_HEAD}.{_GOOD_BODY}.{_GOOD_SIGNATURE}.x",
    "no signature": f"{_GOOD_HEAD}.{_GOOD_BODY}.",
    "base64 with padding": f"{_GOOD_HEAD}.{_GOOD_BODY}.{_GOOD_SIGNATURE}==",
    "base64 of the other alphabet": f"{_GOOD_HEAD}.{_GOOD_BODY}.+/{_GOOD_SIGNATURE[2:]}",
    "base64 of no length": f"{_GOOD_HEAD}.{_GOOD_BODY}.{_GOOD_SIGNATURE}A",
    "base64 spelt in another way": respelt(),
    "a space in it": f"{_GOOD_HEAD}.{_GOOD_BODY}. {_GOOD_SIGNATURE}",
    "1 MB": f"{_GOOD_HEAD}.{'A' * 1_000_000}.{_GOOD_SIGNATURE}",
    "8 KB and a little": tokens.token(filler="x" * 6200),
    "a header that is no JSON": signed("{", claims()),
    "a header that is an array": signed("[]", claims()),
    "claims that are a string": signed(header(), '"x"'),
    "claims in UTF-16": f"{b64(header())}.{b64(json.dumps(claims()).encode('utf-16'))}.{_GOOD_SIGNATURE}",
    "claims nested 5,000 deep": signed(header(), "[" * 5000),
    "claims with NaN": signed(header(), json.dumps({**claims(), "x": float("nan")})),
    "alg twice": signed('{"alg": "none", "alg": "ES384", "typ": "JWT", "kid": "ec"}', claims()),
    "aud twice": signed(header(), json.dumps(claims())[:-1] + f', "aud": "{_AUD}"}}'),
}
HEADERS = {
    "alg none": f"{b64(header(alg='none'))}.{b64(claims())}.{b64(b'x')}",
    "alg None": f"{b64(header(alg='None'))}.{b64(claims())}.{b64(b'x')}",
    "alg none, a good signature": signed(header(alg="none"), claims()),
    "alg missing": signed(header(alg=DROP), claims()),
    "alg a list": signed(header(alg=["ES384"]), claims()),
    "alg of lower case": signed(header(alg="es384"), claims()),
    "HS256 with the public PEM": signed(header(alg="HS256", kid="rsa"), claims(), OCTETS, "HS256"),
    "HS384 with the public JWK": signed(header(alg="HS384"), claims(), OCTETS_OF_JWK, "HS384"),
    "RS256, which this site does not list": tokens.token(RSA, "RS256"),
    "ES256, which another caller may use": tokens.token(P256, "ES256"),
    "ES384, which that caller may not use": tokens.token(iss=OTHER, tenant="north"),
    "an ES256 key under ES384": signed(header(kid="p256"), claims(), P256, "ES256"),
    "an RSA key under ES384": signed(header(kid="rsa"), claims(), RSA, "RS384"),
    "an ES384 key under RS384": signed(header(alg="RS384"), claims()),
    "typ missing": tokens.token(head={"typ": DROP}),
    "typ JOSE": tokens.token(head={"typ": "JOSE"}),
    "cty a number": tokens.token(head={"cty": 7}),
    "crit": tokens.token(head={"crit": ["exp"], "exp": NOW + 300}),
    "crit b64": tokens.token(head={"crit": ["b64"], "b64": False}),
    "an embedded key": signed(header(jwk=STRANGER.as_dict(private=False)), claims(), STRANGER),
    "an embedded key, a good signature": tokens.token(head={"jwk": EC.as_dict(private=False)}),
    "an embedded certificate": tokens.token(head={"x5c": ["AAAA"]}),
    "the URL of a certificate": tokens.token(head={"x5u": "https://ehr.example.org/x"}),
    "kid missing": tokens.token(head={"kid": DROP}),
    "kid a number": tokens.token(head={"kid": 7}),
    "kid empty": tokens.token(head={"kid": ""}),
    "kid unknown": tokens.token(head={"kid": "nobody"}),
    "kid a path": tokens.token(head={"kid": "../../../../etc/passwd"}),
    "kid a statement of SQL": tokens.token(head={"kid": "' OR '1'='1"}),
    "kid not to be printed": tokens.token(head={"kid": "ec\u0000\ud800"}),
    "kid that looks alike": tokens.token(head={"kid": "\u0435c"}),
}
SIGNATURES = {
    "another key of the same kid": signed(header(), claims(), STRANGER),
    "zeros": f"{b64(header())}.{b64(claims())}.{b64(bytes(96))}",
    "too short": f"{b64(header())}.{b64(claims())}.{b64(b'x')}",
    "in DER": f"{b64(header())}.{b64(claims())}.{b64(bytes.fromhex('3006020101020101'))}",
    "of other claims": ".".join((*tokens.token().split(".")[:2], tokens.token().split(".")[2])),
}
CLAIMS = {
    "iss missing": {"iss": DROP},
    "iss unknown": {"iss": "https://evil.example.org"},
    "iss with a slash more": {"iss": f"{ISSUER}/"},
    "iss a list": {"iss": [ISSUER]},
    "aud missing": {"aud": DROP},
    "aud empty": {"aud": ""},
    "aud an empty list": {"aud": []},
    "aud a number": {"aud": 7},
    "aud a list with a number": {"aud": [_AUD, 7]},
    "aud an object": {"aud": {"url": _AUD}},
    "aud another service": {"aud": f"{PUBLIC_URL}/cds-services/other"},
    "aud discovery": {"aud": f"{PUBLIC_URL}/cds-services"},
    "aud http": {"aud": _AUD.replace("https", "http")},
    "aud another host": {"aud": f"https://evil.example.org{URL}"},
    "aud with a port": {"aud": f"{PUBLIC_URL}:443{URL}"},
    "aud with a slash more": {"aud": f"{_AUD}/"},
    "aud as the proxied host sees it": {"aud": f"http://localhost{URL}"},
    "exp missing": {"exp": DROP},
    "exp past": {"exp": NOW - 21, "iat": NOW - 300},
    "exp in ten years": {"exp": NOW + 315_360_000},
    "a second longer than allowed": {"exp": NOW + 301},
    "exp a string": {"exp": str(NOW + 300)},
    "exp true": {"exp": True},
    "exp null": {"exp": None},
    "exp before iat": {"exp": NOW, "iat": NOW + 20},
    "iat missing": {"iat": DROP},
    "iat in the future": {"iat": NOW + 41, "exp": NOW + 300},
    "iat a string": {"iat": str(NOW)},
    "iat negative": {"iat": -1},
    "nbf in the future": {"nbf": NOW + 41},
    "nbf a string": {"nbf": "now"},
    "jti missing": {"jti": DROP},
    "jti empty": {"jti": ""},
    "jti a number": {"jti": 7},
    "jti of 201 characters": {"jti": "x" * 201},
    "jti not to be stored": {"jti": "x\u0000"},
    "jti half a surrogate": {"jti": "\ud800"},
    "tenant a number": {"tenant": 7},
    "tenant empty": {"tenant": ""},
}
EXP_OF_1E400 = signed(header(), json.dumps(claims(exp="EXP")).replace('"EXP"', "1e400"))
LOCATIONS = {
    "another host": "https://evil.example.org/jwks.json",
    "http": JKU.replace("https", "http"),
    "userinfo": JKU.replace("https://", "https://evil@"),
    "another path": f"{JKU}/../x",
    "another case": JKU.upper(),
    "a file": "file:///etc/passwd",
    "a list": [JKU],
    "null": None,
}


@pytest.fixture
def reason(caplog):
    """The word that the log has for the one refusal of a test."""
    caplog.set_level(logging.INFO, "cds_service.audit")
    return lambda: next(record.fields["refused"] for record in caplog.records if record.name == "cds_service.audit")


@pytest.mark.parametrize("name", FORMS)
def test_a_token_of_another_form_is_refused(ehr, name, reason):
    assert refused(call(ehr, FORMS[name]))
    assert reason() in ("no-token", "malformed", "signature")


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_not_of_the_specification_is_refused(ehr, name, reason):
    assert refused(call(ehr, HEADERS[name]))
    assert reason() in ("algorithm", "header", "key")


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_that_does_not_fit_is_refused(ehr, name, reason):
    assert refused(call(ehr, SIGNATURES[name]))
    assert reason() == "signature"


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_does_not_fit_is_refused(ehr, name, reason):
    words = {"iss": "issuer", "aud": "audience", "jti": "token-id", "tenant": "tenant"}

    assert refused(call(ehr, tokens.token(**CLAIMS[name])))
    assert reason() == words.get(name.split()[0], "expired" if name == "exp past" else "time")


def test_an_exp_beyond_all_numbers_is_refused(ehr, reason):
    assert refused(call(ehr, EXP_OF_1E400))
    assert reason() == "time"


@pytest.mark.parametrize("name", LOCATIONS)
def test_a_jku_that_is_not_this_callers_is_refused(ehr, name, reason):
    assert refused(call(ehr, tokens.token(head={"jku": LOCATIONS[name]})))
    assert reason() == "key-url"


@pytest.mark.parametrize("sent", ["Basic eDp5", "Bearer", "Bearer ", "{t}", "Bearer {t}, Bearer {t}", "Bearer {t} {t}"])
def test_an_authorization_header_of_another_form_is_refused(ehr, sent):
    assert refused(ehr.post(URL, json=BODY, headers={"Authorization": sent.format(t=tokens.token())}))


def test_a_refused_call_is_refused_before_its_body_is_read(ehr):
    assert refused(ehr.post(URL, data="no json", content_type="text/plain"))
    assert refused(ehr.post("/cds-services/unknown", json=BODY))
    assert refused(ehr.get("/nowhere"))


# TENANTS


@pytest.mark.parametrize("tenant", ["west", "NORTH", DROP])
def test_a_known_caller_may_not_call_for_a_tenant_that_is_not_its_own(ehr, tenant):
    answer = call(ehr, tokens.token(P256, "ES256", iss=OTHER, tenant=tenant))

    assert answer.status_code == 403
    assert answer.get_json()["issue"][0]["code"] == "forbidden"


def test_only_a_token_that_is_believed_learns_about_tenants(ehr):
    good = tokens.token(P256, "ES256", iss=OTHER, tenant="west")

    assert refused(call(ehr, good[:-4] + "AAAA"))


# USED ONCE


def test_a_token_passes_once(ehr):
    token = tokens.token()

    assert call(ehr, token).status_code == 200
    assert refused(call(ehr, token))


def test_a_jti_counts_for_its_issuer_only(ehr):
    assert call(ehr, tokens.token(jti="the same")).status_code == 200
    assert call(ehr, tokens.token(P256, "ES256", iss=OTHER, tenant="north", jti="the same")).status_code == 200
    assert refused(call(ehr, tokens.token(jti="the same", exp=NOW + 200)))


def test_a_forged_token_does_not_use_up_a_jti(ehr):
    assert refused(call(ehr, signed(header(), claims(jti="wanted"), STRANGER)))
    assert call(ehr, tokens.token(jti="wanted")).status_code == 200


def test_a_use_is_kept_until_no_clock_within_the_leeway_would_take_the_token(callers_file):
    uses = Uses()
    callers = read_callers(callers_file, home()[1], ("ES384",))

    Identity(callers, 300, uses, lambda: NOW).caller(f"Bearer {tokens.token(jti='kept', exp=NOW + 60)}", {_AUD})

    assert uses.kept[ISSUER, "kept"] > NOW + 60 + 30


def test_without_the_store_nobody_passes_and_nobody_is_told_to_go_away_for_good(callers_file):
    site = Settings(callers=callers_file, public_url=PUBLIC_URL, database="sqlite:////proc/none/store.db")
    client = create_app(site=site, clock=lambda: NOW).test_client()

    answer = call(client, tokens.token())

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert is_outcome(answer.get_json())
    assert refused(call(client, None))


def test_feedback_is_kept_with_the_caller_who_sent_it(callers_file, tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    site = Settings(callers=callers_file, public_url=PUBLIC_URL, database=url)
    client = create_app(site=site, clock=lambda: NOW).test_client()
    token = tokens.token(P256, "ES256", iss=OTHER, tenant="south", aud=f"{PUBLIC_URL}{URL}/feedback")
    entry = {
        "card": "0b7a2f9a-8a2c-8a53-9a05-3b6d3c1f0a11",
        "outcome": "overridden",
        "outcomeTimestamp": "2026-01-01T10:00:00Z",
    }

    answer = client.post(f"{URL}/feedback", json={"feedback": [entry]}, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200, answer.get_data(as_text=True)
    with sqlite3.connect(tmp_path / "store.db") as kept:
        assert kept.execute("SELECT caller, tenant FROM feedback").fetchall() == [(OTHER, "south")]
    kept.close()


# NOTHING OF A TOKEN IN THE LOG


def test_the_log_has_a_fixed_word_and_nothing_of_the_token(ehr, caplog):
    caplog.set_level(logging.DEBUG)
    canaries = {"iss": "https://canary.example", "sub": "canary", "tenant": "canary"}
    token = tokens.token(**canaries)

    call(ehr, token)
    call(ehr, tokens.token(head={"kid": "canary"}, jti="canary-jti"))
    call(ehr, tokens.token(jti="canary-jti", sub="canary"))

    words = [record.fields for record in caplog.records if record.name == "cds_service.audit"]
    assert [line.get("refused") for line in words] == ["issuer", "key", None]
    assert words[2]["caller"] == ISSUER
    assert words[2]["cards"] == 0
    everything = caplog.text + json.dumps(words)
    assert "canary" not in everything
    assert not any(part in everything for part in token.split("."))


# KEYS THAT ARE FETCHED


class Elsewhere:
    """The key sets of the world, by URL, and what was asked for. What is no mapping is raised."""

    def __init__(self, **sets):
        self.sets, self.asked = {JKU: tokens.jwks(EC), **sets}, []

    def get(self, url, private):
        self.asked.append(url)
        answer = self.sets[url]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


class Fetching:
    """An identity whose keys are fetched, and a clock that a test turns."""

    def __init__(self, tmp_path, elsewhere, jku=(JKU,)):
        self.now, self.elsewhere = 0.0, elsewhere
        path = tmp_path / "callers.json"
        path.write_text(json.dumps({"callers": [{"issuer": ISSUER, "jku": list(jku)}]}), encoding="utf-8")
        callers = read_callers(path, home()[1], ("ES384", "RS384"), elsewhere.get, lambda: self.now)
        self.identity = Identity(callers, 300, Uses(), lambda: NOW)

    def passes(self, token):
        try:
            return self.identity.caller(f"Bearer {token}", {_AUD}) == Caller(ISSUER)
        except Unauthenticated:
            return False


@pytest.fixture
def elsewhere():
    return Elsewhere()


@pytest.fixture
def fetching(tmp_path, elsewhere):
    return Fetching(tmp_path, elsewhere)


NEW = jwk.ECKey.generate_key("P-384", {"kid": "new"}, private=True)


def test_keys_are_fetched_when_the_first_token_asks_and_then_kept(fetching, elsewhere):
    assert elsewhere.asked == []
    assert all(fetching.passes(tokens.token(head=head)) for head in ({}, {"jku": JKU}, {}))
    assert elsewhere.asked == [JKU]


def test_a_new_key_is_honoured_within_one_fetch(fetching, elsewhere):
    fetching.passes(tokens.token())
    elsewhere.sets[JKU] = tokens.jwks(EC, NEW)
    fetching.now = 61

    assert fetching.passes(tokens.token(NEW))
    assert len(elsewhere.asked) == 2


def test_a_withdrawn_key_ends_with_the_next_fetch(fetching, elsewhere):
    fetching.passes(tokens.token())
    elsewhere.sets[JKU] = tokens.jwks(NEW)
    fetching.now = 3600

    assert not fetching.passes(tokens.token())


def test_a_flood_of_unknown_keys_costs_one_fetch_per_cool_down(fetching, elsewhere):
    fetching.passes(tokens.token())
    fetching.now = 61
    flood = [tokens.token(head={"kid": f"unknown-{n}"}) for n in range(100)]

    assert not any(fetching.passes(token) for token in flood)
    assert fetching.passes(tokens.token())
    assert len(elsewhere.asked) == 2


def test_tokens_that_fail_for_another_reason_cost_no_fetch(fetching, elsewhere):
    for changed in ({"aud": "x"}, {"exp": NOW - 100}, {"iss": "https://evil.example"}, {"jti": ""}):
        assert not fetching.passes(tokens.token(**changed))
    assert not fetching.passes(tokens.token(head={"jku": "https://evil.example/jwks.json"}))

    assert elsewhere.asked == []


def test_old_keys_serve_while_their_host_is_down_for_a_day(fetching, elsewhere):
    fetching.passes(tokens.token())
    elsewhere.sets[JKU] = Unreachable("no connection could be made")

    for fetching.now in (3700, 3710, 24 * 3600 - 1):
        assert fetching.passes(tokens.token())
    assert len(elsewhere.asked) == 3
    fetching.now = 24 * 3600
    assert not fetching.passes(tokens.token())


def test_a_host_that_comes_back_is_heard(fetching, elsewhere):
    elsewhere.sets[JKU] = Unreachable("no connection could be made")
    assert not fetching.passes(tokens.token())
    elsewhere.sets[JKU] = tokens.jwks(EC)
    assert not fetching.passes(tokens.token())
    fetching.now = 60

    assert fetching.passes(tokens.token())


def test_a_token_without_jku_is_looked_for_in_every_set_of_its_caller(tmp_path):
    second = "https://ehr.example.org/second.json"
    elsewhere = Elsewhere(**{second: tokens.jwks(NEW)})
    fetching = Fetching(tmp_path, elsewhere, (JKU, second))

    assert fetching.passes(tokens.token(NEW))
    assert not fetching.passes(tokens.token(NEW, head={"jku": JKU}))


def test_many_first_tokens_at_once_wait_for_one_fetch(tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Elsewhere):
        def get(self, url, private):
            begun.set()
            assert go_on.wait(10)
            return super().get(url, private)

    fetching = Fetching(tmp_path, Slow())
    passed = []
    threads = [threading.Thread(target=lambda: passed.append(fetching.passes(tokens.token()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)

    assert passed == [True] * 8
    assert fetching.elsewhere.asked == [JKU]


_PRIVATE = {"keys": [EC.as_dict(private=True)]}
_WEAK = {"kty": "RSA", "kid": "rsa", "e": "AQAB", "n": b64((1 << 1023 | 1).to_bytes(128, "big"))}
SPOILT = {
    "a private key": _PRIVATE,
    "a private key beside a good one": {"keys": [*tokens.jwks(EC)["keys"], {**_PRIVATE["keys"][0], "kid": "b"}]},
    "a shared secret": {"keys": [*tokens.jwks(EC)["keys"], {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}]},
    "two keys of one kid": tokens.jwks(EC, STRANGER),
    "a key without kid": {"keys": [{k: v for k, v in EC.as_dict(private=False).items() if k != "kid"}]},
    "a point that is not on the curve": {"keys": [{**EC.as_dict(private=False), "x": EC.as_dict(private=False)["y"]}]},
    "half a key": {"keys": [{"kty": "EC", "crv": "P-384", "kid": "ec"}]},
    "a curve nobody knows": {"keys": [{**EC.as_dict(private=False), "crv": "P-999"}]},
    "a short RSA key": {"keys": [_WEAK]},
    "a key for encryption": {"keys": [{**EC.as_dict(private=False), "use": "enc"}]},
    "a key for another signature": {"keys": [{**EC.as_dict(private=False), "alg": "ES256"}]},
    "no keys": {"keys": []},
    "keys that are no array": {"keys": {"ec": EC.as_dict(private=False)}},
    "an array": [],
    "no JSON": b"<html>",
    "deep JSON": b"[" * 100_000,
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_key_set_verifies_nothing(tmp_path, name):
    fetching = Fetching(tmp_path, Elsewhere(**{JKU: SPOILT[name]}))

    assert not fetching.passes(tokens.token())


def test_keys_of_unknown_types_are_passed_over(tmp_path):
    fetching = Fetching(tmp_path, Elsewhere(**{JKU: {"keys": [{"kty": "new"}, *tokens.jwks(EC)["keys"]]}}))

    assert fetching.passes(tokens.token())


def test_a_spoilt_set_does_not_push_out_the_good_one(fetching, elsewhere):
    fetching.passes(tokens.token())
    elsewhere.sets[JKU] = SPOILT["a shared secret"]
    fetching.now = 3601

    assert fetching.passes(tokens.token())


# REAL SOCKETS


class Host(BaseHTTPRequestHandler):
    """A host of key sets with good and bad ones; counts who comes."""

    def do_GET(self):
        self.server.visits.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.canary}/jwks")
            self.end_headers()
            return
        body = json.dumps(tokens.jwks(EC)).encode()
        if self.path == "/big":
            body = body[:-1] + b" " * 10_000_000 + b"}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/slow":
            for byte in body:  # dripping: every wait is short, the whole is long
                self.wfile.write(bytes([byte]))
                time.sleep(0.2)
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(OSError):  # the client hung up, as it should
            super().handle()


@pytest.fixture
def hosts():
    """A host of key sets and a canary that nobody should visit."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Host) for _ in range(2)]
    for server in servers:
        server.visits, server.canary = [], servers[1].server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("path", "status"), [("/jwks", 200), ("/moved", 401), ("/big", 401), ("/slow", 401)])
def test_keys_are_fetched_bounded_and_from_their_own_host_only(tmp_path, hosts, path, status):
    jku = f"http://127.0.0.1:{hosts[0].server_port}{path}"
    elsewhere = f"http://127.0.0.1:{hosts[1].server_port}/jwks"
    file = tmp_path / "callers.toml"
    file.write_text(f'[[callers]]\nissuer = "{ISSUER}"\njku = ["{jku}"]\n', encoding="utf-8")
    site = Settings(callers=file, public_url=PUBLIC_URL)
    client = create_app(site=site, clock=lambda: NOW).test_client()
    begun = time.monotonic()

    assert refused(call(client, tokens.token(head={"jku": elsewhere})))
    assert call(client, tokens.token(head={"jku": jku})).status_code == status

    assert time.monotonic() - begun < 8
    assert hosts[0].visits == [path]
    assert hosts[1].visits == []


# THE FILE OF CALLERS


def _problems(tmp_path, content, name="callers.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps({"callers": content}), encoding="utf-8")
    with pytest.raises(ConfigurationError) as error:
        read_callers(path, home()[1], ("ES384",))
    return [problem.where for problem in error.value.problems]


def test_every_problem_of_the_file_is_named_at_once(tmp_path):
    listed = [
        {"issuer": "no uri", "jwks": {}},
        {"issuer": "https://a.example"},
        {"issuer": "https://b.example", "jku": ["http://b.example/jwks"], "algorithms": ["HS256"]},
        {"issuer": "https://c.example", "jku": ["https://user@c.example/jwks"], "colour": "red"},
    ]

    assert _problems(tmp_path, listed) == [
        "callers.json:/callers/0/issuer",
        "callers.json:/callers/1",
        "callers.json:/callers/2/algorithms/0",
        "callers.json:/callers/2/jku/0",
        "callers.json:/callers/3",
        "callers.json:/callers/3/jku/0",
    ]


def test_keys_and_issuers_are_checked_at_the_start(tmp_path):
    listed = [
        {"issuer": ISSUER, "jwks": _PRIVATE},
        {"issuer": ISSUER, "jwks_file": "absent.json"},
    ]

    assert _problems(tmp_path, listed) == [
        "callers.json:/callers/0/jwks",
        "callers.json:/callers/1/issuer",
        "callers.json:/callers/1/jwks_file",
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("callers.json", "{"), ("callers.toml", "[[callers"), ("callers.json", "[]")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content):
    assert _problems(tmp_path, content, name)[0].startswith(name)
