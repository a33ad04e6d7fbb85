"""The program in one function: a hook call in, cited cards out. Pure but for `fetch`, the only door outside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cds_service.decision.advise import Advice, Adviser
from cds_service.errors import MissingData, Problem
from cds_service.hooks.cards import Writer
from cds_service.hooks.request import HookCall
from cds_service.kleene import FALSE, TRUE, Truth
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Atom, Fact, Open, Verdict
from cds_service.patient.establish import Reader, truths
from cds_service.patient.pages import joined, next_link
from cds_service.patient.queries import queries
from cds_service.patient.record import Delivery, Need, NotHad, Record, gather

#: the gate's word for stage IV disease whose breast cancer is marked as inactive, in remission or resolved
OVER = "over"


@dataclass(frozen=True)
class Wanted:
    """What a call lacks: the answer to a query or, where the answer ends with the link `onward`, what follows it."""

    need: Need
    onward: str = ""


#: the pages of one answer, or why they are not to be had
Found = tuple[Any, ...] | NotHad
#: asks the FHIR server that a call names for what the call lacks, by prefetch key
Fetch = Callable[[HookCall, Sequence[Wanted]], Mapping[str, Found]]


def closed(call: HookCall, wanted: Sequence[Wanted]) -> Mapping[str, Found]:
    """The door that stays shut: nothing is fetched."""
    return {}


@dataclass(frozen=True)
class Trace:
    """Everything between a call and its cards. `gate` is '' when options may be listed, else why not."""

    record: Record
    facts: Mapping[str, Fact]
    truths: Mapping[Atom | Open, Truth]
    gate: str
    verdicts: tuple[Verdict, ...]


class Responder:
    """Answers hook calls with one knowledge, compiled once."""

    def __init__(self, knowledge: Knowledge):
        self.knowledge = knowledge
        self.needs = queries(knowledge)
        self._reader = Reader(knowledge)
        self._adviser = Adviser(knowledge)
        self._writer = Writer(knowledge, self._adviser)

    def respond(self, call: HookCall, fetch: Fetch = closed) -> dict[str, Any]:
        """The body of the answer. Raises MissingData (412) where what is needed is neither sent nor to be had."""
        facts = self._reader.establish(self._gather(call, fetch))
        answers = truths(facts, self.knowledge.questions)
        gate = _gate(facts, self._adviser.advise(answers))
        if gate == OVER:
            return {"cards": [self._writer.over(call, facts)]}
        if gate:
            return {"cards": [], "extension": self._writer.nothing(gate, facts)}
        return {"cards": self._writer.cards(call, facts, answers)}

    def trace(self, call: HookCall, fetch: Fetch = closed) -> Trace:
        """The same way, with every step kept."""
        record = self._gather(call, fetch)
        facts = self._reader.establish(record)
        answers = truths(facts, self.knowledge.questions)
        known = dict(zip(self.knowledge.questions, answers, strict=True))
        advice = self._adviser.advise(answers)
        return Trace(record, facts, known, _gate(facts, advice), advice.verdicts)

    def _gather(self, call: HookCall, fetch: Fetch) -> Record:
        prefetch, cut_short = _filled(call, self.needs, fetch)
        record = gather(call.patient, prefetch, self.needs, call.today)
        record.set_aside += cut_short
        lacking = [
            _problem(need, state, prefetch.get(need.key))
            for need in self.needs
            if need.required and (state := record.delivery[need.type]) in (Delivery.ABSENT, Delivery.FAILED)
        ]
        if lacking:
            raise MissingData(lacking)
        return record


def _filled(
    call: HookCall, needs: Sequence[Need], fetch: Fetch
) -> tuple[dict[str, Any | NotHad], list[tuple[str, str]]]:
    """The prefetch with what could be fetched, and the answers in it whose further pages could not."""
    prefetch, cut_short = dict(call.prefetch), []
    wanted = [
        Wanted(need, onward)
        for need in needs
        if (onward := next_link(prefetch.get(need.key))) or need.key not in prefetch
    ]
    found = fetch(call, wanted) if wanted and call.fhir_server else {}
    for one in wanted:
        key, answer = one.need.key, found.get(one.need.key)
        if isinstance(answer, tuple):
            prefetch[key] = joined((prefetch[key], *answer) if one.onward else answer)
        elif answer is not None and one.onward:
            cut_short.append((f"prefetch.{key}", answer.reason))
        elif answer is not None:
            prefetch[key] = answer
    return prefetch, cut_short


def _problem(need: Need, state: Delivery, value: Any) -> Problem:
    found = f"not delivered; {value.reason}" if isinstance(value, NotHad) else state.value
    return Problem(f"$.prefetch.{need.key}", found, f"the result of {need.template}, or null where there is none")


def _gate(facts: Mapping[str, Fact], advice: Advice) -> str:
    """'' when options may be listed, OVER for disease marked as over, else why there is no card."""
    if advice.gate is TRUE:
        return ""
    if advice.over is TRUE:
        return OVER
    cancer, stage = facts["breast-cancer"], facts["stage"]
    if facts["deceased"].value == "yes":
        return "the record says that the patient has died"
    if cancer.value == "none":
        return "no confirmed breast cancer on record"
    if cancer.value == "unknown":
        return f"whether there is breast cancer is unknown ({cancer.note or 'the conditions were not delivered whole'})"
    if stage.answer("stage-4").truth is FALSE:
        return "breast cancer on record, but of a lower stage than IV"
    return f"breast cancer on record, but no evidence of stage IV{f' ({stage.note})' if stage.note else ''}"
