"""One bounded, guarded GET: the only way that this service opens a connection to another machine.

It asks one host, resolved once, at an address that the site allows; it follows no redirect, asks no proxy, decompresses
nothing, and ends at its deadline whatever the other side does. What it reports of a failure is a fixed phrase: no
address, no header, no byte of an answer.
"""

import logging
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult

import httpcore

from cds_service.edge import urls

# At DEBUG httpcore writes out the headers of an answer, which may repeat a token or name a patient.
logging.getLogger("httpcore").setLevel(logging.INFO)

_TOO_SLOW = "it did not answer in time"
#: what `private` opens; never link-local addresses, where clouds keep the credentials of a machine
_PRIVATE = [
    ip_network(one)
    for one in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "::1/128",
        "fc00::/7",
    )
]
_UNICAST = ip_network("2000::/3")
#: where an IPv6 address carries an IPv4 address in its last 32 bits: mapped, compatible, NAT64 (RFC 4291, RFC 6052)
_CARRIERS = [ip_network(one) for one in ("::ffff:0:0/96", "::/96", "64:ff9b::/96")]
# The system's resolver knows no deadline: it works in threads of its own, and who asked does not wait for it.
_resolver = ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolver")


class Unreachable(Exception):
    """The GET failed. `reason` is a fixed phrase (at most with a status or a limit in it) and may be shown; `status` is
    the HTTP status where one came, else 0.
    """

    def __init__(self, reason: str, status: int = 0):
        super().__init__(reason)
        self.reason, self.status = reason, status


@dataclass(frozen=True)
class Limits:
    """`seconds` from the call to the last byte, `bytes` of the body, `connect` seconds for one address."""

    seconds: float
    bytes: int
    connect: float = 2.0


@dataclass(frozen=True)
class Reach:
    """What the site allows beyond https to global addresses: `private` addresses and loopback, plain `http`."""

    private: bool = False
    http: bool = False


GLOBAL = Reach()


def get(url: str, *, headers: Mapping[str, str], limits: Limits, reach: Reach = GLOBAL) -> bytes:
    """The body of a 200. Raises Unreachable for anything else, at the latest after `limits.seconds`."""
    until = time.monotonic() + limits.seconds
    parts = _checked(url, reach)
    origin = httpcore.Origin(parts.scheme.encode(), (parts.hostname or "").encode(), urls.port(parts))
    target = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=_target(parts))
    own = {"Host": parts.netloc, "Accept-Encoding": "identity", "Connection": "close"}
    asked = httpcore.HTTPConnection(
        origin,
        ssl_context=_tls() if parts.scheme == "https" else None,
        network_backend=_Backend(until, limits.connect, reach),
    )
    try:
        with asked, asked.stream("GET", target, headers=[*own.items(), *headers.items()]) as response:
            return _body(response, limits.bytes)
    except httpcore.ConnectError:
        raise Unreachable("no connection could be made") from None
    except (httpcore.NetworkError, httpcore.ProtocolError):
        raise Unreachable("the connection broke off, or what came over it is not HTTP") from None


def _checked(url: str, reach: Reach) -> SplitResult:
    """The parts of a URL that may be asked: the request is made of the parts that were checked."""
    try:
        parts = urls.read(url)
    except urls.BadUrl as bad:
        raise Unreachable(str(bad)) from None
    if parts.scheme == "http" and not reach.http:
        raise Unreachable("its URL is not https")
    return parts


def _target(parts: SplitResult) -> bytes:
    return ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode()


@cache
def _tls() -> ssl.SSLContext:
    """The system's certificate authorities; a site adds its own with SSL_CERT_FILE, as for any OpenSSL program."""
    return ssl.create_default_context()


def _body(response: httpcore.Response, most: int) -> bytes:
    if 300 <= response.status < 400:
        raise Unreachable("it answered with a redirect, which is not followed")
    if response.status != 200:
        raise Unreachable(f"it answered with status {response.status}", response.status)
    if any(name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in response.headers):
        raise Unreachable("its answer is compressed, which was not asked for")
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > most:
            raise Unreachable(f"its answer is larger than {most} bytes")
    return bytes(body)


class _Backend(httpcore.NetworkBackend):
    """Connections to allowed addresses only, all of them under one deadline."""

    def __init__(self, until: float, connect: float, reach: Reach):
        self._until, self._connect, self._reach = until, connect, reach

    def connect_tcp(
        self, host: str, port: int, timeout: Any = None, local_address: Any = None, socket_options: Any = None
    ) -> httpcore.NetworkStream:
        """To the first address that answers. What was checked is what is connected to: the name is not asked again."""
        for family, address in _addresses(host, port, self._until, self._reach):
            seconds = min(_left(self._until), self._connect)
            try:
                return _Stream(_connected(family, address, seconds), self._until)
            except OSError:
                continue
        raise httpcore.ConnectError


class _Stream(httpcore.NetworkStream):
    """A socket whose every wait ends at the deadline, so that no drip of bytes can hold it."""

    def __init__(self, connected: socket.socket, until: float):
        self._socket, self._until = connected, until

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        try:
            self._socket.settimeout(_left(self._until))
            return self._socket.recv(max_bytes)
        except TimeoutError:
            raise Unreachable(_TOO_SLOW) from None
        except OSError:
            raise httpcore.ReadError from None

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        try:
            self._socket.settimeout(_left(self._until))
            self._socket.sendall(buffer)
        except TimeoutError:
            raise Unreachable(_TOO_SLOW) from None
        except OSError:
            raise httpcore.WriteError from None

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore.NetworkStream:
        try:
            self._socket.settimeout(_left(self._until))
            return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname), self._until)
        except TimeoutError:
            self.close()
            raise Unreachable(_TOO_SLOW) from None
        except ssl.SSLCertVerificationError:
            self.close()
            raise Unreachable("its certificate is not trusted") from None
        except OSError:
            self.close()
            raise Unreachable("no secure connection could be made") from None


def _connected(family: socket.AddressFamily, address: Any, seconds: float) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.settimeout(seconds)
        one.connect(address)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        one.close()
        raise
    return one


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise Unreachable(_TOO_SLOW)
    return left


def _addresses(host: str, port: int, until: float, reach: Reach) -> list[tuple[socket.AddressFamily, Any]]:
    """Where a name leads. One address that is not allowed refuses them all: such a name is not what it seems."""
    asked = _resolver.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = asked.result(timeout=_left(until))
    except TimeoutError:
        asked.cancel()
        raise Unreachable("its name was not resolved in time") from None
    except (OSError, UnicodeError):
        raise Unreachable("its name cannot be resolved") from None
    if not all(_is_allowed(info[4][0], reach) for info in found):
        raise Unreachable("its address is not one that may be asked")
    return [(info[0], info[4]) for info in found]


def _is_allowed(address: Any, reach: Reach) -> bool:
    ip = _carried(ip_address(str(address).partition("%")[0]))
    if reach.private and _within(ip, _PRIVATE):
        return True
    unicast = ip in _UNICAST if ip.version == 6 else not ip.is_multicast
    return ip.is_global and unicast


def _carried(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv6 address, where there is one: it is where the packets end up."""
    if isinstance(ip, IPv4Address) or ip == IPv6Address("::1"):
        return ip
    if ip.sixtofour is not None:
        return ip.sixtofour
    return IPv4Address(int(ip) & 0xFFFFFFFF) if _within(ip, _CARRIERS) else ip


def _within(ip: IPv4Address | IPv6Address, networks: Iterable[Any]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)
