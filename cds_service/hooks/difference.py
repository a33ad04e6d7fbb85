"""What one knowledge says and another does not: options, statements, rules and the gate, in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from cds_service.hooks.review import EVERYBODY
from cds_service.hooks.wording import stated
from cds_service.knowledge.conditions import facts_read
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Condition, Option, Statement

#: what never changes a status or a citation, but what a card says of it
REWORDED = "reworded"
#: what identifies a statement: its source, passage and position
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Edit:
    """One difference: `kind` is added, removed, changed or reworded; `of` names what differs (a statement by source,
    passage and position, or a rule); `was` and `now` are its conditions in words, '' where there are none.
    """

    option: str
    kind: str
    of: str
    was: str
    now: str


def edits(old: Knowledge, new: Knowledge) -> tuple[Edit, ...]:
    """Every difference of the options, in the order of the new knowledge; the options that are gone come last."""
    names = (*new.options, *(name for name in old.options if name not in new.options))
    return tuple(edit for name in names for edit in _of_option(old.options.get(name), new.options.get(name)))


def rewritten(found: tuple[Edit, ...]) -> frozenset[str]:
    """The options whose verdict may differ for the same facts."""
    return frozenset(edit.option for edit in found if edit.kind != REWORDED)


def gate_edits(old: Knowledge, new: Knowledge) -> tuple[Edit, ...]:
    """What differs of whom options are listed for."""
    pairs = (("gate", old.gate, new.gate), ("gate, disease marked as over", old.gate_inactive, new.gate_inactive))
    return tuple(_changed("", of, was, now) for of, was, now in pairs if was != now)


def rests_on(option: Option) -> frozenset[str]:
    """The facts that an option's statements and rules ask."""
    conditions = (option.requires, option.removed_by, *(one.when for one in option.statements))
    return frozenset(fact for condition in conditions for fact in facts_read(condition))


def _of_option(old: Option | None, new: Option | None) -> Iterator[Edit]:
    name = (old or new).id  # type: ignore[union-attr]  # one of them is there
    then, now = _by_place(old), _by_place(new)
    for place in dict.fromkeys((*now, *then)):
        yield from _of_place(name, place, then.get(place, []), now.get(place, []))
    if old and new:
        if old.requires != new.requires:
            yield _changed(name, "rule: counts only with", old.requires, new.requires, "nothing further")
        if old.removed_by != new.removed_by:
            yield _changed(name, "rule: taken off the list by", old.removed_by, new.removed_by, "nothing")


def _by_place(option: Option | None) -> dict[Place, list[Statement]]:
    found: dict[Place, list[Statement]] = {}
    for one in option.statements if option else ():
        found.setdefault((one.source, one.passage, one.position.value), []).append(one)
    return found


def _of_place(name: str, place: Place, then: list[Statement], now: list[Statement]) -> Iterator[Edit]:
    """Of the statements at one place: the same conditions cancel out; one left on each side has changed."""
    of = " ".join(place)
    gone = [one for one in then if all(one.when != other.when for other in now)]
    come = [one for one in now if all(one.when != other.when for other in then)]
    if len(gone) == len(come) == 1:
        yield _changed(name, of, gone[0].when, come[0].when)
    else:
        yield from (Edit(name, "removed", of, _words(one.when), "") for one in gone)
        yield from (Edit(name, "added", of, "", _words(one.when)) for one in come)
    for one in now:
        same = [other for other in then if other.when == one.when]
        if same and one not in same:
            yield Edit(name, REWORDED, of, _words(one.when), _words(one.when))


def _changed(name: str, of: str, was: Condition, now: Condition, always: str = EVERYBODY) -> Edit:
    return Edit(name, "changed", of, _words(was, always), _words(now, always))


def _words(condition: Condition, always: str = EVERYBODY) -> str:
    """A condition in words; `always` where it asks for nothing."""
    return stated(condition) or always
