"""Counts and times for Prometheus. Labels are closed sets of words: never a patient, a user, a caller or a path.

A call adds to plain numbers in memory; a thread carries them over to the instruments about once a second, so that equal
cards of many calls are counted at once. Under several workers the instruments are files in a folder that all share
(`PROMETHEUS_MULTIPROC_DIR`, which gunicorn_conf.py sets), and whichever worker is asked answers for all.
"""

import atexit
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import _CacheInfo
from typing import Any

import prometheus_client as prometheus
from prometheus_client import values
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from cds_service.hooks.listing import EXTENSION, Place
from cds_service.hooks.respond import fixed
from cds_service.knowledge.knowledge import Knowledge

CONTENT_TYPE = prometheus.exposition.CONTENT_TYPE_PLAIN_0_0_4
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: seconds for which counts of a call may wait in memory
_PAUSE = 1.0
#: how much of a card's id is the imprint of what it lists (hooks/listing.py)
_IMPRINT = 18
_COUNTERS = {
    "cards": ("Cards answered with, by service.", ("service",)),
    "options": ("Options on these cards, by section and status.", ("section", "status")),
    "unknown_facts": ("Facts that were unknown where options were listed.", ("fact",)),
    "no_card": ("Answers without a card, by the fixed words of the reason.", ("reason",)),
    "refusals": ("Calls refused, by a fixed word.", ("reason",)),
    "feedback": ("Entries of feedback stored, those sent again included.", ("outcome",)),
    "cache_lookups": ("Lookups in the caches of texts and judgements.", ("cache", "outcome")),
    "listings_dropped": ("Listings of cards that could not be stored.", ()),
}
_TIMES = {
    "call": ("Time of a call, by route, service and class of status.", ("route", "service", "status")),
    "step": ("Time of what a call waits for: the store, FHIR servers.", ("step", "outcome")),
}

_seat = ""
_shared = False


def take_seat(name: str) -> None:
    """From now on this process counts in the files of `name`, going on where the last process did that sat there.

    Seats are handed on, so that workers which come and go leave no files behind. No two living processes may share one.
    """
    global _seat
    _seat = name


def leave_seat(name: str) -> None:
    """The process that sat there has ended: what is true of living processes only is no more."""
    if FOLDER in os.environ:
        mark_process_dead(name)  # type: ignore[no-untyped-call]


