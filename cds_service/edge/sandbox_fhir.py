"""A read-only FHIR R4 server over the invented patients, at /sandbox/fhir: metadata, read, search, paging.

For the CDS Hooks Sandbox, SMART clients and our own fetching to be tried on one machine. Only invented patients are on
it, so every origin may read it. It is not mounted unless the sandbox is switched on.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

import orjson
from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from cds_service.edge.invented import Invented
from cds_service.edge.outcome import outcome
from cds_service.errors import BadRequest, Problem, Refusal
from cds_service.synthetic.record import record
from cds_service.synthetic.search import SEARCHED, Pairs, Shelf, capabilities, understand

PATH = "/sandbox/fhir"
_TYPES = ("json", "application/json", "application/fhir+json", "application/json+fhir", "text/json")
_FORM = "application/x-www-form-urlencoded"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_CROSS_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "accept, authorization, content-type, prefer",
    "Access-Control-Expose-Headers": "Allow",
}


class _NotFound(Refusal):
    status, issue = 404, "not-found"


class _NotAllowed(Refusal):
    status, issue = 405, "not-supported"


class _NotAcceptable(Refusal):
    status, issue = 406, "not-supported"


def sandbox_fhir(invented: Invented, patients: int = 0, seed: int = 1) -> Blueprint:
    """The server of the hand-written stories, and of `patients` more that are invented from a seed."""
    routes = Blueprint("sandbox_fhir", __name__, url_prefix=PATH)
    stories = [(story, 2) for story in invented.stories] + list(invented.population.stories(patients, seed))
    shelf = Shelf(record(story, invented.vocabulary, visits) for story, visits in stories)
    month = invented.vocabulary.phrases["reference_month"]

    @routes.get("/metadata")
    def metadata() -> Response:
        _acceptable(request.args.getlist("_format"))
        return _json(capabilities(_base(), version("cds-service"), month))

    @routes.get("/<kind>/<ident>")
    def read(kind: str, ident: str) -> Response:
        _acceptable(request.args.getlist("_format"))
        found = shelf.read(_known(kind), ident)
        if found is None:
            raise _NotFound([Problem("the path", "an id that is not here", f"an id of GET {PATH}/{kind}")])
        return _json(found)

    @routes.get("/<kind>")
    def search(kind: str) -> Response:
        return _searched(shelf, kind, list(request.args.items(multi=True)))

    @routes.post("/<kind>/_search")
    def search_by_post(kind: str) -> Response:
        """Parameters of the body and of the URL mean the same (https://hl7.org/fhir/R4/http.html#search)."""
        if request.mimetype not in (_FORM, "") or (request.content_length and not request.mimetype):
            raise BadRequest([Problem("the header Content-Type", "another media type", _FORM)])
        return _searched(shelf, kind, [*request.args.items(multi=True), *request.form.items(multi=True)])

    @routes.route("/", methods=_METHODS, defaults={"rest": ""})
    @routes.route("/<path:rest>", methods=_METHODS)
    def anything_else(rest: str) -> NoReturn:
        _refuse(rest)

    @routes.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        return _json(outcome(refusal), refusal.status)

    @routes.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        refusal = BadRequest([Problem("the request", error.name.lower(), "a read or a search of FHIR R4")])
        return _json(outcome(refusal), error.code or 500)

    @routes.after_request
    def for_browsers(answer: Response) -> Response:
        answer.headers.update(_CROSS_ORIGIN)
        return answer

    return routes


def _searched(shelf: Shelf, kind: str, pairs: Pairs) -> Response:
    _acceptable([value for name, value in pairs if name == "_format"])
    asked = understand(_known(kind), pairs)
    if asked.ignored and "handling=strict" in request.headers.get("Prefer", "").replace(" ", "").split(","):
        known = ", ".join(("_id", *SEARCHED[kind], "_count"))
        raise BadRequest([Problem("a search parameter", "one that this server does not know", f"one of {known}")])
    return _json(shelf.search(asked, _base()))


def _acceptable(formats: Sequence[str]) -> None:
    """JSON is all there is: `_format` counts before the header Accept, which many clients fill carelessly."""
    wanted = [one.partition(";")[0].strip() for one in formats]
    if any(one not in _TYPES for one in wanted):
        raise _NotAcceptable([Problem("the parameter _format", "another format", "json")])


def _known(kind: str) -> str:
    if kind not in SEARCHED:
        raise _NotFound([Problem("the path", "a resource type that is not here", f"one of {', '.join(SEARCHED)}")])
    return kind


def _refuse(rest: str) -> NoReturn:
    """What is no path of this server is not found; what is one is there to be read only."""
    kind, _, below = rest.partition("/")
    if rest == "metadata" or (kind in SEARCHED and "/" not in below):
        raise _NotAllowed(
            [Problem("the method", "another one", "GET, or POST for _search: nothing here can be changed")]
        )
    raise _NotFound([Problem("the path", "nothing here", f"GET {PATH}/metadata, which lists what there is")])


def _base() -> str:
    """The URL under which this server was asked, so that its links lead back to it."""
    return f"{request.root_url.rstrip('/')}{PATH}"


def _json(body: Any, status: int = 200) -> Response:
    answer = Response(orjson.dumps(body), status, content_type="application/fhir+json")
    if status == 405:
        answer.headers["Allow"] = "OPTIONS, POST" if request.path.endswith("/_search") else "GET, HEAD, OPTIONS"
    return answer
