"""For whoever watches over the process: is it alive, can it serve, what has it counted."""

import os
import threading
import time
from collections.abc import Callable

import orjson
from flask import Flask, Response, request

from cds_service.edge.guard import METRICS, PROBES
from cds_service.edge.metrics import CONTENT_TYPE, FOLDER, Metrics
from cds_service.edge.store import Store
from cds_service.errors import Problem, Unavailable

#: seconds for which an answer of the store holds, however many ask
_HOLDS = 1.0
_SHARED = f"gunicorn with the configuration that is shipped, or {FOLDER}"


class Reach:
    """Whether the store is to be had: asked by one caller at a time and about once a second, so that probes, which
    bring no token, cannot keep threads and connections busy.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic):
        self._store, self._clock = store, clock
        self._asking = threading.Lock()
        self._up, self._until = False, 0.0

    def is_up(self) -> bool:
        """What the store said last. Who comes while somebody else asks is given the answer before, at first: no."""
        if self._clock() >= self._until and self._asking.acquire(blocking=False):
            try:
                if self._clock() >= self._until:
                    self._up = not self._store.problem()
                    self._until = self._clock() + _HOLDS
            finally:
                self._asking.release()
        return self._up


def add_health(app: Flask, store: Store, metrics: Metrics | None, needs_store: bool) -> None:
    """Add the routes. Where the site `needs_store`, because no token passes without it, a store that is down makes the
    process not ready; elsewhere it costs feedback only, and is named.
    """
    reach = Reach(store)
    alive, ready = PROBES

    @app.get(alive)
    def health() -> Response:
        return _told(200, status="alive")

    @app.get(ready)
    def readiness() -> Response:
        """There is no application before knowledge is loaded and models are warm, so these two need no asking."""
        up = reach.is_up()
        serves = up or not needs_store
        return _told(
            200 if serves else 503,
            status="ready" if serves else "not ready",
            knowledge="loaded",
            models="warm",
            store="up" if up else "down",
        )

    if metrics is not None:

        @app.get(METRICS)
        def counted() -> Response:
            if request.environ.get("wsgi.multiprocess") and FOLDER not in os.environ:
                raise Unavailable([Problem("the metrics", "those of one worker of several", _SHARED)])
            return Response(metrics.text(), content_type=CONTENT_TYPE)


def _told(code: int, **words: str) -> Response:
    return Response(orjson.dumps(words), code, content_type="application/json")
