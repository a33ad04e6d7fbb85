"""The changes between two runs counted in one pass: no id of a patient gets in."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cds_service.edge.replay.aggregate import members
from cds_service.edge.replay.compare import Row
from cds_service.edge.replay.counts import Key, hide, nested

#: what changed for a patient, by the first that applies
KINDS = {
    "listing": "whether options are listed, or why not",
    "status": "the status of an option",
    "grounds": "citations, missing facts or deciding facts of an option only",
    "facts": "facts only, no option",
}
#: options are listed, where else a reason stands
LISTED = "options listed"
#: stands for no value where a fact gains or loses one of several
ABSENT = "-"


class Changes:
    """Counts of patients: `compared` (in both runs), `changed`, in one run `only`. The changed ones by kind and cause,
    by what became of the listing, and by fact, section and option.
    """

    def __init__(self, rows: Iterable[Row | None] = ()) -> None:
        self._counts: Counter[Key] = Counter()
        self._sections: dict[str, str] = {}
        for row in rows:
            self.add(row)

    @property
    def touched(self) -> int:
        """The patients who are not in both runs with the same answer."""
        return self._counts["changed",] + self._counts["only", "old"] + self._counts["only", "new"]

    def add(self, row: Row | None) -> None:
        """Count one patient; None is one for whom nothing changed."""
        self._counts.update(self._keys(row) if row else [("compared",)])

    def as_json(self, below: int = 0) -> dict[str, Any]:
        """Everything counted; None in place of what `hide` hides: counts below `below`."""
        parts: dict[str, Any] = {part: {} for part in _PARTS}
        tree = {"compared": 0, "changed": 0, "only": {"old": 0, "new": 0}, **parts}
        found = nested(self._counts)
        tree |= found | {"only": {"old": 0, "new": 0} | found.get("only", {})}
        tree["options"] = {name: {"section": self._sections[name], **one} for name, one in tree["options"].items()}
        return {**hide(tree, below), "suppressed_below": below}

    def _keys(self, row: Row) -> Iterator[Key]:
        if "only" in row:
            yield "only", row["only"]
            return
        yield ("compared",)
        yield ("changed",)
        yield "kinds", _kind(row)
        if "reason" in row:
            yield "listing", row["reason"][0] or LISTED, row["reason"][1] or LISTED, row["because"]
        for name, (was, now) in row["facts"].items():
            for one, other in _steps(was, now):
                yield "facts", name, one, other
        options = row["options"].values()
        for cause in {one["because"] for one in (*options, row) if "because" in one}:
            yield "causes", cause
        for was, now in {tuple(one["status"]) for one in options if one["status"][0] != one["status"][1]}:
            yield "transitions", was, now
        for section in {one["section"] for one in options}:
            yield "sections", section
        for name, one in row["options"].items():
            self._sections.setdefault(name, one["section"])
            yield from _of_option(name, one)


_PARTS = ("kinds", "causes", "listing", "transitions", "facts", "sections", "options")


def _kind(row: Row) -> str:
    if "reason" in row:
        return "listing"
    if any(one["status"][0] != one["status"][1] for one in row["options"].values()):
        return "status"
    return "grounds" if row["options"] else "facts"


def _of_option(name: str, one: Mapping[str, Any]) -> Iterator[Key]:
    (was, now), cause = one["status"], one["because"]
    yield "options", name, "patients"
    yield "options", name, "causes", cause
    if was != now:
        yield "options", name, "status", was, now, cause
    else:
        yield "options", name, "grounds", cause
    for direction, citations in one.get("citations", {}).items():
        for citation in citations:
            yield "options", name, "citations", direction, citation


def _steps(was: str | None, now: str | None) -> Iterator[tuple[str, str]]:
    """From value to value; of several values, each that came and each that went."""
    before, after = [members(value) if value is not None else [] for value in (was, now)]
    if len(before) == len(after) == 1:
        yield before[0], after[0]
        return
    for one in sorted({*before} - {*after}):
        yield one, ABSENT
    for one in sorted({*after} - {*before}):
        yield ABSENT, one
