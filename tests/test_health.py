"""Probes, metrics and request ids: who may ask, what is told, and that none of it tells of anybody."""

import gc
import json
import logging
import re
import time
import weakref

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import STYLES, URL, example, expected_patients, patient_view, put_in_prefetch
from tokens import EC, ISSUER, PUBLIC_URL, jwks, token

from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app
from cds_service.hooks.catalogue import HOOKS
from cds_service.knowledge.load import load

SERVICE = URL.rpartition("/")[2]
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}
FEEDBACK = {
    "card": "8c1f6a52-3c1e-4f7a-9d55-5f0d2f0f7b11",
    "outcome": "overridden",
    "outcomeTimestamp": "2026-01-02T03:04:05Z",
}
ACCEPTED = {**FEEDBACK, "outcome": "accepted", "acceptedSuggestions": [{"id": FEEDBACK["card"]}]}
CANARY = "canary-4711"
REASONS = {
    "the record says that the patient has died",
    "whether the patient lives is unknown",
    "no confirmed breast cancer on record",
    "whether there is breast cancer is unknown",
    "breast cancer on record, but of a lower stage than IV",
    "breast cancer on record, but whether it is stage IV is not clear",
    "breast cancer on record, but no evidence of stage IV",
    "breast cancer on record, marked as over, but of a lower stage than IV",
    "breast cancer on record, marked as over, but whether it is stage IV is not clear",
    "breast cancer on record, marked as over, but no evidence of stage IV",
    "stage IV breast cancer on record, but marked as inactive, in remission or resolved",
    "no order in hand names a drug of the documents",
}


def site(tmp_path, with_callers=False, **more):
    """A site of its own, with one trusted caller where wanted."""
    if with_callers:
        path = tmp_path / "callers.json"
        path.write_text(json.dumps({"callers": [{"issuer": ISSUER, "jwks": jwks(EC)}]}), encoding="utf-8")
        more |= {"callers": path, "public_url": PUBLIC_URL}
    return Settings(**{"database": f"sqlite:///{tmp_path}/state/store.db", **more})


@pytest.fixture
def fresh(tmp_path):
    """A service that has counted nothing yet."""
    app = create_app(site=site(tmp_path))
    yield app.test_client()
    app.extensions["store"].close()


def down(tmp_path):
    """The URL of a store that cannot be had."""
    (tmp_path / "no-folder").write_text("", encoding="utf-8")
    return f"sqlite:///{tmp_path}/no-folder/store.db"


def metrics(client):
    """Every sample by name and labels."""
    text = client.get("/metrics").get_data(as_text=True)
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {(one.name, *sorted(one.labels.items())): one.value for one in samples}


def value(found, name, **labels):
    return found.get((name, *sorted(labels.items())), 0)


# PROBES


@pytest.mark.parametrize("with_callers", [False, True])
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_is_answered_wherever_it_comes_from_and_without_a_token(tmp_path, path, with_callers):
    client = create_app(site=site(tmp_path, with_callers)).test_client()

    answer = client.get(path, environ_overrides=ELSEWHERE, headers={"Host": "10.1.2.3:8080", "Via": "1.1 proxy"})

    assert answer.status_code == 200
    assert answer.get_json()["status"] in ("alive", "ready")
    assert client.get("/cds-services", environ_overrides=ELSEWHERE).status_code in (401, 403)


@pytest.mark.parametrize(("with_callers", "status"), [(True, 503), (False, 200)])
def test_a_store_that_is_down_is_named_and_only_with_callers_makes_it_not_ready(tmp_path, with_callers, status):
    client = create_app(site=site(tmp_path, with_callers, database=down(tmp_path))).test_client()

    answer = client.get("/readyz")

    assert answer.status_code == status
    assert answer.get_json()["store"] == "down"
    assert (answer.get_json()["status"] == "ready") == (status == 200)
    assert client.get("/healthz").status_code == 200


def test_it_is_ready_again_when_the_store_is_back(tmp_path):
    client = create_app(site=site(tmp_path, with_callers=True, database=down(tmp_path))).test_client()
    before = client.get("/readyz").status_code

    (tmp_path / "no-folder").unlink()
    until = time.monotonic() + 10
    while client.get("/readyz").status_code != 200 and time.monotonic() < until:
        time.sleep(0.1)

    assert (before, client.get("/readyz").status_code) == (503, 200)


