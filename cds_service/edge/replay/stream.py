"""A run over a stream of resources in which those of a patient stand together: none of them is written down.

A shared resource, a Medication, stands among the lines of the patients who refer to it, or right before or after them;
or before those of the first patient, and then it is there for all.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from cds_service.edge.replay.answering import Terms, answering
from cds_service.edge.replay.parts import Parts, row
from cds_service.edge.replay.plan import Plan
from cds_service.edge.replay.progress import Show
from cds_service.edge.replay.reading import MOST, Group, Placed, Tally, lines, placing, used
from cds_service.edge.replay.run import TWICE, Run, RunError
from cds_service.edge.replay.shared import Shared, keep
from cds_service.edge.replay.sources import SourceError
from cds_service.edge.replay.workers import worked
from cds_service.errors import Problem

#: how much of the stream is one piece of work; how much of the lines is sorted at once
_PIECE, _SORTED = 1024 * 1024, 32 * 1024 * 1024
_INDEX = "index.db"
#: so many of the first patients are known again at once, others when the parts are brought together
_FIRST = 10_000

Rows = list[bytes]
Item = tuple[Placed, bytes]


def replay_stream(plan: Plan, run: Run, handle: BinaryIO, show: Show) -> dict[str, Any]:
    """Make the run. Returns its description. Raises SourceError where a patient comes a second time, and WorkerDied."""
    if run.spill.exists():
        raise RunError(
            [Problem(str(run.folder), "a part of a stream that has passed", "--restart, and the whole stream")]
        )
    terms, index = plan.terms((), (), run.described()["today"]), run.spill / _INDEX
    tally = Tally()
    stream = used(lines(handle), placing(plan.answers.needs), tally)
    run.spill.mkdir(mode=0o700)
    first = _head(stream, index)
    pieces = _pieces(_once(_groups(stream, first)))
    rows = worked(partial(_answer, plan.cards, terms, index), pieces, plan.processes)
    show("Patients", _sorted_into(run.parts, rows), None)
    return run.finish(tally.lines, list(tally.told(plan.source)))


# GROUPING


def _head(stream: Iterator[Item], index: Path) -> Item | None:
    """Keep what is shared before the first patient; returns the first line of a patient."""
    first: list[Item] = []

    def shared() -> Iterator[tuple[str, bytes]]:
        for placed, line in stream:
            if not placed.shared:
                first.append((placed, line))
                return
            yield placed.owner, line

    keep(shared(), index)
    return first[0] if first else None


def _groups(stream: Iterator[Item], first: Item | None) -> Iterator[Group]:
    """The patients as they come. What is shared and stands between two patients is there for both."""
    if first is None:
        return
    gathering, between = _Gathering(first), list[tuple[str, bytes]]()
    for placed, line in stream:
        if placed.shared:
            between.append((placed.owner, line))
            continue
        same = placed.owner == gathering.patient
        gathering.shared += between
        if not same:
            yield gathering.group()
            gathering = _Gathering((placed, line), between)
        else:
            gathering.add(line)
        between = []
    gathering.shared += between
    yield gathering.group()


class _Gathering:
    """The lines of one patient as they come; none are kept beyond what is read of one."""

    def __init__(self, first: Item, shared: Iterable[tuple[str, bytes]] = ()):
        self.patient = first[0].owner
        self.shared = list(shared)
        self._lines: list[bytes] = []
        self._size = self._count = 0
        self.add(first[1])

    def add(self, line: bytes) -> None:
        """One more line."""
        self._count += 1
        self._size += len(line)
        if self._size <= MOST:
            self._lines.append(line)
        else:
            self._lines.clear()

    def group(self) -> Group:
        """All of them."""
        return Group(self.patient, sorted(self._lines), self._count, self.shared)


def _once(groups: Iterator[Group]) -> Iterator[Group]:
    """The same; raises SourceError where one of the first patients comes again."""
    known = set[str]()
    for one in groups:
        if one.patient in known:
            raise SourceError([TWICE])
        if len(known) < _FIRST:
            known.add(one.patient)
        yield one


def _pieces(groups: Iterator[Group]) -> Iterator[list[Group]]:
    """So many patients at a time as are worth handing over."""
    piece, size = list[Group](), 0
    for one in groups:
        piece.append(one)
        size += sum(map(len, one.lines)) + 1
        if size > _PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


# ANSWERING


def _answer(cards: Path | None, terms: Terms, index: Path, groups: list[Group]) -> Rows:
    answers = answering(cards)
    with closing(Shared(index)) as shared:
        return [row(one.patient, answers.line(one, terms, shared.find)) for one in groups]


def _sorted_into(parts: Parts, results: Iterable[Rows]) -> Iterator[int]:
    """Write the rows as parts; gives how many patients are done."""
    held, size, number = Rows(), 0, 0
    for rows in results:
        held += rows
        size += sum(map(len, rows))
        if size > _SORTED:
            parts.write(number, sorted(held))
            held, size, number = [], 0, number + 1
        yield len(rows)
    parts.write(number, sorted(held))
