"""Servers as processes of their own: started, watched and stopped."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

#: seconds in which a server has to answer for the first time
PATIENCE = 60


class Failure(Exception):
    """Why there is nothing to report."""


@dataclass(frozen=True)
class Server:
    """A server on loopback; what it says goes to the file `log`."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def family(self) -> list[psutil.Process]:
        """Its process and all that came from it."""
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            raise Failure(f"{self.name} ended by itself:\n{self.said()}") from None

    def cpu(self) -> float:
        """CPU seconds, user and system, of the whole family since it was started."""
        return sum(sum(one.cpu_times()[:2]) for one in self.family())

    def memory(self) -> float:
        """Resident MB of its largest process: a worker, not who starts the workers."""
        return max(one.memory_info().rss for one in self.family()) / 1e6

    def idle_cpu(self) -> float:
        """Its CPU seconds once it has done what it was asked for."""
        last, end = -1.0, time.monotonic() + PATIENCE
        while (spent := self.cpu()) != last and time.monotonic() < end:
            last = spent
            time.sleep(0.1)
        return spent

    def said(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def ask(self, method: str, path: str, body: bytes = b"", token: str = "") -> tuple[int, Any]:
        """Status and JSON of one call."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def gunicorn(app: str, workers: int, folder: Path) -> list[str]:
    """The command that serves a WSGI application found in a folder; the port is to be filled in."""
    server = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "4", "--workers"]
    return [*server, str(workers), "--log-level", "warning", "--chdir", str(folder), "--bind", "127.0.0.1:{port}", app]


@contextmanager
def running(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """A server that runs as long as it is entered and answers already.

    None of its settings come from the environment of the benchmark. Raises Failure where it does not start.
    """
    port = free_port()
    log = folder / f"{name}.log"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CDS_")}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [part.format(port=port) for part in command],
            stdout=sink,
            stderr=sink,
            env={**inherited, "PORT": str(port), **environment},
            start_new_session=True,
        )
    server = Server(name, port, process, log)
    try:
        _wait(server)
        yield server
    finally:
        _stop(process)


def _wait(server: Server) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise Failure(f"{server.name} did not start:\n{server.said()}")
        with suppress(OSError, http.client.HTTPException, ValueError):
            server.ask("GET", "/cds-services")
            return
        time.sleep(0.01)
    raise Failure(f"{server.name} did not answer within {PATIENCE} seconds:\n{server.said()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return
