"""From the bytes of a feedback call to its entries: checked as a whole, every fault reported at once.

A client tells which cards were accepted or overridden, when and why (CDS Hooks 2.0, "Feedback"). An entry is about a
card by its id alone; cards that nobody remembers are as good as others. No fault
repeats a value.
"""

import re
from calendar import monthrange
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cds_service.errors import BadRequest, Problem, TooLarge
from cds_service.hooks.request import decoded, faults

#: the largest body of a feedback call in bytes, and the most entries in it
BODY_LIMIT, ENTRY_LIMIT = 256 * 1024, 100
_TIME = re.compile(r"([0-9]{4})-(..)-(..)[Tt](..):(..):(..)(?:\.([0-9]+))?".replace("..", "[0-9]{2}"))


@dataclass(frozen=True)
class Entry:
    """One reaction to one card. `timestamp` is UTC, always with six digits of a second, so that equal times are equal.

    `comment` is a clinician's free text and may name the patient: it is shown in no error and no log.
    """

    card: str
    outcome: str
    timestamp: str
    suggestions: tuple[str, ...] = ()
    system: str = ""
    code: str = ""
    comment: str = field(default="", repr=False)


def parse_feedback(body: bytes, schemas: Path) -> tuple[Entry, ...]:
    """The entries of a feedback call. Raises TooLarge (413), or BadRequest (400) with every fault of every entry."""
    if len(body) > BODY_LIMIT:
        raise TooLarge([Problem("the body", f"more than {BODY_LIMIT} bytes", "fewer entries in one call")])
    raw = decoded(body)
    rows = raw.get("feedback") if isinstance(raw, dict) else None
    if isinstance(rows, list) and len(rows) > ENTRY_LIMIT:
        raise TooLarge([Problem("$.feedback", f"more than {ENTRY_LIMIT} entries", "fewer entries in one call")])
    problems = faults(raw, "feedback", schemas, "$")
    problems += [
        _no_time(place) for place, row in enumerate(rows if isinstance(rows, list) else ()) if _is_no_time(row)
    ]
    if problems:
        raise BadRequest(problems)
    return tuple(_entry(row) for row in raw["feedback"])


def _is_no_time(row: Any) -> bool:
    """Whether a timestamp has the right form but is in no calendar; a leap second (RFC 3339, 5.7) is a second too."""
    said = row.get("outcomeTimestamp") if isinstance(row, dict) else None
    found = _TIME.match(said) if isinstance(said, str) else None
    if found is None:
        return False  # another fault, which the schema names
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    in_calendar = year >= 1 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]
    return not (in_calendar and hour <= 23 and minute <= 59 and second <= 60)


def _no_time(place: int) -> Problem:
    return Problem(
        f"$.feedback.{place}.outcomeTimestamp", "a time that is in no calendar", "a time of RFC 3339, in UTC"
    )


def _entry(row: dict[str, Any]) -> Entry:
    said = row.get("overrideReason") or {} if row["outcome"] == "overridden" else {}
    reason = said.get("reason") or {}
    chosen = row["acceptedSuggestions"] if row["outcome"] == "accepted" else ()
    time = _TIME.match(row["outcomeTimestamp"])
    assert time is not None  # the schema demands this form
    return Entry(
        card=row["card"].lower(),
        outcome=row["outcome"],
        timestamp="{}-{}-{}T{}:{}:{}.{:0<6}Z".format(*time.groups()[:6], (time[7] or "")[:6]),
        suggestions=tuple(sorted({one["id"].lower() for one in chosen})),
        system=reason.get("system") or "",
        code=reason.get("code", ""),
        comment=said.get("userComment") or "",
    )
