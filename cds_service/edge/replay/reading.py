"""One line of an export: whose it is and of which type, or why it is not used. Nothing here keeps what a line says.

NDJSON (https://github.com/ndjson/ndjson-spec): one resource a line, in UTF-8. Blank lines count for nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import orjson

from cds_service.patient.elements import identifier
from cds_service.patient.record import CALLED, Need
from cds_service.patient.whose import SHARED, whose

#: the most that is read of one patient, in bytes, as of one call; and so the longest line
MOST = 16 * 1024 * 1024
_BLOCK = 1024 * 1024
#: between an id and what belongs to it: bytewise order of such rows is the order of the ids
TAB = b"\t"
_BOM = b"\xef\xbb\xbf"

NO_JSON = "no JSON in UTF-8"
NO_RESOURCE = "no FHIR resource"
NOT_READ = "of a type that is not read"
NO_PATIENT = "names no patient"
NO_ID = "shared, and without an id"
TOO_LONG = f"longer than {MOST} bytes"
#: how many places are remembered
_REMEMBERED = 1024
#: how many line numbers of a problem are kept
_NUMBERS = 20


class Placed(NamedTuple):
    """Where a line belongs: `owner` is the id of its patient, or its own where it is `shared`; `kind` its type under
    the name of R4. `problem` is '' or why it is not used.
    """

    owner: str
    kind: str
    shared: bool = False
    problem: str = ""


#: places a line
Place = Callable[[bytes], Placed]
_UNUSED = {one: Placed("", "", problem=one) for one in (NO_JSON, NO_RESOURCE, NOT_READ, NO_PATIENT, NO_ID, TOO_LONG)}


def placing(needs: Iterable[Need]) -> Place:
    """What places the lines of the types that some queries bring."""
    read = {need.type: need.type for need in needs} | {kind: kind for kind in SHARED}
    read |= {before: now for before, now in CALLED.items() if now in read}
    # what comes next is most often of the same patient and type
    placed = lru_cache(maxsize=_REMEMBERED)(Placed)

    def place(line: bytes) -> Placed:
        if len(line) > MOST:
            return _UNUSED[TOO_LONG]
        try:
            resource = orjson.loads(line)
        except orjson.JSONDecodeError:
            return _UNUSED[NO_JSON]
        kind = resource.get("resourceType") if isinstance(resource, dict) else ""
        if not kind or not isinstance(kind, str):
            return _UNUSED[NO_RESOURCE]
        if kind not in read:
            return _UNUSED[NOT_READ]
        if kind in SHARED:
            ident = identifier(resource)
            return Placed(ident, kind, shared=True) if ident.isprintable() and ident else _UNUSED[NO_ID]
        owner = whose(resource)
        return placed(owner, read[kind]) if owner else _UNUSED[NO_PATIENT]

    return place


def lines(handle: BinaryIO, length: float = float("inf")) -> Iterator[bytes]:
    """The lines of the next `length` bytes without their ends. Of a line longer than MOST only so much is given that
    its length is told; memory stays bounded whatever comes.
    """
    rest, left = b"", length
    while left > 0 and (block := handle.read(int(min(_BLOCK, left)))):
        left -= len(block)
        head, *more = block.split(b"\n")
        if len(rest) <= MOST:
            rest += head
        if more:
            yield rest
            yield from more[:-1]
            rest = more[-1]
    if rest:
        yield rest


@dataclass
class Tally:
    """What was seen of some input: how many lines that are not blank, which types, how many lines were not used for
    each reason and where the first of them stand.
    """

    lines: int = 0
    place: int = 0
    kinds: set[str] = field(default_factory=set)
    problems: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    def note(self, problem: str) -> None:
        """The line at hand is not used."""
        count, numbers = self.problems.get(problem, (0, []))
        self.problems[problem] = (count + 1, numbers if len(numbers) >= _NUMBERS else [*numbers, self.place])

    def follow(self, other: "Tally") -> None:
        """Add what was seen of the input that follows."""
        for problem, (count, numbers) in other.problems.items():
            known, before = self.problems.get(problem, (0, []))
            after = [self.place + number for number in numbers]
            self.problems[problem] = (known + count, [*before, *after][:_NUMBERS])
        self.lines += other.lines
        self.place += other.place
        self.kinds |= other.kinds

    def told(self, name: str) -> Iterator[dict[str, Any]]:
        """What of a file was not used: each reason with how many lines, and the numbers of the first of them."""
        for reason, (count, numbers) in sorted(self.problems.items()):
            yield {"file": name, "reason": reason, "count": count, "lines": numbers}


def used(read: Iterable[bytes], place: Place, tally: Tally) -> Iterator[tuple[Placed, bytes]]:
    """The lines that are used, with where they belong; the others are counted."""
    kinds = tally.kinds
    for number, line in enumerate(read, tally.place + 1):
        tally.place = number
        whole = line.strip()
        if not whole:
            continue
        tally.lines += 1
        if whole.startswith(_BOM):
            whole = whole.removeprefix(_BOM)
        placed = place(whole)
        if placed.problem:
            tally.note(placed.problem)
        else:
            kinds.add(placed.kind)
            yield placed, whole


class Group(NamedTuple):
    """The lines of one patient in bytewise order, and the shared ones beside them. No lines where they are more than
    MOST bytes; `resources` tells how many there were.
    """

    patient: str
    lines: Sequence[bytes]
    resources: int
    shared: Sequence[tuple[str, bytes]] = ()


def gathered(rows: Iterable[bytes]) -> Iterator[Group]:
    """The patients of sorted rows `id TAB line`."""
    kept, key = list[bytes](), b""
    size = count = begin = 0
    for row in rows:
        if not count or not row.startswith(key):
            if count:
                yield Group(key[:-1].decode(), kept, count)
            kept, size, count, begin = [], 0, 0, row.index(TAB) + 1
            key = row[:begin]
        count += 1
        size += len(row) - begin
        if size <= MOST:
            kept.append(row[begin:])
        else:
            kept.clear()
    if count:
        yield Group(key[:-1].decode(), kept, count)
