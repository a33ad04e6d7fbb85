"""What stands around every route: who may call, which browsers may read, headers of every answer, who is told of it.

Probes and Prometheus bring no token and come from wherever they run: what may be had without one is decided here too.
"""

import random
import re
import time

from flask import Flask, Response, g, request

from cds_service.edge.audit import Done
from cds_service.edge.identity import Caller, Identity
from cds_service.edge.safety import is_loopback
from cds_service.edge.settings import Settings
from cds_service.edge.watch import Watch
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
#: what whoever can connect may ask: it gives nothing away
PROBES = ("/healthz", "/readyz")
#: what CDS_METRICS opens
METRICS = "/metrics"
#: a request id as proxies make them: 32 hexadecimal digits or a UUID. Another text might name somebody.
_REQUEST_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ROUTES = {"call": "call", "feedback": "feedback", "services": "discovery", "description": "openapi"}
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


def guard(app: Flask, site: Settings, identity: Identity | None, watch: Watch) -> None:
    """Put the guard before and after every route of `app`. Without an identity only this machine is served,
    unless the site is declared open. A route finds the caller in `g.caller`; `watch` is told of every call.
    """

    @app.before_request
    def enter() -> Response | None:
        g.started, g.caller, g.request_id = time.perf_counter(), Caller(), _request_id()
        g.begun = watch.begin(request.headers.get("traceparent", ""))
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return Response(status=204)  # a browser asks before it sends a token; nothing is done yet
        if request.path in PROBES:
            return None
        if request.path == METRICS and site.metrics != "off":
            if site.metrics == "loopback":
                _only_this_machine("a call from the machine itself, or a site that has set CDS_METRICS=open")
        elif identity is not None:
            if not (site.discovery_open and request.path in _DISCOVERY):
                g.caller = identity.caller(request.headers.get("Authorization", ""), _audiences(site, request.path))
        elif not site.open:
            _only_this_machine()
        return None

    @app.after_request
    def leave(answer: Response) -> Response:
        own = {name.lower() for name, _ in answer.headers}
        for name, value in _HEADERS.items():
            if name.lower() not in own:
                answer.headers.add(name, value)
        answer.headers["X-Request-Id"] = g.request_id
        if site.cors_origins:
            _cross_origin(answer, site)
        watch.end(g.begun, _done(answer))
        return answer


def _request_id() -> str:
    """The id by which the lines of this call are found: the proxy's, or one of our own."""
    named = request.headers.get("X-Request-Id", "")
    return (
        named if _REQUEST_ID.fullmatch(named) else f"{random.getrandbits(128):032x}"
    )  # tells calls apart, and is no secret


def _audiences(site: Settings, path: str) -> tuple[str, ...]:
    """The URLs a token for this path may be made out to, from the configured URL and never from the Host header.

    CDS Hooks 2.0 leaves it open for feedback: its own URL, or that of the service it is about.
    """
    own = site.public_url + path
    return (own, own.removesuffix("/feedback")) if own.endswith("/feedback") else (own,)


def _only_this_machine(expected: str = "a call from the machine itself, or a site that has set CDS_CALLERS") -> None:
    """Refuse what is not from this machine: another peer, a proxy's peer, a name that a browser was led to."""
    here = (
        is_loopback(request.remote_addr or "")
        and _FORWARDED.isdisjoint(request.environ)
        and is_loopback(_PORT.sub("", request.host))
    )
    if not here:
        problem = Problem("the request", "no call from this machine", expected)
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


def _done(answer: Response) -> Done:
    """How the call ended, in words that may be told."""
    hook = by_service(str((request.view_args or {}).get("service", "")))
    caller: Caller = g.caller
    route = "probe" if request.path in (*PROBES, METRICS) else _ROUTES.get(request.endpoint or "", "other")
    return Done(
        route=route,
        service=hook.service if hook else request.path.strip("/") if request.path in _DISCOVERY else "",
        method=request.method if request.method in ("GET", "HEAD", "POST", "OPTIONS") else "other",
        status=answer.status_code,
        caller=caller.issuer,
        refused=g.get("refused", ""),
        cards=g.get("cards"),
        seconds=time.perf_counter() - g.started,
    )
