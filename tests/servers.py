"""Real servers for tests: gunicorn with the configuration that is shipped, nginx with the example that is shipped."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from support import URL

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "cds_service" / "deploy"
EXAMPLE = (ROOT / "tests" / "data" / "example-request.json").read_bytes()
#: the command of deploy/Containerfile; by its script, for `python -m` cannot start itself anew on USR2
GUNICORN = [
    str(Path(sys.executable).with_name("gunicorn")),
    *("-c", "python:cds_service.edge.gunicorn_conf", "cds_service.edge.wsgi:app"),
]
JSON = {"Content-Type": "application/json"}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def when(condition, seconds=20.0):
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(0.05)


def children(process):
    """The processes that a process has started and that live."""
    return set(map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()))


class Server:
    """Something that answers HTTP on a port of loopback."""

    port: int
    tls: ssl.SSLContext | None = None

    def ask(self, method, path, body=None, headers=(), timeout=20):
        """Status, headers and body of an answer. Raises OSError where no connection could be made or it broke off."""
        if self.tls:
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=self.tls)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with closing(connection):
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def get(self, path, headers=()):
        return self.ask("GET", path, headers=headers)

    def call(self, **headers):
        """A good call; its status."""
        return self.ask("POST", URL, EXAMPLE, {**JSON, **headers})[0]

    def is_up(self, path, statuses=(200,)):
        try:
            return self.get(path)[0] in statuses
        except (OSError, http.client.HTTPException):
            return False


class Gunicorn(Server):
    """The service under gunicorn, as it is shipped, with two workers; lines of its log are kept."""

    def __init__(self, folder, start=True, **environment):
        pytest.importorskip("gunicorn")
        self.port, self.folder = free_port(), folder
        self.environment = {
            **os.environ,
            "CDS_OPEN": "true",
            "CDS_BIND": f"127.0.0.1:{self.port}",
            "CDS_DATABASE": f"sqlite:///{folder}/state/store.db",
            **environment,
        }
        self.process, self.log = None, folder / "gunicorn.log"
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(GUNICORN, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        when(lambda: self.is_up("/readyz") or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            self.process.wait(60)

    def workers(self):
        return children(self.process.pid)

    def lines(self):
        """The log; every line must be JSON. What stands after the last of them is being written."""
        *whole, _ = self.log.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in whole]

    def events(self):
        return [line["event"] for line in self.lines()]

    def reload(self, until):
        """HUP, and wait until a line of the log that begins so has come once more and only new workers are there."""
        old, before = self.workers(), sum(event.startswith(until) for event in self.events())
        self.signal(signal.SIGHUP)
        when(lambda: sum(event.startswith(until) for event in self.events()) > before)
        when(lambda: len(self.workers()) == 2 and not self.workers() & old)


class Load:
    """Clients that call without pause, each call on a connection of its own; counts how calls ended."""

    def __init__(self, server, clients=4):
        self.statuses, self.refused, self.broken = [], 0, []
        self._server, self._over = server, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.more(20)
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def more(self, count):
        goal = len(self.statuses) + count
        when(lambda: len(self.statuses) >= goal)

    def _run(self):
        while not self._over.is_set():
            try:
                self.statuses.append(self._server.call())
            except ConnectionRefusedError:  # nobody listens: a proxy goes elsewhere, nothing was lost
                self.refused += 1
                time.sleep(0.02)
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(error)


class Nginx(Server):
    """nginx with the example that is shipped: only ports, paths and the certificate are other ones."""

    def __init__(self, folder, upstream, authority, changes=()):
        self.port, self.folder = free_port(), folder
        certificate = authority.issue_cert("localhost")
        (folder / "tls").mkdir()
        certificate.private_key_pem.write_to_path(str(folder / "tls" / "tls.key"))
        for number, pem in enumerate(certificate.cert_chain_pems):
            pem.write_to_path(str(folder / "tls" / "tls.crt"), append=number > 0)
        text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
        replaced = {
            "/run/nginx/": f"{folder}/",
            "/etc/nginx/tls": f"{folder}/tls",
            "listen 8443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "server service:8080": f"server 127.0.0.1:{upstream}",
            "/dev/stdout": f"{folder}/access.log",
            **dict(changes),
        }
        for old, new in replaced.items():
            assert old in text, f"the example no longer says {old}"
            text = text.replace(old, new)
        self.conf = folder / "nginx.conf"
        self.conf.write_text(text, encoding="utf-8")
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)
        self.process = None

    def check(self):
        """What `nginx -t` says of the file."""
        return subprocess.run(self._command("-t"), capture_output=True, text=True, check=False)

    def __enter__(self):
        with (self.folder / "nginx.log").open("wb") as log:
            # workers of root would be `nobody`, who may not write where tests do
            own = "daemon off;" + " user root;" * (os.geteuid() == 0)
            self.process = subprocess.Popen(self._command("-g", own), stdout=log, stderr=log)
        try:
            when(lambda: self.is_up("/healthz", (200, 503)))
        except AssertionError:
            self.__exit__()
            pytest.fail((self.folder / "nginx.log").read_text(encoding="utf-8"))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def _command(self, *arguments):
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        return [nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(self.conf), *arguments]


def needs_nginx():
    """Skip where there is no nginx, but not in CI."""
    if not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no nginx: apt-get install nginx-light")
