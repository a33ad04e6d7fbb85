"""What a replay shows, as one page that needs nothing else: no script, no file beside it, no request to anywhere.

Every plot stands in or beside the table of its numbers. Options stand in the order of the knowledge: nothing is ranked.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

import cds_service.edge.pages
from cds_service.edge.pages.shown import finalised
from cds_service.edge.replay.aggregate import FAILED, LISTED, OVER
from cds_service.edge.replay.causes import CAUSES, Grounds
from cds_service.edge.replay.changes import KINDS
from cds_service.edge.replay.compare import NOT_LISTED
from cds_service.edge.replay.finished import FinishedRun
from cds_service.edge.replay.plots import columns, number, parts, share
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import CardPlan, Option, Section

_STYLES = (
    Path(cds_service.edge.pages.__file__).parent / "static" / "page.css",
    Path(__file__).parent / "templates" / "report.css",
)
_PAGES = Environment(
    loader=PackageLoader("cds_service.edge.replay"),
    autoescape=True,
    finalize=finalised,
    trim_blocks=True,
    lstrip_blocks=True,
)
_UNKNOWN = "unknown"
#: the answers of receptors in the order of the report, and the shades of a bar by them
_ANSWERS = ("positive", "negative", _UNKNOWN)
_SHADES = ("one", "two", "three")


@dataclass(frozen=True)
class Compared:
    """A comparison for the page: the run compared with, the changes counted, and what they rest on."""

    old: FinishedRun
    changes: Mapping[str, Any]
    grounds: Grounds


def report(
    run: FinishedRun, aggregate: Mapping[str, Any], knowledge: Knowledge, compared: Compared | None = None
) -> str:
    """The page. `knowledge` gives names and order; what it does not know is shown by its id."""
    style = "\n".join(path.read_text(encoding="utf-8") for path in _STYLES)
    names, below = Names(knowledge), aggregate["suppressed_below"]
    return _PAGES.get_template("report.html").render(
        run=run.about,
        counts=aggregate,
        knowledge=knowledge,
        same_knowledge=run.digest == knowledge.digest,
        names=names,
        answers=_answers(aggregate),
        answer_counts=[(kind, count) for kind, _, count in _answers(aggregate)],
        blocks=_blocks(knowledge, aggregate["options"]),
        unknown=_by_count(aggregate["unknown"]),
        facts=_facts(knowledge, aggregate["facts"]),
        receptors=_receptors(aggregate["receptors"], names),
        compared=compared,
        changed=_in_order(knowledge.options, compared.changes["options"]) if compared else [],
        files=[f"{one['name']}, {one['bytes']:,} bytes" for one in run.about["input"]["files"]],
        statuses=LISTED,
        every_status=(NOT_LISTED, *LISTED),
        causes=CAUSES,
        kinds=KINDS,
        number=partial(number, below=below),
        share=share,
        parts=parts,
        columns=columns,
        most=_most,
        style=Markup(style),  # our own sheets
        style_digest=b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


class Names:
    """What a reader calls options, facts, values and sources. What the knowledge does not know is called by its id."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    def option(self, name: str) -> str:
        """An option."""
        found = self._knowledge.options.get(name)
        return found.label if found else name

    def fact(self, name: str) -> str:
        """A fact."""
        found = self._knowledge.facts.get(name)
        return found.label if found else name

    def value(self, name: str) -> str:
        """An answer of a fact; medicines by their labels."""
        known = name in self._knowledge.drugs or name in self._knowledge.classes
        return self._knowledge.spoken(name) if known else name.replace("-", " ")

    def citation(self, text: str) -> str:
        """`source passage position`, the source as cards cite it."""
        source, _, rest = text.partition(" ")
        found = self._knowledge.sources.get(source)
        return f"{found.short} {rest}" if found else text


def _answers(counts: Mapping[str, Any]) -> list[tuple[str, str, int | None]]:
    """What became of all patients: the kind of the part of a bar, its words, how many; without what nobody is in."""
    answers, over = counts["answers"], counts["reasons"].get("cards", {}).get(OVER, 0)
    rows = [
        ("one", "options listed", counts["listing"]),
        ("quiet", "a card that lists no option", over),
        ("three", "no card", answers.get("no-card", 0)),
        ("two", "refused", answers.get("refused", 0)),
        ("program", "failed", answers.get(FAILED, 0)),
    ]
    return [row for row in rows if row[2] != 0]


def _blocks(knowledge: Knowledge, found: Mapping[str, Any]) -> list[tuple[CardPlan, Section, list[tuple[str, Any]]]]:
    """Every option of every section with its counts. Options of another knowledge are in the section they name."""
    known = knowledge.options
    blocks = []
    for card in knowledge.cards:
        for section in card.sections:
            rows = [(option.id, _counts(option, found)) for option in section.options]
            rows += [(name, one) for name, one in found.items() if name not in known and one["section"] == section.id]
            blocks.append((card, section, rows))
    return blocks


def _counts(option: Option, found: Mapping[str, Any]) -> Mapping[str, Any]:
    return found.get(option.id) or dict.fromkeys(LISTED, 0)


def _by_count(unknown: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What is missing most comes first; hidden counts last, by name."""
    return sorted(unknown.items(), key=lambda row: (-(row[1]["patients"] or 0), row[0]))


def _facts(knowledge: Knowledge, found: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, int | None]]]]:
    """Each fact with its values: what is unknown last, else the frequent first."""
    return [
        (name, sorted(values.items(), key=lambda row: (row[0] == _UNKNOWN, -(row[1] or 0), row[0])))
        for name, values in _in_order(knowledge.facts, found)
    ]


@dataclass(frozen=True)
class Receptors:
    """HER2 across, hormone receptors down: counts with the shade of their HER2, and what the shades mean."""

    across: list[str]
    legend: list[tuple[str, str]]
    rows: list[tuple[str, list[tuple[str, int | None]]]]


def _receptors(found: Mapping[str, Any], names: Names) -> Receptors:
    across = sorted({*_ANSWERS, *(her2 for row in found.values() for her2 in row)}, key=_place)
    shades = [*_SHADES, *[_SHADES[-1]] * len(across)][: len(across)]
    rows = [
        (hr, [(shade, found.get(hr, {}).get(her2, 0)) for shade, her2 in zip(shades, across, strict=True)])
        for hr in sorted({*_ANSWERS, *found}, key=_place)
    ]
    words = [f"HER2 {names.value(her2)}" for her2 in across]
    return Receptors(across, list(zip(shades, words, strict=True)), rows)


def _place(one: str) -> tuple[int, str]:
    return (_ANSWERS.index(one) if one in _ANSWERS else len(_ANSWERS), one)


def _in_order(known: Iterable[str], found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What was found, in the order of what is known; the rest last, by name."""
    order = list(known)
    return sorted(found.items(), key=lambda row: (order.index(row[0]) if row[0] in order else len(order), row[0]))


def _most(counts: Any) -> int:
    """The largest of counts, hidden ones aside."""
    return max((one for one in counts if one), default=0)
