"""One trial of the sandbox: what was chosen, the hook call that it amounts to, the answer and how it came about."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from werkzeug.datastructures import MultiDict

from cds_service.decision.what_if import Change, changes, choices
from cds_service.edge.clock import today
from cds_service.edge.explain import account
from cds_service.edge.files import as_bundle, hook_of, only_patient
from cds_service.errors import BadRequest, Problem
from cds_service.hooks.catalogue import HOOKS, Answers, Hook
from cds_service.hooks.lacking import Fetch
from cds_service.hooks.request import decoded, parse
from cds_service.hooks.respond import Responder
from cds_service.hooks.try_out import hook_request
from cds_service.knowledge.knowledge import Knowledge
from cds_service.patient.draft import prefetch

_ASSUMED = "if-"


@dataclass(frozen=True)
class Sample:
    """An invented patient to choose: its id, its story in a line, its resources (made when it is chosen)."""

    id: str
    says: str
    resources: Callable[[], list[dict[str, Any]]]


@dataclass(frozen=True)
class Choice:
    """What a form says. `pasted` wins over `patient`; a pasted hook request wins over `hook` and `drug`."""

    patient: str = ""
    pasted: str = ""
    hook: Hook = HOOKS[0]
    drug: str = ""
    assumed: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Trial:
    """A call and all that is shown of it. `milliseconds` is the time of the answer, without the account of it."""

    hook: Hook
    request: dict[str, Any]
    answer: dict[str, Any]
    account: dict[str, Any]
    milliseconds: float


@dataclass(frozen=True)
class WhatIf:
    """What an assumption changes: the account under it, and the options whose status differs."""

    assumed: Mapping[str, str]
    account: dict[str, Any]
    changes: tuple[Change, ...]


def choice(form: MultiDict[str, str], knowledge: Knowledge) -> Choice:
    """What a form says. Raises BadRequest for a hook, drug or assumption that the page does not offer."""
    hooks = {hook.name: hook for hook in HOOKS}
    hook, drug = form.get("hook", HOOKS[0].name), form.get("drug", "")
    assumed = {
        name.removeprefix(_ASSUMED): value for name, value in form.items() if name.startswith(_ASSUMED) and value
    }
    offered = hook in hooks and (not drug or drug in knowledge.drugs)
    if not offered or any(
        fact not in knowledge.facts or value not in choices(knowledge.facts[fact], knowledge)
        for fact, value in assumed.items()
    ):
        raise BadRequest([Problem("the form", "a choice that is not offered", "one of the choices of the page")])
    return Choice(form.get("patient", ""), form.get("pasted", "").strip(), hooks[hook], drug, assumed)


class Bench:
    """Tries calls out: composes them of a choice, answers them and keeps every step."""

    def __init__(self, responder: Responder, samples: Sequence[Sample], schemas: Path, door: Fetch):
        self.samples = {one.id: one for one in samples}
        self._responder, self._schemas, self._door = responder, schemas, door

    def trial(self, chosen: Choice) -> Trial:
        """The call of a choice, answered. Raises a Refusal as the service itself does."""
        hook, raw = self._request(chosen)
        call = parse(orjson.dumps(raw), hook, self._schemas, today())
        started = time.perf_counter()
        answer = self._responder.respond(call, self._door)
        spent = (time.perf_counter() - started) * 1000
        told = account(self._responder.trace(call, self._door), self._responder)
        return Trial(hook, raw, answer, told, spent)

    def what_if(self, chosen: Choice) -> WhatIf:
        """The same record under the assumptions of a choice, compared with the record as it is."""
        hook, raw = self._request(chosen)
        call = parse(orjson.dumps(raw), hook, self._schemas, today())
        assumed = chosen.assumed or {}
        now = self._responder.trace(call, self._door)
        then = self._responder.trace(call, self._door, assumed)
        found = changes(now.verdicts, then.verdicts, not now.gate, not then.gate)
        return WhatIf(assumed, account(then, self._responder), found)

    def _request(self, chosen: Choice) -> tuple[Hook, dict[str, Any]]:
        if chosen.pasted:
            raw = decoded(chosen.pasted.encode())
            if isinstance(raw, dict) and "resourceType" not in raw:
                return hook_of(raw), raw
            bundle = as_bundle(raw)
            patient = only_patient(bundle)
            return self._composed(chosen, patient, dict.fromkeys((need.key for need in self._responder.needs), bundle))
        if chosen.patient not in self.samples:
            raise BadRequest([Problem("the form", "no patient", "a patient of the list, or a pasted record")])
        resources = self.samples[chosen.patient].resources()
        patient = next(one["id"] for one in resources if one["resourceType"] == "Patient")
        return self._composed(chosen, patient, prefetch(resources, patient, self._responder.needs))

    def _composed(self, chosen: Choice, patient: str, delivered: dict[str, Any]) -> tuple[Hook, dict[str, Any]]:
        hook, drug = chosen.hook, self._responder.knowledge.drugs.get(chosen.drug)
        if hook.answers is Answers.DRUGS and drug is None:
            raise BadRequest([Problem("the form", "no draft drug", f"a drug, which the hook {hook.name} is about")])
        return hook, hook_request(hook, str(uuid4()), patient, delivered, drug)
