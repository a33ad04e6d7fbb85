"""A small FHIR R4 search server with real sockets, which can be told to misbehave. Knows no code of the service.

It reads by id, searches by patient, code, category and intent, and pages its answers with `next` links. As a program:
`python tests/fhir_server.py FILE…` serves the resources of these files on loopback and prints its base URL.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlencode, urlsplit

Resource = dict[str, Any]
TOKEN = "token-of-the-tests-which-nobody-else-may-see"
BASE = "/fhir"


class Asked(NamedTuple):
    """One request: its path with the query, and its headers."""

    target: str
    headers: dict[str, str]


class FhirServer:
    """Serves resources while it is entered; `asked` is what came.

    `page` is the most matches of a page, `token` what callers must bring ('' for an open server). `faults` maps a
    resource type to what happens instead of an answer: a callable that is given the request's handler and returns
    whether it dealt with it.
    """

    def __init__(self, resources: Iterable[Resource] = (), page: int = 50, token: str = TOKEN):
        self.resources = list(resources)
        self.page, self.token = page, token
        self.faults: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self.port, self.base = 0, ""

    def __enter__(self) -> Self:
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.fhir = self
        self.port = self._http.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}{BASE}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def queries(self) -> list[str]:
        """What was asked for, below the base."""
        return [one.target.removeprefix(f"{BASE}/") for one in self.asked]

    def read(self, kind: str, ident: str) -> Resource | None:
        """The resource of an id."""
        found = (one for one in self.resources if one["resourceType"] == kind and one.get("id") == ident)
        return next(found, None)

    def answer(self, query: str) -> Resource | None:
        """What the server answers to a query below its base; None for a resource that it does not keep."""
        kind, _, rest = query.partition("?")
        return self.bundle(kind, parse_qs(rest)) if rest else self.read(*kind.split("/"))

    def search(self, kind: str, query: dict[str, list[str]]) -> list[Resource]:
        """The matches of a search, in the order of the server."""
        return [one for one in self.resources if one["resourceType"] == kind and _matches(one, query)]

    def bundle(self, kind: str, query: dict[str, list[str]]) -> Resource:
        """A page of a search, with a link to the next one where there is more."""
        found = self.search(kind, query)
        begin = int(query.get("_offset", ["0"])[0])
        size = min(self.page, int(query.get("_count", [str(self.page)])[0]))
        entries = [
            {"fullUrl": f"{self.base}/{kind}/{one['id']}", "resource": one, "search": {"mode": "match"}}
            for one in found[begin : begin + size]
        ]
        links = [{"relation": "self", "url": self._url(kind, query)}]
        if begin + size < len(found):
            links.append({"relation": "next", "url": self._url(kind, {**query, "_offset": [str(begin + size)]})})
        return {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links, "entry": entries}

    def _url(self, kind: str, query: dict[str, list[str]]) -> str:
        return f"{self.base}/{kind}?{urlencode(query, doseq=True)}"


def _matches(resource: Resource, query: dict[str, list[str]]) -> bool:
    patients = {
        "/".join(holder["reference"].split("/")[-2:])
        for name in ("subject", "patient")
        if isinstance(holder := resource.get(name), dict) and isinstance(holder.get("reference"), str)
    }
    wanted = {name: set(values[0].split(",")) for name, values in query.items()}
    if not {one if "/" in one else f"Patient/{one}" for one in wanted.get("patient", ())} & patients:
        return False
    if "intent" in wanted and resource.get("intent") not in wanted["intent"]:
        return False
    return all(_tokens(resource.get(name)) & wanted[name] for name in ("code", "category") if name in wanted)


def _tokens(value: Any) -> set[str]:
    """Every way to ask for a CodeableConcept, or for one of several."""
    concepts = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
    codings = [coding for concept in concepts for coding in concept.get("coding", ()) if "code" in coding]
    return {coding["code"] for coding in codings} | {f"{one.get('system', '')}|{one['code']}" for one in codings}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    fhir: FhirServer


class _Handler(BaseHTTPRequestHandler):
    server: _Http

    def do_GET(self) -> None:
        fhir = self.server.fhir
        fhir.asked.append(Asked(self.path, dict(self.headers.items())))
        with suppress(ConnectionError):
            self._answer(fhir)

    def _answer(self, fhir: FhirServer) -> None:
        parts = urlsplit(self.path)
        kind, _, ident = parts.path.removeprefix(f"{BASE}/").partition("/")
        fault = fhir.faults.get(kind)
        if fault and fault(self):
            return
        if fhir.token and self.headers.get("Authorization") != f"Bearer {fhir.token}":
            self.send(401, _outcome("login"))
        elif not parts.path.startswith(f"{BASE}/") or self.headers.get("Accept") != "application/fhir+json":
            self.send(404, _outcome("not-found"))
        elif ident:
            found = fhir.read(kind, ident)
            self.send(200 if found else 404, found or _outcome("not-found"))
        else:
            self.send(200, fhir.bundle(kind, parse_qs(parts.query)))

    def send(self, status: int, body: Any, *headers: tuple[str, str]) -> None:
        """A whole answer."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/fhir+json"), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def raw(self, content: bytes) -> None:
        """Bytes as they are, status line and all."""
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


Fault = Callable[[_Handler], bool]


def _outcome(code: str) -> Resource:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code, "diagnostics": code}]}


# FAULTS


def status(code: int) -> Fault:
    """Answers with this status and an OperationOutcome."""

    def fault(handler: _Handler) -> bool:
        handler.send(code, _outcome("exception"))
        return True

    return fault


def body(content: Any, *headers: tuple[str, str]) -> Fault:
    """Answers 200 with this body."""

    def fault(handler: _Handler) -> bool:
        handler.send(200, content, *headers)
        return True

    return fault


def raw(*pieces: bytes, pause: float = 0.0) -> Fault:
    """Writes these bytes, with a pause after each piece, and closes."""

    def fault(handler: _Handler) -> bool:
        for piece in pieces:
            handler.raw(piece)
            time.sleep(pause)
        handler.close_connection = True
        return True

    return fault


def late(seconds: float) -> Fault:
    """Answers as usual, but later."""

    def fault(handler: _Handler) -> bool:
        time.sleep(seconds)
        return False

    return fault


def resources_of(paths: Iterable[Path]) -> list[Resource]:
    """The resources of files: single ones, and those of Bundles; the first of an id."""
    found: dict[tuple[str, str], Resource] = {}
    for path in paths:
        content = json.loads(path.read_bytes())
        entries = [one.get("resource", {}) for one in content.get("entry", ())]
        for one in entries if content.get("resourceType") == "Bundle" else [content]:
            if "id" in one and "resourceType" in one:
                found.setdefault((one["resourceType"], one["id"]), one)
    return list(found.values())


if __name__ == "__main__":
    with FhirServer(resources_of(Path(name) for name in sys.argv[1:]), page=5) as running:
        print(running.base, flush=True)
        threading.Event().wait()
