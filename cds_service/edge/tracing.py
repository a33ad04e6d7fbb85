"""Spans for OpenTelemetry, with the extra `otel`. Where they go, and how many, its own `OTEL_…` variables say.

No instrumentation that knows URLs: a span holds words of closed sets only, no text of an error, and of what came from
outside the `traceparent` alone, which is two numbers.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cds_service.edge.audit import Done
from cds_service.edge.watch import Step

_PARENT = TraceContextTextMapPropagator()


class Spans:
    """The spans of one application. What sends them is made when first used, by the process that uses it: neither its
    thread nor its connections survive a fork.
    """

    def __init__(self, version: str):
        self._version = version
        self._making = threading.Lock()
        self._process = 0
        self._made: Tracer | None = None

    def begin(self, parent: str) -> Any:
        """Open the span of a call."""
        above = _PARENT.extract({"traceparent": parent}) if parent else context.Context()
        span = self._tracer().start_span("call", above, SpanKind.SERVER)
        return span, context.attach(trace.set_span_in_context(span, above))

    def end(self, begun: Any, done: Done) -> None:
        """Name it after what it was, and close it."""
        span, token = begun
        span.update_name(done.route)
        told = {
            "http.request.method": done.method,
            "http.response.status_code": done.status,
            "cds.service": done.service,
            "cds.refused": done.refused,
            "cds.cards": done.cards,
        }
        span.set_attributes({name: value for name, value in told.items() if value not in ("", None)})
        if done.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        context.detach(token)

    @contextmanager
    def step(self, name: str, step: Step) -> Iterator[None]:
        """A span below the one that is open; its exceptions are not written down."""
        with self._tracer().start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            finally:
                if step.outcome != "ok":
                    span.set_status(Status(StatusCode.ERROR))

    def _tracer(self) -> Tracer:
        if self._made is None or self._process != os.getpid():
            with self._making:
                if self._made is None or self._process != os.getpid():
                    self._made, self._process = self._new(), os.getpid()
        return self._made

    def _new(self) -> Tracer:
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "cds-service"}
        provider = TracerProvider(resource=Resource.create({**named, "service.version": self._version}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return provider.get_tracer("cds_service", self._version)
