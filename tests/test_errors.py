"""Whatever is sent, the answer is an OperationOutcome with a fitting status, and the service is there for the next."""

import gzip
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import URL, is_outcome, patient_view

from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app

ROOT = Path(__file__).resolve().parent.parent
GOOD = json.dumps(patient_view("p1", {"patient": None, "conditions": None}))
LIMIT = 200_000
CANARY = "Canary-Name-4711"


@pytest.fixture(scope="module")
def small():
    """A service that reads 200 kB at most."""
    return create_app(site=Settings(max_body=LIMIT)).test_client()


def post(client, body, **headers):
    """Post bytes or text as JSON."""
    return client.post(URL, data=body, headers={"Content-Type": "application/json", **headers})


def deep(depth, opening="[", closing="]"):
    """A good call with something nested this deep in its prefetch."""
    return GOOD.replace('"patient": null', f'"patient": {opening * depth}{closing * depth}')


BODIES = {
    "nothing": b"",
    "spaces": b"   ",
    "no JSON": b"hello",
    "half JSON": GOOD[:-1].encode(),
    "JSON and more": GOOD.encode() + b"{}",
    "a comment": b"/* */" + GOOD.encode(),
    "an array": b"[]",
    "a string": b'"hook"',
    "a number": b"7",
    "null": b"null",
    "an empty object": b"{}",
    "a BOM": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "latin-1": GOOD.replace("p1", "é").encode("latin-1"),
    "half a character": GOOD.replace("p1", "é").encode()[:-1].replace("é".encode(), b"\xc3"),
    "half a surrogate": GOOD.replace('"p1"', '"\\ud800"').encode(),
    "NaN": GOOD.replace('"patient": null', '"patient": NaN').encode(),
    "Infinity": GOOD.replace('"patient": null', '"patient": -Infinity').encode(),
    "1e400": GOOD.replace('"patient": null', '"patient": 1e400').encode(),
    "a control character": GOOD.replace("p1", "p\x001").encode(),
    "nested 1,500 deep": deep(1_500).encode(),
    "nested 90,000 deep": deep(90_000).encode(),
    "nested and open": b"[" * 100_000,
    "objects nested and open": b'{"a":' * 30_000,
    "the context of another hook": GOOD.replace('"patient-view"', '"order-sign"').encode(),
    "a context that is a list": GOOD.replace('"context": {', '"context": [{').replace('}, "pref', '}], "pref').encode(),
    "a patient that is a number": GOOD.replace('"p1"', "7").encode(),
    "form data": b"hook=patient-view&context=%7B%7D",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_call_is_a_bad_request(small, name):
    answer = post(small, BODIES[name])

    assert answer.status_code == 400, answer.get_data(as_text=True)[:300]
    assert is_outcome(answer.get_json())


@pytest.mark.parametrize("number", ["1" * 5_000, "-" + "9" * 400, "1" * 310 + ".5", "1e-4000"])
def test_a_number_of_any_length_is_answered(small, number):
    answer = post(small, GOOD.replace('"patient": null', f'"patient": {number}'))

    assert answer.status_code in (400, 412)


@pytest.mark.parametrize("depth", [65, 120, 125, 500, 990])
@pytest.mark.parametrize("where", ["value", "resource"])
def test_depth_that_can_be_read_is_answered(small, depth, where):
    nested = deep(depth) if where == "value" else deep(depth, '{"resourceType": "Patient", "extension": [', "]}")

    assert post(small, nested).status_code in (200, 400, 412)


STATUSES = [
    (404, "GET", "/", {}),
    (404, "GET", "/cds-services/", {}),
    (404, "GET", "/cds-services/../etc/passwd", {}),
    (404, "POST", "/cds-services/%2e%2e%2f%2e%2e%2fetc%2fpasswd", {}),
    (404, "POST", "/cds-services/unknown", {}),
    (404, "POST", "/cds-services/a/b/c", {}),
    (404, "GET", "/static/x", {}),
    (405, "POST", "/cds-services", {}),
    (405, "GET", URL, {}),
    (405, "PUT", URL, {}),
    (405, "DELETE", URL, {}),
    (405, "PATCH", URL, {}),
    (405, "TRACE", URL, {}),
    (405, "PROPFIND", URL, {}),
    (415, "POST", URL, {"Content-Type": "text/plain"}),
    (415, "POST", URL, {"Content-Type": "application/fhir+json"}),
    (415, "POST", URL, {"Content-Type": "multipart/form-data; boundary=x"}),
    (415, "POST", URL, {"Content-Type": "application/x-www-form-urlencoded"}),
    (415, "POST", URL, {"Content-Type": ""}),
    (415, "POST", URL, {"Content-Type": "application/json", "Content-Encoding": "gzip"}),
    (415, "POST", URL, {"Content-Type": "application/json", "Content-Encoding": "br"}),
]


@pytest.mark.parametrize(("status", "method", "url", "headers"), STATUSES)
def test_every_refusal_is_an_operation_outcome_with_its_status(small, status, method, url, headers):
    answer = small.open(url, method=method, data=GOOD, headers=headers)

    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert is_outcome(answer.get_json())


@pytest.mark.parametrize(("url", "allowed"), [("/cds-services", {"GET", "HEAD"}), (URL, {"POST"})])
def test_a_wrong_method_is_told_the_right_ones(small, url, allowed):
    answer = small.delete(url)

    assert allowed <= set(answer.headers["Allow"].split(", "))
    assert small.options(url).status_code in (200, 204)
    assert allowed <= set(small.options(url).headers["Allow"].split(", "))


def test_head_is_get_without_a_body(small):
    got, head = small.get("/cds-services"), small.head("/cds-services")

    assert head.status_code == 200
    assert head.data == b""
    assert head.content_length == got.content_length


def test_a_body_over_the_limit_is_told_the_limit(small):
    answer = post(small, GOOD + " " * LIMIT)

    assert answer.status_code == 413
    assert str(LIMIT) in answer.get_data(as_text=True)


def test_a_compressed_body_is_not_unpacked(small):
    assert post(small, gzip.compress(b"0" * 50_000_000), **{"Content-Encoding": "gzip"}).status_code == 415


@pytest.mark.parametrize(
    ("url", "method", "status"), [("/cds-services", "GET", 200), (URL, "POST", 400), ("/x", "GET", 404)]
)
def test_every_answer_is_kept_by_nobody_and_taken_for_nothing_else(small, url, method, status):
    answer = small.open(url, method=method, json={})

    assert answer.status_code == status
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Set-Cookie" not in answer.headers


def test_no_refusal_and_no_line_of_the_log_repeats_what_was_sent(small, caplog):
    caplog.set_level("DEBUG")
    context = {"userId": CANARY, "patientId": [CANARY], "encounterId": CANARY}
    bad = {"hook": CANARY, "hookInstance": "", "context": context, "prefetch": CANARY, "fhirServer": CANARY}
    answers = [
        post(small, json.dumps(bad)),
        post(small, json.dumps({**bad, "hook": "patient-view", "hookInstance": CANARY, "prefetch": {CANARY: CANARY}})),
        post(small, GOOD.replace("p1", CANARY) + CANARY),
        post(small, GOOD.replace("p1", CANARY), **{"Content-Encoding": CANARY, "X-Canary": CANARY}),
        post(small, GOOD.replace("p1", CANARY)),
        small.post(f"/cds-services/{CANARY}?q={CANARY}", json={}),
        small.open(f"/{CANARY}", method="GET"),
    ]

    said = "".join(answer.get_data(as_text=True) for answer in answers if answer.status_code != 200)
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert [answer.status_code for answer in answers] == [400, 400, 400, 415, 200, 404, 404]
    assert CANARY not in said
    assert CANARY not in logged


def test_a_call_leaves_one_line_that_says_how_it_went(small, caplog):
    caplog.set_level("INFO", "cds_service.audit")

    post(small, GOOD)
    post(small, b"")
    small.get("/cds-services")

    lines = [record.fields for record in caplog.records]
    assert [(line.get("service"), line["status"], line.get("cards"), line.get("refused")) for line in lines] == [
        (URL.rpartition("/")[2], 200, 0, None),
        (URL.rpartition("/")[2], 400, None, "invalid"),
        ("cds-services", 200, None, None),
    ]
    assert all(re.fullmatch(r"[<>]=?\d+ms", line["took"]) for line in lines)


# RAW SOCKETS


@pytest.fixture(scope="module")
def port():
    """The port of a real server with a limit of 200 kB."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(LIMIT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    try:
        yield int(re.search(r":(\d+)/", server.stdout.readline()).group(1))
    finally:
        server.terminate()
        server.communicate(timeout=20)


_SERVE = """
import os, sys
os.environ["CDS_MAX_BODY"] = sys.argv[1]
from cds_service.edge.cli import main
main(["serve", "--port", "0"])
"""


def talk(port, *sent):
    """Send bytes over one connection; what came back until the server closed it or fell silent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        try:
            for part in sent:
                one.sendall(part)
            while chunk := one.recv(65536):
                answer += chunk
        except (TimeoutError, ConnectionError):
            pass
    return answer


def head(*fields, method="POST", path=URL, version="1.1"):
    """The head of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: 127.0.0.1", "Content-Type: application/json", *fields]
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode()


def chunked(body, size=50_000):
    """A body in chunks."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return [f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts] + [b"0\r\n\r\n"]


def status(answer):
    """The status of an answer; 0 for none."""
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0


RAW = {
    "a good call in chunks": ((200,), [head("Transfer-Encoding: chunked"), *chunked(GOOD.encode(), 100)]),
    "chunks over the limit": ((413,), [head("Transfer-Encoding: chunked"), *chunked(b" " * (LIMIT + 1))]),
    "chunks far over the limit": ((413, 0), [head("Transfer-Encoding: chunked"), *chunked(b" " * 20_000_000)]),
    "a length over the limit": ((413,), [head(f"Content-Length: {LIMIT + 1}"), b" " * (LIMIT + 1)]),
    "a length of 50 MB and no body": ((413,), [head("Content-Length: 50000000")]),
    "a length that is too short": ((400,), [head("Content-Length: 20"), GOOD.encode()]),
    "a length below nothing": ((400,), [head("Content-Length: -5"), GOOD.encode()]),
    "two lengths": ((400,), [head("Content-Length: 5", f"Content-Length: {len(GOOD)}"), GOOD.encode()]),
    "a length of words": ((400,), [head("Content-Length: ten"), GOOD.encode()]),
    "an unknown transfer encoding": ((400, 501), [head("Transfer-Encoding: xchunked"), GOOD.encode()]),
    "chunks of no size": ((400,), [head("Transfer-Encoding: chunked"), b"xyz\r\n\r\n"]),
    "a header of 300 kB": ((400, 431, 0), [head(f"X-Long: {'x' * 300_000}")]),
    "an unknown method": ((400, 405, 501), [head(method="BREW")]),
    "no HTTP": ((400, 0), [b"hello\r\n\r\n"]),
    "the start of TLS": ((400, 0), [bytes.fromhex("160301020001000001fc0303") + bytes(200)]),
    "a path that leads out": ((404,), [head(method="GET", path="/cds-services/../../../etc/passwd")]),
    "a path with two slashes": ((404,), [head(method="GET", path="/.//cds-services")]),
    "a path with NUL": ((400, 404, 405), [head(method="GET", path="/cds-services/%00")]),
    "a whole URL as path": ((200, 400, 403, 404), [head(method="GET", path="http://127.0.0.1/cds-services")]),
}


@pytest.mark.parametrize("name", RAW)
def test_bad_framing_is_refused_and_the_next_call_is_served(port, name):
    statuses, sent = RAW[name]

    answer = talk(port, *sent)

    assert status(answer) in statuses, answer[:300]
    body = GOOD.encode()
    assert status(talk(port, head(f"Content-Length: {len(body)}"), body)) == 200


def test_slow_callers_do_not_hold_up_the_others(port):
    body = GOOD.encode()
    slow = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(40)]
    try:
        for one in slow:
            one.sendall(head(f"Content-Length: {len(body)}") + body[:50])

        assert status(talk(port, head(f"Content-Length: {len(body)}"), body)) == 200
    finally:
        for one in slow:
            one.close()
