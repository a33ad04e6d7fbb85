"""The service over HTTP: its routes around `respond` and the store. What stands around them: guard.py, outcome.py."""

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import orjson
from flask import Flask, Response, g, request

from cds_service.edge.callers import Callers, read_callers
from cds_service.edge.clock import today
from cds_service.edge.fetch import Door
from cds_service.edge.guard import guard
from cds_service.edge.health import add_health
from cds_service.edge.identity import Identity
from cds_service.edge.invented import invented
from cds_service.edge.metrics import Metrics
from cds_service.edge.openapi import openapi
from cds_service.edge.outcome import answer_refusals
from cds_service.edge.recorder import Recorder
from cds_service.edge.safety import unsafe
from cds_service.edge.sandbox_fhir import sandbox_fhir
from cds_service.edge.settings import Settings, settings
from cds_service.edge.store import Origin, Store
from cds_service.edge.watch import Traces, Watch
from cds_service.errors import ConfigurationError, NotJson, Problem, UnknownService
from cds_service.hooks.catalogue import HOOKS, Hook, by_service
from cds_service.hooks.discovery import discovery
from cds_service.hooks.feedback import parse_feedback
from cds_service.hooks.listing import places
from cds_service.hooks.request import parse
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home, load
from cds_service.patient.project import warm_up


def create_app(
    cards: Path | None = None, site: Settings | None = None, clock: Callable[[], float] = time.time
) -> Flask:
    """The Flask application, knowledge loaded and models warm; `site` is the environment's settings unless given.

    `clock` gives seconds since 1970. Raises KnowledgeError when knowledge is not sound and ConfigurationError when the
    settings are not, or not safe.
    """
    site = site or settings()
    schemas = home()[1]
    callers = _callers(site, schemas)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = site.max_body
    app.url_map.merge_slashes = False  # another path is another path, not a redirect
    knowledge = load(cards or site.cards)
    stands = places(knowledge)
    responder = Responder(knowledge, site.remember)
    metrics = Metrics(knowledge, version("cds-service"), stands, responder.caches()) if site.metrics != "off" else None
    watch = Watch(metrics, _traces(site))
    store = Store(site.database, site.feedback_comments, watch=watch)
    recorder = Recorder(store, stands, watch)
    door = Door(site, watch)
    app.extensions |= {"store": store, "watch": watch, "responder": responder}
    answer_refusals(app)
    guard(app, site, Identity(callers, site.token_seconds, store, clock) if callers else None, watch)
    add_health(app, store, metrics, needs_store=bool(callers))
    offered = orjson.dumps(discovery(knowledge))
    described = orjson.dumps(openapi(schemas, version("cds-service"), site.public_url, bool(callers), bool(metrics)))
    warm_up()
    if site.sandbox:
        told = invented(knowledge)
        app.register_blueprint(sandbox_fhir(told, site.sandbox_patients))
        if not callers:  # a browser brings no token
            from cds_service.edge.pages.pages import add_pages  # not loaded where no pages are offered
            from cds_service.edge.pages.samples import samples
            from cds_service.edge.pages.trial import Bench

            add_pages(app, knowledge, Bench(responder, samples(told), schemas, door), recorder, store)

    @app.get("/openapi.json")
    def description() -> Response:
        return _json(described)

    @app.get("/cds-services")
    def services() -> Response:
        return _json(offered)

    @app.post("/cds-services/<service>")
    def call(service: str) -> Response:
        hook = _hook(service)
        answer = responder.respond(parse(_body(), hook, schemas, today()), door)
        recorder.see(answer["cards"])
        watch.answer(hook.service, answer)
        g.cards = len(answer["cards"])
        return _json(orjson.dumps(answer))

    @app.post("/cds-services/<service>/feedback")
    def feedback(service: str) -> Response:
        """Answered when it is stored; the answer is the same whether it was stored before or now."""
        hook = _hook(service)
        entries = parse_feedback(_body(), schemas)
        store.keep(Origin(hook.service, g.caller.issuer, g.caller.tenant), entries)
        watch.feedback(entries)
        return _json(b"{}")

    return app


def _callers(site: Settings, schemas: Path) -> Callers:
    """The trusted callers of a site that is safe to serve."""
    callers = read_callers(site.callers, schemas, site.algorithms) if site.callers else {}
    problems = unsafe(site, callers)
    if problems:
        raise ConfigurationError(problems)
    return callers


def _traces(site: Settings) -> Traces | None:
    """Where spans go. OpenTelemetry is not even imported unless the site wants it."""
    if not site.otel:
        return None
    from cds_service.edge.tracing import Spans

    return Spans(version("cds-service"))


def _hook(service: str) -> Hook:
    hook = by_service(service)
    if hook is None:
        known = ", ".join(one.service for one in HOOKS)
        raise UnknownService([Problem("the path", "a service id that is not offered", f"one of {known}")])
    return hook


def _body() -> bytes:
    """The body of a call that is declared as plain JSON."""
    if request.mimetype != "application/json":
        raise NotJson([Problem("the header Content-Type", "another media type", "application/json")])
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise NotJson([Problem("the header Content-Encoding", "an encoded body", "identity")])
    return request.get_data(cache=False)


def _json(body: bytes) -> Response:
    return Response(body, content_type="application/json")
