"""Three-valued logic: true, false and unknown, where unknown is a value and never a kind of false.

Strong Kleene logic, the logic of CQL (https://cql.hl7.org/09-b-cqlreference.html#logical-operators-3):

    and | T U F      or | T U F      not |
    ----+------      ---+------      ----+---
     T  | T U F       T | T T T       T  | F
     U  | U U F       U | T U U       U  | U
     F  | F F F       F | T U F       F  | T
"""

from collections.abc import Iterable
from enum import Enum


class Truth(Enum):
    """The answer to a question about a patient. It has no truth value of Python's: compare it by name."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"

    #: members are single objects: hashed by identity
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("a Truth is not a bool: compare it with TRUE, FALSE or UNKNOWN")


TRUE, FALSE, UNKNOWN = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
#: each truth as a digit: many of them, in `bytes`, are compared and hashed at once, and are a number to base 4
DIGITS = {FALSE: ord("0"), UNKNOWN: ord("1"), TRUE: ord("2")}
OF_DIGITS = {digit: truth for truth, digit in DIGITS.items()}
_NEGATED = {TRUE: FALSE, FALSE: TRUE, UNKNOWN: UNKNOWN}


def all_of(truths: Iterable[Truth]) -> Truth:
    """Conjunction: one false decides, else one unknown leaves it open; nothing at all is true."""
    found = TRUE
    for truth in truths:
        if truth is FALSE:
            return FALSE
        if truth is UNKNOWN:
            found = UNKNOWN
    return found


def any_of(truths: Iterable[Truth]) -> Truth:
    """Disjunction: one true decides, else one unknown leaves it open; nothing at all is false."""
    found = FALSE
    for truth in truths:
        if truth is TRUE:
            return TRUE
        if truth is UNKNOWN:
            found = UNKNOWN
    return found


def negation(truth: Truth) -> Truth:
    """Negation: unknown stays unknown."""
    return _NEGATED[truth]
