"""Fact definitions and the conditions they name: the words that statements are written in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cds_service.errors import Problem
from cds_service.knowledge.conditions import Vocabulary, parse, vocabulary
from cds_service.knowledge.drugs import Drugs, within_sentence
from cds_service.knowledge.files import Files
from cds_service.model import Code, FactDefinition, Wording

#: what one kind of fact needs beyond what all facts have
_MORE = (
    "site_groups",
    "site_words",
    "symptom_sites",
    "symptom_lead_days",
    "by_classes",
    "regimens_of",
    "thresholds",
    "scores",
    "no_other_cancer",
    "other_use_categories",
    "one_regimen_days",
    "about_breast_cancer",
    "icd_o",
    "site_kin",
    "may_be_local",
    "what_if",
)
_NUMBERS = frozenset(str(n) for n in range(1, 10))


def read_facts(files: Files, drugs: Drugs, problems: list[Problem]) -> tuple[dict[str, FactDefinition], Vocabulary]:
    """The facts in the order of knowledge.yaml, and every condition that they and conditions.yaml name."""
    raws = dict(files.all("fact", problems))
    order = files.one("knowledge")["facts_in_order"]
    if set(order) != set(raws):
        differing = ", ".join(sorted(set(order) ^ set(raws)))
        problems.append(Problem("cards/knowledge.yaml:/facts_in_order", differing, "every fact file once"))
    facts = {name: _fact(raws[name]) for name in order if name in raws}
    for fact in facts.values():
        for other in set(fact.builds_on) - set(facts):
            problems.append(Problem(f"cards/facts/{fact.id}.yaml:/builds_on", repr(other), "a fact"))
    subjects = {
        "drugs-and-classes": frozenset(drugs.drugs) | frozenset(drugs.classes),
        "sites": frozenset(raws.get("sites", {}).get("site_words", ())),
        "symptoms": frozenset(raws.get("symptoms", {}).get("words", ())),
        "numbers": _NUMBERS,
    }
    takes = {
        name: subjects[raws[fact.id].get("subjects", "numbers")]
        for fact in facts.values()
        for name, wording in fact.conditions.items()
        if "*" in wording.answer
    }
    words = vocabulary(facts, lambda name: takes[name], lambda subject: _spoken(subject, drugs))
    return facts, _named(files, words, problems)


def _spoken(subject: str, drugs: Drugs) -> str:
    return within_sentence(drugs.label(subject)) if drugs.knows(subject) else subject.replace("-", " ")


def _named(files: Files, words: Vocabulary, problems: list[Problem]) -> Vocabulary:
    """The vocabulary with the conditions of conditions.yaml; each may use those above it."""
    named = dict(words.named)
    for row in files.one("conditions")["conditions"]:
        where = f"cards/conditions.yaml:/{row['condition']}"
        if row["condition"] in named or row["condition"] in words.with_subject:
            problems.append(Problem(where, "a name that is taken", "a new name"))
        named[row["condition"]] = parse(row["when"], replace(words, named=named), where, problems)
    return replace(words, named=named)


def _fact(raw: Mapping[str, Any]) -> FactDefinition:
    return FactDefinition(
        id=raw["fact"],
        label=raw["label"],
        short=raw["short"],
        question=raw["question"],
        kind=raw["kind"],
        answers=tuple(raw["answers"]),
        conditions={
            name: Wording(row["answer"], row["says"], row["denies"]) for name, row in raw.get("conditions", {}).items()
        },
        reads=tuple(raw["reads"]),
        builds_on=tuple(raw.get("builds_on", ())),
        asks=tuple(Code(row["system"], row["code"], row["display"]) for row in raw.get("asks", [])),
        more={key: raw[key] for key in _MORE if key in raw},
    )
