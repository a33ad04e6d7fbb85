"""The lines of a run while it is made: sorted files of rows `id TAB line`, merged into one at the end.

A part appears whole or not at all, so that a run that was interrupted knows what it has.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from heapq import merge
from pathlib import Path

from cds_service.edge.replay.reading import TAB

#: how many files are merged at once
_AT_ONCE = 200


class Parts:
    """The parts in a folder, by number."""

    def __init__(self, folder: Path):
        self._folder = folder

    def __contains__(self, number: int) -> bool:
        return self._path(number).exists()

    def write(self, number: int, rows: Iterable[bytes]) -> None:
        """Write a part of sorted rows."""
        write(self._path(number), rows)

    def merged(self) -> Iterator[bytes]:
        """The rows of all parts in order. Many parts become fewer first, which costs disk and no memory."""
        paths = sorted(self._folder.glob("*.rows"))
        while len(paths) > _AT_ONCE:
            first, paths = paths[:_AT_ONCE], paths[_AT_ONCE:]
            together = self._folder / f"{len(paths)}.merged"
            write(together, _merged(first))
            paths.append(together)
        return _merged(paths)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.rows"


def row(patient: str, line: bytes) -> bytes:
    """The row of a patient's line."""
    return patient.encode() + TAB + line


def taken_apart(one: bytes) -> tuple[bytes, bytes]:
    """The id and the line of a row."""
    key, _, line = one.partition(TAB)
    return key, line


def write(path: Path, rows: Iterable[bytes]) -> None:
    """Write a file that appears when it is whole and on disk."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("wb") as file:
        file.writelines(rows)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _merged(paths: Iterable[Path]) -> Iterator[bytes]:
    with ExitStack() as opened:
        yield from merge(*[opened.enter_context(path.open("rb")) for path in paths])
