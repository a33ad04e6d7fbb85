"""The store: feedback, what cards list, used tokens. On SQLite or PostgreSQL, by the URL alone.

What a method has returned from outlives this process and every other of the service, however they end, and a machine
that loses its power; with one exception, used tokens on SQLite (see `_sqlite`). A store that cannot be had costs its
caller an Unavailable (503) within seconds, costs no card, and is tried again a second later, by one caller at a time.
"""

import hashlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Select, create_engine, delete, event, func, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cds_service.edge.migrate import is_behind, revision, upgrade
from cds_service.edge.tables import FEEDBACK, LISTING, REVISION, TOKEN_USE
from cds_service.edge.watch import UNWATCHED, Watch
from cds_service.errors import Problem, Unavailable
from cds_service.hooks.feedback import Entry
from cds_service.hooks.listing import Listing, imprint_of

_log = logging.getLogger("cds_service")
#: connections of one process: fewer than a worker has threads, so that a store that hangs leaves threads for cards;
#: and as many more for used tokens, without which there is no card where callers are known
_CONNECTIONS, _FOR_TOKENS = 3, 2
#: seconds until a store that failed is tried again
_REST = 1.0
#: used tokens are kept so many seconds beyond their end, so that clocks need not agree; purged once in so many uses
_GRACE, _PURGE_EVERY, _PURGE_MOST = 600, 100, 1000


@dataclass(frozen=True)
class Origin:
    """Who sent feedback to which service. Caller and tenant are '' where callers are not authenticated."""

    service: str
    caller: str = ""
    tenant: str = ""


@dataclass(frozen=True)
class Count:
    """How many entries of feedback agree in these."""

    imprint: str
    outcome: str
    system: str
    code: str
    number: int


