"""Spans of OpenTelemetry: what a call waits for, below the call, and nothing of anybody in them."""

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fhir_server import FhirServer, status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from servers import Gunicorn, when
from support import URL, example, patient_view
from tokens import EC, ISSUER, PUBLIC_URL, jwks, token

from cds_service.edge.settings import Settings, settings
from cds_service.edge.web import create_app
from cds_service.errors import ConfigurationError

PATIENT, RECORD = example("VA-01", "mcode")
CANARY = "Canary-4711"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Kept(InMemorySpanExporter):
    """Keeps spans, and the last one made is the one in use."""

    last = None

    def __init__(self):
        super().__init__()
        Kept.last = self


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Spans go to memory, soon."""
    monkeypatch.setattr(Kept, "last", None)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setattr("cds_service.edge.tracing.OTLPSpanExporter", Kept)


def spans(calls):
    """The spans of so many calls; what stands below a call ends before it."""

    def ended():
        return [span for span in Kept.last.get_finished_spans() if span.kind is SpanKind.SERVER] if Kept.last else []

    when(lambda: len(ended()) >= calls)
    return Kept.last.get_finished_spans()


def client_of(tmp_path, **more):
    return create_app(site=Settings(database=f"sqlite:///{tmp_path}/store.db", otel=True, **more)).test_client()


def told(span):
    """Everything that a span would send, as text."""
    return span.to_json()


def test_a_call_is_a_span_and_what_it_waits_for_stands_below(tmp_path):
    with FhirServer(RECORD) as fhir:
        client = client_of(tmp_path, fhir_servers=[{"base": fhir.base, "private": True, "http": True}])
        body = patient_view(PATIENT, None) | {
            "fhirServer": fhir.base,
            "fhirAuthorization": {
                "access_token": fhir.token,
                "token_type": "Bearer",
                "expires_in": 300,
                "scope": "patient/*.read",
                "subject": "cds-service",
            },
        }
        answer = client.post(URL, json=body, headers={"traceparent": PARENT})
        found = spans(1)

    assert len(answer.get_json()["cards"]) == 3
    call = next(span for span in found if span.name == "call")
    fetch = next(span for span in found if span.name == "fetch")
    queries = [span for span in found if span.name == "query"]
    assert call.kind is SpanKind.SERVER
    assert dict(call.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "cds.service": URL.rpartition("/")[2],
        "cds.cards": 3,
    }
    assert format(call.context.trace_id, "032x") == PARENT.split("-")[1]
    assert fetch.parent.span_id == call.context.span_id
    assert len(queries) == len({one.target for one in fhir.asked}) > 5
    assert {span.parent.span_id for span in queries} == {fetch.context.span_id}


def test_what_failed_is_marked_and_says_nothing_more(tmp_path):
    with FhirServer(RECORD) as fhir:
        fhir.faults["Observation"] = status(500)
        client = client_of(tmp_path, fhir_servers=[{"base": fhir.base, "private": True, "http": True, "open": True}])
        fhir.token = ""
        client.post(URL, json=patient_view(PATIENT, None) | {"fhirServer": fhir.base})
        found = spans(1)
    failed = [span for span in found if span.status.status_code is StatusCode.ERROR]

    assert {span.name for span in failed} == {"fetch", "query"}
    assert all(not span.status.description and not span.events for span in found)


def test_a_token_costs_a_step_in_the_store(tmp_path):
    path = tmp_path / "callers.json"
    path.write_text(json.dumps({"callers": [{"issuer": ISSUER, "jwks": jwks(EC)}]}), encoding="utf-8")
    client = client_of(tmp_path, callers=path, public_url=PUBLIC_URL)
    now = int(time.time())
    good = token(aud=f"{PUBLIC_URL}/cds-services", iat=now, exp=now + 300)
    headers = {"Authorization": f"Bearer {good}"}

    assert client.get("/cds-services", headers=headers).status_code == 200
    store, call = spans(1)
    assert (store.name, call.name) == ("store", "discovery")
    assert store.parent.span_id == call.context.span_id


def test_nothing_of_a_call_is_in_any_span(tmp_path, monkeypatch):
    """A canary in every place where a call may bring something."""
    client = client_of(tmp_path)
    monkeypatch.setattr(client.application.extensions["store"], "keep", lambda *_: 1 / 0)
    patient = {"resourceType": "Patient", "id": CANARY, "name": [{"text": CANARY}], "gender": "female"}
    condition = {"resourceType": "Condition", "id": CANARY, "code": {"text": CANARY}}
    conditions = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": condition}]}
    body = patient_view(CANARY, {"patient": patient, "conditions": conditions})
    body |= {"fhirServer": f"https://{CANARY}.example", "fhirAuthorization": {"access_token": CANARY}}
    everywhere = {
        "traceparent": PARENT,
        "tracestate": f"vendor={CANARY}",
        "baggage": f"patient={CANARY}",
        "Authorization": f"Bearer {CANARY}",
        "User-Agent": CANARY,
        "X-Request-Id": CANARY,
    }
    client.post(f"{URL}?patient={CANARY}", json=body, headers=everywhere)
    client.post(f"/cds-services/{CANARY}", json=body, headers=everywhere)
    client.post(URL, data=CANARY, headers={**everywhere, "Content-Type": "application/json"})
    client.open(f"/{CANARY}?{CANARY}", method=CANARY, headers=everywhere)
    entry = {"card": CANARY, "outcome": "overridden", "outcomeTimestamp": "2026-01-02T03:04:05Z"}
    client.post(f"{URL}/feedback", json={"feedback": [entry]}, headers=everywhere)
    found = spans(5)

    assert len([span for span in found if span.kind is SpanKind.SERVER]) == 5
    assert not [span for span in found if CANARY.lower() in told(span).lower()]
    assert all(not span.events for span in found)


def test_a_traceparent_that_is_none_begins_a_trace(tmp_path):
    client_of(tmp_path).get("/cds-services", headers={"traceparent": CANARY})

    assert spans(1)[0].parent is None


def test_without_the_setting_nothing_is_imported():
    asked = "import cds_service.edge.start, sys; print([name for name in sys.modules if 'opentelemetry' in name])"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


def test_with_the_setting_and_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("cds_service.edge.settings.find_spec", lambda name: None)
    monkeypatch.setenv("CDS_OTEL", "true")

    with pytest.raises(ConfigurationError, match=r"CDS_OTEL.*cds-service\[otel\]"):
        settings()


class Collector(ThreadingHTTPServer):
    """Takes spans in over OTLP, as a collector does."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Takes)
        self.spans = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Takes(BaseHTTPRequestHandler):
    def do_POST(self):
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in sent.resource_spans:
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_workers_that_were_forked_send_their_spans(tmp_path):
    collector = Collector()
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
    try:
        with Gunicorn(
            tmp_path,
            CDS_OTEL="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_BSP_SCHEDULE_DELAY="60000",
            OTEL_EXPORTER_OTLP_COMPRESSION="none",
        ) as server:
            assert {server.call() for _ in range(20)} == {200}
        # what was not sent yet goes out when a worker ends
        assert [span.name for span in collector.spans].count("call") == 20
    finally:
        collector.shutdown()
        collector.server_close()
