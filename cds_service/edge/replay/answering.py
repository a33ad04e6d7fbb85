"""From the lines of a patient to the line of the run: a call as a client would send it, and what becomes of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from cds_service.edge.replay.line import answered, failed, refused, sections, written
from cds_service.edge.replay.reading import MOST, Group
from cds_service.errors import Problem, Refusal, TooLarge
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import HookCall
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import load
from cds_service.patient.elements import identifier, word
from cds_service.patient.project import warm_up
from cds_service.patient.record import CALLED, Need, Record
from cds_service.patient.whose import shared_by

Resource = dict[str, Any]
#: finds the lines of what is shared by its id
Find = Callable[[str], Sequence[bytes]]
_HOOK, _INSTANCE = HOOKS[0], "replay"
_URN = "urn:uuid:"
_IS_URN = b'"urn:uuid:'
#: the key of what is not known to be all there is of its type
_IN_PART = "not-whole"
_TOO_LARGE = TooLarge([Problem("the record", f"more than {MOST} bytes", "what one call may hold")])


@dataclass(frozen=True)
class Terms:
    """What holds for every patient of a run: which day it is, and which types the input holds whole."""

    today: str
    whole: frozenset[str]


class Answering:
    """Answers for one patient after the other, with one knowledge."""

    def __init__(self, cards: Path | None = None):
        knowledge = load(cards)
        self._responder = Responder(knowledge, heard=self._heard, words=False)
        self.knowledge = knowledge
        self.needs = self._responder.needs
        self._sections = sections(knowledge)
        self._set_aside = 0
        warm_up()

    def line(self, group: Group, terms: Terms, find: Find) -> bytes:
        """The line of a patient. A fault of this program becomes a line too, so that one patient stops no run."""
        self._set_aside = 0
        try:
            return written(self._line(group, terms, find))
        except Refusal as refusal:
            return written(refused(group.patient, refusal, group.resources, self._set_aside))
        except Exception as error:
            return written(failed(group.patient, error, group.resources))

    def _line(self, group: Group, terms: Terms, find: Find) -> dict[str, Any]:
        if group.resources and not group.lines:
            raise _TOO_LARGE
        answer = self._responder.respond(call(group, self.needs, terms, find))
        return answered(group.patient, answer, self._sections, group.resources, self._set_aside)

    def _heard(self, record: Record) -> None:
        self._set_aside = len(record.set_aside)


@cache
def answering(cards: Path | None) -> Answering:
    """What answers with the knowledge of a folder, once in a process."""
    return Answering(cards)


def call(group: Group, needs: Sequence[Need], terms: Terms, find: Find) -> HookCall:
    """The call of a client that prefetched everything the input holds of a patient.

    A type that the input holds whole is delivered, if only as null; of the others what there is comes as evidence.
    """
    entries = _entries(group, find)
    prefetch: dict[str, Any] = {}
    for need in needs:
        held = entries.pop(need.type, None)
        patients = [entry["resource"] for entry in held or ()] if need.type == "Patient" else []
        if len(patients) == 1:
            prefetch[need.key] = patients[0]
        elif held and (need.type in terms.whole or patients):
            prefetch[need.key] = _bundle(held)
        elif held:
            prefetch.setdefault(_IN_PART, _bundle([]))["entry"] += held
        elif need.type in terms.whole and need.type != "Patient":
            prefetch[need.key] = None
    return HookCall(_HOOK, _INSTANCE, group.patient, {}, prefetch, today=terms.today)


def _entries(group: Group, find: Find) -> dict[str, list[Resource]]:
    """The entries of Bundles by type, each Medication beside what refers to it.

    An export has no `fullUrl`: where references are URNs, they are taken for the ids behind them.
    """
    within = dict[str, list[bytes]]()
    for ident, line in group.shared:
        within.setdefault(ident, []).append(line)
    by_urn = any(_IS_URN in line for line in group.lines)
    entries: dict[str, list[Resource]] = {}
    for line in group.lines:
        resource = orjson.loads(line)
        kind = word(resource["resourceType"])
        listed = entries.setdefault(CALLED.get(kind, kind), [])
        if "medicationReference" in resource:
            listed += [
                _entry(one, by_urn) for one in _shared(resource, lambda ident: find(ident) or within.get(ident, ()))
            ]
        listed.append(_entry(resource, by_urn))
    return entries


def _shared(resource: Resource, find: Find) -> Iterator[Resource]:
    """What a resource refers to, and what that refers to, each once."""
    seen, open_ = set[str](), list(shared_by(resource))
    while open_:
        ident = open_.pop()
        if ident in seen:
            continue
        seen.add(ident)
        for line in sorted(set(find(ident))):
            found = orjson.loads(line)
            open_ += shared_by(found)
            yield found


def _entry(resource: Resource, by_urn: bool) -> Resource:
    return {"fullUrl": f"{_URN}{identifier(resource)}", "resource": resource} if by_urn else {"resource": resource}


def _bundle(entries: list[Resource]) -> Resource:
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}
