"""Which day it is, for calls that are answered now."""

from datetime import UTC, datetime, timedelta

#: the zone where a day begins first
_EARLIEST_ZONE = timedelta(hours=14)


def day() -> str:
    """The date in UTC: what a paper that is printed now is dated with."""
    return datetime.now(UTC).date().isoformat()


def now() -> str:
    """The time in UTC, as RFC 3339 writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def today() -> str:
    """The date where on earth it is latest: what is dated after it lies in the future everywhere."""
    return (datetime.now(UTC) + _EARLIEST_ZONE).date().isoformat()
