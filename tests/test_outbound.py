"""The one GET that leaves this machine: what it refuses before it connects, and that it ends in time."""

import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from listener import Listener, Script, http, says

from cds_service.edge import outbound
from cds_service.edge.outbound import Limits, Reach, Unreachable, get

LIMITS = Limits(seconds=1.0, bytes=1000)
LOCAL = Reach(private=True, http=True)
SECRET = "token-that-nobody-else-may-see"
HEADERS = {"Authorization": f"Bearer {SECRET}"}


def reason(url: str, reach: Reach = LOCAL, limits: Limits = LIMITS) -> str:
    """Why a GET fails."""
    with pytest.raises(Unreachable) as caught:
        get(url, headers=HEADERS, limits=limits, reach=reach)
    assert SECRET not in str(caught.value)
    return caught.value.reason


def test_the_body_of_an_answer_comes_back_whole() -> None:
    with Listener(says(http(b'{"a": 1}'))) as server:
        assert get(f"http://127.0.0.1:{server.port}/x?y=1", headers=HEADERS, limits=LIMITS, reach=LOCAL) == b'{"a": 1}'
    (head,) = server.heard
    assert head.startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in head
    assert SECRET.encode() in head


# REFUSED BEFORE A CONNECTION

ELSEWHERE = [
    "http://169.254.169.254:{port}/latest/meta-data",
    "http://[::1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fec0::1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[ff02::1]:{port}/",
    "http://224.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://localhost.:{port}/",
    "http://LOCALHOST:{port}/",
    "http://10.0.0.1:{port}/",
    "http://192.168.0.1:{port}/",
    "http://100.64.0.1:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://user:word@127.0.0.1:{port}/",
    "http://8.8.8.8@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@8.8.8.8/",
    "http://127.0.0.1:{port}/\r\nX: y",
    "http://127.0.0.1:{port}/a b",
    "http://127.0.0.1%2f:{port}/",
    "http://127.0.0.1:{port}0000/",
    "http://[::1:{port}/",
    "http:///127.0.0.1:{port}/",
    "file:///etc/hostname",
    "gopher://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_place_that_is_not_global_is_refused_before_a_connection(url: str) -> None:
    with Listener() as canary:
        assert reason(url.format(port=canary.port), Reach(http=True)).startswith("its ")
    assert canary.heard == []


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "[::]", "[fe80::1]", "224.0.0.1", "255.255.255.255"])
def test_private_addresses_never_include_those_of_the_machine_and_its_link(host: str) -> None:
    with Listener() as canary:
        assert "address" in reason(f"http://{host}:{canary.port}/", LOCAL)
    assert canary.heard == []


def test_plain_http_is_refused_unless_the_site_allows_it() -> None:
    with Listener() as canary:
        assert "https" in reason(f"http://127.0.0.1:{canary.port}/", Reach(private=True))
    assert canary.heard == []


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """A resolver that gives these addresses, one answer after the other; returns the names it was asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        listed = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in listed]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_one_private_address_among_public_ones_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    with Listener() as canary:
        assert "address" in reason(f"http://fhir.example:{canary.port}/", Reach(http=True))
    assert canary.heard == []


def test_a_name_that_turns_private_after_the_check_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the first answer is public, the second is the canary."""
    asked = names(monkeypatch, ["192.0.9.9"], ["127.0.0.1"])
    connected: list[Any] = []

    def connect(_: socket.socket, address: Any) -> None:
        connected.append(address)
        raise OSError

    monkeypatch.setattr("socket.socket.connect", connect)
    with Listener() as canary:
        assert reason(f"http://fhir.example:{canary.port}/", Reach(http=True)) == "no connection could be made"
    assert asked == ["fhir.example"]
    assert connected == [("192.0.9.9", canary.port)]


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with Listener() as proxy, Listener(says(http(b"direct"))) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert get(f"http://127.0.0.1:{server.port}/", headers={}, limits=LIMITS, reach=LOCAL) == b"direct"
    assert proxy.heard == []


# HOSTILE ANSWERS


def drips(piece: bytes) -> Script:
    """Sends a piece twenty times a second, for longer than anybody waits."""

    def script(connection: socket.socket) -> None:
        for _ in range(400):
            connection.sendall(piece)
            time.sleep(0.05)

    return script


def silent(connection: socket.socket) -> None:
    time.sleep(20)


def then(first: bytes, script: Script) -> Script:
    def both(connection: socket.socket) -> None:
        connection.sendall(first)
        script(connection)

    return both


