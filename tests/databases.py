"""Databases for tests: a SQLite file, or a PostgreSQL database of its own, made and dropped."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

KINDS = ("sqlite", "postgresql")
#: `CDS_TEST_POSTGRES`: the URL of a PostgreSQL where databases may be made, or `none`
_POSTGRES = os.environ.get("CDS_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")

#: CI runs everything unless it is told not to
POSTGRES_WANTED = os.environ.get("CI") == "true" and _POSTGRES != "none"


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of a kind. Skips where there is no PostgreSQL, but fails in CI."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/state/store.db"
        return
    missing = _missing()
    if missing and POSTGRES_WANTED:
        pytest.fail(f"CI runs the tests on PostgreSQL too: {missing}")
    if missing:
        pytest.skip(missing)
    name = f"cds_test_{uuid.uuid4().hex}"
    _administer(f'CREATE DATABASE "{name}"')
    try:
        yield make_url(_POSTGRES).set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(f'DROP DATABASE "{name}" WITH (FORCE)')


@cache
def _missing() -> str:
    if _POSTGRES == "none":
        return "CDS_TEST_POSTGRES=none: no tests on PostgreSQL"
    try:
        _administer("SELECT 1")
    except OperationalError:
        return "no PostgreSQL at CDS_TEST_POSTGRES, by default 127.0.0.1:5432 as user postgres"
    return ""


def _administer(statement: str) -> None:
    engine = create_engine(_POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
