"""The client's FHIR server as second door: what a call did not bring is asked for with the call's own token.

Only a server that the site lists is asked, only at its base URL and below, and only for as long, as much and as often
as the site allows. The token is kept nowhere, and nothing is asked after the answer has gone out (CDS Hooks 2.0,
"FHIR Resource Access").
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import quote, urljoin

import orjson

from cds_service.edge import urls
from cds_service.edge.outbound import Limits, Reach, Unreachable, get
from cds_service.edge.settings import FhirServer, Settings
from cds_service.edge.watch import UNWATCHED, Watch
from cds_service.hooks.lacking import Found, Wanted
from cds_service.hooks.request import HookCall
from cds_service.patient.pages import fault, next_link
from cds_service.patient.record import NotHad

_log = logging.getLogger("cds_service")
_BUSY = "too many calls are waiting for FHIR servers"
#: what may stand behind "Bearer" (RFC 6750, 2.1)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
#: an id of FHIR R4, and the underscore that many servers use; not one that is a step in a path
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}")


class Door:
    """Fetches for `respond`; one for a process. Called with a hook call and what it lacks, it answers within the
    deadline: the pages of every query, or why they are not to be had. `watch` is told how each went.
    """

    def __init__(self, site: Settings, watch: Watch = UNWATCHED):
        self._site, self._watch = site, watch
        self._servers = {server.base: server for server in site.fhir_servers}
        self._calls = BoundedSemaphore(site.fhir_calls)
        self._queries = ThreadPoolExecutor(site.fhir_queries, thread_name_prefix="fetch")

    def __call__(self, call: HookCall, wanted: Sequence[Wanted]) -> Mapping[str, Found]:
        """What was found, by prefetch key."""
        with self._watch.step("fetch") as step:
            found = self._found(call, wanted)
            step.outcome = "failed" if any(isinstance(one, NotHad) for one in found.values()) else "ok"
            return found

    def _found(self, call: HookCall, wanted: Sequence[Wanted]) -> Mapping[str, Found]:
        server = self._servers.get(_base(call.fhir_server))
        reason = _why_not(call, server)
        if server is None or reason:
            return {one.need.key: NotHad(reason, tried=False) for one in wanted}
        # A slow server holds the threads of its own calls only: the others go on answering what was prefetched.
        if not self._calls.acquire(blocking=False):
            return {one.need.key: NotHad(_BUSY) for one in wanted}
        try:
            return self._all(call, server, wanted)
        finally:
            self._calls.release()

    def _all(self, call: HookCall, server: FhirServer, wanted: Sequence[Wanted]) -> dict[str, Found]:
        """All queries at the same time, under one deadline."""
        until = time.monotonic() + self._site.fhir_seconds
        asked = {
            # a query belongs to what its call is watched under, in whatever thread it runs
            one.need.key: self._queries.submit(copy_context().run, self._one, call, server, one, until)
            for one in wanted
        }
        wait(asked.values(), timeout=self._site.fhir_seconds)
        found = {key: _in_time(answer) for key, answer in asked.items()}
        reasons = [f"{key} ({answer.reason})" for key, answer in found.items() if isinstance(answer, NotHad)]
        if reasons:
            _log.warning("not to be had: %s", ", ".join(reasons))
        return found

    def _one(self, call: HookCall, server: FhirServer, wanted: Wanted, until: float) -> Found:
        pages: list[Any] = []
        with self._watch.step("query") as step:
            try:
                for page in self._pages(call, server, wanted, until):
                    pages.append(page)
            except Unreachable as failed:
                step.outcome = "failed"
                # A server that keeps no such resources (404) is as good as a client that leaves the key out.
                return _asked(failed.reason, tried=bool(pages) or failed.status != 404)
            return tuple(pages)

    def _pages(self, call: HookCall, server: FhirServer, wanted: Wanted, until: float) -> Iterator[Any]:
        """The pages of one query, or those after the one that was prefetched. Raises Unreachable."""
        url = f"{server.base}/{wanted.need.query(quote(call.patient, safe=''))}"
        if wanted.onward:
            url = _follow(url, wanted.onward, server)
        before: set[str] = set()
        left = self._site.fhir_bytes
        while url:
            if url in before or len(before) == self._site.fhir_pages:
                raise Unreachable("its pages have no end")
            before.add(url)
            limits = Limits(seconds=until - time.monotonic(), bytes=left)
            body = get(url, headers=_headers(call), limits=limits, reach=Reach(server.private, server.http))
            left -= len(body)
            page = _read(body)
            if problem := fault(page, wanted.need, call.patient):
                raise Unreachable(problem)
            yield page
            onward = next_link(page)
            url = _follow(url, onward, server) if onward else ""


def _in_time(answer: Future[Found]) -> Found:
    """What a query has brought by now. One that has not begun yet never will."""
    if answer.done():
        return answer.result()
    answer.cancel()
    return _asked("it did not answer in time")


def _base(url: str) -> str:
    try:
        return urls.base(url)
    except urls.BadUrl:
        return ""


def _why_not(call: HookCall, server: FhirServer | None) -> str:
    """Why nothing is asked at all; '' when the server may be asked."""
    if server is None:
        return "fhirServer is not one that this site allows"
    if not _ID.fullmatch(call.patient):
        return "the patient's id is no id of FHIR"
    if not _TOKEN.fullmatch(call.token) and not server.open:
        return "the call brings no access token that could be used"
    return ""


def _asked(reason: str, tried: bool = True) -> NotHad:
    return NotHad(f"fhirServer was asked: {reason}", tried)


def _headers(call: HookCall) -> dict[str, str]:
    bearer = {"Authorization": f"Bearer {call.token}"} if _TOKEN.fullmatch(call.token) else {}
    return {"Accept": "application/fhir+json", **bearer}


def _follow(url: str, link: str, server: FhirServer) -> str:
    """Where a link of a page leads, as long as that is the same server."""
    try:
        there = urljoin(url, link)
    except ValueError:
        there = ""
    if link.startswith("//") or not urls.is_within(there, server.base):
        raise Unreachable("its next page is not below fhirServer")
    return there


def _read(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unreachable("its answer is not JSON") from None
