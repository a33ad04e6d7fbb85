"""What a site sets: read once from the environment (`CDS_…`), checked, frozen. Every default is the safe choice."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from cds_service.edge import urls
from cds_service.errors import ConfigurationError, Problem

#: signatures that a site may accept: asymmetric ones only (CDS Hooks 2.0: never `none`, never HMAC)
SIGNATURES = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ORIGIN = r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?"


def _own_database() -> str:
    """A SQLite file where this platform keeps a program's state: systemd's folder, else the user's (XDG)."""
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    home = Path(folder) if folder else Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "cds-service"
    return f"sqlite:///{home.expanduser() / 'cds-service.db'}"


class FhirServer(BaseModel):
    """A FHIR server that calls may name: `base` as they write it in fhirServer, and what else it needs to be asked.

    `private` allows an address that is not global (a hospital's own network, loopback), `http` a base without TLS,
    `open` asking without an access token where a call brings none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    private: bool = False
    http: bool = False
    open: bool = False

    @field_validator("base")
    @classmethod
    def _one_form(cls, value: str) -> str:
        return urls.base(value)

    @model_validator(mode="after")
    def _http_on_purpose(self) -> "FhirServer":
        if self.base.startswith("http:") and not self.http:
            raise ValueError("without TLS tokens and records travel in the clear: say `http: true` if you mean it")
        return self


def _bare(value: Any) -> Any:
    """A base URL alone stands for a server without any leave."""
    return {"base": value} if isinstance(value, str) else value


class Settings(BaseSettings):
    """The settings of one process. The environment variable of a field is its name in capitals after `CDS_`;
    lists and mappings are written as JSON. No error repeats a value: it may be a secret.
    """

    model_config = SettingsConfigDict(env_prefix="CDS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    cards: Path | None = Field(default=None, description="Folder of the knowledge files, where not the package's own.")
    bind: str = Field(
        default="127.0.0.1:8080",
        pattern=r"^(unix:/.+|\S+:[0-9]{1,5})$",
        description="Where gunicorn listens, with the configuration that is shipped: host:port, or unix:/path.",
    )
    max_body: int = Field(default=16 * 1024 * 1024, gt=0, description="Largest body of a call, in bytes.")

    remember: int = Field(
        default=128,
        ge=0,
        description="Of how many records a process remembers the facts, in memory only; 0 remembers none.",
    )

    callers: Path | None = Field(default=None, description="File of the trusted callers (JSON or TOML).")
    public_url: str = Field(
        default="",
        pattern=rf"^({_ORIGIN}(/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-])?)?$",
        description="URL under which callers reach this service, without /cds-services; tokens must be made out to it.",
    )
    token_seconds: int = Field(default=300, gt=0, le=3600, description="Longest life of a token, in seconds.")
    algorithms: tuple[str, ...] = Field(
        default=("ES384", "RS384"), min_length=1, description="Signatures accepted of callers that list none."
    )
    discovery_open: bool = Field(default=False, description="Answer discovery without a token.")
    open: bool = Field(
        default=False, description="Serve whoever can connect, authenticated or not: for a sandbox, never for patients."
    )
    production: bool = Field(default=False, description="Refuse to start where something is unsafe for patients.")
    tls_terminated: bool = Field(default=False, description="Declared: TLS ends in front of this service.")
    cors_origins: frozenset[str] = Field(
        default=frozenset(), description="Origins of browser clients, exactly as browsers send them."
    )
    sandbox: bool | None = Field(
        default=None,
        description="Offer the sandbox of invented patients. Unless set, only `serve` does, and on loopback only.",
    )
    sandbox_patients: int = Field(
        default=0, ge=0, le=5000, description="Patients invented by chance in the sandbox, beside the written stories."
    )

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

    fhir_servers: tuple[Annotated[FhirServer, BeforeValidator(_bare)], ...] = Field(
        default=(), description="FHIR servers that may be asked for what a call does not bring. None unless listed."
    )
    fhir_seconds: float = Field(default=3.0, gt=0, le=60, description="Longest wait for a FHIR server in one call.")
    fhir_bytes: int = Field(default=8 * 1024 * 1024, gt=0, description="Most bytes of one query, all its pages.")
    fhir_pages: int = Field(default=50, gt=0, description="Most pages of one query.")
    fhir_queries: int = Field(default=16, gt=0, description="Most queries of a process at the same time.")
    fhir_calls: int = Field(
        default=3, gt=0, description="Most calls that wait for FHIR servers at the same time: fewer than threads."
    )

    metrics: Literal["off", "loopback", "open"] = Field(
        default="loopback",
        description="Who may read /metrics: nobody, this machine without a proxy between, or whoever can connect.",
    )
    otel: bool = Field(
        default=False, description="Trace with OpenTelemetry; where to is told by its own OTEL_… variables."
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

    @field_validator("otel")
    @classmethod
    def _can_trace(cls, value: bool) -> bool:
        if value and not _is_installed("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
            raise ValueError("tracing needs OpenTelemetry: pip install 'cds-service[otel]'")
        return value

    @field_validator("algorithms")
    @classmethod
    def _asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not set(value) <= set(SIGNATURES):
            raise ValueError(f"only {', '.join(SIGNATURES)}")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: frozenset[str]) -> frozenset[str]:
        if not all(re.fullmatch(_ORIGIN, origin) for origin in value):
            raise ValueError("scheme://host[:port] in lower case, without a path; no wildcard")
        return value


def _is_installed(*modules: str) -> bool:
    try:
        return all(find_spec(module) for module in modules)
    except ModuleNotFoundError:  # nor what it stands in
        return False


def settings() -> Settings:
    """The settings of the environment. Raises ConfigurationError, which names every variable at fault."""
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError([_problem(fault) for fault in error.errors(include_input=False)]) from None
    except SettingsError as error:  # a list or mapping that is no JSON; names its field only
        raise ConfigurationError([Problem("the environment", str(error), "JSON for lists and mappings")]) from None


def _problem(fault: ErrorDetails) -> Problem:
    field = str(fault["loc"][0]) if fault["loc"] else "…"
    return Problem(f"CDS_{field.upper()}", "a value that does not fit", fault["msg"])
