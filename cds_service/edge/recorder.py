"""Tells the store what cards list, each listing once, off the way of the answer: a store that is down costs no card."""

import atexit
import os
import queue
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from cds_service.edge.store import Store
from cds_service.edge.watch import UNWATCHED, Watch
from cds_service.errors import Unavailable
from cds_service.hooks.listing import Listing, Place, imprint_of, listing

_KNOWN_MOST, _WAITING_MOST, _BATCH = 8192, 256, 64


class Recorder:
    """Hands the listings of cards to a thread that writes them. What could not be written is counted in `dropped` and
    handed over again when such a card is next shown; `watch` is told of each.
    """

    def __init__(self, store: Store, stands: Mapping[str, Place], watch: Watch = UNWATCHED):
        self.dropped = 0
        self._watch = watch
        self._store = store
        self._stands = stands
        self._lock = threading.Lock()
        self._start_anew()

    def see(self, cards: Iterable[Mapping[str, Any]]) -> None:
        """Take note of cards that are shown. Costs a look into a table, and no waiting."""
        forked = self._process != os.getpid()
        for card in cards:
            mark = imprint_of(card["uuid"])
            if mark not in self._known or forked:
                self._hand_over(mark, listing(card, self._stands))

    def flush(self, seconds: float = 2.0) -> None:
        """Wait until what was handed over is written or dropped, at most so long."""
        done = threading.Event()
        if self._thread is not None and self._process == os.getpid():
            with suppress(queue.Full):
                self._waiting.put(done, timeout=seconds)
                done.wait(seconds)

    def _start_anew(self) -> None:
        self._known: dict[str, None] = {}
        self._waiting: queue.Queue[Listing | threading.Event] = queue.Queue(_WAITING_MOST)
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def _hand_over(self, mark: str, seen: Listing) -> None:
        with self._lock:
            if self._process != os.getpid():
                self._start_anew()  # threads do not survive a fork
            if self._thread is None:
                atexit.register(self.flush)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
                self._thread.start()
            try:
                self._waiting.put_nowait(seen)
            except queue.Full:
                self._drop(1)
                return
            while len(self._known) >= _KNOWN_MOST:
                self._known.pop(next(iter(self._known)))
            self._known[mark] = None

    def _write(self) -> None:
        while True:
            taken = [self._waiting.get()]
            while len(taken) < _BATCH and not self._waiting.empty():
                taken.append(self._waiting.get())
            seen = [one for one in taken if isinstance(one, Listing)]
            try:
                self._store.remember(seen)
            except Unavailable:
                self._forget(seen)
            for one in taken:
                if isinstance(one, threading.Event):
                    one.set()

    def _forget(self, unwritten: list[Listing]) -> None:
        with self._lock:
            self._drop(len(unwritten))
            for one in unwritten:
                self._known.pop(one.imprint, None)

    def _drop(self, number: int) -> None:
        self.dropped += number
        self._watch.count("listings_dropped", by=number)
