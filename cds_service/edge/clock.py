"""Which day it is, for calls that are answered now."""

from datetime import UTC, datetime, timedelta

#: the zone where a day begins first
_EARLIEST_ZONE = timedelta(hours=14)


def today() -> str:
    """The date where on earth it is latest: what is dated after it lies in the future everywhere."""
    return (datetime.now(UTC) + _EARLIEST_ZONE).date().isoformat()
