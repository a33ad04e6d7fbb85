"""How far a replay is, on a terminal; elsewhere nothing is shown."""

import sys
from collections.abc import Callable, Iterable
from itertools import count

import click

#: goes through what is done, bit by bit, under a label and out of so much where that is known
Show = Callable[[str, Iterable[int], int | None], None]


def show(label: str, done: Iterable[int], length: int | None) -> None:
    """Go through what is done, with a bar."""
    hidden, endless = not sys.stderr.isatty(), count() if length is None else None
    with click.progressbar(
        endless, length, label, file=sys.stderr, show_pos=length is None, hidden=hidden, width=0
    ) as shown:
        for amount in done:
            shown.update(amount)
