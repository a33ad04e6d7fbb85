"""What is told of the work while it goes on: to the log, to the metrics and, where the site wants it, to the traces.

All of it in words of closed sets: who watches learns nothing of a patient.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from cds_service.edge.audit import Done, audit
from cds_service.edge.metrics import Metrics
from cds_service.hooks.feedback import Entry


class Step:
    """Something that a call waits for. `outcome` is `ok` or `failed`; it fails by itself where an exception passes."""

    def __init__(self) -> None:
        self.outcome = "ok"


class Traces(Protocol):
    """Where spans go. `begin` opens that of a call, below the span of a `traceparent` where one came, `end` closes it;
    `step` is one below it.
    """

    def begin(self, parent: str) -> Any: ...
    def end(self, span: Any, done: Done) -> None: ...
    def step(self, name: str, step: Step) -> AbstractContextManager[None]: ...


class Watch:
    """Tells whoever listens. A call is begun and ended by the guard; what it waits for is a step within."""

    def __init__(self, metrics: Metrics | None = None, traces: Traces | None = None):
        self.metrics, self._traces = metrics, traces

    def begin(self, parent: str) -> Any:
        """A call has come; what is returned belongs to its end."""
        return self._traces.begin(parent) if self._traces else None

    def end(self, begun: Any, done: Done) -> None:
        """It has been answered."""
        audit(done)
        if self.metrics and done.route != "probe":
            self.metrics.time("call", (done.route, done.service, f"{done.status // 100}xx"), done.seconds)
            if done.refused:
                self.metrics.count("refusals", done.refused)
        if begun is not None and self._traces:
            self._traces.end(begun, done)

    def begin_counting(self) -> None:
        """Forget what was noticed so far: it was no call."""
        if self.metrics:
            self.metrics.begin()

    def answer(self, service: str, answer: Mapping[str, Any]) -> None:
        """Cards, or why there is none, go out."""
        if self.metrics:
            self.metrics.answer(service, answer)

    def feedback(self, entries: Iterable[Entry]) -> None:
        """Feedback was stored."""
        for entry in entries if self.metrics else ():
            self.count("feedback", entry.outcome)

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Something happened that only a number tells of."""
        if self.metrics:
            self.metrics.count(name, *labels, by=by)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Watch a step, whose name is of a closed set."""
        step, started = Step(), time.perf_counter()
        try:
            with self._traces.step(name, step) if self._traces else nullcontext():
                try:
                    yield step
                except BaseException:
                    step.outcome = "failed"
                    raise
        finally:
            if self.metrics:
                self.metrics.time("step", (name, step.outcome), time.perf_counter() - started)


#: tells nobody
UNWATCHED = Watch()
