"""Drugs and the classes they belong to: what a statement, a refusal or a contraindication can name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.errors import Problem
from cds_service.knowledge.files import Files
from cds_service.knowledge.passages import check_passage
from cds_service.model import Code, Drug, Source


@dataclass(frozen=True)
class Drugs:
    """All drugs by id; for each class its label, its drugs, and the classes that stand within it."""

    drugs: Mapping[str, Drug]
    classes: Mapping[str, str]
    members: Mapping[str, frozenset[str]]
    within: Mapping[str, frozenset[str]]
    broad: frozenset[str]

    def knows(self, part: str) -> bool:
        """Whether a word is a drug or a class."""
        return part in self.drugs or part in self.classes

    def classes_of(self, part: str) -> set[str]:
        """A class and each class that holds it whole; for a drug, its classes."""
        own = frozenset({part}) if part in self.drugs else self.members[part]
        return {part} | {name for name, inside in self.members.items() if own and own <= inside}

    def label(self, part: str) -> str:
        """What a card calls a drug or a class."""
        return self.drugs[part].label if part in self.drugs else self.classes.get(part, part)


def read_drugs(files: Files, sources: Mapping[str, Source], problems: list[Problem]) -> Drugs:
    """Compile the drug files and classes.yaml."""
    classes = {raw["class"]: raw for raw in files.one("classes")["classes"]}
    drugs = {key: _drug(key, raw, classes, sources, problems) for key, raw in files.all("drug", problems)}
    problems += _dangling(files, drugs, classes)
    upwards = {name: _upwards(name, classes) for name in classes}
    return Drugs(
        drugs=drugs,
        classes={name: raw["label"] for name, raw in classes.items()},
        members={
            name: frozenset(
                drug.id for drug in drugs.values() if any(name in upwards.get(own, ()) for own in drug.classes)
            )
            for name in classes
        },
        within={
            name: frozenset(inner for inner in classes if inner != name and name in upwards[inner]) for name in classes
        },
        broad=frozenset(name for name, raw in classes.items() if raw.get("broad")),
    )


def _dangling(files: Files, drugs: Mapping[str, Drug], classes: Mapping[str, Any]) -> Iterator[Problem]:
    """Forms and regimens that name a drug or a class which has no file."""
    for drug in drugs.values():
        for part in {*drug.contains, *drug.form_of} - drugs.keys():
            yield Problem(f"cards/drugs/{drug.id}.yaml:/form_of", repr(part), "a drug of cards/drugs")
    for row in files.one("regimens")["regimens"]:
        for part in {*row["drugs"]} - drugs.keys() | {*row.get("classes", ())} - classes.keys():
            yield Problem(f"cards/regimens.yaml:/{row['regimen']}", repr(part), "a drug or class")


def _drug(
    key: str, raw: Mapping[str, Any], classes: Mapping[str, Any], sources: Mapping[str, Source], problems: list[Problem]
) -> Drug:
    for name in raw["classes"]:
        if name not in classes:
            problems.append(Problem(f"cards/drugs/{key}.yaml:/classes", repr(name), "a class of cards/classes.yaml"))
    for row in raw.get("misprints", []):
        check_passage(sources, row, f"cards/drugs/{key}.yaml:/misprints", problems)
    ingredients = [row for row in raw["codes"] if row["system"] == "rxnorm" and row.get("level") != "product"]
    return Drug(
        id=key,
        label=raw["label"],
        classes=tuple(raw["classes"]),
        contains=tuple(raw.get("contains", ())),
        rxnorm=tuple(Code(row["system"], row["code"], row["display"]) for row in ingredients),
        named_in=tuple(raw["named_in"]),
        form_of=tuple(raw.get("form_of", ())),
    )


def _upwards(name: str, classes: Mapping[str, Any]) -> set[str]:
    """A class and every class that it stands within."""
    found, open_ = set(), [name]
    while open_:
        current = open_.pop()
        if current not in found:
            found.add(current)
            open_ += classes.get(current, {}).get("within", [])
    return found


def within_sentence(label: str) -> str:
    """A label within a sentence: lower case, save abbreviations."""
    first = label.partition(" ")[0]
    return label[0].lower() + label[1:] if first[1:].islower() else label
