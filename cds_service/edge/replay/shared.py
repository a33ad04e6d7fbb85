"""What is nobody's and is referred to by patients, the Medications of an export: on disk, found by id."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

_TABLE = "CREATE TABLE shared (id TEXT, line BLOB, PRIMARY KEY (id, line)) WITHOUT ROWID"


def keep(rows: Iterable[tuple[str, bytes]], path: Path) -> None:
    """Write the index. The same line twice is kept once."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        with database:
            database.execute(_TABLE)
            database.executemany("INSERT OR IGNORE INTO shared VALUES (?, ?)", rows)


class Shared:
    """The index, for reading."""

    def __init__(self, path: Path):
        self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)

    def find(self, ident: str) -> Sequence[bytes]:
        """The lines of an id, in bytewise order."""
        found = self._database.execute("SELECT line FROM shared WHERE id = ? ORDER BY line", (ident,))
        return [line for (line,) in found]

    def close(self) -> None:
        """Let the file go."""
        self._database.close()
