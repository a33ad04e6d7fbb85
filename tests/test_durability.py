"""Real processes that are killed while they write: every entry that was acknowledged is there afterwards, and a store
that is down costs no card.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from databases import POSTGRES_WANTED
from sqlalchemy import create_engine, text
from support import URL

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = (ROOT / "tests" / "data" / "example-request.json").read_bytes()
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def when(condition, seconds=15.0):
    """Wait until a condition holds; how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it never came to hold"
        time.sleep(0.05)
    return time.monotonic() - start


class Service:
    """The service under gunicorn with two workers."""

    def __init__(self, url):
        self.port = free_port()
        workers = ["-k", "gthread", "--threads", "4", "--workers", "2", "--bind", f"127.0.0.1:{self.port}"]
        self.master = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                *workers,
                "--graceful-timeout",
                "5",
                "--log-level",
                "critical",
                "cds_service.edge.wsgi:app",
            ],
            env={**os.environ, "CDS_DATABASE": url, "CDS_OPEN": "true"},
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        when(lambda: self.post(URL, EXAMPLE) == 200)

    def post(self, path, body):
        """The status of an answer; 0 where there was none."""
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                return answer.status
        except (OSError, http.client.HTTPException):
            return 0

    def send(self, card):
        entry = {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-03-04T05:06:07Z"}
        return self.post(f"{URL}/feedback", json.dumps({"feedback": [entry]}))

    def workers(self):
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children")
        return [int(pid) for pid in children.read_text(encoding="utf-8").split()]

    def kill(self):
        """Master and workers at once, as a machine that loses its power."""
        for pid in (self.master.pid, *self.workers()):
            os.kill(pid, signal.SIGKILL)
        self.master.wait()

    def stop(self):
        if self.master.poll() is None:
            self.master.terminate()
            self.master.wait(60)


@contextmanager
def served(url):
    service = Service(url)
    try:
        yield service
    finally:
        service.stop()


class Writers:
    """Clients that send feedback without pause, and remember what was acknowledged."""

    def __init__(self, service):
        self.acknowledged, self.refused = [], []
        self._service = service
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(4)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def more(self, count=25):
        """Wait until so many more entries are acknowledged."""
        goal = len(self.acknowledged) + count
        return when(lambda: len(self.acknowledged) >= goal)

    def _write(self):
        while not self._over.is_set():
            card = str(uuid.uuid4())
            status = self._service.send(card)
            (self.acknowledged if status == 200 else self.refused).append(card)
            if status != 200:
                time.sleep(0.02)


def stored(url):
    engine = create_engine(url)
    with engine.connect() as connection:
        cards = [row[0] for row in connection.execute(text("SELECT card FROM feedback"))]
    engine.dispose()
    return cards


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in /proc")


@needs_proc
def test_feedback_on_sqlite_survives_the_death_of_a_worker_and_of_all(tmp_path):
    url = f"sqlite:///{tmp_path}/state/store.db"
    with served(url) as service, Writers(service) as writers:
        writers.more()
        os.kill(service.workers()[-1], signal.SIGKILL)
        writers.more()
        service.kill()
    with served(url) as service:
        again = writers.acknowledged[-1]
        assert service.send(again) == 200

    found = stored(url)
    assert len(writers.acknowledged) >= 50
    assert set(writers.acknowledged) <= set(found)
    assert found.count(again) == 1
    with closing(sqlite3.connect(tmp_path / "state" / "store.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


class Cluster:
    """A PostgreSQL of its own, thrown away afterwards."""

    def __init__(self, folder):
        self._folder = folder
        self.port = free_port()
        # PostgreSQL does not run as root
        self._as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "-D", f"{folder}/data")
        self.start()

    @property
    def url(self):
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        self._run("pg_ctl", "-w", "-D", f"{self._folder}/data", "-l", f"{self._folder}/log", "-o", options, "start")

    def stop(self):
        """As after a loss of power: nothing is written back, the log is replayed at the next start."""
        self._run("pg_ctl", "-w", "-m", "immediate", "-D", f"{self._folder}/data", "stop")

    def kill(self):
        """The postmaster itself; its children see it and leave."""
        processes = self._processes()
        os.kill(processes[0], signal.SIGKILL)
        when(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))

    @contextmanager
    def frozen(self):
        """Connected, and silent: as on a disk that hangs."""
        processes = self._processes()
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        yield
        for pid in processes:
            os.kill(pid, signal.SIGCONT)

    def _processes(self):
        postmaster = int((self._folder / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="utf-8").split()
        return [postmaster, *map(int, children)]

    def _run(self, program, *arguments):
        subprocess.run(
            [str(BINARIES[0] / program), *arguments],
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            **self._as,
        )


@pytest.fixture
def cluster():
    if not BINARIES and POSTGRES_WANTED:
        pytest.fail("CI kills a PostgreSQL of its own: its server programs are needed under /usr/lib/postgresql")
    if not BINARIES:
        pytest.skip("no server programs of PostgreSQL under /usr/lib/postgresql")
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="cds-pg-"))
    made = Cluster(folder)
    try:
        yield made
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            made.stop()
        shutil.rmtree(folder)


@needs_proc
def test_feedback_on_postgresql_survives_its_death_and_cards_are_served_meanwhile(cluster):
    upgrade = [sys.executable, "-m", "cds_service.edge.cli", "database", "upgrade"]
    subprocess.run(upgrade, check=True, env={**os.environ, "CDS_DATABASE": cluster.url}, cwd=ROOT)
    with served(cluster.url) as service, Writers(service) as writers:
        for death in (cluster.stop, cluster.kill):
            writers.more()
            death()

            start = time.monotonic()
            assert [service.post(URL, EXAMPLE) for _ in range(8)] == [200] * 8
            assert service.send(str(uuid.uuid4())) == 503
            assert time.monotonic() - start < 5

            cluster.start()
            assert writers.more(1) < 5
        with cluster.frozen():
            time.sleep(1)
            assert [service.post(URL, EXAMPLE) for _ in range(8)] == [200] * 8
        os.kill(service.workers()[-1], signal.SIGKILL)
        writers.more()

    assert len(writers.acknowledged) >= 75
    assert writers.refused
    assert set(writers.acknowledged) <= set(stored(cluster.url))
