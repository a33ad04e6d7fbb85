"""What stands around every page: which headers it carries, and who may post to it."""

from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import HTTPException

from cds_service.edge.outcome import issues
from cds_service.errors import Forbidden, Problem, Refusal

#: nothing inline, nothing from elsewhere, no frame; forms go back to this service only
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers call the origin of our own forms `null`
}


def around(pages: Blueprint, largest: int) -> None:
    """Put it around every page of a blueprint. A form may hold `largest` bytes."""

    @pages.before_request
    def enter() -> None:
        request.max_form_memory_size = largest
        if request.method == "POST":
            _only_own_forms()

    @pages.after_request
    def leave(answer: Response) -> Response:
        answer.headers.update(_HEADERS)
        return answer

    @pages.errorhandler(Refusal)
    def refused(refusal: Refusal) -> tuple[str, int]:
        return render_template("refused.html", problems=issues(refusal), status=refusal.status), refusal.status

    @pages.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[str, int]:
        status = error.code or 500
        return render_template("refused.html", problems=[error.name], status=status), status


def _only_own_forms() -> None:
    """Refuse what a page of another site posts. There are no cookies to misuse, but feedback would be counted.

    Browsers of today say where a request comes from (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/); older ones
    send Origin with every POST. A client that says neither is no browser.
    """
    site = request.headers.get("Sec-Fetch-Site", "")
    origin = request.headers.get("Origin", "")
    own = site == "same-origin" if site else not origin or urlsplit(origin).netloc == request.host
    if not own:
        raise Forbidden([Problem("the form", "sent by another site", "a form of this page")], "cross-site")
