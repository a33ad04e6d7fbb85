"""The proxy example in front of real workers: what it lets through, what it keeps away, and who is never starved."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import trustme
from servers import EXAMPLE, JSON, Gunicorn, Nginx, free_port, needs_nginx, when
from support import URL, is_outcome

from cds_service.edge.settings import Settings

OFTEN = {"rate=50r/s": "rate=1000r/s", "burst=100": "burst=1000"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    needs_nginx()
    with Gunicorn(tmp_path_factory.mktemp("service")) as one:
        yield one


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def proxy(tmp_path, service, authority):
    with Nginx(tmp_path, service.port, authority, OFTEN) as one:
        yield one


def accesses(proxy):
    """The access log."""
    return [json.loads(line) for line in (proxy.folder / "access.log").read_text(encoding="utf-8").splitlines()]


def test_the_example_is_sound_as_it_is(tmp_path, service, authority):
    checked = Nginx(tmp_path, service.port, authority).check()

    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr.replace('the "user" directive', "")


def test_a_good_call_passes_under_one_request_id(proxy, service):
    status, headers, body = proxy.ask("POST", URL, EXAMPLE, JSON)

    assert status == 200
    assert len(json.loads(body)["cards"]) == 3
    assert headers["Strict-Transport-Security"]
    assert "nginx/" not in headers["Server"]
    ident = headers["X-Request-Id"]
    when(lambda: any(line.get("request") == ident for line in service.lines()))
    when(lambda: any(line["request"] == ident and line["asked"] == "call" for line in accesses(proxy)))


@pytest.mark.parametrize(
    "path", ["/metrics", "/readyz", "/sandbox", "/metrics/", "//metrics", "/cds-services/../metrics"]
)
def test_what_is_for_the_inside_stays_inside(proxy, path):
    status, _, body = proxy.get(path)

    assert status == 404
    assert is_outcome(json.loads(body))


def test_the_watchers_inside_are_served_without_it(service):
    assert service.get("/metrics")[0] == 200
    assert service.get("/readyz")[0] == 200


def test_a_body_over_the_limit_is_refused_before_it_is_sent(proxy):
    limit = Settings().max_body
    head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    answers = []
    for length in (limit + 1, 10**12):
        with proxy.tls.wrap_socket(
            socket.create_connection(("127.0.0.1", proxy.port), timeout=10), server_hostname="localhost"
        ) as one:
            one.sendall(f"{head}{length}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(one)
            answer.begin()
            answers.append((answer.status, is_outcome(json.loads(answer.read()))))

    assert answers == [(413, True)] * 2
    assert proxy.ask("POST", URL, b" " * limit, JSON)[0] == 400, "the service itself reads so much"


def test_slow_bodies_starve_nobody(proxy):
    """Of 60 clients that send half a body and wait, none holds a thread: there are eight."""
    head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    half = f"{head}Content-Length: {len(EXAMPLE)}\r\n\r\n".encode() + EXAMPLE[:1000]
    slow = []
    try:
        for _ in range(60):
            raw = socket.create_connection(("127.0.0.1", proxy.port), timeout=20)
            slow.append(proxy.tls.wrap_socket(raw, server_hostname="localhost"))
            slow[-1].sendall(half)
        with ThreadPoolExecutor(8) as pool:
            answered = [one.result(timeout=3) for one in [pool.submit(proxy.call) for _ in range(32)]]
        with closing(slow[0]) as late:
            late.settimeout(12)
            said = late.recv(4096)
    finally:
        for one in slow:
            one.close()

    assert answered == [200] * 32
    assert said == b"" or said.startswith(b"HTTP/1.1 408"), "nginx waits five seconds for a body"


def test_a_flood_is_told_to_come_back(tmp_path, service, authority):
    with Nginx(tmp_path, service.port, authority) as proxy:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: proxy.ask("GET", "/cds-services"), range(400)))
        time.sleep(1)
        later = proxy.call()
    statuses = [status for status, _, _ in answers]
    refused = next((headers, body) for status, headers, body in answers if status == 429)

    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 100
    assert refused[0]["Retry-After"] == "1"
    assert is_outcome(json.loads(refused[1]))
    assert later == 200


def test_no_query_and_no_path_is_logged(proxy):
    proxy.get("/cds-services?patient=Canary-4711")
    proxy.get("/Canary-4711")
    proxy.get("/cds-services/Canary-4711")
    when(lambda: len(accesses(proxy)) >= 4)  # the first asked whether it is up

    assert "Canary" not in (proxy.folder / "access.log").read_text(encoding="utf-8")


def test_a_service_that_is_down_is_a_503_that_says_when(tmp_path, authority):
    needs_nginx()
    with Nginx(tmp_path, free_port(), authority) as proxy:
        status, headers, body = proxy.ask("POST", URL, EXAMPLE, JSON)

    assert (status, headers["Retry-After"]) == (503, "5")
    assert is_outcome(json.loads(body))


def test_a_reload_behind_it_loses_no_call(proxy, service):
    statuses, over = [], threading.Event()

    def run():
        while not over.is_set():
            statuses.append(proxy.call())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        when(lambda: len(statuses) > 20)
        service.reload("read anew")
        done = len(statuses)
        when(lambda: len(statuses) > done + 20)
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert set(statuses) == {200}
