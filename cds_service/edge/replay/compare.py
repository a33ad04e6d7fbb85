"""Two runs beside each other: whose advice changed, in what, and why. Both are sorted: one line of each is held."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cds_service.edge.replay.aggregate import FAILED, Line, standing
from cds_service.edge.replay.causes import PROGRAM, Grounds
from cds_service.edge.replay.finished import NotFinished, parsed
from cds_service.errors import Problem

#: what changed for one patient, as changes.ndjson holds it
Row = dict[str, Any]
#: the status of an option that the cards of a run do not list
NOT_LISTED = "not-listed"
_NOTHING: Mapping[str, Any] = {"status": NOT_LISTED, "citations": (), "missing": (), "because": ()}


def compare(old: Iterable[bytes], new: Iterable[bytes], grounds: Grounds) -> Iterator[Row | None]:
    """For each patient what changed, None where nothing did. `old` and `new` are the lines of two runs, sorted by id.

    Raises NotFinished where a line is none, by the number of the line, or where lines are not sorted.
    """
    for before, after in _paired(old, new):
        if before is None or after is None:
            yield _one_run_only(before, after)
        else:
            yield None if before is after else difference(before, after, grounds)


#: stands for both lines of a patient for whom they are the same to the byte
_SAME: Line = {}


def _paired(old: Iterable[bytes], new: Iterable[bytes]) -> Iterator[tuple[Line | None, Line | None]]:
    """The lines of each patient; None where a run has none."""
    olds, news = enumerate(old, start=1), enumerate(new, start=1)
    left, right, last = next(olds, None), next(news, None), b""
    while left or right:
        if left and right and left[1] == right[1]:
            yield _SAME, _SAME
            left, right = next(olds, None), next(news, None)
            continue
        before = parsed(left[1], "the old run", left[0]) if left else None
        after = parsed(right[1], "the new run", right[0]) if right else None
        first, last = _first(before, after, last)
        yield before if first <= 0 else None, after if first >= 0 else None
        left = next(olds, None) if first <= 0 else left
        right = next(news, None) if first >= 0 else right


def _first(before: Line | None, after: Line | None, last: bytes) -> tuple[int, bytes]:
    """Whose patient comes first, bytewise (-1 the old run's, 1 the new run's, 0 for the same), and the patient's id.

    Raises NotFinished where it does not come after the last one: then a run is not sorted, and no pair can be trusted.
    """
    ours, theirs = [str(line["patient"]).encode() if line else None for line in (before, after)]
    there = [one for one in (ours, theirs) if one is not None]
    found = min(there)
    if last and found <= last:
        raise NotFinished([Problem("the lines of the two runs", "not sorted by patient", "runs as they were written")])
    return (found == theirs) - (found == ours), found


def _one_run_only(before: Line | None, after: Line | None) -> Row:
    line = before or after or {}
    return {"patient": line["patient"], "only": "old" if after is None else "new"}


def difference(before: Line, after: Line, grounds: Grounds) -> Row | None:
    """What changed for a patient: the answer, facts, options with the cause. None where nothing of these did."""
    facts = _moved(before["facts"], after["facts"])
    ours, theirs = standing(before), standing(after)
    failed = FAILED in (before["answer"], after["answer"])
    moved = "" if ours == theirs else PROGRAM if failed else grounds.of_gate()
    gate = moved if not (ours and theirs) else ""
    row: Row = {"patient": before["patient"], "facts": facts, "options": {}}
    for name in sorted(before["options"].keys() | after["options"].keys()):
        was, now = before["options"].get(name, _NOTHING), after["options"].get(name, _NOTHING)
        if entry := _entry(was, now):
            row["options"][name] = {
                **entry,
                "because": gate or grounds.of_option(name, facts, _named(was) | _named(now)),
            }
    if before["answer"] != after["answer"]:
        row["answer"] = [before["answer"], after["answer"]]
    if ours != theirs:
        row |= {"reason": [ours, theirs], "because": moved}
    return row if facts or row["options"] or ours != theirs else None


def _named(entry: Mapping[str, Any]) -> set[str]:
    """The facts that an entry names: those that decided, and those that are missing."""
    return {one.partition("=")[0] for one in entry["because"]} | {*entry["missing"]}


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str | None]]:
    """The facts whose value differs. Cards show other facts than an answer without: where no fact is in both, none."""
    names = sorted(before.keys() | after.keys()) if before.keys() & after.keys() else []
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def _entry(was: Mapping[str, Any], now: Mapping[str, Any]) -> Row:
    """What differs of one option; empty where nothing does."""
    if was == now:
        return {}
    entry: Row = {"section": now.get("section") or was.get("section"), "status": [was["status"], now["status"]]}
    for name, shown in (("citations", "citations"), ("because", "deciders")):
        added, removed = sorted({*now[name]} - {*was[name]}), sorted({*was[name]} - {*now[name]})
        if added or removed:
            entry[shown] = {"added": added, "removed": removed}
    if sorted(was["missing"]) != sorted(now["missing"]):
        entry["missing"] = [list(was["missing"]), list(now["missing"])]
    return entry if len(entry) > 2 or was["status"] != now["status"] else {}
