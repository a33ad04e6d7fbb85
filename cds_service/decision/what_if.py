"""What another answer of a fact would change: an assumed fact in place of the one on record, and verdicts compared."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cds_service.kleene import FALSE, TRUE, any_of
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Answer, Fact, FactDefinition, Status, Verdict

#: the assumption that nothing is on record
NOT_ON_RECORD = "unknown"
_NOTE = "assumed, not on record"


@dataclass(frozen=True)
class Change:
    """An option whose status the assumption changes. None: not listed, because the gate is closed."""

    option: str
    before: Status | None
    after: Status | None


def many(definition: FactDefinition) -> bool:
    """Whether a fact may have several answers at once (sites, symptoms): an assumption then turns one of them round."""
    return any("*" in wording.answer for wording in definition.conditions.values())


def choices(definition: FactDefinition, knowledge: Knowledge) -> tuple[str, ...]:
    """What may be assumed of a fact; nothing where its answers are not listed in its file (medicines, refusals)."""
    if many(definition):
        asked = {atom.answer for atom in knowledge.asked if atom.fact == definition.id}
        return tuple(answer for answer in definition.answers if answer in asked)
    told = tuple(definition.more.get("what_if", ())) or definition.answers
    return (*told, NOT_ON_RECORD) if told else ()


def assume(definition: FactDefinition, fact: Fact, choice: str) -> Fact:
    """The fact with another answer. It refers to no resource: it was read from none. A question that does not apply to
    the patient (unknown, and yet every answer false) stays as it is.
    """
    if many(definition):
        return _turned(definition, fact, choice)
    if fact.value == NOT_ON_RECORD and fact.default is FALSE:
        return fact
    if choice == NOT_ON_RECORD:
        return Fact(fact.name, NOT_ON_RECORD, note=_NOTE)
    true = definition.more.get("what_if", {}).get(choice, [choice])
    known = {*definition.answers, *(wording.answer for wording in definition.conditions.values())}
    answers = {answer: Answer(TRUE if answer in true else FALSE) for answer in sorted(known)}
    return Fact(fact.name, true[0], answers, note=_NOTE)


def _turned(definition: FactDefinition, fact: Fact, choice: str) -> Fact:
    """One of several answers turned round, and the groups that hold it judged anew."""
    there = fact.answer(choice).truth is TRUE
    answers = {**fact.answers, choice: Answer(FALSE if there else TRUE)}
    turned = fact._replace(answers=answers, note=_NOTE)
    for group, members in definition.more.get("site_groups", {}).items():
        if choice in members:
            answers[group] = Answer(any_of(turned.answer(member).truth for member in members))
    named = [answer for answer in definition.answers if turned.answer(answer).truth is TRUE]
    return turned._replace(value=", ".join(named) or ("none" if fact.default is FALSE else NOT_ON_RECORD))


def changes(
    before: Iterable[Verdict], after: Iterable[Verdict], listed_before: bool = True, listed_after: bool = True
) -> tuple[Change, ...]:
    """The options whose status differs, in their order; `listed_…`: whether the gate lets options be listed at all."""
    then: Mapping[str, Verdict] = {one.option: one for one in after}
    rows = (
        Change(one.option, one.status if listed_before else None, then[one.option].status if listed_after else None)
        for one in before
    )
    return tuple(row for row in rows if row.before is not row.after)
