"""A token counts once: in two workers at once, after a restart or a sudden end, and never where nobody can tell."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
import tokens
from databases import KINDS, database
from support import URL, patient_view
from tokens import EC, ISSUER, PUBLIC_URL

ROOT = Path(__file__).resolve().parent.parent
BODY = json.dumps(patient_view("p1", {"patient": None, "conditions": None})).encode()
WORKERS = ["--preload", "--workers", "2", "--worker-class", "gthread", "--threads", "4", "--no-control-socket"]
#: a worker that is told to stop while it starts may miss it: gunicorn then ends it after this time, 30 s by itself
WORKERS += ["--graceful-timeout", "5"]


@pytest.fixture
def environment(tmp_path):
    """A site with one caller."""
    path = tmp_path / "callers.json"
    path.write_text(json.dumps({"callers": [{"issuer": ISSUER, "jwks": tokens.jwks(EC)}]}), encoding="utf-8")
    return {**os.environ, "CDS_CALLERS": str(path), "CDS_PUBLIC_URL": PUBLIC_URL}


def kill(server):
    """gunicorn and its workers at once."""
    os.killpg(server.pid, signal.SIGKILL)


@contextmanager
def serving(environment, folder, end=subprocess.Popen.terminate):
    """Two workers of gunicorn; the port they listen on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", *WORKERS, "cds_service.edge.wsgi:app"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(port, server)
            yield port
        finally:
            end(server)
            server.wait(timeout=60)


def _wait(port, server):
    for _ in range(300):
        assert server.poll() is None, "gunicorn did not start"
        try:
            return post(port, None)
        except OSError:
            time.sleep(0.1)
    pytest.fail("no answer within half a minute")


def post(port, token):
    """The status of one call, and the process that answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        connection.request("POST", URL, BODY, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def now(**changes):
    """A good token of this moment."""
    issued = int(time.time())
    return tokens.token(iat=issued, exp=issued + 300, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_of_fifty_uses_at_once_over_two_workers_one_passes_and_none_after_a_restart(environment, tmp_path, kind):
    token, other = now(), now()
    found = []
    together = threading.Barrier(50)

    def use(port):
        together.wait()
        found.append(post(port, token))

    with database(kind, tmp_path) as url:
        environment["CDS_DATABASE"] = url
        subprocess.run(
            [sys.executable, "-m", "cds_service.edge.cli", "database", "upgrade"], cwd=ROOT, env=environment, check=True
        )
        with serving(environment, tmp_path) as port:
            threads = [threading.Thread(target=use, args=(port,)) for _ in range(50)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert post(port, other) == 200
        with serving(environment, tmp_path) as port:
            after = [post(port, token), post(port, other), post(port, now())]

    assert Counter(found) == {200: 1, 401: 49}
    assert after == [401, 401, 200]


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_passes_again_after_all_workers_were_killed(environment, tmp_path, kind):
    used = [now() for _ in range(5)]

    with database(kind, tmp_path) as url:
        environment["CDS_DATABASE"] = url
        subprocess.run(
            [sys.executable, "-m", "cds_service.edge.cli", "database", "upgrade"], cwd=ROOT, env=environment, check=True
        )
        with serving(environment, tmp_path, kill) as port:
            before = [post(port, token) for token in used]
        with serving(environment, tmp_path) as port:
            after = [post(port, token) for token in (*used, now())]

    assert before == [200] * 5
    assert after == [401] * 5 + [200]


def test_where_the_store_is_down_no_token_passes(environment, tmp_path):
    environment["CDS_DATABASE"] = "sqlite:////proc/none/store.db"

    with serving(environment, tmp_path) as port:
        assert post(port, now()) == 503
        assert post(port, None) == 401
