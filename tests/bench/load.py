"""One slice of load: wrk against a server, and what the server spent on it. What wrk itself spends is not counted."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from processes import Failure, Server

_SCRIPT = Path(__file__).parent / "walk.lua"


@dataclass(frozen=True)
class Slice:
    """What came of a slice: calls answered, how many a second, CPU and latencies in milliseconds, memory in MB."""

    calls: int
    per_second: float
    cpu: float
    p50: float
    p99: float
    memory: float


def check_wrk() -> None:
    """Raises Failure where there is no wrk."""
    if shutil.which("wrk") is None:
        raise Failure("wrk is not there: apt-get install wrk")


def whole_request(path: str, body: bytes, token: str = "") -> bytes:
    """A call as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *([f"Authorization: Bearer {token}"] if token else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


def apply(server: Server, requests: Iterable[bytes], connections: int, seconds: int, folder: Path) -> Slice | None:
    """Let wrk send these requests in turn over so many connections for so long.

    Where a single request is given it is sent again and again; of several each goes once, and None is returned where
    they did not suffice. It may be that none was answered in this time. Raises Failure where one was answered with
    an error.
    """
    stored = folder / "requests"
    with stored.open("wb") as sink:
        count = sum(bool(sink.write(b"%d\n%b" % (len(one), one))) for one in requests)
    before = server.idle_cpu()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT)]
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}/"],
        capture_output=True,
        text=True,
        env={**os.environ, "BENCH_REQUESTS": str(stored)},
        check=False,
    )
    # what was still under way when wrk left is worked off as well, and counted
    spent = server.idle_cpu() - before
    last = run.stdout.strip().rpartition("\n")[2]
    if run.returncode or not last.startswith("{"):
        raise Failure(f"{server.name}: wrk failed: {run.stderr.strip() or run.stdout.strip()}")
    result = json.loads(last)
    made = result["made"] - 1  # wrk makes one to look at and does not send it
    if 1 < count < result["made"]:
        return None
    if result["refused"] or result["broken"]:
        raise Failure(
            f"{server.name}: of {made} calls {result['answered']} were answered, {result['refused']} with an error "
            f"status, and {result['broken']} connections broke:\n{server.said()}"
        )
    return Slice(
        calls=result["answered"],
        per_second=result["answered"] / result["microseconds"] * 1e6,
        cpu=spent / max(made, 1) * 1000,
        p50=result["p50"],
        p99=result["p99"],
        memory=server.memory(),
    )
