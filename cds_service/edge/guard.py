"""What stands around every route: who may call, which browsers may read, headers of every answer, the audit line."""

import re
import time

from flask import Flask, Response, g, request

from cds_service.edge.audit import audit
from cds_service.edge.identity import Caller, Identity
from cds_service.edge.safety import is_loopback
from cds_service.edge.settings import Settings
from cds_service.errors import Forbidden, Problem
from cds_service.hooks.catalogue import by_service

#: headers by which a proxy betrays that the peer on loopback is not the caller
_FORWARDED = frozenset(
    f"HTTP_{name}"
    for name in ("FORWARDED", "X_FORWARDED_FOR", "X_FORWARDED_HOST", "X_FORWARDED_PROTO", "X_REAL_IP", "VIA")
)
_PORT = re.compile(r":[0-9]*$")
#: what discovery_open opens
_DISCOVERY = ("/cds-services", "/openapi.json")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Max-Age": "600",
}


def guard(app: Flask, site: Settings, identity: Identity | None) -> None:
    """Put the guard before and after every route of `app`. Without an identity only this machine is served,
    unless the site is declared open. A route finds the caller in `g.caller`.
    """

    @app.before_request
    def enter() -> Response | None:
        g.started, g.caller = time.perf_counter(), Caller()
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return Response(status=204)  # a browser asks before it sends a token; nothing is done yet
        if identity is not None:
            if not (site.discovery_open and request.path in _DISCOVERY):
                g.caller = identity.caller(request.headers.get("Authorization", ""), _audiences(site, request.path))
        elif not site.open:
            _only_this_machine()
        return None

    @app.after_request
    def leave(answer: Response) -> Response:
        answer.headers.extend({name: value for name, value in _HEADERS.items() if name not in answer.headers})
        if site.cors_origins:
            _cross_origin(answer, site)
        _write_audit(answer)
        return answer


def _audiences(site: Settings, path: str) -> tuple[str, ...]:
    """The URLs a token for this path may be made out to, from the configured URL and never from the Host header.

    CDS Hooks 2.0 leaves it open for feedback: its own URL, or that of the service it is about.
    """
    own = site.public_url + path
    return (own, own.removesuffix("/feedback")) if own.endswith("/feedback") else (own,)


def _only_this_machine() -> None:
    """Refuse what is not from this machine: another peer, a proxy's peer, a name that a browser was led to."""
    here = (
        is_loopback(request.remote_addr or "")
        and _FORWARDED.isdisjoint(request.environ)
        and is_loopback(_PORT.sub("", request.host))
    )
    if not here:
        expected = "a call from the machine itself, or a site that has set CDS_CALLERS"
        problem = Problem("the request", "no call from this machine, and no trusted callers are set", expected)
        raise Forbidden([problem], "not-loopback")


def _cross_origin(answer: Response, site: Settings) -> None:
    """Let browser clients of allowed origins read the answer, errors too (CDS Hooks 2.0, "Cross-Origin Resource
    Sharing"). Credentials mode is never allowed: tokens travel in a header, cookies do not exist here.
    """
    answer.vary.add("Origin")
    origin = request.headers.get("Origin", "")
    if origin not in site.cors_origins:
        return
    answer.headers["Access-Control-Allow-Origin"] = origin
    if request.method == "OPTIONS":
        answer.headers.update(_PREFLIGHT)


def _write_audit(answer: Response) -> None:
    hook = by_service(str((request.view_args or {}).get("service", "")))
    caller: Caller = g.caller
    audit(
        service=hook.service if hook else request.path.strip("/") if request.path in _DISCOVERY else "",
        method=request.method if request.method in ("GET", "HEAD", "POST", "OPTIONS") else "other",
        status=answer.status_code,
        issuer=caller.issuer,
        refused=g.get("refused", ""),
        cards=g.get("cards"),
        ms=(time.perf_counter() - g.started) * 1000,
    )
