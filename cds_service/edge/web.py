"""The service over HTTP: routes around `respond` and the store, errors that say what to do. Logs no patient."""

import logging
from dataclasses import replace
from pathlib import Path

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from cds_service.edge.clock import today
from cds_service.edge.fetch import Door
from cds_service.edge.outcome import outcome
from cds_service.edge.recorder import Recorder
from cds_service.edge.settings import Settings, settings
from cds_service.edge.store import Origin, Store
from cds_service.errors import BadRequest, NotJson, Problem, Refusal, TooLarge, UnknownService
from cds_service.hooks.catalogue import HOOKS, Hook, by_service
from cds_service.hooks.discovery import discovery
from cds_service.hooks.feedback import parse_feedback
from cds_service.hooks.listing import places
from cds_service.hooks.request import parse
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home, load
from cds_service.patient.project import warm_up

_log = logging.getLogger("cds_service")


def create_app(cards: Path | None = None, site: Settings | None = None) -> Flask:
    """The Flask application, knowledge loaded and models warm; `site` is the environment's settings unless given.

    Raises KnowledgeError when knowledge is not sound.
    """
    site = site or settings()
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = site.max_body
    knowledge = load(cards)
    schemas = home()[1]
    responder = Responder(knowledge)
    store = Store(site.database, site.feedback_comments)
    app.extensions["store"] = store
    recorder = Recorder(store, places(knowledge))
    door = Door(site)
    offered = orjson.dumps(discovery(knowledge))
    warm_up()

    @app.get("/cds-services")
    def services() -> Response:
        return _json(offered)

    @app.post("/cds-services/<service>")
    def call(service: str) -> Response:
        hook = _hook(service)
        answer = responder.respond(replace(parse(_body(), hook, schemas), today=today()), door)
        recorder.see(answer["cards"])
        return _json(orjson.dumps(answer))

    @app.post("/cds-services/<service>/feedback")
    def feedback(service: str) -> Response:
        """Answered when it is stored; the answer is the same whether it was stored before or now."""
        hook = _hook(service)
        store.keep(Origin(hook.service), parse_feedback(_body(), schemas))
        return _json(b"{}")

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        return _json(orjson.dumps(outcome(refusal)), refusal.status)

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        return _plain_failure(error, site)

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        """A fault of ours: its place goes to the log, its text (which may repeat the call) goes nowhere."""
        _log.error("internal error %s at %s", type(error).__name__, _place(error))
        problem = Problem("the service", "an internal error", "an answer; it was logged, please report it")
        failure = Refusal([problem])
        failure.issue = "exception"
        return _json(orjson.dumps(outcome(failure)), 500)

    return app


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


def _plain_failure(error: HTTPException, site: Settings) -> Response:
    """Flask's own refusals (404, 405, 413, 400 of a cut body) as OperationOutcomes."""
    status = error.code or 500
    refusal: Refusal = BadRequest([Problem("the request", error.name.lower(), _remedy(status))])
    if status == 413:
        refusal = TooLarge([Problem("the body", f"more than {site.max_body} bytes", "a smaller body")])
    elif status in (404, 405):
        refusal.issue = "not-found" if status == 404 else "not-supported"
    answer = _json(orjson.dumps(outcome(refusal)), status)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def _remedy(status: int) -> str:
    return {
        404: "GET /cds-services, POST /cds-services/{id} or POST /cds-services/{id}/feedback",
        405: "GET /cds-services, POST /cds-services/{id} or POST /cds-services/{id}/feedback",
    }.get(status, "a request as CDS Hooks 2.0 describes it")


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown"


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, content_type="application/json")
