"""What the tests of the ledger share. With --ledger they end with its table, and fail where a row has no result."""

import copy
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import calls
import ledger
import pytest
import tokens
from fhir_server import TOKEN, FhirServer
from flask import Flask
from flask.testing import FlaskClient

from cds_service.edge.settings import FhirServer as Listed
from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app

_OUTCOMES = pytest.StashKey[dict[str, set[str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--ledger`, where this folder is named on the command line."""
    parser.addoption("--ledger", action="store_true", help="Print the conformance ledger with the result of every row.")


def pytest_configure(config: pytest.Config) -> None:
    """Keep outcomes by row."""
    config.stash[_OUTCOMES] = defaultdict(set)
    config.pluginmanager.register(_Ledger(config), "ledger")


class _Ledger:
    """Watches tests that stand for rows."""

    def __init__(self, config: pytest.Config):
        self._outcomes = config.stash[_OUTCOMES]
        self._wanted = config.getoption("ledger", False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test went."""
        outcome = ledger.outcome_of(report)
        for row in ledger.ids_of(report.nodeid.rpartition("::")[2]) if outcome else ():
            self._outcomes[row].add(outcome)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if self._wanted:
            results = self._results()
            for line in ledger.table(ledger.rows(), results):
                terminalreporter.write_line(line)
            terminalreporter.write_line(f"\n{ledger.summary(results)}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail where a row failed or was not tested."""
        if self._wanted and ledger.unsound(self._results()) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _results(self) -> dict[str, str]:
        return {row.id: ledger.result(row, self._outcomes[row.id]) for row in ledger.rows()}


# THE SERVICE AND ITS CLIENTS


@pytest.fixture(scope="session")
def everything(client: FlaskClient, services: list[dict[str, Any]]) -> list[calls.Answer]:
    """Everything that the service answers."""
    return list(calls.every_answer(client, services))


@pytest.fixture(scope="session")
def cards(everything: list[calls.Answer]) -> list[dict[str, Any]]:
    """Every card of it."""
    found = [card for answer in everything if answer.status == 200 for card in answer.body.get("cards", ())]
    assert len(found) > 60
    return found


@pytest.fixture
def prefetch(services: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client sends that prefetches everything; a copy that may be changed."""
    return copy.deepcopy(calls.prefetched(calls.RECORD, calls.PATIENT, services))


@pytest.fixture(scope="session")
def served() -> Iterator[Any]:
    """Makes a client of a service with its own settings."""
    apps: list[Flask] = []

    def _served(**settings: Any) -> FlaskClient:
        clock = {"clock": settings.pop("clock")} if "clock" in settings else {}
        apps.append(create_app(site=Settings(**settings), **clock))
        return apps[-1].test_client()

    yield _served
    for app in apps:
        app.extensions["store"].close()


@pytest.fixture(scope="session")
def running() -> Iterator[FhirServer]:
    with FhirServer(calls.RECORD) as one:
        yield one


@pytest.fixture
def server(running: FhirServer) -> FhirServer:
    """The FHIR server of the client, well-behaved until told otherwise."""
    running.page, running.token, running.faults, running.asked = 50, TOKEN, {}, []
    return running


@pytest.fixture(scope="session")
def asking(served: Any, running: FhirServer) -> FlaskClient:
    """A service that may ask this FHIR server."""
    return served(fhir_servers=(Listed(base=running.base, private=True, http=True),), fhir_seconds=20)


@pytest.fixture(scope="session")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The file of a site that trusts two callers, by keys that were exchanged beforehand."""
    path = tmp_path_factory.mktemp("site") / "callers.json"
    (path.parent / "ehr.jwks.json").write_text(json.dumps(tokens.jwks(tokens.EC, tokens.RSA)), encoding="utf-8")
    listed = [
        {"issuer": tokens.ISSUER, "jwks_file": "ehr.jwks.json"},
        {"issuer": tokens.OTHER, "jwks": tokens.jwks(tokens.P256), "algorithms": ["ES256"], "tenants": ["north"]},
    ]
    path.write_text(json.dumps({"callers": listed}), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def ehr(served: Any, callers: Any, tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A service that knows its callers, at a moment that does not pass, behind a proxy with another host name."""
    store = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    return served(
        callers=callers,
        public_url=tokens.PUBLIC_URL,
        cors_origins=frozenset({"https://ehr.example.org"}),
        database=store,
        clock=lambda: tokens.NOW + 10,
    )
