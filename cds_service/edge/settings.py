"""What a site sets: read once from the environment (`CDS_…`), checked, frozen. Every default is the safe choice."""

import os
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError


def _own_database() -> str:
    """A SQLite file where this platform keeps a program's state: systemd's folder, else the user's (XDG)."""
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    home = Path(folder) if folder else Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "cds-service"
    return f"sqlite:///{home.expanduser() / 'cds-service.db'}"


class Settings(BaseSettings):
    """The settings of one process. The environment variable of a field is its name in capitals after `CDS_`;
    lists and mappings are written as JSON. No error repeats a value: it may be a secret.
    """

    model_config = SettingsConfigDict(env_prefix="CDS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    max_body: int = Field(default=16 * 1024 * 1024, gt=0, description="Largest body of a call, in bytes.")
    database: str = Field(
        default_factory=_own_database,
        validate_default=True,
        repr=False,
        description="URL of the store: sqlite:////folder/file.db or postgresql://user:password@host/database.",
    )
    feedback_comments: bool = Field(
        default=False,
        description="Keep the comments of feedback. They are free text of clinicians and may name the patient.",
    )

    @field_validator("database")
    @classmethod
    def _is_a_database(cls, value: str) -> str:
        try:
            url = make_url(value)
        except ArgumentError:
            raise ValueError("not a URL; expected sqlite:////folder/file.db or postgresql://host/database") from None
        kind = url.get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise ValueError("neither sqlite:… nor postgresql:…")
        if kind == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("a SQLite database without a file forgets everything; expected sqlite:////folder/file.db")
        if kind == "postgresql" and find_spec("psycopg") is None:
            raise ValueError("PostgreSQL needs a driver: pip install 'cds-service[postgres]'")
        return value


def settings() -> Settings:
    """The settings of the environment. Raises pydantic's ValidationError, which names the variables at fault."""
    return Settings()
