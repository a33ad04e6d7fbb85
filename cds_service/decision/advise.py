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

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Generic, TypeVar

from cds_service.decision.evaluate import Truths, deciding, missing, truth
from cds_service.kleene import FALSE, OF_DIGITS, TRUE, UNKNOWN, Truth, all_of, any_of
from cds_service.knowledge.conditions import questions
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import All, Atom, Condition, Open, Option, Position, Statement, Status, Verdict

Statements = tuple[tuple[Statement, Truth], ...]

_T = TypeVar("_T")
#: for how many truths of its own questions each option's verdict is remembered
_REMEMBERED = 256
#: a truth is two bits of a number to base 4
_BITS, _DIGIT = 2, 3
_TRUTHS = tuple(OF_DIGITS[ord(digit)] for digit in "012")


@dataclass(frozen=True)
class Advice:
    """What the knowledge says for some truths: may options be listed (`gate`), is the disease over, the verdicts, and
    the notices that hold.
    """

    gate: Truth
    over: Truth
    verdicts: tuple[Verdict, ...]
    notices: tuple[str, ...]


class _Decided(Generic[_T]):
    """What some conditions decide, for the latest truths of their own questions."""

    def __init__(
        self, every: Mapping[Atom | Open, int], conditions: Iterable[Condition], decide: Callable[[Truths], _T]
    ):
        #: by how many bits the digit of each question of its own is shifted in the number of all
        self._shifts = {one: every[one] for condition in conditions for one in questions(condition)}
        self._mask = sum(_DIGIT << shift for shift in self._shifts.values())
        self._decide = decide
        self._of_own = lru_cache(maxsize=_REMEMBERED)(self._decided)

    def of(self, answers: int) -> _T:
        """From the answers to all questions, as one number."""
        return self._of_own(answers & self._mask)

    def _decided(self, own: int) -> _T:
        return self._decide({question: _TRUTHS[own >> shift & _DIGIT] for question, shift in self._shifts.items()})


class Adviser:
    """Judges all options at once: each anew only for truths of its own questions that are new. No patient is in what is
    remembered.
    """

    def __init__(self, knowledge: Knowledge, remembered: int = 1024):
        self._questions = knowledge.questions
        shifts = {question: _BITS * place for place, question in enumerate(reversed(knowledge.questions))}
        self._gate = _Decided(shifts, [knowledge.gate], partial(truth, knowledge.gate))
        self._over = _Decided(shifts, [knowledge.gate_inactive], partial(truth, knowledge.gate_inactive))
        self._judges = [
            _Decided(shifts, [option.requires, option.removed_by, *(one.when for one in option.statements)],
                     partial(judge, option))
            for option in knowledge.options.values()
        ]  # fmt: skip
        self._notices = [(_Decided(shifts, [when], partial(truth, when)), says) for when, says in knowledge.notices]
        self.advise = lru_cache(maxsize=remembered)(self._advise)

    def truths(self, answers: bytes) -> Truths:
        """The answers, a digit each, by their questions."""
        return {question: OF_DIGITS[one] for question, one in zip(self._questions, answers, strict=True)}

    def _advise(self, answers: bytes) -> Advice:
        """The advice for the truths of all questions in order (kleene.DIGITS); verdicts in the order of the options."""
        number = int(answers, 1 << _BITS)
        return Advice(
            self._gate.of(number),
            self._over.of(number),
            tuple([judged.of(number) for judged in self._judges]),
            tuple([says for holds, says in self._notices if holds.of(number) is TRUE]),
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
        return _closed(option, statements, deciding(option.removed_by, truths), truths)
    if support is FALSE:
        blockers = deciding(option.requires, truths) if required is FALSE else ()
        failing = (atom for when, _ in supports for atom in deciding(when, truths) if truth(when, truths) is FALSE)
        return _closed(option, statements, (*blockers, *failing), truths)
    if support is UNKNOWN:
        open_ = [when for when, value in supports if value is UNKNOWN]
        lacking = _unique(fact for when in [*open_, option.requires] for fact in missing(when, truths))
        held = _unique(atom for when in open_ for atom in _held(when, truths))
        return Verdict(option.id, Status.NEEDS_DATA, statements, held, lacking, truths)
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
        truths,
    )


def _closed(option: Option, statements: Statements, because: Iterable[Atom], truths: Truths) -> Verdict:
    return Verdict(option.id, Status.NOT_SUPPORTED, statements, _unique(because), (), truths)


def _held(condition: Condition, truths: Truths) -> Iterator[Atom]:
    """What already holds within a condition that is still open: why the option is in question at all."""
    if truth(condition, truths) is TRUE:
        yield from deciding(condition, truths)
    elif isinstance(condition, All):
        for member in condition.members:
            yield from _held(member, truths)


def _unique(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
