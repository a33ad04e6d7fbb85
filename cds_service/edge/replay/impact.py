"""What a finished replay shows, written beside its lines: aggregate, report and, against another run, the changes.

aggregate.json    counts
report.html       the page
changes.ndjson    whose advice changed, in what and why: one patient a line
changes.json      the same counted
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from cds_service.edge.replay.aggregate import Aggregate
from cds_service.edge.replay.causes import grounds
from cds_service.edge.replay.changes import Changes
from cds_service.edge.replay.compare import compare
from cds_service.edge.replay.finished import LINES, FinishedRun, NotFinished, finished, parsed, raw_lines
from cds_service.edge.replay.report import Compared, report
from cds_service.edge.replay.summary import summary
from cds_service.edge.replay.workers import worked
from cds_service.errors import Problem
from cds_service.knowledge.knowledge import Knowledge

#: how many lines are counted at a time
_PIECE = 500


@dataclass(frozen=True)
class Other:
    """The run to compare with, and the knowledge that it was made with where that is at hand."""

    run: FinishedRun
    knowledge: Knowledge | None


@dataclass(frozen=True)
class Impact:
    """What the terminal prints, and how many patients a comparison touches."""

    text: str
    touched: int = 0


def against(folder: Path, knowledge: Knowledge | None = None) -> Other:
    """The finished run in a folder to compare with. Raises NotFinished, also where its knowledge was another one."""
    run = finished(folder)
    if knowledge and knowledge.digest != run.digest:
        found = f"knowledge {knowledge.version} of another digest"
        raise NotFinished([Problem("the old knowledge", found, f"the one that {folder} was made with")])
    return Other(run, knowledge)


def impact(
    folder: Path, knowledge: Knowledge, other: Other | None = None, below: int = 0, processes: int = 1
) -> Impact:
    """Write what the finished run in `folder` shows, its lines counted by so many `processes`. Counts from 1 to
    `below` - 1 are hidden (`hide` says how far that goes). Raises NotFinished and WorkerDied.
    """
    run = finished(folder)
    told = _counted(run, processes).as_json(below)
    compared, touched = _compared(run, knowledge, other, below) if other else (None, 0)
    if compared is None:
        for name in ("changes.ndjson", "changes.json"):
            (folder / name).unlink(missing_ok=True)
    _write(folder / "aggregate.json", told)
    with _replacing(folder / "report.html") as file:
        file.write(report(run, told, knowledge, compared).encode())
    return Impact(summary(told, compared.changes if compared else None), touched)


def _counted(run: FinishedRun, processes: int) -> Aggregate:
    """All lines of a run, counted."""
    told = Aggregate()
    for one in worked(partial(_aggregate, str(run.folder / LINES)), _pieces(run), processes):
        told.merge(one)
    return told


def _pieces(run: FinishedRun) -> Iterator[list[tuple[int, bytes]]]:
    """The lines with their numbers, so many at a time."""
    numbered = enumerate(raw_lines(run), start=1)
    while piece := list(islice(numbered, _PIECE)):
        yield piece


def _aggregate(where: str, piece: list[tuple[int, bytes]]) -> Aggregate:
    return Aggregate(parsed(raw, where, number) for number, raw in piece)


def _compared(run: FinishedRun, knowledge: Knowledge, other: Other, below: int) -> tuple[Compared, int]:
    old = other.run
    after = knowledge if knowledge.digest == run.digest else None
    before = knowledge if knowledge.digest == old.digest else other.knowledge
    common = grounds(old, run, before, after)
    changes = Changes()
    with _replacing(run.folder / "changes.ndjson") as file:
        for row in compare(raw_lines(old), raw_lines(run), common):
            changes.add(row)
            if row:
                file.write(orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
    counts = changes.as_json(below)
    _write(run.folder / "changes.json", counts)
    return Compared(old, counts, common), changes.touched


def _write(path: Path, counts: dict[str, Any]) -> None:
    with _replacing(path) as file:
        file.write(orjson.dumps(counts, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of the one at `path` when it is whole; readable by its owner only."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
