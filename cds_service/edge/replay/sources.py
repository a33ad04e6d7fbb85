"""The files of an export, and the pieces in which several processes read them."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from cds_service.edge.replay.reading import MOST, lines
from cds_service.errors import CdsError, Problem

_ENDINGS = (".ndjson", ".ndjson.gz")
#: how much of a file is one piece of work at most and, where the export is small, at least; and how many pieces are
#: enough for all processes to end at about the same time
_SLICE, _LEAST, _ENOUGH = 32 * 1024 * 1024, 1024 * 1024, 32
#: how much larger a compressed export is, as a guess
_RATIO = 8


class SourceError(CdsError):
    """The input cannot be read. Names files, never what is in them."""

    def __reduce__(self) -> tuple[Any, ...]:
        """So that it comes whole from another process."""
        return type(self), (self.problems,)


@dataclass(frozen=True)
class File:
    """A file of the export: its name within the folder, its size, when it was changed (ns)."""

    name: str
    bytes: int
    modified: int

    @property
    def packed(self) -> bool:
        """Whether it is compressed."""
        return self.name.endswith(".gz")

    def told(self) -> dict[str, Any]:
        """For the description of a run."""
        return {"name": self.name, "bytes": self.bytes, "modified": self.modified}


@dataclass(frozen=True)
class Slice:
    """Whole lines of a file: those that begin from `start` to before `end`. A compressed file is one slice."""

    file: File
    start: int
    end: int


def files(folder: Path) -> list[File]:
    """Every `*.ndjson` and `*.ndjson.gz` in a folder and its folders, by name. Raises SourceError without any."""
    found = sorted(one for one in folder.rglob("*") if one.name.endswith(_ENDINGS) and one.is_file())
    if not found:
        raise SourceError([Problem(str(folder), "no file *.ndjson or *.ndjson.gz", "an export of FHIR Bulk Data")])
    states = [(one.relative_to(folder).as_posix(), one.stat()) for one in found]
    return [File(name, state.st_size, state.st_mtime_ns) for name, state in states]


def unpacked(listed: list[File]) -> int:
    """How many bytes the files hold, roughly where they are compressed."""
    return sum(one.bytes * (_RATIO if one.packed else 1) for one in listed)


def slices(folder: Path, listed: list[File]) -> Iterator[Slice]:
    """The pieces of all files, in order."""
    length = min(_SLICE, max(_LEAST, unpacked(listed) // _ENOUGH))
    for file in listed:
        if file.packed or file.bytes <= length:
            yield Slice(file, 0, file.bytes)
            continue
        start = 0
        with _opened(folder, file) as handle:
            while start < file.bytes:
                end = _line_begin(handle, start + length, file.bytes)
                yield Slice(file, start, end)
                start = end


def read(folder: Path, piece: Slice) -> Iterator[bytes]:
    """The lines of a piece. Raises SourceError where it cannot be read."""
    with _opened(folder, piece.file) as handle:
        if piece.file.packed:
            yield from lines(cast(BinaryIO, gzip.GzipFile(fileobj=handle)))
        else:
            handle.seek(piece.start)
            yield from lines(handle, piece.end - piece.start)


def _line_begin(handle: BinaryIO, near: int, size: int) -> int:
    """Where the first line begins at or after a place."""
    if near >= size:
        return size
    handle.seek(near - 1)
    while (text := handle.readline(MOST)) and not text.endswith(b"\n"):
        pass
    return handle.tell()


@contextmanager
def _opened(folder: Path, file: File) -> Iterator[BinaryIO]:
    try:
        with (folder / file.name).open("rb") as handle:
            yield handle
    except (OSError, EOFError, zlib.error) as error:
        found = "a broken file" if file.packed else "a file that cannot be read"
        raise SourceError([Problem(file.name, f"{found} ({type(error).__name__})", "NDJSON")]) from None
