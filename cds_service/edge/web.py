"""The service over HTTP: its routes around `respond` and the store. What stands around them: guard.py, outcome.py."""

import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import orjson
from flask import Flask, Response, g, request

from cds_service.edge.callers import Callers, read_callers
from cds_service.edge.clock import today
from cds_service.edge.fetch import Door
from cds_service.edge.guard import guard
from cds_service.edge.identity import Identity
from cds_service.edge.invented import invented
from cds_service.edge.openapi import openapi
from cds_service.edge.outcome import answer_refusals
from cds_service.edge.pages.pages import add_pages
from cds_service.edge.pages.samples import samples
from cds_service.edge.pages.trial import Bench
from cds_service.edge.recorder import Recorder
from cds_service.edge.safety import unsafe
from cds_service.edge.sandbox_fhir import sandbox_fhir
from cds_service.edge.settings import Settings, settings
from cds_service.edge.store import Origin, Store
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
    store = Store(site.database, site.feedback_comments)
    app.extensions["store"] = store
    answer_refusals(app)
    guard(app, site, Identity(callers, site.token_seconds, store, clock) if callers else None)
    knowledge = load(cards)
    responder = Responder(knowledge, site.remember)
    recorder = Recorder(store, places(knowledge))
    door = Door(site)
    offered = orjson.dumps(discovery(knowledge))
    described = orjson.dumps(openapi(schemas, version("cds-service"), site.public_url, bool(callers)))
    warm_up()
    if site.sandbox:
        told = invented(knowledge)
        app.register_blueprint(sandbox_fhir(told, site.sandbox_patients))
        if not callers:  # a browser brings no token
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
        answer = responder.respond(replace(parse(_body(), hook, schemas), today=today()), door)
        recorder.see(answer["cards"])
        g.cards = len(answer["cards"])
        return _json(orjson.dumps(answer))

    @app.post("/cds-services/<service>/feedback")
    def feedback(service: str) -> Response:
        """Answered when it is stored; the answer is the same whether it was stored before or now."""
        hook = _hook(service)
        store.keep(Origin(hook.service, g.caller.issuer, g.caller.tenant), parse_feedback(_body(), schemas))
        return _json(b"{}")

    return app


def _callers(site: Settings, schemas: Path) -> Callers:
    """The trusted callers of a site that is safe to serve."""
    callers = read_callers(site.callers, schemas, site.algorithms) if site.callers else {}
    problems = unsafe(site, callers)
    if problems:
        raise ConfigurationError(problems)
    return callers


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
