"""A refusal as a FHIR OperationOutcome: what, where and what to do, never a value of the call."""

import logging
from pathlib import Path
from typing import Any

import orjson
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from cds_service.errors import BadRequest, Problem, Refusal, TooLarge, Unauthenticated, Unavailable

_log = logging.getLogger("cds_service")


def outcome(refusal: Refusal) -> dict[str, Any]:
    """The OperationOutcome of a refusal, one issue for each problem (http://hl7.org/fhir/R4/operationoutcome.html)."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": refusal.issue,
                "diagnostics": said,
                **({"expression": [problem.where]} if problem.where.startswith("$") else {}),
            }
            for problem, said in zip(refusal.problems, issues(refusal), strict=True)
        ],
    }


def issues(refusal: Refusal) -> list[str]:
    """The problems of a refusal, each in a sentence."""
    return [f"{one.where}: found {one.found}; expected {one.expected}." for one in refusal.problems]


def answer_refusals(app: Flask) -> None:
    """Make every refusal of `app`, Flask's own and faults too, an answer. Its fixed word is left in `g.refused`."""

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        g.refused = getattr(refusal, "reason", refusal.issue)
        return _answer(refusal, refusal.status)

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        status = error.code or 500
        refusal = _of_flask(error, status, app.config["MAX_CONTENT_LENGTH"])
        g.refused = refusal.issue
        answer = _answer(refusal, status)
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            answer.headers["Allow"] = ", ".join(sorted(allowed))
        return answer

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        """A fault of ours: its place goes to the log, its text (which may repeat the call) goes nowhere."""
        _log.error("internal error %s at %s", type(error).__name__, _place(error))
        failure = Refusal([Problem("the service", "an internal error", "an answer; it was logged, please report it")])
        failure.issue = g.refused = "exception"
        return _answer(failure, 500)


def _answer(refusal: Refusal, status: int) -> Response:
    answer = Response(orjson.dumps(outcome(refusal)), status, content_type="application/json")
    if isinstance(refusal, Unauthenticated):
        answer.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(refusal, Unavailable):
        answer.headers["Retry-After"] = "5"
    return answer


def _of_flask(error: HTTPException, status: int, largest: int) -> Refusal:
    """Flask's own refusals: 404, 405, 413, 400 of a cut body."""
    if status == 413:
        return TooLarge([Problem("the body", f"more than {largest} bytes", "a smaller body")])
    refusal = BadRequest([Problem("the request", error.name.lower(), _remedy(status))])
    refusal.issue = {404: "not-found", 405: "not-supported"}.get(status, refusal.issue)
    return refusal


def _remedy(status: int) -> str:
    if status in (404, 405):
        return "a path and method of GET /openapi.json"
    return "a request as CDS Hooks 2.0 describes it"


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown"
