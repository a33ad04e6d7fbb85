"""What a call costs: CPU of the whole server, and its ratio to a bare Flask echo, side by side in one run.

    python tests/bench/run.py [--kinds warm,cold,es384] [--sizes 42] [--rounds 5] [--seconds 3] [--json FILE] [--peers]

Every case gets one slice of load per round, in turns, so that what disturbs the machine disturbs all; figures are
medians over the rounds, and a ratio is taken within a round before its median. CPU is user and system time of all
processes of a server until it is idle again, per call that was sent; wrk, which makes the load, is not counted, nor is
what made the calls: they are made before the slice.

    floor       an echo by Flask under the same server, for calls with charts of each size
    warm        patient-view: the same patient again and again
    cold        every call another patient: other ids, dates and values, the same story
    es384       cold, and every call with a token of its own; es384-warm: the same patient
    order-select, feedback-sqlite, feedback-postgresql: every call another

With --peers other engines are asked for the receptors of the same patients, every call another: HealthChain (a handler
in Python), ms-cql-sdk behind Flask, cql-execution behind Node as documented and with FHIR's model information read
once. They are set up in a folder of their own (pip, npm), a new one unless --peers names it.

How cost grows with the chart: --kinds warm --connections 1 --sizes 1000,7200.

Nothing is reported if a server is wrong about a patient, before or after, or a call is not answered with 200.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from math import ceil
from pathlib import Path
from statistics import median
from time import process_time_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import orjson
from bars import bars
from calls import Chart, patient_view
from cases import KINDS, USUAL, Case, Wanted, cases, numbers, without_postgresql
from load import Slice, apply, check_wrk
from peers import versions
from processes import Failure

from cds_service.edge.cycles import settle

Row = dict[str, Any]
#: a slice is made longer, up to so many seconds, for so many calls
_CALLS, _LONGEST = 20, 20
_FIGURES = ("cpu", "p50", "p99", "per_second", "memory")


def measured(case: Case, connections: int, seconds: int, rate: float, folder: Path) -> Slice:
    """One slice, longer where fewer than _CALLS would be answered; `rate` is how many a second are to be expected."""
    seconds = max(seconds, min(_LONGEST, ceil(_CALLS / rate)))
    expected = int(rate * seconds * 1.4) + 2 * connections + 20
    while True:
        chosen = [next(numbers) for _ in range(expected)] if case.fresh else [0]
        found = apply(case.server, map(case.request, chosen), connections, seconds, folder)
        if found is None:
            expected *= 2
        elif found.calls == 0 and seconds < _LONGEST:
            seconds *= 2
        else:
            return found


def measure(found: Sequence[Case], chosen: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """One row for each round, case and number of connections, after a round that only warms up."""
    rates: dict[tuple[str, int], float] = {}
    for number in range(chosen.rounds + 1):
        turned = [*found[number % len(found) :], *found[: number % len(found)]]
        for connections in chosen.connections:
            for case in turned:
                key = case.name, connections
                one = measured(case, connections, chosen.seconds if number else 1, rates.get(key, case.rate), folder)
                rates[key] = one.per_second
                if number:
                    yield {"round": number, "case": case.name, "connections": connections, **asdict(one)}
        print(f"round {number} of {chosen.rounds}", file=sys.stderr)


def summed_up(found: Sequence[Case], rows: Sequence[Row]) -> list[Row]:
    """The medians of each case and number of connections; `ratio` is CPU to that of its base in the same round."""
    cpu = {(row["case"], row["connections"], row["round"]): row["cpu"] for row in rows}
    result = []
    for case in found:
        for connections in sorted({row["connections"] for row in rows}):
            own = [row for row in rows if (row["case"], row["connections"]) == (case.name, connections)]
            line: Row = {"case": case.name, "connections": connections, "kilobytes": len(case.request(0)) / 1000}
            line |= {"calls": sum(row["calls"] for row in own)}
            line |= {name: median(row[name] for row in own) for name in _FIGURES}
            line |= {"ratio": median(row["cpu"] / cpu[case.base, connections, row["round"]] for row in own)}
            result.append(line)
    return result


def least(size: int) -> float:
    """CPU milliseconds to parse the call of a chart of this size and to look at the type of every resource.

    Garbage is collected as seldom as a worker of the service does it.
    """
    text = patient_view(Chart(0, size))
    settle()
    spent = []
    for _ in range(9):
        begun, seen = process_time_ns(), 0
        for value in orjson.loads(text)["prefetch"].values():
            for entry in value.get("entry", ()):
                seen += entry["resource"]["resourceType"] != ""
        spent.append((process_time_ns() - begun) / 1e6)
    return median(spent)


def table(lines: Sequence[Row]) -> str:
    """The figures for a reader."""
    head = f"{'case':<22} {'conn':>4} {'KB':>6} {'calls':>7} {'CPU ms':>8} {'x floor':>8} {'p50 ms':>8} {'p99 ms':>8}"
    text = [f"{head} {'calls/s':>8} {'MB':>5}"]
    text += [
        f"{line['case']:<22} {line['connections']:>4} {line['kilobytes']:>6.0f} {line['calls']:>7} "
        f"{line['cpu']:>8.2f} {line['ratio']:>8.2f} {line['p50']:>8.2f} {line['p99']:>8.2f} "
        f"{line['per_second']:>8.0f} {line['memory']:>5.0f}"
        for line in lines
    ]
    return "\n".join(text)


def about(chosen: argparse.Namespace) -> Row:
    """What was measured with what, and where."""
    packages = ("cds-service", "flask", "gunicorn", "orjson", "psutil")
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load_before": os.getloadavg(),
        "versions": {name: version(name) for name in packages} | (versions() if chosen.peers is not None else {}),
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "workers": chosen.workers,
    }


def _listed(kind: type) -> Callable[[str], list[Any]]:
    return lambda text: [kind(one) for one in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", type=_listed(str), default=list(KINDS), help=",".join(KINDS))
    parser.add_argument("--sizes", type=_listed(int), default=[10, 42, 100, 1000], help="resources of a chart")
    parser.add_argument("--connections", type=_listed(int), default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one slice")
    parser.add_argument("--workers", type=int, default=1, help="of each gunicorn, with four threads each")
    parser.add_argument("--service", default="cds_service.edge.wsgi:app", help="the WSGI application to measure")
    parser.add_argument("--peers", type=Path, nargs="?", const=Path(), metavar="FOLDER", help="measure them too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    chosen = parser.parse_args()
    unknown = set(chosen.kinds) - set(KINDS)
    if unknown:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    if min(*chosen.sizes, 10) < 10:
        parser.error("the story alone takes 10 resources")
    return chosen


def _wanted(chosen: argparse.Namespace, folder: Path) -> Wanted:
    home = chosen.peers
    if home == Path():
        home = folder / "peers"
    return Wanted(chosen.service, chosen.workers, tuple(chosen.kinds), tuple(chosen.sizes), home and home.resolve())


def main() -> None:
    """Check the answers, measure, print."""
    chosen = _arguments()
    missing = without_postgresql(chosen.kinds)
    if missing:
        print(f"feedback-postgresql is not measured: {missing}", file=sys.stderr)
        chosen.kinds.remove("feedback-postgresql")
    try:
        check_wrk()
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            found = list(cases(_wanted(chosen, folder), folder, stack))
            for case in found:
                case.control()
            rows = list(measure(found, chosen, folder))
            for case in found:
                case.control()
            lines = summed_up(found, rows)
    except Failure as failure:
        sys.exit(f"Nothing to report. {failure}")
    loops = {size: least(size) for size in sorted({USUAL, *chosen.sizes})}
    kept = bars(lines, loops)
    print(table(lines))
    print("parse and loop, CPU ms: " + ", ".join(f"{size}: {spent:.3f}" for size, spent in loops.items()))
    for bar in kept:
        print(f"{'kept  ' if bar['kept'] else 'MISSED'} {bar['bar']}: {bar['found']:.2f}")
    if chosen.json:
        everything = {**about(chosen), "medians": lines, "parse_and_loop": loops, "bars": kept, "rows": rows}
        chosen.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
