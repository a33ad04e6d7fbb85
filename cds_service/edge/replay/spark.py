"""The same run on Apache Spark, for exports that lie where Spark reads (`s3a://…`, `hdfs://…`, a folder).

The lines go to ranges of patients, sorted by patient and line as everywhere, and the same function answers. Where
`--out` is a folder, the run is finished as on one machine: in local mode, or where the executors share that folder. For
a URL, Spark writes `patients/part-…`, in order, beside `run` and `problems`: the parts together are the same bytes.

Spark decides how many work at once. Every executor needs this package, and the folder of `--cards` where one is given.
"""

import os
import sys
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from heapq import nsmallest
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zlib import crc32

from cds_service.edge.replay.answering import Terms, answering
from cds_service.edge.replay.line import written
from cds_service.edge.replay.parts import row, taken_apart
from cds_service.edge.replay.plan import Plan
from cds_service.edge.replay.reading import TAB, Tally, gathered, placing, used
from cds_service.edge.replay.run import Run, answer_of, finished
from cds_service.edge.replay.sources import SourceError
from cds_service.errors import CdsError, Problem

#: the most of what is shared that goes to every executor, in bytes
_SHARED = 64 * 1024 * 1024
#: how many patients tell where ranges end, and how many lines are in a range at best
_SAMPLE, _RANGE = 2000, 50_000

Shared = dict[str, list[bytes]]


class SparkError(CdsError):
    """Spark is not there, or what is asked of it cannot be had."""


