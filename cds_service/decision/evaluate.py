"""Conditions over the truths of atoms: is it true, what decided it, what is missing."""

from collections.abc import Iterator, Mapping

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth, negation
from cds_service.model import All, Any_, Atom, Condition, Not, Open

#: what is known: the truth of every atom, and whether a fact is unknown (`Open`)
Truths = Mapping[Atom | Open, Truth]


def truth(condition: Condition, truths: Truths) -> Truth:
    """Three-valued truth of a condition."""
    match condition:
        case Atom() | Open():
            return truths[condition]
        case Not(member):
            return negation(truth(member, truths))
        case All(members):
            return _fold(members, truths, FALSE, TRUE)
        case Any_(members):
            return _fold(members, truths, TRUE, FALSE)


def _fold(members: tuple[Condition, ...], truths: Truths, deciding: Truth, neutral: Truth) -> Truth:
    result = neutral
    for member in members:
        value = truth(member, truths)
        if value is deciding:
            return deciding
        if value is UNKNOWN:
            result = UNKNOWN
    return result


def deciding(condition: Condition, truths: Truths) -> Iterator[Atom]:
    """The atoms that made a condition true or false; none where it is unknown."""
    value = truth(condition, truths)
    if value is UNKNOWN:
        return
    match condition:
        case Atom():
            yield condition
        case Not(member):
            yield from deciding(member, truths)
        case All(members) | Any_(members):
            for member in members:
                if truth(member, truths) is value:
                    yield from deciding(member, truths)


def missing(condition: Condition, truths: Truths) -> Iterator[str]:
    """The facts whose being unknown leaves a condition unknown; for `Open`, the fact that it waits for."""
    value = truth(condition, truths)
    match condition:
        case Open(fact):
            if value is TRUE:
                yield fact
        case Atom(fact, _):
            if value is UNKNOWN:
                yield fact
        case Not(member):
            yield from missing(member, truths)
        case All(members) | Any_(members):
            for member in members:
                if isinstance(member, Open) or truth(member, truths) is UNKNOWN is value:
                    yield from missing(member, truths)
