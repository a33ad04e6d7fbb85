"""Counts of patients under keys of several words: summed in any order, nested for JSON, small ones hidden."""

from collections.abc import Mapping
from typing import Any

#: where a count stands: ("options", "tamoxifen", "supported")
Key = tuple[str, ...]


def nested(counts: Mapping[Key, int]) -> dict[str, Any]:
    """The counts as one tree, its keys sorted."""
    tree: dict[str, Any] = {}
    for key in sorted(counts):
        place = tree
        for step in key[:-1]:
            place = place.setdefault(step, {})
        place[key[-1]] = counts[key]
    return tree


def hide(tree: Any, below: int) -> Any:
    """The tree with None in place of every count from 1 to `below` - 1, and of every sum over so few `patients`.

    It keeps a reader from seeing that a combination fits only a handful of people. It is no anonymisation: whoever has
    the total and all counts but one works the last one out, two reports of overlapping populations can be subtracted
    from each other, 0 is shown, and who knows that somebody is among few still learns something. The lines themselves
    (patients.ndjson, changes.ndjson) hold ids, run.json counts as they are: these are not for sharing at all.
    """
    if isinstance(tree, list):
        return [hide(one, below) for one in tree]
    if not isinstance(tree, dict):
        return tree
    few = _small(tree.get("patients"), below)
    return {
        name: None if _small(value, below) or (few and isinstance(value, int)) else hide(value, below)
        for name, value in tree.items()
    }


def _small(value: Any, below: int) -> bool:
    return isinstance(value, int) and 0 < value < below
