"""Bars and columns as shares of a width, numbers as a reader sees them. A hidden number leaves no trace in either."""

from collections.abc import Iterable, Sequence

#: the kind of a part (which says its colour and pattern), where it starts and how wide it is, in percent
Part = tuple[str, str, str]
#: a column: where it starts, how wide and how high it is, and where its top is, in percent
Column = tuple[str, str, str, str]


def parts(counts: Iterable[tuple[str, int | None]], total: int | None) -> list[Part]:
    """A stacked bar of which `total` is the whole; nothing of what is 0 or hidden."""
    found, start = [], 0.0
    for kind, count in counts:
        if count and total:
            width = 100 * count / total
            found.append((kind, _percent(start), _percent(width)))
            start += width
    return found


def columns(counts: Sequence[int | None]) -> list[Column]:
    """Columns side by side, the highest of full height."""
    highest, width = max((one or 0 for one in counts), default=0) or 1, 100 / max(len(counts), 1)
    heights = [100 * (one or 0) / highest for one in counts]
    return [
        (_percent(place * width + width * 0.08), _percent(width * 0.84), _percent(high), _percent(100 - high))
        for place, high in enumerate(heights)
    ]


def number(count: int | None, below: int) -> str:
    """1234567 as '1,234,567'; a hidden one as 'fewer than 5'."""
    return f"fewer than {below:,}" if count is None else f"{count:,}"


def share(count: int | None, total: int | None) -> str:
    """A count as its percentage of a total, '' where one of them is hidden or there is nothing to share."""
    if count is None or not total:
        return ""
    exact = 100 * count / total
    if 0 < exact < 1:
        return "<1%"
    return ">99%" if 99 < exact < 100 else f"{exact:.0f}%"


def _percent(value: float) -> str:
    return f"{value:.2f}%"