HOSTILE = {
    "silent": (silent, "it did not answer in time"),
    "dripping head": (then(b"HTTP/1.1 200 OK\r\n", drips(b"X: y\r\n")), "it did not answer in time"),
    "dripping body": (then(b"HTTP/1.1 200 OK\r\n\r\n", drips(b" ")), "it did not answer in time"),
    "endless 100": (drips(b"HTTP/1.1 100 Continue\r\n\r\n"), "it did not answer in time"),
    "stalled body": (then(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", silent), "it did not answer in time"),
    "huge": (says(http(b" " * 1001)), "its answer is larger than 1000 bytes"),
    "huge in chunks": (
        then(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", drips(b"64\r\n" + b" " * 100 + b"\r\n")),
        "its answer is larger than 1000 bytes",
    ),
    "huge head": (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000), "the connection broke off"),
    "cut": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}"), "the connection broke off"),
    "cut in the head": (says(b"HTTP/1.1 200 OK\r\nContent-"), "the connection broke off"),
    "nothing": (says(b""), "the connection broke off"),
    "no HTTP": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "the connection broke off"),
    "compressed": (says(http(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip")), "its answer is compressed"),
    "unauthorised": (says(http(b"{}", "401 Unauthorized")), "it answered with status 401"),
    "broken": (says(http(b"{}", "500 Internal Server Error")), "it answered with status 500"),
    "no content": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "it answered with status 204"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_answer_is_a_reason_within_the_deadline(case: str) -> None:
    script, expected = HOSTILE[case]
    begun = time.monotonic()
    with Listener(script) as server:
        found = reason(f"http://127.0.0.1:{server.port}/")
    assert found.startswith(expected)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(status: str) -> None:
    with Listener() as canary:
        there = f"Location: http://127.0.0.1:{canary.port}/"
        with Listener(says(http(b"", status, there))) as server:
            assert "redirect" in reason(f"http://127.0.0.1:{server.port}/")
    assert canary.heard == []


def test_a_closed_port_is_a_reason() -> None:
    with Listener() as gone:
        pass
    assert reason(f"http://127.0.0.1:{gone.port}/") == "no connection could be made"


def test_a_name_that_resolves_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        time.sleep(2)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert reason("https://fhir.example/", limits=Limits(seconds=0.1, bytes=1)) == "its name was not resolved in time"


def test_a_name_that_does_not_exist_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert reason("https://fhir.example/") == "its name cannot be resolved"


def test_no_header_of_either_side_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"X-Echo: {SECRET}"
    with Listener(says(http(b"{}", "200 OK", echo))) as server:
        get(f"http://127.0.0.1:{server.port}/", headers=HEADERS, limits=LIMITS, reach=LOCAL)
    assert SECRET not in caplog.text


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site that trusts one more certificate authority, as OpenSSL programs are told."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    outbound._tls.cache_clear()
    yield
    outbound._tls.cache_clear()


def secure(authority: trustme.CA, name: str, script: Script, asked_for: list[Any]) -> Script:
    """The script behind TLS, with a certificate for this name; keeps the server names that clients ask for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.sni_callback = lambda _, asked, __: asked_for.append(asked)

    def wrapped(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as inner:
            while not inner.recv(65536).endswith(b"\r\n\r\n"):
                pass
            script(inner)

    return wrapped


def test_a_checked_address_is_asked_under_the_name_of_the_server(
    authority: trustme.CA, trusting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, ["127.0.0.1"])
    asked_for: list[Any] = []
    with Listener(secure(authority, "fhir.example", says(http(b"secure")), asked_for), head=False) as server:
        url = f"https://fhir.example:{server.port}/"
        assert get(url, headers=HEADERS, limits=LIMITS, reach=Reach(private=True)) == b"secure"
    assert asked_for == ["fhir.example"]


def test_the_certificate_of_another_name_is_refused(
    authority: trustme.CA, trusting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, ["127.0.0.1"])
    with Listener(secure(authority, "other.example", says(http(b"")), []), head=False) as server:
        assert reason(f"https://fhir.example:{server.port}/") == "its certificate is not trusted"


def test_the_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with Listener(secure(authority, "127.0.0.1", says(http(b"")), []), head=False) as server:
        assert reason(f"https://127.0.0.1:{server.port}/") == "its certificate is not trusted"


def test_a_handshake_that_never_ends_ends_at_the_deadline() -> None:
    with Listener(silent, head=False) as server:
        assert reason(f"https://127.0.0.1:{server.port}/") == "it did not answer in time"


def test_what_speaks_no_tls_gets_no_token() -> None:
    with Listener(says(http(b"{}")), head=False) as server:
        assert reason(f"https://127.0.0.1:{server.port}/") == "no secure connection could be made"
