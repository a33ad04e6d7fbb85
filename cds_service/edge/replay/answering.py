"""From the lines of a patient to the line of the run: a call as a client would send it, and what becomes of it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from cds_service.edge.replay.line import Answers, failed, refused, written
from cds_service.edge.replay.reading import MOST, Group
from cds_service.errors import Problem, Refusal, TooLarge
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import HookCall
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import load
from cds_service.patient.elements import identifier
from cds_service.patient.project import warm_up
from cds_service.patient.record import CALLED, Need, Record
from cds_service.patient.whose import shared_by

Resource = dict[str, Any]
#: finds the lines of what is shared by its id
Find = Callable[[str], Sequence[bytes]]
_HOOK, _INSTANCE = HOOKS[0], "replay"
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
        self._answers = Answers(knowledge)
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
        return self._answers.line(group.patient, answer, group.resources, self._set_aside)

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
        patient = need.type == "Patient"
        if held and patient and len(held) == 1:
            prefetch[need.key] = held[0]["resource"]
        elif held and (patient or need.type in terms.whole):
            prefetch[need.key] = _bundle(held)
        elif held:
            prefetch.setdefault(_IN_PART, _bundle([]))["entry"] += held
        elif need.type in terms.whole and not patient:
            prefetch[need.key] = None
    return HookCall(_HOOK, _INSTANCE, group.patient, {}, prefetch, today=terms.today)


def _entries(group: Group, find: Find) -> dict[str, list[Resource]]:
    """The entries of Bundles by type under the name of R4, each Medication beside what refers to it.

    An export has no `fullUrl`: references that are URNs are taken for the ids behind them.
    """
    within = dict[str, list[bytes]]()
    for ident, line in group.shared:
        within.setdefault(ident, []).append(line)
    resources = defaultdict[str, list[Resource]](list)
    for line in group.lines:
        resource = orjson.loads(line)
        kind = resource["resourceType"]
        listed = resources[CALLED.get(kind, kind)]
        if "medicationReference" in resource:
            listed += _shared(resource, lambda ident: find(ident) or within.get(ident, ()))
        listed.append(resource)
    return {
        kind: [
            {"fullUrl": f"urn:uuid:{ident}", "resource": one} if (ident := identifier(one)) else {"resource": one}
            for one in listed
        ]
        for kind, listed in resources.items()
    }


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


def _bundle(entries: list[Resource]) -> Resource:
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}