class Store:
    """A database by its SQLAlchemy URL. Connects when first used, in the process that uses it.

    `patience` is the time in seconds that a statement or a lock may take before the store counts as down; `watch` is
    told how each transaction went.
    """

    def __init__(self, url: str, keep_comments: bool = False, patience: float = 5.0, watch: Watch = UNWATCHED):
        self._url = make_url(url)
        self._keep_comments = keep_comments
        self._watch = watch
        self._insert = sqlite.insert if self._url.get_backend_name() == "sqlite" else postgresql.insert
        make = _sqlite if self._url.get_backend_name() == "sqlite" else _postgresql
        self._engine = make(self._url, patience)
        self._alone = make(self._url, patience, alone=True)
        self._use = str(self._insert(TOKEN_USE).on_conflict_do_nothing().compile(dialect=self._alone.dialect))
        self._process = os.getpid()
        self._ready = False
        self._tried_again = 0.0  # when a store that failed may be tried again, 0 while it works
        self._trying = threading.Lock()
        self._uses = count(1)

    def keep(self, origin: Origin, entries: Iterable[Entry]) -> None:
        """Keep feedback; what is kept already stays as it is. All of it is on disk then, or Unavailable is raised."""
        today = datetime.now(UTC).date().isoformat()
        rows = {row["key"]: row for row in (self._row(origin, entry, today) for entry in entries)}
        if rows:
            self._add(FEEDBACK, [rows[key] for key in sorted(rows)])  # sorted: two batches never wait for each other

    def remember(self, listings: Iterable[Listing]) -> None:
        """Remember what cards list, each listing once."""
        rows = {
            one.imprint: {
                "imprint": one.imprint,
                "card": one.card,
                "version": one.version,
                "digest": one.digest,
                "options": json.dumps(one.options),
            }
            for one in listings
        }
        if rows:
            self._add(LISTING, [rows[key] for key in sorted(rows)])

    def first_use(self, issuer: str, jti: str, expires: int) -> bool:
        """Whether this token was never used before, in any process; it is used now. `expires` as in the token, seconds.

        Raises Unavailable when that cannot be told: then the token must not pass.
        """
        token = hashlib.sha256(json.dumps([issuer, jti]).encode()).hexdigest()
        with self._watch.step("store"), self._guarded():
            self._make_ready()
            first = self._written(self._use, {"token": token, "expires": expires}) == 1
        if next(self._uses) % _PURGE_EVERY == 0:
            self._purge()
        return first

    def counts(self, since: date | None = None) -> list[Count]:
        """All feedback received since a day (UTC), counted."""
        columns = [getattr(FEEDBACK.c, name) for name in ("imprint", "outcome", "reason_system", "reason_code")]
        query: Select[*tuple[Any, ...]] = select(*columns, func.count()).group_by(*columns)
        if since is not None:
            query = query.where(FEEDBACK.c.received >= since.isoformat())
        with self._transaction(reads=True) as connection:
            return [Count(*row) for row in connection.execute(query)]

    def listings(self) -> Mapping[str, Listing]:
        """Every listing that is remembered and that feedback is about, by imprint."""
        query = select(LISTING).where(LISTING.c.imprint.in_(select(FEEDBACK.c.imprint)))
        with self._transaction(reads=True) as connection:
            return {
                row.imprint: Listing(
                    row.imprint, row.card, row.version, row.digest, tuple(tuple(one) for one in json.loads(row.options))
                )
                for row in connection.execute(query)
            }

    def upgrade(self) -> None:
        """Bring the tables to the schema of this version. Raises Unavailable."""
        with self._guarded(), self._engine.begin() as connection:
            found = revision(connection)
            if found != REVISION and not is_behind(found):
                raise _other_schema(found)
            upgrade(connection)

    def problem(self) -> str:
        """'' where the store can be written now, else why not."""
        try:
            with self._transaction() as connection:  # SQLite takes its lock for writing at once
                postgres = connection.dialect.name == "postgresql"
                if postgres and connection.scalar(text("SHOW transaction_read_only")) == "on":
                    return str(_unavailable("it is read-only"))
                return ""
        except Unavailable as error:
            return str(error)

    def close(self) -> None:
        """Close every connection."""
        for engine in (self._engine, self._alone):
            engine.dispose()

    def _row(self, origin: Origin, entry: Entry, today: str) -> dict[str, Any]:
        identity = [origin.caller, origin.tenant, origin.service, entry.card, entry.outcome, entry.timestamp]
        identity += [entry.system, entry.code, *entry.suggestions]
        return {
            "key": hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
            "received": today,
            "caller": origin.caller,
            "tenant": origin.tenant,
            "service": origin.service,
            "card": entry.card,
            "imprint": imprint_of(entry.card),
            "outcome": entry.outcome,
            "timestamp": entry.timestamp,
            "suggestions": json.dumps(entry.suggestions),
            "reason_system": entry.system,
            "reason_code": entry.code,
            "commented": bool(entry.comment),
            # PostgreSQL has no NUL in text
            "comment": entry.comment.replace("\0", "\ufffd") if self._keep_comments and entry.comment else None,
        }

    def _add(self, table: Any, rows: list[dict[str, Any]]) -> None:
        with self._transaction() as connection:
            connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def _purge(self) -> None:
        """Forget some tokens that ended long ago. Skips what another process forgets at the same time."""
        ended = select(TOKEN_USE.c.token).where(TOKEN_USE.c.expires < int(time.time()) - _GRACE).limit(_PURGE_MOST)
        with self._transaction() as connection:
            found = connection.execute(ended.with_for_update(skip_locked=True)).scalars().all()
            connection.execute(delete(TOKEN_USE).where(TOKEN_USE.c.token.in_(found)))

    def _written(self, statement: str, row: Mapping[str, Any], spare: int = _FOR_TOKENS) -> int:
        """The rows that a statement, a transaction by itself, has written. It goes straight to the driver: around one
        insert per call SQLAlchemy's Connection would cost several times the insert.

        Connections that were cut are replaced, without a round trip to look at each before its use. Where one was cut
        in the middle of this statement the row may be there already, and the answer is 0.
        """
        connection = self._alone.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(statement, row)
            written: int = cursor.rowcount
            cursor.close()
        except self._alone.dialect.loaded_dbapi.Error as error:
            cut = self._alone.dialect.is_disconnect(error, connection.dbapi_connection, None)
            connection.invalidate()
            if not (cut and spare):
                raise
            return self._written(statement, row, spare - 1)
        connection.close()
        return written

    @contextmanager
    def _transaction(self, reads: bool = False) -> Iterator[Connection]:
        """A transaction over a store with the schema of this version; committed when the block ends without error."""
        with self._watch.step("store"), self._guarded():
            self._make_ready()
            with self._engine.connect().execution_options(reads=reads) as connection, connection.begin():
                if reads and connection.dialect.name == "postgresql":
                    connection.execute(text("SET LOCAL statement_timeout = 0"))
                yield connection

    def _make_ready(self) -> None:
        """Check the schema, once. SQLite is brought to it; a PostgreSQL has an administrator who decides when."""
        if self._ready:
            return
        with self._engine.connect().execution_options(reads=True) as connection, connection.begin():
            found = revision(connection)
        if is_behind(found) and self._engine.dialect.name == "sqlite":
            with self._engine.begin() as connection:
                upgrade(connection)
        elif found != REVISION:
            raise _other_schema(found)
        self._ready = True

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turns the errors of a store that cannot be had into Unavailable, at once while it was found to be down."""
        self._after_fork()
        probe = self._tried_again > 0.0
        if probe and (time.monotonic() < self._tried_again or not self._trying.acquire(blocking=False)):
            raise _unavailable("down")
        try:
            yield
            self._tried_again = 0.0
        except DataError:
            raise  # a fault of ours, not of the store
        except (DBAPIError, self._alone.dialect.loaded_dbapi.Error, PoolTimeout, OSError) as error:
            self._tried_again = time.monotonic() + _REST
            kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
            _log.warning("store unavailable: %s", kind)
            raise _unavailable(kind) from None
        finally:
            if probe:
                self._trying.release()

    def _after_fork(self) -> None:
        """Connections belong to the process that opened them: a child starts with none."""
        if self._process != os.getpid():
            for engine in (self._engine, self._alone):
                engine.dispose(close=False)
            self._process, self._trying = os.getpid(), threading.Lock()


def _other_schema(found: str) -> Unavailable:
    has = f"the schema {found}" if found else "no tables"
    todo = "run `cds-service database upgrade`" if is_behind(found) else "run the newer version of this service"
    return Unavailable([Problem("the store", has, f"the schema {REVISION}: {todo}")])


def _unavailable(kind: str) -> Unavailable:
    return Unavailable([Problem("the store", f"it cannot be used now ({kind})", "a store that works; try again soon")])


def _sqlite(url: URL, patience: float, alone: bool = False) -> Engine:
    """SQLite with a write-ahead log, synced at every commit: what is committed survives a loss of power.

    Statements that stand `alone` are for used tokens. Their commits are in the log, and so survive the death of every
    process, but are not waited for until the disk has them: that would be the dearest part of a call. Where the machine
    itself dies, a token used in its last moments (on Linux half a minute) may pass once more if the machine is up again
    before the token expires, within minutes. A site that must exclude that has PostgreSQL.
    """
    engine = create_engine(
        url,
        **_pool(alone),
        hide_parameters=True,
        paramstyle="named",
        connect_args={"timeout": patience, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "do_connect")
    def before(*_: Any) -> None:
        _private_file(Path(url.database or ""))

    @event.listens_for(engine, "connect")
    def connected(raw: Any, _: Any) -> None:
        _log_ahead(raw, patience)
        raw.execute(f"PRAGMA synchronous = {'NORMAL' if alone else 'FULL'}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # a writer takes its lock at the start and waits for it; taken later it would fail at once
        reads = connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _log_ahead(raw: Any, patience: float) -> None:
    """Switch a new database to its write-ahead log. Of several who come to it at the same moment one does so and the
    others try again: SQLite does not wait for this lock by itself.
    """
    until = time.monotonic() + patience
    while True:
        try:
            if raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                raw.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def _private_file(path: Path) -> None:
    """A new database file, and a folder made for it, are for this user only.

    A file that is there is not even opened: closing it again would drop the locks that SQLite holds on it for the other
    connections of this process (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _pool(alone: bool) -> dict[str, Any]:
    """The pool of an engine. Nothing is left to be undone on a connection for statements that stand alone."""
    size, undo = (_FOR_TOKENS, None) if alone else (_CONNECTIONS, "rollback")
    return {"pool_size": size, "max_overflow": 0, "pool_timeout": 1, "pool_reset_on_return": undo}


def _postgresql(url: URL, patience: float, alone: bool = False) -> Engine:
    """PostgreSQL through psycopg 3, every wait bounded; a connection that a restart has cut is replaced unseen.

    Each commit is synced, that of a statement that stands `alone` too.
    """
    wait = int(patience * 1000)
    limits = {"statement_timeout": wait, "lock_timeout": wait, "idle_in_transaction_session_timeout": wait}
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        **_pool(alone),
        **({"isolation_level": "AUTOCOMMIT"} if alone else {"pool_pre_ping": True}),
        hide_parameters=True,
        connect_args={
            "connect_timeout": 2,
            "tcp_user_timeout": wait,
            "options": " ".join(f"-c {name}={value}" for name, value in limits.items()) + " -c synchronous_commit=on",
        },
    )
