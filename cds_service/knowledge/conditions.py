"""The `when` of a statement: from YAML to conditions over facts.

always                                 holds for every patient who passes the gate
er-positive                            a condition that a fact file or conditions.yaml names
{had: trastuzumab}                     a condition with a subject, named in a fact file with `*`
{all: [...]}  {any: [...]}  {not: …}   three-valued logic
{unknown: menopause}                   the fact is not known
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.errors import Problem
from cds_service.model import All, Any_, Atom, Condition, FactDefinition, Not, Open, Wording

ALWAYS = All(())


@dataclass(frozen=True)
class Vocabulary:
    """What a condition may be made of: names, and names that take a subject, with the subjects they take."""

    named: Mapping[str, Condition]
    with_subject: Mapping[str, tuple[str, Wording]]
    subjects: Callable[[str], frozenset[str]]
    spoken: Callable[[str], str]
    facts: frozenset[str]


def vocabulary(
    facts: Mapping[str, FactDefinition], subjects: Callable[[str], frozenset[str]], spoken: Callable[[str], str]
) -> Vocabulary:
    """The conditions that the fact files name."""
    named: dict[str, Condition] = {"always": ALWAYS}
    with_subject = {}
    for fact in facts.values():
        for name, wording in fact.conditions.items():
            if "*" in wording.answer:
                with_subject[name] = (fact.id, wording)
            else:
                named[name] = Atom(fact.id, wording.answer, wording.says, wording.denies)
    return Vocabulary(named, with_subject, subjects, spoken, frozenset(facts))


def parse(raw: Any, words: Vocabulary, where: str, problems: list[Problem]) -> Condition:
    """Read one condition; what cannot be read is a problem and stands as `always`."""
    if isinstance(raw, str) and raw in words.named:
        return words.named[raw]
    if isinstance(raw, dict) and len(raw) == 1:
        ((key, value),) = raw.items()
        if key in ("all", "any") and isinstance(value, list):
            members = tuple(parse(member, words, f"{where}/{key}/{i}", problems) for i, member in enumerate(value))
            return All(members) if key == "all" else Any_(members)
        if key == "not":
            return Not(parse(value, words, f"{where}/not", problems))
        if key == "unknown" and value in words.facts:
            return Open(value)
        if key in words.with_subject:
            fact, wording = words.with_subject[key]
            if str(value) in words.subjects(key):
                subject, spoken = str(value), words.spoken(str(value))
                return Atom(
                    fact,
                    wording.answer.replace("*", subject),
                    wording.says.replace("*", spoken),
                    wording.denies.replace("*", spoken),
                )
            problems.append(Problem(f"{where}/{key}", f"{value!r}", "a drug, class, site, symptom or number it knows"))
            return ALWAYS
    problems.append(Problem(where, f"{raw!r}", "a condition named in cards/facts or cards/conditions.yaml"))
    return ALWAYS


def atoms(condition: Condition) -> Iterator[Atom]:
    """Every question to a fact in a condition, in the order written, repeats included."""
    return (one for one in questions(condition) if isinstance(one, Atom))


def questions(condition: Condition) -> Iterator[Atom | Open]:
    """Everything that decides a condition, in the order written, repeats included."""
    match condition:
        case Atom() | Open():
            yield condition
        case Not(member):
            yield from questions(member)
        case All(members) | Any_(members):
            for member in members:
                yield from questions(member)


def facts_read(condition: Condition) -> Iterator[str]:
    """Every fact that a condition asks, repeats included."""
    match condition:
        case Atom(fact, _) | Open(fact):
            yield fact
        case Not(member):
            yield from facts_read(member)
        case All(members) | Any_(members):
            for member in members:
                yield from facts_read(member)
