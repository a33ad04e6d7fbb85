"""What all tests share: the service at its front door, what it offers, and the program behind the door."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.edge.start import forget
from cds_service.edge.web import create_app
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import load

# the store of every application that a test makes, and of every process that it starts, unless the test says otherwise
_FOLDER = Path(tempfile.mkdtemp(prefix="cds-service-"))
os.environ["CDS_DATABASE"] = f"sqlite:///{_FOLDER}/store.db"


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(_FOLDER, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def _forgetting() -> Iterator[None]:
    """What functions remember keeps every knowledge that a test made; a module leaves none of it to the next."""
    yield
    forget()


@pytest.fixture(scope="session")
def client() -> Iterator[FlaskClient]:
    """A client of the web application."""
    app = create_app()
    yield app.test_client()
    app.extensions["store"].close()


@pytest.fixture(scope="session")
def services(client: FlaskClient) -> list[dict[str, Any]]:
    """What discovery offers."""
    return client.get("/cds-services").get_json()["services"]


@pytest.fixture(scope="session")
def responder() -> Responder:
    """The program in one function, with the project's knowledge."""
    return Responder(load())
