"""Feedback counted: accepted and overridden, by what the cards listed and by the reasons given. No patient is in it."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cds_service.edge.store import Count
from cds_service.hooks.listing import Listing

#: how rows may be told apart, in the order of the columns
KEYS = ("knowledge", "card", "section", "option", "status", "reason")
#: how they are unless asked otherwise
DEFAULT = ("knowledge", "section", "option", "reason")
_UNKNOWN, _NONE, _NO_REASON = "card not known", "no options listed", "no reason given"


@dataclass(frozen=True)
class Row:
    """What an entry belongs to, and how many entries accepted and overrode it."""

    key: tuple[str, ...]
    accepted: int
    overridden: int


@dataclass(frozen=True)
class Report:
    """The rows, and all entries counted once: accepted, overridden, and those whose card nobody remembers."""

    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    accepted: int
    overridden: int
    unknown: int


def report(
    counts: Iterable[Count],
    listings: Mapping[str, Listing],
    by: Iterable[str] = DEFAULT,
    reasons: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> Report:
    """Feedback by the given keys. An entry is about a whole card: it counts once in every row that its card lists.

    `reasons` are the words of the reasons that cards offer, by system and code; others are told by their code.
    """
    keys = tuple(key for key in KEYS if key in set(by))
    sums: dict[tuple[str, ...], dict[str, int]] = {}
    totals = {"accepted": 0, "overridden": 0, _UNKNOWN: 0}
    for one in counts:
        listed = listings.get(one.imprint)
        totals[one.outcome] += one.number
        totals[_UNKNOWN] += one.number if listed is None else 0
        for key in {tuple(place[name] for name in keys) for place in _places(listed, one, reasons)}:
            row = sums.setdefault(key, {"accepted": 0, "overridden": 0})
            row[one.outcome] += one.number
    rows = tuple(Row(key, row["accepted"], row["overridden"]) for key, row in sorted(sums.items()))
    return Report(keys, rows, totals["accepted"], totals["overridden"], totals[_UNKNOWN])


def _places(listed: Listing | None, one: Count, reasons: Mapping[tuple[str, str], str]) -> Iterator[dict[str, str]]:
    """Every place that an entry belongs to, one for each option of its card."""
    reason = "-" if one.outcome == "accepted" else reasons.get((one.system, one.code)) or _reason(one)
    if listed is None:
        yield {**dict.fromkeys(KEYS, "-"), "knowledge": _UNKNOWN, "reason": reason}
        return
    common = {"knowledge": f"{listed.version} {listed.digest[7:15]}", "card": listed.card or "-", "reason": reason}
    if not listed.options:
        yield {**dict.fromkeys(KEYS, "-"), **common, "section": _NONE}
    for option, section, status in listed.options:
        yield {**common, "section": section, "option": option, "status": status}


def _reason(one: Count) -> str:
    return f"{one.code} ({one.system})" if one.system else one.code or _NO_REASON


def as_table(made: Report) -> str:
    """The report for a terminal."""
    cells = [(*made.keys, "accepted", "overridden")]
    cells += [(*map(_printable, row.key), str(row.accepted), str(row.overridden)) for row in made.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(_pad(cell, width, number) for cell, width, number in _columns(line, widths)) for line in cells]
    total = made.accepted + made.overridden
    lines.append(f"{total} entries: {made.accepted} accepted, {made.overridden} overridden")
    if made.unknown:
        lines.append(f"{made.unknown} of them about cards that are not known")
    lines.append("An entry is about a whole card and counts once in every row that its card lists.")
    return "\n".join(line.rstrip() for line in lines)


def as_csv(made: Report) -> str:
    """The report for a spreadsheet. Text that a spreadsheet would take for a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*made.keys, "accepted", "overridden"))
    writer.writerows((*map(_no_formula, row.key), row.accepted, row.overridden) for row in made.rows)
    return out.getvalue()


def _columns(line: tuple[str, ...], widths: list[int]) -> Iterator[tuple[str, int, bool]]:
    for place, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell, width, place >= len(line) - 2


def _pad(cell: str, width: int, number: bool) -> str:
    return cell.rjust(width) if number else cell.ljust(width)


def _printable(text: str) -> str:
    """A caller's words, with nothing that a terminal would obey."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def _no_formula(text: str) -> str:
    return f"'{text}" if len(text) > 1 and text[0] in "=+-@" else text
