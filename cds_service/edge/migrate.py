"""The schema of the store: which one it has, and bringing it to the one of this version, under a lock.

Alembic is loaded where something is to be done: a worker that finds its store in order does without it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from cds_service.edge.tables import REVISION

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"
#: the key of PostgreSQL's advisory lock, this service's own
_LOCK = 0x0CD5


def config(connection: Connection | None = None) -> "Config":
    """Alembic's configuration, over an open connection."""
    from alembic.config import Config

    made = Config(attributes={"connection": connection})
    made.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


def revision(connection: Connection) -> str:
    """The schema that the store has; '' where it has none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def is_behind(found: str) -> bool:
    """Whether a schema is an older one of this service, or none at all, so that it can be upgraded."""
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    return found != REVISION and (not found or found in known)


def upgrade(connection: Connection) -> None:
    """Bring the store to the schema of this version; the caller's transaction commits it.

    One at a time: SQLite's transaction holds the write lock from its start (`store`), PostgreSQL takes a lock.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    from alembic import command

    command.upgrade(config(connection), "head")