def test_many_probes_ask_the_store_once(tmp_path, monkeypatch):
    app = create_app(site=site(tmp_path))
    asked = []
    monkeypatch.setattr(app.extensions["store"], "problem", lambda: asked.append(1) or "")
    client = app.test_client()

    assert {client.get("/readyz").status_code for _ in range(50)} == {200}
    assert len(asked) == 1


def test_probes_are_no_lines_of_the_log_and_no_calls(fresh, caplog):
    with caplog.at_level(logging.INFO):
        for path in ("/healthz", "/readyz", "/metrics"):
            fresh.get(path)
    found = metrics(fresh)

    assert not [one for one in caplog.records if one.name == "cds_service.audit"]
    assert not [sample for sample in found if sample[0] == "cds_call_seconds_count"]


# REQUEST IDS


@pytest.mark.parametrize("ident", ["0123456789abcdef0123456789ABCDEF", "7d9c1a44-5b1f-4f0e-9f5e-3a1f0c2b4d6e"])
def test_the_request_id_of_a_proxy_is_kept(fresh, ident):
    assert fresh.get("/cds-services", headers={"X-Request-Id": ident}).headers["X-Request-Id"] == ident


@pytest.mark.parametrize("ident", ["", CANARY, "MRN0012345", "a" * 33, "0" * 31, "<script>", "0" * 32 + " " + CANARY])
def test_another_request_id_might_name_somebody_and_is_replaced(fresh, ident):
    given = [fresh.get("/cds-services", headers={"X-Request-Id": ident}).headers["X-Request-Id"] for _ in range(2)]

    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in given)
    assert given[0] != given[1]


# METRICS


@pytest.mark.parametrize(
    ("setting", "environ", "headers", "status"),
    [
        ("loopback", {}, {}, 200),
        ("loopback", ELSEWHERE, {}, 403),
        ("loopback", {}, {"X-Forwarded-For": "192.0.2.7"}, 403),
        ("loopback", {}, {"Host": "rebound.example"}, 403),
        ("open", ELSEWHERE, {"X-Forwarded-For": "192.0.2.7"}, 200),
    ],
)
@pytest.mark.parametrize("with_callers", [False, True])
def test_who_may_read_the_metrics(tmp_path, setting, environ, headers, status, with_callers):
    client = create_app(site=site(tmp_path, with_callers, metrics=setting)).test_client()

    assert client.get("/metrics", environ_overrides=environ, headers=headers).status_code == status


def test_metrics_can_be_off(tmp_path):
    client = create_app(site=site(tmp_path, metrics="off")).test_client()

    assert client.get("/metrics").status_code == 404
    assert "/metrics" not in client.get("/openapi.json").get_json()["paths"]
    assert client.post(URL, json=patient_view("p1", {"patient": None, "conditions": None})).status_code == 200


def test_one_worker_of_several_does_not_pass_off_its_own_counts_as_all(fresh):
    answer = fresh.get("/metrics", environ_overrides={"wsgi.multiprocess": True})

    assert answer.status_code == 503
    assert "one worker of several" in answer.get_data(as_text=True)


def test_what_was_answered_is_counted(fresh, services):
    knowledge = load()
    body = patient_view("va-01", put_in_prefetch(example("VA-01", "mcode")[1], "va-01", services))
    answers = [fresh.post(URL, json=body).get_json() for _ in range(3)]
    fresh.post(URL, json=patient_view("p1", {"patient": None, "conditions": None}))
    fresh.post(f"{URL}/feedback", json={"feedback": [FEEDBACK, ACCEPTED]})
    fresh.post(URL, data=b"{}", content_type="application/json")
    fresh.post(URL, data=b"{}", content_type="text/plain")
    found = metrics(fresh)

    sections = {option.id: section.id for section in knowledge.sections for option in section.options}
    extensions = [card["extension"]["org.cds-service"] for answer in answers for card in answer["cards"]]
    listed = [(sections[one["option"]], one["status"]) for told in extensions for one in told["options"]]
    unknown = [fact["fact"] for told in extensions for fact in told.get("facts", ()) if fact["value"] == "unknown"]
    call = {"route": "call", "service": SERVICE}
    assert value(found, "cds_call_seconds_count", **call, status="2xx") == 4
    assert value(found, "cds_call_seconds_count", **call, status="4xx") == 2
    assert value(found, "cds_call_seconds_count", route="feedback", service=SERVICE, status="2xx") == 1
    assert value(found, "cds_cards_total", service=SERVICE) == len(extensions) > 3
    assert listed
    for section, status in set(listed):
        assert value(found, "cds_options_total", section=section, status=status) == listed.count((section, status))
    assert sum(number for (name, *_), number in found.items() if name == "cds_options_total") == len(listed)
    for fact in set(unknown):
        assert value(found, "cds_unknown_facts_total", fact=fact) == unknown.count(fact)
    assert value(found, "cds_no_card_total", reason="no confirmed breast cancer on record") == 1
    assert value(found, "cds_refusals_total", reason="invalid") == 1
    assert value(found, "cds_refusals_total", reason="not-supported") == 1
    assert value(found, "cds_feedback_total", outcome="accepted") == 1
    assert value(found, "cds_feedback_total", outcome="overridden") == 1
    assert value(found, "cds_step_seconds_count", step="store", outcome="ok") >= 1
    assert value(found, "cds_cache_lookups_total", cache="advice", outcome="hit") >= 2
    assert value(found, "cds_cache_entries", cache="texts") >= 3
    assert value(found, "cds_build_info", knowledge=knowledge.version, digest=knowledge.digest, version="0.1.0") == 1


