"""What a replay over a population costs: patients a second, its ratio to the least that must be done, its memory.

    python tests/bench/population.py [--patients 10000] [--resources 60] [--processes 2] [--rounds 3]
    python tests/bench/population.py --stream 1000000

The population is invented, with two visits each; up to so many resources, each patient gets what every chart holds
besides, in the shapes of mCODE and US Core (calls.py): codes and texts recur from patient to patient, ids, dates and
values do not. The least that must be done is one pass of `orjson` over the same files in one process; both are measured
in turns, as elapsed time and as processor time, and the figures are medians. A replay starts anew each time, which
weighs on small populations. Memory is the peak of each process.

With `--stream` the invented patients go straight from `synthesize` to `replay`, with all their visits and without disk;
how much memory either side holds is shown while it goes on.

Nothing is reported if an answer is wrong: among other resources the options are those without (positive control), and
there are none once every metastasis is refuted (negative control).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.calls import besides
from support import Resource

from cds_service.edge.bulk import write_ndjson
from cds_service.edge.invented import invented
from cds_service.edge.replay.workers import processors
from cds_service.knowledge.load import load
from cds_service.synthetic.record import record

COMMAND = (sys.executable, "-m", "cds_service.edge.cli")
TODAY = "2026-06-01"
#: how often processes are looked at, in seconds
EVERY = 0.2


def patients(count: int, resources: int, refuted: bool = False) -> Iterator[list[Resource]]:
    """Invented patients with so many resources each, or with their own alone where they are more; where refuted, with
    no evidence of stage IV left.
    """
    told = invented(load())
    for number, (story, _) in enumerate(told.population.stories(count, seed=1)):
        own = record(story, told.vocabulary)
        if refuted:
            own = [one for one in own if one["resourceType"] != "Observation"]
            own = [{**one, **_REFUTED} if one["resourceType"] == "Condition" else one for one in own]
        more = besides(own[0]["id"], number, date.fromisoformat(TODAY))
        yield [*own, *islice(more, max(0, resources - len(own)))]


_REFUTED = {"verificationStatus": {"coding": [{"code": "refuted"}]}}


def bare(export: Path) -> int:
    """The least: parse every line."""
    seen = 0
    for path in sorted(export.iterdir()):
        with path.open("rb") as file:
            for line in file:
                seen += bool(orjson.loads(line))
    return seen


# CONTROLS


def lines(export: Path, out: Path) -> list[dict[str, Any]]:
    """What a replay says."""
    subprocess.run([*COMMAND, "replay", export, "--out", out, "--today", TODAY], check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in (out / "patients.ndjson").read_bytes().splitlines()]


def control(folder: Path, resources: int) -> None:
    """Stop where an answer is wrong."""
    answers = {}
    for name, size, refuted in (("alone", 0, False), ("filled", resources, False), ("refuted", resources, True)):
        write_ndjson(patients(40, size, refuted), folder / name)
        told = lines(folder / name, folder / f"{name}-run")
        answers[name] = {
            line["patient"]: [(one, row["status"]) for one, row in line["options"].items()] for line in told
        }
    if answers["alone"] != answers["filled"] or not any(answers["alone"].values()):
        sys.exit("the options among other resources are not those without: there is nothing to measure")
    if any(answers["refuted"].values()):
        sys.exit("options for patients whose metastases are refuted: there is nothing to measure")


# MEMORY


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    try:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            yield from family(int(child))
    except OSError:
        return


def memory(pid: int, of: str) -> int:
    """Megabytes of a process by a row of its status: VmRSS now, VmHWM at its peak; 0 when it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(row.split()[1]) // 1024 for row in status.splitlines() if row.startswith(f"{of}:")), 0)


def watched(process: subprocess.Popen[bytes]) -> dict[int, int]:
    """The peak of each process of a family until it ends."""
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in family(process.pid):
            peaks[pid] = max(peaks.get(pid, 0), memory(pid, "VmHWM"))
        time.sleep(EVERY)
    return peaks


# MEASURES


def spent(usage: int) -> float:
    """Processor seconds of this process, or of its children that have ended."""
    used = resource.getrusage(usage)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, chosen: argparse.Namespace) -> None:
    """Replay and the least, in turns."""
    export = folder / "export"
    counts = write_ndjson(patients(chosen.patients, chosen.resources), export)
    size = sum(path.stat().st_size for path in export.iterdir())
    print(f"{chosen.patients} patients, {counts.total()} resources, {size / 1e6:.0f} MB, {chosen.processes} processes")
    print(f"{'patients/s':>10} {'bare pass s':>12} {'replay s':>9} {'ratio':>6} {'CPU ratio':>10}   peak MB of each")
    rows = []
    for turn in range(chosen.rounds):
        begun, before = time.perf_counter(), spent(resource.RUSAGE_SELF)
        bare(export)
        least, least_cpu = time.perf_counter() - begun, spent(resource.RUSAGE_SELF) - before
        arguments = [
            "replay",
            export,
            "--out",
            folder / f"run-{turn}",
            "--today",
            TODAY,
            "--processes",
            chosen.processes,
        ]
        begun, before = time.perf_counter(), spent(resource.RUSAGE_CHILDREN)
        with subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL) as process:
            peaks = watched(process)
        whole, cpu = time.perf_counter() - begun, spent(resource.RUSAGE_CHILDREN) - before
        rows.append((chosen.patients / whole, least, whole, whole / least, cpu / least_cpu))
        show(rows[-1], peaks.values())
    show([median(column) for column in zip(*rows, strict=True)], ())


def show(row: Iterable[float], peaks: Iterable[int]) -> None:
    """One line of the table."""
    speed, least, whole, ratio, cpu = row
    told = " ".join(map(str, sorted(peaks, reverse=True))) or "(medians)"
    print(f"{speed:>10.0f} {least:>12.2f} {whole:>9.2f} {ratio:>6.1f} {cpu:>10.1f}   {told}")


def streamed(folder: Path, count: int, processes: int) -> None:
    """From `synthesize` to `replay`, with the memory of both sides while it goes on."""
    arguments = ["replay", "-", "--out", folder / "run", "--today", TODAY, "--processes", processes]
    made = subprocess.Popen([*COMMAND, "synthesize", "--patients", str(count), "--out", "-"], stdout=subprocess.PIPE)
    replay = subprocess.Popen([*COMMAND, *map(str, arguments)], stdin=made.stdout)
    assert made.stdout is not None
    made.stdout.close()
    begun, shown = time.perf_counter(), 0.0
    print(f"{'seconds':>8} {'synthesize MB':>14} {'MB of each process of replay':>30} {'MB on disk':>11}")
    while replay.poll() is None:
        now = time.perf_counter() - begun
        if now >= shown:
            held = " ".join(str(memory(pid, "VmRSS")) for pid in family(replay.pid))
            disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
            print(f"{now:>8.0f} {memory(made.pid, 'VmRSS'):>14} {held:>30} {disk:>11.0f}", flush=True)
            shown = now + min(max(now / 2, 5), 300)
        time.sleep(EVERY)
    whole = time.perf_counter() - begun
    if made.wait() or replay.returncode:
        sys.exit("a process failed")
    print(f"{count} patients, {count / whole:.0f} patients/s, inventing them included")


def main() -> None:
    """Check the answers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--resources", type=int, default=60)
    parser.add_argument("--processes", type=int, default=processors())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stream", type=int, metavar="PATIENTS")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        control(Path(name), chosen.resources)
        if chosen.stream:
            streamed(Path(name), chosen.stream, chosen.processes)
        else:
            measure(Path(name), chosen)


if __name__ == "__main__":
    main()
