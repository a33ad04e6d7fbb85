"""What is refused at the start, and whom a service without trusted callers serves."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import URL, is_outcome, patient_view
from tokens import EC, PUBLIC_URL, jwks

from cds_service.edge.cli import main
from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = {"REMOTE_ADDR": "127.0.0.1"}
BODY = patient_view("p1", {"patient": None, "conditions": None})
SAFE = {
    "CDS_PRODUCTION": "true",
    "CDS_PUBLIC_URL": PUBLIC_URL,
    "CDS_TLS_TERMINATED": "true",
    "CDS_CORS_ORIGINS": '["https://ehr.example.org"]',
}


def callers(tmp_path, **changes):
    """A file with one trusted caller."""
    path = tmp_path / "callers.json"
    one = {"issuer": "https://ehr.example.org", "jwks": jwks(EC), **changes}
    path.write_text(json.dumps({"callers": [one]}), encoding="utf-8")
    return str(path)


def start(monkeypatch, arguments=("--port", "0"), **environment):
    """Try to start the service with these settings; where it would listen, it is told to stop."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("waitress.create_server", _listens)
    return CliRunner().invoke(main, ["serve", *arguments])


def _listens(*_, host, **__):
    raise SystemExit(f"listens on {host}")


def listens(result):
    """Whether it got so far as to listen."""
    return str(result.exception).startswith("listens on")


# PRODUCTION


def test_the_production_profile_starts_where_all_is_safe(monkeypatch, tmp_path):
    assert listens(start(monkeypatch, ("--host", "0.0.0.0"), **SAFE, CDS_CALLERS=callers(tmp_path)))


def test_the_production_profile_gives_every_reason_at_once(monkeypatch):
    result = start(monkeypatch, CDS_PRODUCTION="true", CDS_CORS_ORIGINS='["http://a.example"]')

    assert result.exit_code == 1
    for variable in ("CDS_CALLERS", "CDS_PUBLIC_URL", "CDS_TLS_TERMINATED", "CDS_CORS_ORIGINS"):
        assert f"{variable}: found" in result.output


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"CDS_PUBLIC_URL": "http://cds.example.org"}, "no https URL"),
        ({"CDS_TLS_TERMINATED": "false"}, "CDS_TLS_TERMINATED"),
        ({"CDS_OPEN": "true"}, "CDS_OPEN"),
        ({"CDS_SANDBOX": "true"}, "CDS_SANDBOX"),
        ({"CDS_FHIR_SERVERS": '[{"base": "http://10.0.0.1/fhir", "http": true, "private": true}]'}, "CDS_FHIR_SERVERS"),
    ],
)
def test_each_reason_alone_keeps_production_from_starting(monkeypatch, tmp_path, changed, named):
    result = start(monkeypatch, **{**SAFE, "CDS_CALLERS": callers(tmp_path), **changed})

    assert result.exit_code == 1
    assert named in result.output


@pytest.mark.parametrize("with_callers", [False, True])
def test_the_sandbox_opens_on_loopback_by_itself_but_never_beside_trusted_callers(monkeypatch, tmp_path, with_callers):
    sites = []
    monkeypatch.setattr(
        "cds_service.edge.command.serve.create_app", lambda cards, site: sites.append(site) or create_app(cards, site)
    )
    trusted = {"CDS_CALLERS": callers(tmp_path), "CDS_PUBLIC_URL": PUBLIC_URL} if with_callers else {}

    assert listens(start(monkeypatch, **trusted))
    assert [site.sandbox for site in sites] == [not with_callers]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"issuer": "https://sandbox.cds-hooks.org"}, "whose private key is public"),
        ({"issuer": "https://sandbox.cds-hooks.org/"}, "whose private key is public"),
        ({"jku": ["https://sandbox.cds-hooks.org/.well-known/jwks.json"]}, "whose private key is public"),
        ({"jku": ["http://127.0.0.1:9000/jwks"]}, "a `jku` without TLS"),
    ],
)
def test_callers_of_a_try_out_keep_production_from_starting(monkeypatch, tmp_path, changed, named):
    path = callers(tmp_path, **changed)

    assert named in start(monkeypatch, **SAFE, CDS_CALLERS=path).output
    assert listens(start(monkeypatch, **{**SAFE, "CDS_CALLERS": path, "CDS_PRODUCTION": "false"}))


# SETTINGS


def test_callers_need_the_url_their_tokens_are_made_out_to(monkeypatch, tmp_path):
    result = start(monkeypatch, CDS_CALLERS=callers(tmp_path))

    assert result.exit_code == 1
    assert "CDS_PUBLIC_URL: found nothing" in result.output


