"""A run over the files of an export: sort the lines by patient, then answer for one partition after the other."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from cds_service.edge.replay.answering import Terms, answering
from cds_service.edge.replay.parts import row, write
from cds_service.edge.replay.plan import Plan
from cds_service.edge.replay.progress import Show
from cds_service.edge.replay.reading import Tally, placing, used
from cds_service.edge.replay.run import Run
from cds_service.edge.replay.shared import Shared, keep
from cds_service.edge.replay.sources import File, Slice, read, slices
from cds_service.edge.replay.spill import Spill
from cds_service.edge.replay.workers import worked

_DONE, _INDEX = "sorted.json", "index.db"


@dataclass(frozen=True)
class _Work:
    """What every process needs to know of a run."""

    source: Path
    cards: Path | None
    run: Run
    partitions: int

    @property
    def spill(self) -> Spill:
        return Spill(self.run.spill, self.partitions)

    @property
    def index(self) -> Path:
        return self.run.spill / _INDEX


def replay_folder(plan: Plan, run: Run, files: list[File], show: Show) -> dict[str, Any]:
    """Make the run, or what is left of it. Returns its description. Raises SourceError and WorkerDied."""
    described = run.described()
    work = _Work(Path(plan.source), plan.cards, run, described["partitions"])
    done = run.spill / _DONE
    if not done.exists():
        write(done, [orjson.dumps(_sort(work, files, plan.processes, show))])
    seen = orjson.loads(done.read_bytes())
    terms = plan.terms(seen["kinds"], [one.name for one in files], described["today"])
    left = [number for number in range(work.partitions) if number not in run.parts]
    show("Answering", worked(partial(_answer, work, terms), left, plan.processes), sum(map(work.spill.size, left)))
    return run.finish(seen["lines"], seen["problems"])


# SORTING


def _sort(work: _Work, files: list[File], processes: int, show: Show) -> dict[str, Any]:
    """Sort the lines by patient; what was begun before is begun anew. Returns what was seen."""
    shutil.rmtree(work.run.spill, ignore_errors=True)
    work.run.spill.mkdir(mode=0o700)
    pieces = list(enumerate(slices(work.source, files)))
    seen = dict[int, Tally]()
    show("Sorting", _sorting(work, pieces, processes, seen), sum(piece.end - piece.start for _, piece in pieces))
    keep(work.spill.shared(), work.index)
    tallies = defaultdict[str, Tally](Tally)
    for number, piece in pieces:
        tallies[piece.file.name].follow(seen[number])
    return {
        "kinds": sorted(set[str]().union(*(one.kinds for one in tallies.values()))),
        "lines": sum(one.lines for one in tallies.values()),
        "problems": [problem for name in sorted(tallies) for problem in tallies[name].told(name)],
    }


def _sorting(work: _Work, pieces: list[tuple[int, Slice]], processes: int, seen: dict[int, Tally]) -> Iterator[int]:
    for number, size, tally in worked(partial(_take, work), pieces, processes):
        seen[number] = tally
        yield size


def _take(work: _Work, piece: tuple[int, Slice]) -> tuple[int, int, Tally]:
    """Sort a piece of a file: its number, its size, what was seen."""
    number, part = piece
    tally = Tally()
    place = placing(answering(work.cards).needs)
    work.spill.take(used(read(work.source, part), place, tally), str(os.getpid()))
    return number, part.end - part.start, tally


# ANSWERING


def _answer(work: _Work, terms: Terms, number: int) -> int:
    """Make a part. Returns the size of its partition."""
    answers = answering(work.cards)
    with closing(Shared(work.index)) as shared:
        groups = work.spill.groups(number)
        work.run.parts.write(number, (row(one.patient, answers.line(one, terms, shared.find)) for one in groups))
    return work.spill.size(number)
