"""Dates as records write them: '2013', '2013-06', full dates and instants, or nothing. Compared by day, never guessed.

A date is kept as its longest sound prefix of YYYY-MM-DD ('' when there is none). Order is only claimed where it is
certain: '2013-06' is neither before nor after '2013-06-15'.
"""

import re
from calendar import timegm
from collections.abc import Iterable
from functools import lru_cache

_DATE = re.compile(r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01]))?)?(?![\d-])")


def day(value: object) -> str:
    """The date in a FHIR date, dateTime or instant; '' where there is none that can be read."""
    return _read(value) if isinstance(value, str) else ""


@lru_cache(maxsize=8192)
def _read(text: str) -> str:
    match = _DATE.match(text)
    return match.group(0) if match else ""


def certainly_before(one: str, other: str) -> bool:
    """Whether `one` is known to lie before `other`. Unknown dates are before nothing."""
    if not one or not other:
        return False
    length = min(len(one), len(other))
    return one[:length] < other[:length]


def days_between(one: str, other: str) -> int | None:
    """How many days lie between two full dates; None where a date is not full."""
    if min(len(one), len(other)) < len("YYYY-MM-DD"):
        return None
    try:
        return abs(_number(one) - _number(other))
    except ValueError:  # 30 February
        return None


def _number(date: str) -> int:
    year, month, day_ = (int(part) for part in date.split("-"))
    return timegm((year, month, day_, 0, 0, 0)) // 86_400


def newest(dates: Iterable[str]) -> set[int]:
    """The positions of the dates that no other date is certainly after."""
    listed = list(dates)
    # whatever is certainly after a date, the greatest of them as text is too
    latest = max(listed, default="")
    return {i for i, one in enumerate(listed) if not certainly_before(one, latest)}
