"""What all tests share: the service at its front door, what it offers, and the program behind the door."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.edge.web import create_app
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import load


@pytest.fixture(scope="session")
def client() -> FlaskClient:
    """A client of the web application."""
    return create_app().test_client()


@pytest.fixture(scope="session")
def services(client: FlaskClient) -> list[dict[str, Any]]:
    """What discovery offers."""
    return client.get("/cds-services").get_json()["services"]


@pytest.fixture(scope="session")
def responder() -> Responder:
    """The program in one function, with the project's knowledge."""
    return Responder(load())
