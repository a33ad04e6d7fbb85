"""Real workers under the configuration that is shipped: what one generation hands to the next, and none may lose."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from servers import EXAMPLE, GUNICORN, JSON, ROOT, Gunicorn, Load, children, when
from support import URL

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in /proc")
READ, KEPT = "read anew", "not read anew, all stays as it is"
SERVICE = URL.rpartition("/")[2]


@pytest.fixture
def cards(tmp_path):
    """A copy of the knowledge that may be changed."""
    return shutil.copytree(ROOT / "cards", tmp_path / "cards")


def version(server):
    """The knowledge that answers now."""
    answer = json.loads(server.ask("POST", URL, EXAMPLE, JSON)[2])
    return answer["cards"][0]["extension"]["org.cds-service"]["knowledge"]["version"]


def rename(cards, name):
    file = cards / "knowledge.yaml"
    file.write_text(re.sub(r"(?m)^version: .*$", f'version: "{name}"', file.read_text("utf-8")), "utf-8")


def counted(server, pattern):
    """The sum of the metrics that match."""
    text = server.get("/metrics")[2].decode()
    return sum(float(value) for value in re.findall(rf"(?m)^{pattern}\S* ([0-9.e+-]+)$", text))


def left_behind():
    """The folders where workers count."""
    memory = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
    return set(memory.glob("cds-service-*"))


def counts(server):
    """The folder where the workers of a server count: the one with a file of this master."""
    return next(one for one in left_behind() if (one / f"counter_{server.process.pid}.db").exists())


def test_reload_takes_new_knowledge_and_no_call_is_lost(tmp_path, cards):
    with Gunicorn(tmp_path, CDS_CARDS=str(cards)) as server:
        old = version(server)
        with Load(server) as load:
            rename(cards, "2999.1")
            server.reload(READ)
            load.more(20)
        assert old != "2999.1"
        assert version(server) == "2999.1"

    assert set(load.statuses) == {200}
    assert (load.refused, load.broken) == (0, [])


def test_the_master_does_not_grow_with_every_reload(tmp_path):
    def size():
        """Resident memory of the master in MB, and its open files."""
        status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, len(os.listdir(f"/proc/{server.process.pid}/fd"))

    with Gunicorn(tmp_path) as server:
        server.reload(READ)
        server.reload(READ)
        before, files = size()
        for _ in range(4):
            server.reload(READ)
        after, files_after = size()

    assert files_after == files
    assert after - before < 6, "four copies of the knowledge are 14 MB"


def test_broken_knowledge_is_told_of_and_the_old_goes_on_answering(tmp_path, cards):
    with Gunicorn(tmp_path, CDS_CARDS=str(cards)) as server:
        old = version(server)
        with Load(server) as load:
            (cards / "knowledge.yaml").write_text("version: [", encoding="utf-8")
            server.reload(KEPT)
            load.more(20)
        assert version(server) == old
        shutil.copy(ROOT / "cards" / "knowledge.yaml", cards)
        rename(cards, "2999.2")
        server.reload(READ)
        assert version(server) == "2999.2"
        told = next(event for event in server.events() if event.startswith(KEPT))

    assert "knowledge.yaml" in told
    assert set(load.statuses) == {200}
    assert (load.refused, load.broken) == (0, [])


def test_a_call_that_has_begun_is_answered_before_the_service_stops(tmp_path):
    server = Gunicorn(tmp_path)
    with Load(server) as load:
        head = f"POST {URL} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
        slow = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        slow.sendall(f"{head}Content-Length: {len(EXAMPLE)}\r\n\r\n".encode() + EXAMPLE[:1000])
        time.sleep(0.3)  # it is being read
        server.signal(signal.SIGTERM)
        time.sleep(0.5)
        slow.sendall(EXAMPLE[1000:])
        said = slow.recv(65536)
        server.process.wait(30)
        slow.close()

    assert said.startswith(b"HTTP/1.1 200")
    assert server.process.returncode == 0
    assert set(load.statuses) == {200}
    # who was still in the queue of the kernel hears that nobody is there: nothing of such a call was read
    assert {type(error) for error in load.broken} <= {ConnectionResetError}


def test_another_master_takes_over_and_no_call_is_lost(tmp_path):
    with Gunicorn(tmp_path) as server:
        with Load(server) as load:
            workers = server.workers()
            server.signal(signal.SIGUSR2)
            when(lambda: len(server.workers() - workers) == 1)
            (successor,) = server.workers() - workers
            when(lambda: len(children(successor)) == 2)
            load.more(20)
            server.stop()
            load.more(20)
        os.kill(successor, signal.SIGTERM)
        when(lambda: not Path(f"/proc/{successor}").exists())

    assert set(load.statuses) == {200}
    assert (load.refused, load.broken) == (0, [])


def test_the_workers_count_together_and_forget_nothing_when_they_change(tmp_path):
    with Gunicorn(tmp_path) as server:
        statuses = [server.call() for _ in range(30)]
        calls, cards = (f"cds_{name}{{.*{SERVICE}" for name in ("call_seconds_count", "cards_total"))
        when(lambda: counted(server, calls) == 30)
        entries = counted(server, "cds_cache_entries")
        server.reload(READ)
        after_reload = counted(server, calls)
        os.kill(max(server.workers()), signal.SIGKILL)
        when(lambda: len(server.workers()) == 2)
        statuses += [server.call() for _ in range(10)]
        when(lambda: counted(server, calls) == 40)

        assert set(statuses) == {200}
        assert after_reload == 30
        assert counted(server, cards) == 3 * 40
        assert counted(server, "cds_options_total{.*supported") > 0
        assert 0 < counted(server, "cds_cache_entries") <= entries
        folder = counts(server)
        assert len(list(folder.glob("counter_*"))) <= 5, "workers that come and go must not leave files behind"

    assert not folder.exists()


def test_every_line_is_json_and_repeats_nothing_of_a_request(tmp_path):
    with Gunicorn(tmp_path) as server:
        for raw in (
            b"GET /Canary-4711?name=Canary-4711 HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: Canary-4711\r\n\r\n",
            b"GET /Canary-4711?q=Canary-4711 HTTP/1.1\r\nHost: x\r\nX-Request-Id: Canary-4711\r\n\r\n",
            b"GET /cds-services HTTP/1.1\r\nHost: x\r\nBad Header Canary-4711: 1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as one:
                one.sendall(raw)
                one.recv(65536)
        server.call()
        _, headers, _ = server.ask("GET", "/cds-services", headers={"X-Request-Id": "0" * 32})
        when(lambda: any(line.get("request") == "0" * 32 for line in server.lines()))
        lines = server.lines()

    assert headers["X-Request-Id"] == "0" * 32
    assert "Canary" not in server.log.read_text(encoding="utf-8")
    assert {"gunicorn.error", "cds_service", "cds_service.audit"} == {line["logger"] for line in lines}
    assert any(line["event"].startswith("Booting worker") for line in lines)
    assert "invalid request" in server.events()


def test_workers_share_no_connection_to_the_store(tmp_path):
    with Gunicorn(tmp_path) as server:
        [server.call() for _ in range(10)]
        open_files = [os.readlink(one) for one in Path(f"/proc/{server.process.pid}/fd").iterdir() if one.exists()]

    assert not [file for file in open_files if "store.db" in file]


@pytest.mark.parametrize(
    ("environment", "named"), [({"CDS_METRICS": "everybody"}, "CDS_METRICS"), ({"CDS_OPEN": "false"}, "CDS_CALLERS")]
)
def test_it_does_not_start_on_settings_that_are_not_sound(tmp_path, environment, named):
    before = left_behind()
    server = Gunicorn(tmp_path, start=False, **environment)
    started = subprocess.run(
        GUNICORN,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=server.environment,
        check=False,
    )

    assert started.returncode == 3
    assert named in started.stderr
    assert "Traceback" not in started.stderr
    assert left_behind() <= before
