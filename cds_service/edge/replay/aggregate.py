"""The lines of a replay counted in one pass. No id of a patient gets in; what is kept is bounded by the knowledge.

A line is one patient's answer, as `cds-service replay` writes it: `patient`, `answer` (cards, no-card, refused, error),
`reason`, `resources`, `set_aside`, `facts` by name, the `unknown` among them, and the `options` that the cards list,
each with `section`, `status`, `citations`, `missing` and `because`.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from cds_service.edge.replay.counts import Key, hide, nested
from cds_service.model import Status

Line = Mapping[str, Any]

#: the statuses of options that cards list
LISTED = tuple(status.value for status in Status if status is not Status.NOT_SUPPORTED)
#: the answer of a patient for whom the program failed
FAILED = "error"
#: why there are cards and no option
OVER = "breast cancer on record, marked as over: one card says so"
#: where the bins of the two distributions begin
_OPTIONS = (1, *range(5, 75, 5))
_RESOURCES = (0, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000)


def standing(line: Line) -> str:
    """Why no option is listed, in fixed words; '' where options are. What a reason says in brackets is left out: it may
    name a resource of the patient. Of an error the name of its class.
    """
    if line["options"]:
        return ""
    words = str(line["reason"]).partition(" (")[0]
    return words or (OVER if line["answer"] == "cards" else "no option applies")


def members(value: str) -> list[str]:
    """The values of a fact: sites, medicines and the like may be several."""
    return value.split(", ")


class Aggregate:
    """Counts over lines. `listing` are the patients with options: options, sections, facts and what is unknown are
    counted among them. A fact with several values counts under each; a patient for whom an option needs a fact is
    `waiting` for it.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._counts: Counter[Key] = Counter()
        self._sections: dict[str, str] = {}
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> None:
        """Count one patient."""
        self._counts.update(self._keys(line))
        if line["set_aside"]:
            self._counts["set_aside", "resources"] += line["set_aside"]

    def merge(self, other: "Aggregate") -> None:
        """Count what the other has counted, of other patients. The order of merges makes no difference."""
        self._counts.update(other._counts)
        self._sections.update(other._sections)

    def as_json(self, below: int = 0) -> dict[str, Any]:
        """Everything counted; None in place of what `hide` hides: counts below `below`."""
        tree = {"patients": 0, "listing": 0} | {part: {} for part in _PARTS} | nested(self._counts)
        tree["options"] = {
            name: {"section": self._sections[name], **dict.fromkeys(LISTED, 0), **counts}
            for name, counts in tree["options"].items()
        }
        tree["unknown"] = {
            name: {"patients": 0, "waiting": {"patients": 0, "options": 0}} | counts
            for name, counts in tree["unknown"].items()
        }
        for part, edges in (("options_per_patient", _OPTIONS), ("resources_per_patient", _RESOURCES)):
            tree[part] = [{"range": name, "patients": tree[part].get(name, 0)} for name in _NAMES[edges]]
        return {**hide(tree, below), "suppressed_below": below}

    def _keys(self, line: Line) -> Iterator[Key]:
        answer, options = line["answer"], line["options"]
        yield ("patients",)
        yield "answers", answer
        yield "resources_per_patient", _bin(line["resources"], _RESOURCES)
        if line["set_aside"]:
            yield "set_aside", "patients"
        if options:
            yield ("listing",)
            yield "options_per_patient", _bin(len(options), _OPTIONS)
            yield from _facts(line)
            yield from self._options(options)
        elif answer == FAILED:
            yield "errors", standing(line)
        else:
            yield "reasons", answer, standing(line)

    def _options(self, options: Mapping[str, Any]) -> Iterator[Key]:
        waiting: set[str] = set()
        for name, one in options.items():
            yield "options", name, one["status"]
            self._sections.setdefault(name, one["section"])
            if one["status"] == Status.NEEDS_DATA.value:
                waiting.update(one["missing"])
                for fact in one["missing"]:
                    yield "unknown", fact, "waiting", "options"
        for fact in waiting:
            yield "unknown", fact, "waiting", "patients"
        for section in {one["section"] for one in options.values()}:
            yield "sections", section, "patients"


_PARTS = (
    "answers", "reasons", "errors", "sections", "options", "unknown", "facts", "receptors", "set_aside",
    "options_per_patient", "resources_per_patient",
)  # fmt: skip


def _facts(line: Line) -> Iterator[Key]:
    facts = line["facts"]
    for name, value in facts.items():
        for one in members(value):
            yield "facts", name, one
    for name in line["unknown"]:
        yield "unknown", name, "patients"
    yield "receptors", facts.get("hr", "unknown"), facts.get("her2", "unknown")


def _names(edges: tuple[int, ...]) -> list[str]:
    """The bins that begin at these edges, as a reader sees them; the last is open."""
    closed = [f"{low}" if high == low + 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)]
    return [*closed, f"{edges[-1]} or more"]


_NAMES = {edges: _names(edges) for edges in (_OPTIONS, _RESOURCES)}


def _bin(number: int, edges: tuple[int, ...]) -> str:
    return _NAMES[edges][bisect_right(edges, number) - 1]