def test_every_setting_at_fault_is_named_and_no_value_shown(monkeypatch):
    result = start(
        monkeypatch,
        CDS_PUBLIC_URL="https://user:secret@cds.example.org",
        CDS_TOKEN_SECONDS="7200",
        CDS_ALGORITHMS='["HS256"]',
        CDS_CORS_ORIGINS='["*"]',
    )

    assert result.exit_code == 1
    for variable in ("CDS_PUBLIC_URL", "CDS_TOKEN_SECONDS", "CDS_ALGORITHMS", "CDS_CORS_ORIGINS"):
        assert f"{variable}: found" in result.output
    assert "secret" not in result.output


def test_a_list_that_is_no_json_is_named(monkeypatch):
    result = start(monkeypatch, CDS_CORS_ORIGINS="https://a.example")

    assert result.exit_code == 1
    assert "cors_origins" in result.output


# WITHOUT TRUSTED CALLERS


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_without_callers_it_listens_on_loopback_and_says_so(monkeypatch, host):
    result = start(monkeypatch, ("--host", host))

    assert listens(result)
    assert "this machine only" in result.output


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cds.example.org"])
def test_without_callers_it_refuses_to_listen_elsewhere(monkeypatch, host):
    result = start(monkeypatch, ("--host", host))

    assert result.exit_code == 1
    assert f"Refused to listen on {host}" in result.output


def test_a_sandbox_can_be_declared_open(monkeypatch):
    result = start(monkeypatch, ("--host", "0.0.0.0"), CDS_OPEN="true")

    assert listens(result)
    assert "ANYBODY" in result.output


@pytest.mark.parametrize(
    ("environ", "headers"),
    [
        ({"REMOTE_ADDR": "192.0.2.7"}, {}),
        ({"REMOTE_ADDR": "10.0.0.1"}, {}),
        ({"REMOTE_ADDR": ""}, {}),
        (LOOPBACK, {"X-Forwarded-For": "192.0.2.7"}),
        (LOOPBACK, {"Forwarded": "for=192.0.2.7"}),
        (LOOPBACK, {"X-Real-IP": "192.0.2.7"}),
        (LOOPBACK, {"Via": "1.1 proxy"}),
        (LOOPBACK, {"Host": "cds.example.org"}),
        (LOOPBACK, {"Host": "rebound.example:8080"}),
        (LOOPBACK, {"Host": "127.0.0.1.example:8080"}),
        (LOOPBACK, {"Host": "[::1"}),
        (LOOPBACK, {"Host": ""}),
    ],
)
def test_without_callers_only_this_machine_is_served(client, environ, headers):
    for answer in (
        client.post(URL, json=BODY, headers=headers, environ_overrides=environ),
        client.get("/cds-services", headers=headers, environ_overrides=environ),
    ):
        assert answer.status_code == 403
        assert is_outcome(answer.get_json())


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]", "127.9.9.9"])
def test_this_machine_is_served_under_each_of_its_names(client, host):
    assert client.get("/cds-services", headers={"Host": host}).status_code == 200


def test_an_open_sandbox_serves_whoever_can_connect():
    client = create_app(site=Settings(open=True)).test_client()

    answer = client.post(URL, json=BODY, environ_overrides={"REMOTE_ADDR": "192.0.2.7"}, headers={"Via": "1.1 proxy"})

    assert answer.status_code == 200


# REAL SERVERS


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ask(port, headers=""):
    """One GET of discovery over a real socket; the whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        one.sendall(
            f"GET /cds-services HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Connection: close\r\n\r\n".encode()
        )
        return b"".join(iter(lambda: one.recv(65536), b"")).decode()


def test_serve_sees_through_a_proxy_and_names_no_software():
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "cds_service.edge.cli", "serve", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert re.search("Discovery", server.stdout.readline())
        direct, proxied = ask(port), ask(port, "X-Forwarded-For: 192.0.2.7\r\n")
    finally:
        server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=20)[1]

    assert direct.startswith("HTTP/1.1 200")
    assert proxied.startswith("HTTP/1.1 403")
    assert not re.search(r"(?im)^server:|waitress|werkzeug|python", direct)
    assert "this machine only" in said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [(line["status"], line.get("refused")) for line in lines] == [(200, None), (403, "not-loopback")]


@pytest.mark.parametrize(("environment", "named"), [({}, "CDS_OPEN=true"), ({"CDS_PRODUCTION": "true"}, "CDS_TLS")])
def test_under_a_wsgi_server_it_does_not_start_without_callers(environment, named):
    started = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{free_port()}", "cds_service.edge.wsgi:app"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )

    assert started.returncode == 3
    assert "CDS_CALLERS" in started.stderr
    assert named in started.stderr
    assert "Traceback" not in started.stderr
