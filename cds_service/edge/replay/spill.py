"""The export, sorted by patient on disk: each line goes to one of some partitions, by a hash of its patient's id.

A partition is read a batch of patients at a time, so that neither the number of patients nor an uneven spread of them
decides how much memory is needed. A line is kept as `id TAB line`: bytewise order is the order of patients, and of the
lines of each.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

from cds_service.edge.replay.reading import MOST, TAB, Group, Placed, gathered

#: how much is held in memory before it is written, and how much is read at once
_HELD = 32 * 1024 * 1024
_PARTITION, _PARTITIONS = 8 * 1024 * 1024, 512
_SHARED = "shared"


def partitions_for(size: int) -> int:
    """Into how many partitions so many bytes go."""
    return min(_PARTITIONS, size // _PARTITION + 1)


class Spill:
    """The partitions of an export in a folder. Each `writer` writes files of its own."""

    def __init__(self, folder: Path, partitions: int):
        self._folder = folder
        self._partitions = partitions

    def take(self, used: Iterable[tuple[Placed, bytes]], writer: str) -> None:
        """Put lines where they belong."""
        held: list[list[bytes]] = [[] for _ in range(self._partitions + 1)]  # the last is what is shared
        size, begin, before = 0, b"", None
        for placed, line in used:
            if placed is not before:  # what comes next is most often of the same patient
                before, key = placed, placed.owner.encode()
                begin = key + TAB
                rows = held[-1 if placed.shared else crc32(key) % self._partitions]
            rows += begin, line, b"\n"
            size += len(line)
            if size > _HELD:
                self._write(held, writer)
                size = 0
        self._write(held, writer)

    def _write(self, held: list[list[bytes]], writer: str) -> None:
        names = (*(f"{number:04}" for number in range(self._partitions)), _SHARED)
        for name, rows in zip(names, held, strict=True):
            if rows:
                with (self._folder / f"{name}.{writer}").open("ab") as file:
                    file.write(b"".join(rows))
                rows.clear()

    def shared(self) -> Iterator[tuple[str, bytes]]:
        """The lines that are nobody's, each with its id."""
        for row in _rows(self._files(_SHARED)):
            key, _, line = row.partition(TAB)
            yield key.decode(), line

    def size(self, number: int) -> int:
        """How many bytes a partition holds."""
        return sum(path.stat().st_size for path in self._files(f"{number:04}"))

    def groups(self, number: int) -> Iterator[Group]:
        """The patients of a partition in bytewise order of their ids."""
        files = self._files(f"{number:04}")
        if self.size(number) <= _HELD:
            yield from gathered(sorted(_rows(files)))
            return
        sizes: dict[bytes, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for row in _rows(files):
            key, _, line = row.partition(TAB)
            count, size = sizes[key]
            sizes[key] = (count + 1, size + len(line))
        for batch in _batches(sizes):
            yield from _batch(files, batch, sizes)

    def _files(self, name: str) -> list[Path]:
        return sorted(self._folder.glob(f"{name}.*"))


def _rows(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            for row in file:
                yield row[:-1]


def _batches(sizes: dict[bytes, tuple[int, int]]) -> Iterator[set[bytes]]:
    """The patients in order, so many at once as may be held; those who are too large count for nothing."""
    batch, held = set[bytes](), 0
    for key in sorted(sizes):
        size = sizes[key][1] if sizes[key][1] <= MOST else 0
        if held + size > _HELD:
            yield batch
            batch, held = set(), 0
        batch.add(key)
        held += size
    yield batch


def _batch(files: list[Path], batch: set[bytes], sizes: dict[bytes, tuple[int, int]]) -> Iterator[Group]:
    """The patients of a batch, in order."""
    found = defaultdict[bytes, list[bytes]](list)
    for row in _rows(files):
        key, _, line = row.partition(TAB)
        if key in batch and sizes[key][1] <= MOST:
            found[key].append(line)
    for key in sorted(batch):
        yield Group(key.decode(), sorted(found.pop(key, ())), sizes[key][0])