def test_a_second_look_counts_nothing_twice(fresh, services):
    body = patient_view("va-01", put_in_prefetch(example("VA-01", "mcode")[1], "va-01", services))
    fresh.post(URL, json=body)

    assert metrics(fresh) == metrics(fresh)


def test_counting_holds_on_to_no_application_that_is_gone(tmp_path):
    app = create_app(site=site(tmp_path))
    known = weakref.ref(app.extensions["watch"].metrics)
    assert app.test_client().post(URL, json={}).status_code == 400
    app.extensions["store"].close()
    del app

    until = time.monotonic() + 10  # what counts may be at it this very moment
    while known() is not None and time.monotonic() < until:
        time.sleep(0.1)
        gc.collect()
    assert known() is None


def test_refused_tokens_are_counted_by_a_fixed_word(tmp_path):
    client = create_app(site=site(tmp_path, with_callers=True)).test_client()
    for bearer in (
        "",
        f"Bearer {CANARY}",
        f"Bearer {token(iss=f'https://{CANARY}.example')}",
        f"Bearer {token(exp=1)}",
    ):
        assert client.get("/cds-services", headers={"Authorization": bearer}).status_code == 401
    found = metrics(client)

    refused = {
        dict(labels)["reason"]: number for (name, *labels), number in found.items() if name == "cds_refusals_total"
    }
    assert refused == {"no-token": 1, "malformed": 1, "issuer": 1, "audience": 1}
    assert CANARY not in str(found)


def test_a_store_that_is_down_is_counted(tmp_path):
    client = create_app(site=site(tmp_path, database=down(tmp_path))).test_client()
    client.post(f"{URL}/feedback", json={"feedback": [FEEDBACK]})
    found = metrics(client)

    assert value(found, "cds_step_seconds_count", step="store", outcome="failed") == 1
    assert value(found, "cds_refusals_total", reason="transient") == 1
    assert not [sample for sample in found if sample[0] == "cds_feedback_total"]


@pytest.mark.parametrize("style", STYLES)
def test_no_label_tells_of_a_patient(fresh, services, style):
    """Every label of every patient, whatever was sent, is a word that this program or its knowledge brings."""
    knowledge = load()
    for patient in expected_patients():
        ident, resources = example(patient, style)
        body = patient_view(ident, put_in_prefetch(resources, ident, services))
        fresh.post(URL, json=body, headers={"X-Request-Id": CANARY, "User-Agent": CANARY, "traceparent": CANARY})
    fresh.open(f"/{CANARY}", method="GET")
    fresh.open(f"/cds-services/{CANARY}", method="POST", json={"a": CANARY})
    fresh.open("/cds-services", method="PROPFIND", query_string={"q": CANARY})
    found = metrics(fresh)

    allowed = {
        "service": {hook.service for hook in HOOKS} | {"", "cds-services"},
        "route": {"call", "feedback", "discovery", "openapi", "other"},
        "section": {section.id for section in knowledge.sections},
        "fact": set(knowledge.facts),
        "reason": REASONS | {"not-found", "not-supported"},
        "cache": {"records", "contents", "codes", "words", "advice", "texts"},
        "step": {"store", "fetch", "query"},
        "status": {"2xx", "4xx", "supported", "differs", "needs-data"},
        "outcome": {"ok", "hit", "miss"},
        "le": None,
        "knowledge": {knowledge.version},
        "digest": {knowledge.digest},
        "version": {"0.1.0"},
    }
    for _, *labels in found:
        for name, word in labels:
            assert allowed[name] is None or word in allowed[name], (name, word)
    assert CANARY not in str(found)
