"""The whole decision procedure: from the statements about an option and the truths of a patient to its status.

| any `supports` | any `against` | status |
|---|---|---|
| true | none true | supported |
| true | true | differs: both are shown |
| none true, some unknown | - | needs-data: the unknown facts are named |
| none true, none unknown | - | not-supported |

A supporting statement counts only with the option's `requires` (no recorded contraindication, no refusal). What is true
of `removed_by` (a recorded failure, unfit for chemotherapy) makes the option not-supported. An option with nothing
missing is settled: no further fact changes its status.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from cds_service.decision.evaluate import Truths, deciding, missing, truth
from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth, all_of, any_of
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import All, Atom, Condition, Option, Position, Statement, Status, Verdict

Statements = tuple[tuple[Statement, Truth], ...]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Advice:
    """What the knowledge says for some truths: may options be listed (`gate`), is the disease over, the verdicts."""

    gate: Truth
    over: Truth
    verdicts: tuple[Verdict, ...]


class Adviser:
    """Judges all options at once. Equal truths give equal advice, so the latest is kept; no patient is in it."""

    def __init__(self, knowledge: Knowledge, remembered: int = 2048):
        self._knowledge = knowledge
        self.advise = lru_cache(maxsize=remembered)(self._advise)

    def _advise(self, answers: tuple[Truth, ...]) -> Advice:
        """The advice for answers to the knowledge's questions, in their order; verdicts in the order of the options."""
        truths = dict(zip(self._knowledge.questions, answers, strict=True))
        return Advice(
            truth(self._knowledge.gate, truths),
            truth(self._knowledge.gate_inactive, truths),
            tuple(judge(option, truths) for option in self._knowledge.options.values()),
        )


def judge(option: Option, truths: Truths) -> Verdict:
    """The verdict on one option."""
    statements = tuple((statement, truth(statement.when, truths)) for statement in option.statements)
    required = truth(option.requires, truths)
    removed = truth(option.removed_by, truths)
    supports = [(one.when, all_of((value, required))) for one, value in statements if one.position is Position.SUPPORTS]
    against = [(one.when, value) for one, value in statements if one.position is Position.AGAINST]
    support = any_of(value for _, value in supports)
    opposed = any_of(value for _, value in against)

    if removed is TRUE:
        return _closed(option, statements, deciding(option.removed_by, truths))
    if support is FALSE:
        blockers = deciding(option.requires, truths) if required is FALSE else ()
        failing = (atom for when, _ in supports for atom in deciding(when, truths) if truth(when, truths) is FALSE)
        return _closed(option, statements, (*blockers, *failing))
    if support is UNKNOWN:
        open_ = [when for when, value in supports if value is UNKNOWN]
        lacking = _unique(fact for when in [*open_, option.requires] for fact in missing(when, truths))
        held = _unique(atom for when in open_ for atom in _held(when, truths))
        return Verdict(option.id, Status.NEEDS_DATA, statements, held, lacking)
    deciders = [when for when, value in supports if value is TRUE]
    if opposed is TRUE:
        deciders += [when for when, value in against if value is TRUE]
    unsettled = [option.removed_by] + ([when for when, _ in against] if opposed is UNKNOWN else [])
    return Verdict(
        option.id,
        Status.DIFFERS if opposed is TRUE else Status.SUPPORTED,
        statements,
        _unique(atom for when in deciders for atom in deciding(when, truths)),
        _unique(fact for when in unsettled + deciders for fact in missing(when, truths)),
    )


def _closed(option: Option, statements: Statements, because: Iterable[Atom]) -> Verdict:
    return Verdict(option.id, Status.NOT_SUPPORTED, statements, _unique(because), ())


def _held(condition: Condition, truths: Truths) -> Iterator[Atom]:
    """What already holds within a condition that is still open: why the option is in question at all."""
    if truth(condition, truths) is TRUE:
        yield from deciding(condition, truths)
    elif isinstance(condition, All):
        for member in condition.members:
            yield from _held(member, truths)


def _unique(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