def _share() -> None:
    """Where several processes count together, make instruments that are files of the process's seat; once."""
    global _shared
    if FOLDER in os.environ and not _shared:
        # the way that prometheus_client's README shows for servers with numbered workers
        values.ValueClass = values.MultiProcessValue(lambda: _seat or str(os.getpid()))  # type: ignore[no-untyped-call]
        _shared = True
    prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The instruments of one application. `stands` tells the section of an option, `caches` how each cache fares."""

    def __init__(
        self,
        knowledge: Knowledge,
        version: str,
        stands: Mapping[str, Place],
        caches: Mapping[str, Callable[[], _CacheInfo]],
    ):
        _share()
        self._stands, self._caches = stands, caches
        self._build = prometheus.CollectorRegistry()
        self._build.register(_Build({"version": version, "knowledge": knowledge.version, "digest": knowledge.digest}))
        self._registry = prometheus.CollectorRegistry()
        self._counters = {
            name: prometheus.Counter(f"cds_{name}", says, labels, registry=self._registry)
            for name, (says, labels) in _COUNTERS.items()
        }
        self._times = {
            name: prometheus.Histogram(f"cds_{name}_seconds", says, labels, registry=self._registry, buckets=_SECONDS)
            for name, (says, labels) in _TIMES.items()
        }
        self._entries = prometheus.Gauge(
            "cds_cache_entries", "Entries of a cache.", ["cache"], registry=self._registry, multiprocess_mode="livesum"
        )
        self._lock, self._flushing = threading.Lock(), threading.Lock()
        self._woken = threading.Event()
        self._process = 0
        self._seen: Counter[tuple[str, ...]] = Counter()
        self._start_anew()

    # ADDING UP

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[(name, *labels)] += by
        self._wake()

    def time(self, name: str, labels: tuple[str, ...], seconds: float) -> None:
        """Note how long something took."""
        with self._lock:
            self._waiting.append((name, labels, seconds))
        self._wake()

    def answer(self, service: str, answer: Mapping[str, Any]) -> None:
        """Count what an answer says: cards, options by status, unknown facts, why there is no card."""
        cards = answer["cards"]
        told = answer.get("extension", {}).get(EXTENSION, {})
        with self._lock:
            counts = self._counts
            counts["cards", service] += len(cards)
            for card in cards:
                extension = card["extension"][EXTENSION]
                mark = card["uuid"][:_IMPRINT]
                counts["listing", mark] += 1
                if mark not in self._listings:
                    self._listings[mark] = self._listing(extension["options"])
                for fact in extension.get("facts", ()):
                    if fact["value"] == "unknown":
                        counts["unknown_facts", fact["fact"]] += 1
            if "noCard" in told:
                counts["no_card", fixed(told["noCard"]["reason"])] += 1

    def _listing(self, options: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
        """How often each status stands in each section; the same for every card with this imprint."""
        return Counter((self._stands[one["option"]].section, one["status"]) for one in options)

    # CARRYING OVER

    def text(self) -> bytes:
        """Everything that was counted, by all workers, in the text format of Prometheus."""
        self.flush()
        registry = self._registry
        if FOLDER in os.environ:
            registry = prometheus.CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return prometheus.generate_latest(self._build) + prometheus.generate_latest(registry)

    def flush(self) -> None:
        """Carry over what was added up so far."""
        with self._flushing:
            with self._lock:
                counts, listings, waiting = self._counts, self._listings, self._waiting
                self._start_anew()
            for mark, rows in listings.items():
                for row, number in rows.items():
                    counts["options", *row] += number * counts["listing", mark]
            self._of_caches(counts)
            for (name, *labels), number in counts.items():
                if name != "listing" and number:
                    counter = self._counters[name]
                    (counter.labels(*labels) if labels else counter).inc(number)
            for name, words, seconds in waiting:
                self._times[name].labels(*words).observe(seconds)

    def begin(self) -> None:
        """Forget what the caches have seen so far: it was no call."""
        self._of_caches(Counter())

    def _of_caches(self, counts: Counter[tuple[str, ...]]) -> None:
        """What the caches count themselves, as far as it is new."""
        known: Counter[tuple[str, ...]] = Counter()
        for name, told in self._caches.items():
            info = told()
            known["cache_lookups", name, "hit"], known["cache_lookups", name, "miss"] = info.hits, info.misses
            self._entries.labels(name).set(info.currsize)
        counts.update(known - self._seen)
        self._seen = known

    def _start_anew(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._listings: dict[str, Counter[tuple[str, str]]] = {}
        self._waiting: list[tuple[str, tuple[str, ...], float]] = []

    def _wake(self) -> None:
        """See to it that what was added is carried over soon, by a thread of this very process."""
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    self._process = os.getpid()
                    known = weakref.ref(self)  # thread and exit hold on to no application that is gone
                    threading.Thread(
                        target=_keep_flushing, args=(known, self._woken), name="metrics", daemon=True
                    ).start()
                    atexit.register(_flush, known)
        if not self._woken.is_set():
            self._woken.set()


def _keep_flushing(known: "weakref.ref[Metrics]", woken: threading.Event) -> None:
    while True:
        woken.wait()
        time.sleep(_PAUSE)
        woken.clear()
        _flush(known)


def _flush(known: "weakref.ref[Metrics]") -> None:
    metrics = known()
    if metrics is not None:
        metrics.flush()


class _Build(Collector):
    """Which program and which knowledge answer."""

    def __init__(self, told: dict[str, str]):
        self._told = told

    def collect(self) -> Iterator[Metric]:
        """The one metric."""
        yield InfoMetricFamily("cds_build", "The program and the knowledge that answer.", value=self._told)
