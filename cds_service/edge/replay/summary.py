"""What a replay shows, in the few lines that a terminal prints at its end."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from cds_service.edge.replay.changes import KINDS
from cds_service.edge.replay.plots import number, share

_SHOWN = 5


def summary(aggregate: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> str:
    """For how many patients options are listed, the commonest reasons of none and unknown facts, and what changed."""
    said = partial(number, below=aggregate["suppressed_below"])
    patients, listing = aggregate["patients"], aggregate["listing"]
    lines = [f"Options listed for {_of(said(listing), listing, patients)} of {said(patients)} patients"]
    reasons = [(reason, count) for found in aggregate["reasons"].values() for reason, count in found.items()]
    lines += _top("No options, because", reasons, said)
    unknown = [(name, one["patients"]) for name, one in aggregate["unknown"].items()]
    lines += _top("Unknown facts, where options are listed", unknown, said)
    lines += [f"Failed: {name} {said(count)}" for name, count in aggregate["errors"].items()]
    return "\n".join([*lines, *(_changed(changes, said) if changes else [])])


def _top(title: str, counts: list[tuple[str, int | None]], said: Any) -> list[str]:
    """The most frequent, hidden counts last."""
    ranked = sorted(counts, key=lambda row: (-(row[1] or 0), row[0]))
    left = len(ranked) - _SHOWN
    rows = [f"  {said(count):>9}  {name}" for name, count in ranked[:_SHOWN]]
    return [*([f"{title}:"] if rows else []), *rows, *([f"  and {left} more in the report"] if left > 0 else [])]


def _changed(changes: Mapping[str, Any], said: Any) -> list[str]:
    compared, changed, only = changes["compared"], changes["changed"], changes["only"]
    if changed == only["old"] == only["new"] == 0:
        return [f"Against the other run: nobody is touched, of {said(compared)} patients."]
    lines = [f"Against the other run: {_of(said(changed), changed, compared)} of {said(compared)} patients changed"]
    lines += [f"  {said(only[one])} patients are in the {one} run only" for one in ("old", "new") if only[one] != 0]
    lines += [
        f"  {said(changes['kinds'][kind]):>9}  {words}" for kind, words in KINDS.items() if kind in changes["kinds"]
    ]
    causes = ", ".join(f"{cause} {said(count)}" for cause, count in changes["causes"].items())
    return [*lines, *([f"  why: {causes}"] if causes else [])]


def _of(text: str, count: int | None, total: int | None) -> str:
    part = share(count, total)
    return f"{text} ({part})" if part else text
