"""Cards, sections, options and statements: compiled, with the rules of reading.yaml applied to every option."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.errors import Problem
from cds_service.knowledge.conditions import ALWAYS, Vocabulary, parse
from cds_service.knowledge.drugs import Drugs
from cds_service.knowledge.files import Files
from cds_service.knowledge.passages import check_passage
from cds_service.model import (
    All,
    Any_,
    CardPlan,
    Condition,
    Currency,
    Erratum,
    Not,
    Option,
    Position,
    Review,
    Section,
    Source,
    Statement,
    Unformalised,
)

_READING = "cards/reading.yaml"


@dataclass(frozen=True)
class Sections:
    """Compiles the folders of sections with what they may name; problems are collected, not raised."""

    files: Files
    sources: Mapping[str, Source]
    drugs: Drugs
    words: Vocabulary
    problems: list[Problem]

    def cards(self) -> tuple[CardPlan, ...]:
        """The cards that have sections, in their order, with their sections in theirs."""
        folders = dict(self.files.all("card", self.problems))
        found: dict[str, list[tuple[int, Section]]] = {key: [] for key in folders}
        for key, raw in self.files.all("section", self.problems):
            card = key.partition("/")[0]
            if card in found:
                found[card].append((raw["order"], self._section(key, raw)))
            else:
                self._problem(f"cards/{key}.yaml", "a section in a folder without card.yaml", f"cards/{card}/card.yaml")
        return tuple(
            CardPlan(
                key,
                raw["title"],
                tuple(raw["summary_facts"]),
                tuple(section for _, section in sorted(found[key], key=lambda row: row[0])),
            )
            for key, raw in sorted(folders.items(), key=lambda row: (row[1]["order"], row[0]))
            if found[key]
        )

    def _problem(self, where: str, found: str, expected: str) -> None:
        self.problems.append(Problem(where, found, expected))

    def _section(self, key: str, raw: Mapping[str, Any]) -> Section:
        where = f"cards/{key}.yaml:"
        every = [self._statement(row, f"{where}/every_option/{i}") for i, row in enumerate(raw.get("every_option", []))]
        return Section(
            raw["section"],
            key.partition("/")[0],
            raw["title"],
            tuple(self._option(row, every, f"{where}/options/{row['option']}") for row in raw["options"]),
            tuple(Review(row["by"], row["on"], row["compared"]) for row in raw["reviewed"]),
            tuple(Unformalised(row["source"], row["passage"], row["why"]) for row in raw.get("not_formalised", [])),
        )

    def _statement(self, raw: Mapping[str, Any], where: str) -> Statement:
        check_passage(self.sources, raw, where, self.problems)
        return Statement(
            source=raw["source"],
            passage=raw["passage"],
            position=Position(raw["position"]),
            when=parse(raw["when"], self.words, f"{where}/when", self.problems),
            strength=raw.get("strength", ""),
            note=raw.get("note", ""),
            on_card=raw.get("on_card", False),
        )

    def _option(self, raw: Mapping[str, Any], every: list[Statement], where: str) -> Option:
        own = [self._statement(row, f"{where}/statements/{i}") for i, row in enumerate(raw["statements"])]
        if not any(statement.position is Position.SUPPORTS for statement in own):
            self._problem(f"{where}/statements", "no statement that supports", "at least one")
        for part in raw["parts"]:
            if not self.drugs.knows(part):
                self._problem(f"{where}/parts", repr(part), "a drug or a class")
        for row in raw.get("errata", []):
            check_passage(self.sources, row, f"{where}/errata", self.problems)
        parts = tuple(part for part in raw["parts"] if self.drugs.knows(part))
        return Option(
            id=raw["option"],
            label=raw["label"],
            parts=parts,
            drugs=tuple(part for part in parts if part in self.drugs.drugs),
            statements=(*own, *every),
            requires=self._requires(parts),
            removed_by=self._removed_by(parts),
            errata=tuple(
                Erratum(row["source"], row["passage"], row["says"], row["on_card"]) for row in raw.get("errata", [])
            ),
            currency=tuple(
                Currency(row["on"], row["says"], row["cites"], row.get("url", "")) for row in raw.get("currency", [])
            ),
        )

    # THE RULES OF READING

    def _rule(self, raw: Any, part: str) -> Condition:
        return parse(_put(raw, part), self.words, _READING, self.problems)

    def _requires(self, parts: tuple[str, ...]) -> Condition:
        """What must hold of every part for a supporting statement to count."""
        rules = self.files.one("reading")["every_part"]["requires"]
        return All(tuple(self._rule(row["when"], part) for part in parts for row in rules))

    def _removed_by(self, parts: tuple[str, ...]) -> Condition:
        """What removes an option; of a class, it must hold of each of its drugs."""
        rules = self.files.one("reading")
        removed: list[Condition] = []
        for part in parts:
            drugs = [part] if part in self.drugs.drugs else sorted(self.drugs.members[part])
            for row in rules["every_part"]["removed_by"]:
                each = [self._rule(row["when"], drug) for drug in drugs]
                removed.append(each[0] if len(each) == 1 else All(tuple(each)) if each else Not(ALWAYS))
        for row in rules["removed_by"]:
            if any(row["contains"] in self.drugs.classes_of(part) for part in parts):
                removed.append(self._rule(row["when"], ""))
        return Any_(tuple(removed))


def _put(raw: Any, part: str) -> Any:
    """The rule with PART filled in."""
    if isinstance(raw, dict):
        return {key: _put(value, part) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_put(member, part) for member in raw]
    return part if raw == "PART" else raw
