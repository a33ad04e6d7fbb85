"""What is measured: kinds of calls, the servers that answer them, and how each is known to be right."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import tokens
from calls import Chart, feedback, order_select, patient_view
from controls import Answer, Check, a_peers_receptors, echoes, our_receptors, right_about, right_about_receptors
from databases import database
from load import whole_request
from peers import Peer, peers
from processes import Failure, Server, gunicorn, running
from sqlalchemy import create_engine, text
from support import URL

KINDS = ("warm", "cold", "es384", "es384-warm", "order-select", "feedback-sqlite", "feedback-postgresql")
HERE = Path(__file__).resolve().parent
ORDERS = "/cds-services/stage-4-breast-cancer-drug-order-select"
FEEDBACK = f"{URL}/feedback"
#: the size of a chart as EHRs prefetch it
USUAL = 42
#: so many patients are asked about in a control, in turns with what was changed in their charts
_PATIENTS = 3

#: another patient for every number
numbers = count(1)


@dataclass(frozen=True)
class Case:
    """A kind of call to a server.

    `request` makes the whole request of a patient's number. `fresh` calls are each made anew and sent once, of the
    others a single one is sent again and again. `base` names the case to which its cost is compared. `control` raises
    Failure if the server is wrong. `rate` is a first guess at how many a second there may be.
    """

    name: str
    server: Server
    request: Callable[[int], bytes]
    fresh: bool
    base: str
    control: Callable[[], None]
    rate: float = 600


@dataclass(frozen=True)
class Wanted:
    """What is to be measured: the application, its workers, kinds of calls, sizes of charts, the folder of peers."""

    service: str
    workers: int
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    peers: Path | None


def cases(wanted: Wanted, folder: Path, stack: ExitStack) -> Iterator[Case]:
    """The cases that are wanted, their servers started. Raises Failure where one cannot be started."""

    def start(name: str, app: str, **environment: str) -> Server:
        own = {"CDS_DATABASE": f"sqlite:///{folder}/{name}.db", **environment}
        return stack.enter_context(running(name, gunicorn(app, wanted.workers, HERE), folder, own))

    floor = start("floor", "floor:app")
    for size in sorted({USUAL, *wanted.sizes}):
        yield _floor(floor, size)
    if set(wanted.kinds) & {"warm", "cold", "order-select", "feedback-sqlite"}:
        opened = start("service", wanted.service, CDS_OPEN="true")
        for size in wanted.sizes:
            yield from _views(opened, size, wanted.kinds)
        if "order-select" in wanted.kinds:
            yield _orders(opened)
        if "feedback-sqlite" in wanted.kinds:
            yield _feedback("sqlite", opened, f"sqlite:///{folder}/service.db")
    if set(wanted.kinds) & {"es384", "es384-warm"}:
        guarded = start("service-with-callers", wanted.service, **_callers(folder))
        for size in wanted.sizes:
            yield from _views(guarded, size, wanted.kinds, with_token=True)
    if "feedback-postgresql" in wanted.kinds:
        url = _postgresql(stack, folder)
        yield _feedback(
            "postgresql", start("service-postgresql", wanted.service, CDS_OPEN="true", CDS_DATABASE=url), url
        )
    if wanted.peers:
        yield from map(_peer, peers(wanted.peers, folder, stack))


def without_postgresql(kinds: Iterable[str]) -> str:
    """Why there is no PostgreSQL to measure with; '' where there is or none is wanted."""
    if "feedback-postgresql" not in kinds:
        return ""
    try:
        with database("postgresql", Path()):
            return ""
    except pytest.skip.Exception as reason:
        return str(reason)


def _floor(server: Server, size: int) -> Case:
    name = f"floor {size}"
    control = _control(echoes, server, URL, patient_view, size)
    return Case(name, server, _view(size), False, name, control, _rate(size))


def _views(server: Server, size: int, kinds: Iterable[str], with_token: bool = False) -> Iterator[Case]:
    """patient-view for charts of a size: the same patient or every time another."""

    def check(*asked: Any) -> None:
        right_about_receptors(our_receptors, *asked)
        right_about("letrozole", *asked)

    control = _control(check, server, URL, patient_view, size, with_token)
    kind = "es384" if with_token else ""
    for name, same in ((kind or "cold", False), (f"{kind}-warm" if kind else "warm", True)):
        if name in kinds:
            yield Case(
                f"{name} {size}",
                server,
                _view(size, with_token, same),
                not same or with_token,
                f"floor {size}",
                control,
                _rate(size),
            )


def _orders(server: Server) -> Case:
    def request(number: int) -> bytes:
        return whole_request(ORDERS, order_select(Chart(number)))

    control = _control(partial(right_about, "exemestane"), server, ORDERS, order_select, USUAL)
    return Case("order-select", server, request, True, f"floor {USUAL}", control)


def _feedback(kind: str, server: Server, url: str) -> Case:
    """Feedback about a card; the control sees that it is in the database once it is answered."""

    def control() -> None:
        body = feedback(next(numbers))
        card = json.loads(body)["feedback"][0]["card"]
        engine = create_engine(url)
        rows = []
        for _ in range(2):
            _answer(server, FEEDBACK, body)
            with engine.connect() as connection:
                kept = text("SELECT count(*) FROM feedback WHERE card = :card")
                rows.append(connection.scalar(kept, {"card": card}))
        engine.dispose()
        refused = server.ask("POST", FEEDBACK, body.replace(b"overridden", b"forgotten"))[0]
        if (rows, refused) != ([1, 1], 400):
            raise Failure(f"{server.name} is wrong: feedback sent twice was kept {rows} times, a faulty one {refused}")

    def request(number: int) -> bytes:
        return whole_request(FEEDBACK, feedback(number))

    return Case(f"feedback-{kind}", server, request, True, f"floor {USUAL}", control)


def _peer(peer: Peer) -> Case:
    def request(number: int) -> bytes:
        return whole_request(peer.path, patient_view(Chart(number)))

    check = partial(right_about_receptors, a_peers_receptors)
    control = _control(check, peer.server, peer.path, patient_view, USUAL)
    return Case(peer.server.name, peer.server, request, True, f"floor {USUAL}", control)


def _control(
    check: Check, server: Server, path: str, body: Callable[[Chart], bytes], size: int, with_token: bool = False
) -> Callable[[], None]:
    """The check of a server, with other patients each time."""

    def control() -> None:
        def ask(chart: Chart) -> Answer:
            return _answer(server, path, body(chart), _token() if with_token else "")

        check(server.name, ask, [next(numbers) for _ in range(_PATIENTS)], size)

    return control


def _answer(server: Server, path: str, body: bytes, token: str = "") -> Answer:
    status, answer = server.ask("POST", path, body, token)
    if status != 200:
        raise Failure(f"{server.name} is wrong: it answered a control with {status}")
    return answer


def _view(size: int, with_token: bool = False, same: bool = False) -> Callable[[int], bytes]:
    def request(number: int) -> bytes:
        return whole_request(URL, patient_view(Chart(0 if same else number, size)), _token() if with_token else "")

    return request


def _rate(size: int) -> float:
    """The more a call brings, the fewer there are in a second."""
    return 25_000 / size


def _token() -> str:
    """A token that was not used before, valid from now on."""
    now = int(time.time())
    return tokens.token(iat=now, exp=now + 300)


def _callers(folder: Path) -> dict[str, str]:
    path = folder / "callers.json"
    trusted = {"issuer": tokens.ISSUER, "jwks": tokens.jwks(tokens.EC)}
    path.write_text(json.dumps({"callers": [trusted]}), encoding="utf-8")
    return {"CDS_CALLERS": str(path), "CDS_PUBLIC_URL": tokens.PUBLIC_URL}


def _postgresql(stack: ExitStack, folder: Path) -> str:
    """The URL of a database of its own, its tables made."""
    url = stack.enter_context(database("postgresql", folder))
    command = [sys.executable, "-m", "cds_service.edge.cli", "database", "upgrade"]
    done = subprocess.run(command, env={"CDS_DATABASE": url}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"the tables could not be made: {done.stderr}")
    return url