@dataclass
class _Seen:
    """What was seen of a piece of the input: tallies by file, what is shared, some patients chosen by a hash."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    shared: set[tuple[str, bytes]] = field(default_factory=set)
    patients: set[bytes] = field(default_factory=set)

    def add(self, other: "_Seen") -> "_Seen":
        """Both together."""
        for name, tally in other.tallies.items():
            self.tallies.setdefault(name, Tally()).follow(tally)
        self.shared |= other.shared
        self.patients |= other.patients
        self.trim()
        return self

    def trim(self) -> None:
        """Keep no more than is needed. Raises SparkError where more is shared than may be."""
        if len(self.patients) > _SAMPLE:
            self.patients = set(nsmallest(_SAMPLE, self.patients, key=lambda one: (crc32(one), one)))
        if sum(len(line) for _, line in self.shared) > _SHARED:
            found = f"more than {_SHARED} bytes of Medications"
            raise SparkError(
                [Problem("the export", found, "fewer, since every executor holds them; or --engine local")]
            )


def replay_spark(plan: Plan, description: Mapping[str, Any], run: Run | None, out: str) -> dict[str, Any]:
    """Make the run: in its folder, or where the URL `out` leads. Returns its description. Raises SparkError."""
    with _session() as spark:
        text = _text(spark, plan.source)
        names = [unquote(name) for name in text.inputFiles()]
        if not names:
            raise SourceError([Problem(plan.source, "no file *.ndjson or *.ndjson.gz", "an export of FHIR Bulk Data")])
        seen = text.rdd.mapPartitions(partial(_look, plan.cards)).treeReduce(_Seen.add)
        count = sum(one.lines for one in seen.tallies.values())
        bounds = _bounds(sorted(seen.patients), max(spark.sparkContext.defaultParallelism, count // _RANGE))
        rows = (
            text.rdd.mapPartitions(partial(_rows, plan.cards))
            .repartitionAndSortWithinPartitions(len(bounds) + 1, partial(_range, bounds))
            .keys()
        )
        kinds = set[str]().union(*(one.kinds for one in seen.tallies.values()))
        terms = plan.terms(kinds, names, description["today"])
        shared = spark.sparkContext.broadcast(_by_id(seen.shared))
        answered = partial(_answered, plan.cards, description["knowledge"]["digest"], terms, shared)
        problems = [problem for name in sorted(seen.tallies) for problem in seen.tallies[name].told(name)]
        for one in problems:
            one["lines"] = []  # Spark reads the pieces of a file in no order
        if run is None:
            answers = _saved(spark, rows.mapPartitions(answered), problems, out)
            done = finished(description, answers, count, problems)
            _save(spark, [done], f"{out}/run")
            return done
        run.forget_parts()
        made = rows.mapPartitionsWithIndex(partial(_write, answered, run)).collect()
        if not all(number in run.parts for number in made):
            found = "a folder that the executors do not share"
            raise SparkError([Problem("--out", found, "a URL that they can write to")])
        return run.finish(count, problems)


@contextmanager
def _session() -> Iterator[Any]:
    """Spark as it is configured where this runs (SPARK_CONF_DIR, PYSPARK_SUBMIT_ARGS), or else on this machine."""
    try:
        from py4j.protocol import Py4JJavaError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        expected = "the extra: pip install 'cds-service[spark]'"
        raise SparkError([Problem("--engine spark", "no PySpark", expected)]) from None
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        spark = SparkSession.builder.appName("cds-service replay").getOrCreate()
    except PySparkException as error:
        found = f"no Spark that starts ({error.getCondition() or type(error).__name__})"
        raise SparkError([Problem("--engine spark", found, "Java 17 or newer")]) from None
    try:
        yield spark
    except PySparkException as error:
        raise SparkError([_fault(_own(error) or error.getCondition() or type(error).__name__)]) from None
    except Py4JJavaError as error:
        raise SparkError([_fault(str(error.java_exception).splitlines()[0])]) from None
    finally:
        spark.stop()


def _fault(found: str) -> Problem:
    return Problem("Spark", found, "a run without a fault; its own log has more")


def _own(error: Exception) -> str:
    """What this package said in an executor; the rest of such a text is a traceback."""
    said = (line.partition(": ")[2] for line in str(error).splitlines() if line.startswith("cds_service."))
    return next(said, "")


def _text(spark: Any, source: str) -> Any:
    """The lines of the export as bytes, each with the name of its file."""
    reader = spark.read.option("recursiveFileLookup", True).option("pathGlobFilter", "*.ndjson{,.gz}")
    return reader.text(source, lineSep="\n").selectExpr("CAST(value AS BINARY)", "input_file_name()")


# LOOKING


def _look(cards: Path | None, rows: Iterable[tuple[bytes, str]]) -> Iterator[_Seen]:
    """What is seen of a piece of the input."""
    seen, place = _Seen(), placing(answering(cards).needs)
    for url, lines in groupby(rows, key=itemgetter(1)):
        name = unquote(urlsplit(url).path).rpartition("/")[2]
        for placed, line in used((bytes(line) for line, _ in lines), place, seen.tallies.setdefault(name, Tally())):
            if placed.shared:
                seen.shared.add((placed.owner, line))
            else:
                seen.patients.add(placed.owner.encode())
            if len(seen.patients) > 2 * _SAMPLE:
                seen.trim()
    seen.trim()
    yield seen


def _bounds(patients: list[bytes], ranges: int) -> list[bytes]:
    """The patients at which a new range begins."""
    return [patients[len(patients) * number // ranges] for number in range(1, ranges)] if patients else []


def _by_id(shared: Iterable[tuple[str, bytes]]) -> Shared:
    found = Shared()
    for ident, line in sorted(shared):
        found.setdefault(ident, []).append(line)
    return found


# SORTING AND ANSWERING


def _rows(cards: Path | None, rows: Iterable[tuple[bytes, str]]) -> Iterator[tuple[bytes, None]]:
    """The lines of patients as rows `id TAB line`."""
    lines = (bytes(line) for line, _ in rows)
    for placed, line in used(lines, placing(answering(cards).needs), Tally()):
        if not placed.shared:
            yield placed.owner.encode() + TAB + line, None


def _range(bounds: list[bytes], one: bytes) -> int:
    return bisect(bounds, one.partition(TAB)[0])


def _answered(cards: Path | None, digest: str, terms: Terms, shared: Any, rows: Iterable[bytes]) -> Iterator[bytes]:
    """The rows of the patients of a range."""
    answers = answering(cards)
    if answers.knowledge.digest != digest:
        raise SparkError([Problem("an executor", "other knowledge", "the same as where the run was started")])
    known: Shared = shared.value
    for one in gathered(rows):
        yield row(one.patient, answers.line(one, terms, lambda ident: known.get(ident, ())))


def _write(answered: Callable[[Iterable[bytes]], Iterator[bytes]], run: Run, number: int, rows: Any) -> Iterator[int]:
    """Write a range as a part of the run; gives its number."""
    run.parts.write(number, answered(rows))
    yield number


def _saved(spark: Any, rows: Any, problems: Sequence[Mapping[str, Any]], out: str) -> Mapping[str, int]:
    """Write the lines and the problems to where Spark writes; counts the answers."""
    rows.map(lambda one: taken_apart(one)[1].rstrip()).saveAsTextFile(f"{out}/patients")
    _save(spark, problems, f"{out}/problems")
    counted: Mapping[str, int] = (
        spark.sparkContext.textFile(f"{out}/patients").map(lambda line: answer_of(line.encode())).countByValue()
    )
    return counted


def _save(spark: Any, rows: Sequence[Mapping[str, Any]], url: str) -> None:
    spark.sparkContext.parallelize([written(one).rstrip() for one in rows], 1).saveAsTextFile(url)
