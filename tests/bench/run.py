"""What a call costs: CPU of the whole server, and its ratio to a bare Flask echo, side by side in one run.

    python tests/bench/run.py [--only warm,cold,es384] [--sizes 42] [--rounds 5] [--seconds 3] [--json FILE]

Every case gets one slice of load per round, in turns, so that what disturbs the machine disturbs all; figures are
medians over the rounds, and a ratio is taken within a round before its median. CPU is user and system time of all
processes of a server until it is idle again, per call that reached it; wrk, which makes the load, is not counted.

    warm    the same patient again and again
    cold    every call another patient: other ids, dates and values, the same story
    es384   cold, and every call with a token of its own

Nothing is reported if a server is wrong about a patient or a call is not answered with 200.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tokens
from calls import Chart, patient_view
from controls import Answer, check, check_echo, check_options, our_receptors
from load import Slice, apply, check_wrk, whole_request
from servers import Failure, Server, gunicorn, running
from support import URL

HERE = Path(__file__).resolve().parent
#: another patient for every number
_numbers = count(1)
#: controls: so many patients, each asked about several times in turns
_CONTROLS = 3


@dataclass(frozen=True)
class Case:
    """A kind of call to a server. `request` makes the whole request of a number; only `fresh` calls differ.

    `base` names the case to which its cost is compared.
    """

    name: str
    server: Server
    request: Callable[[int], bytes]
    fresh: bool
    base: str
    control: Callable[[], None]


def token() -> str:
    """A token that was not used before, valid from now on."""
    now = int(time.time())
    return tokens.token(iat=now, exp=now + 300)


def cases(chosen: argparse.Namespace, stack: ExitStack, folder: Path) -> Iterator[Case]:
    """The cases that are asked for, their servers started."""

    def start(name: str, app: str, **environment: str) -> Server:
        database = {"CDS_DATABASE": f"sqlite:///{folder}/{name}.db"}
        command = gunicorn(app, chosen.workers, HERE)
        return stack.enter_context(running(name, command, folder, {**database, **environment}))

    floor = start("floor", "floor:app")
    opened = start("service", chosen.service, CDS_OPEN="true")
    for size in chosen.sizes:
        base = f"floor {size}"

        def body(number: int, size: int = size) -> bytes:
            return whole_request(URL, patient_view(Chart(number, size)))

        yield Case(base, floor, body, False, base, _echo(floor))
        control = _options(opened, size)
        for name, fresh in (("warm", False), ("cold", True)):
            if name in chosen.only:
                yield Case(f"{name} {size}", opened, body, fresh, base, control)
        if "es384" in chosen.only:
            guarded = start(f"guarded-{size}", chosen.service, **_callers(folder))

            def signed(number: int, size: int = size) -> bytes:
                return whole_request(URL, patient_view(Chart(number, size)), token())

            yield Case(f"es384 {size}", guarded, signed, True, base, _options(guarded, size, token))


def _callers(folder: Path) -> dict[str, str]:
    path = folder / "callers.json"
    trusted = {"issuer": tokens.ISSUER, "jwks": tokens.jwks(tokens.EC)}
    path.write_text(json.dumps({"callers": [trusted]}), encoding="utf-8")
    return {"CDS_CALLERS": str(path), "CDS_PUBLIC_URL": tokens.PUBLIC_URL}


def _ask(server: Server, path: str, body: bytes, with_token: Callable[[], str] | None = None) -> Answer:
    status, answer = server.ask("POST", path, body, with_token() if with_token else "")
    if status != 200:
        raise Failure(f"{server.name} answered a control with {status}")
    return answer


def _options(server: Server, size: int, with_token: Callable[[], str] | None = None) -> Callable[[], None]:
    def control() -> None:
        numbers = [next(_numbers) for _ in range(_CONTROLS)]

        def ask(chart: Chart) -> Answer:
            return _ask(server, URL, patient_view(chart), with_token)

        check(server.name, ask, our_receptors, numbers, size)
        check_options(server.name, ask, numbers, size)

    return control


def _echo(server: Server) -> Callable[[], None]:
    def control() -> None:
        numbers = [next(_numbers) for _ in range(_CONTROLS)]
        check_echo(server.name, lambda chart: _ask(server, URL, patient_view(chart)), numbers)

    return control


def measured(case: Case, connections: int, seconds: int, rate: float, folder: Path) -> Slice:
    """One slice; `rate` is how many calls a second are to be expected of a case that needs each once."""
    expected = int(rate * seconds * 1.4) + 2 * connections + 50
    while True:
        numbers = [next(_numbers) for _ in range(expected)] if case.fresh else [0]
        found = apply(case.server, map(case.request, numbers), connections, seconds, folder)
        if found:
            return found
        expected *= 2


def rounds(found: Sequence[Case], chosen: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """One row for each round, case and number of connections, after a round that only warms up."""
    rates: dict[tuple[str, int], float] = {}
    for number in range(chosen.rounds + 1):
        turned = found[number % len(found) :] + found[: number % len(found)]
        for connections in chosen.connections:
            for case in turned:
                key = case.name, connections
                one = measured(case, connections, chosen.seconds if number else 1, rates.get(key, 600), folder)
                rates[key] = one.per_second
                if number:
                    yield {"round": number, "case": case.name, "connections": connections, **asdict(one)}


def summed_up(found: Sequence[Case], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The medians of each case and number of connections; `ratio` is CPU to that of its base in the same round."""
    place = {(row["case"], row["connections"], row["round"]): row for row in rows}
    result = []
    for case in found:
        for connections in sorted({row["connections"] for row in rows}):
            own = [row for row in rows if (row["case"], row["connections"]) == (case.name, connections)]
            ratios = [row["cpu"] / place[case.base, connections, row["round"]]["cpu"] for row in own]
            figures = {name: median(row[name] for row in own) for name in ("cpu", "p50", "p99", "per_second", "memory")}
            size = len(case.request(0))
            head = {"case": case.name, "connections": connections, "kilobytes": size / 1000}
            result.append({**head, "calls": sum(row["calls"] for row in own), **figures, "ratio": median(ratios)})
    return result


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The figures for a reader."""
    head = f"{'case':<22} {'conn':>4} {'KB':>6} {'calls':>7} {'CPU ms':>8} {'x floor':>8} {'p50 ms':>8} {'p99 ms':>8}"
    text = [f"{head} {'calls/s':>8} {'MB':>5}"]
    for line in lines:
        text.append(
            f"{line['case']:<22} {line['connections']:>4} {line['kilobytes']:>6.0f} {line['calls']:>7} "
            f"{line['cpu']:>8.2f} {line['ratio']:>8.2f} {line['p50']:>8.2f} {line['p99']:>8.2f} "
            f"{line['per_second']:>8.0f} {line['memory']:>5.0f}"
        )
    return "\n".join(text)


def about(chosen: argparse.Namespace) -> dict[str, Any]:
    """What was measured with what."""
    packages = ("cds-service", "flask", "gunicorn", "orjson", "psutil")
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load_before": os.getloadavg(),
        "versions": {name: version(name) for name in packages},
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "workers": chosen.workers,
    }


def _listed(kind: type) -> Callable[[str], list[Any]]:
    return lambda text: [kind(one) for one in text.split(",")]


def main() -> None:
    """Check the answers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_listed(str), default=["warm", "cold", "es384"], help="cases")
    parser.add_argument("--sizes", type=_listed(int), default=[42], help="resources of a chart")
    parser.add_argument("--connections", type=_listed(int), default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one slice")
    parser.add_argument("--workers", type=int, default=1, help="of each gunicorn, with four threads each")
    parser.add_argument("--service", default="cds_service.edge.wsgi:app", help="the WSGI application to measure")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    chosen = parser.parse_args()
    try:
        check_wrk()
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            found = list(cases(chosen, stack, folder))
            for case in found:
                case.control()
            rows = list(rounds(found, chosen, folder))
            for case in found:
                case.control()
            lines = summed_up(found, rows)
    except Failure as failure:
        sys.exit(f"Nothing to report. {failure}")
    print(table(lines))
    if chosen.json:
        chosen.json.write_text(json.dumps({**about(chosen), "medians": lines, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
