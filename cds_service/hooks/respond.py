"""The program in one function: a hook call in, cited cards out. Pure but for `fetch`, the only door outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import _CacheInfo
from typing import Any

from cds_service.decision.advise import Advice, Adviser
from cds_service.errors import MissingData
from cds_service.hooks.cards import Writer
from cds_service.hooks.catalogue import Answers
from cds_service.hooks.context import InQuestion, in_question, order_rows, row
from cds_service.hooks.drug_cards import DrugWriter, shown
from cds_service.hooks.lacking import Fetch, closed, filled, problem
from cds_service.hooks.memory import Known, Memory
from cds_service.hooks.request import HookCall
from cds_service.kleene import FALSE, TRUE, Truth
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Atom, Fact, Open, Verdict
from cds_service.patient.establish import NOTHING, Reader
from cds_service.patient.in_hand import Held, Order, add_conditions, take_out
from cds_service.patient.queries import queries
from cds_service.patient.record import Delivery, Record, gather

#: the gate's word for stage IV disease whose breast cancer is marked as inactive, in remission or resolved
OVER = "over"
_OVER_SAID = "stage IV breast cancer on record, but marked as inactive, in remission or resolved"
_NONE_IN_HAND = "no order in hand names a drug of the documents"
#: conditions that the call creates, each with the reason why it is not counted
Created = list[tuple[str, str]]


@dataclass(frozen=True)
class Trace:
    """Everything between a call and its cards. `gate` is '' when options may be listed, else why not; `context` is what
    became of what the call brings beside the record.
    """

    record: Record
    facts: Mapping[str, Fact]
    truths: Mapping[Atom | Open, Truth]
    gate: str
    verdicts: tuple[Verdict, ...]
    context: list[dict[str, Any]]


def _unheard(record: Record) -> None:
    """Nobody wants to hear of records."""


class Responder:
    """Answers hook calls with one knowledge, compiled once. What the latest records say is remembered of so many.

    For who counts: `heard` is told of each record that was gathered, with what was set aside; without `words` the cards
    on options are their extension and no more.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        remembered: int = 0,
        heard: Callable[[Record], None] = _unheard,
        words: bool = True,
    ):
        self.knowledge = knowledge
        self.memory = Memory(remembered)
        self.needs = queries(knowledge)
        self._reader = Reader(knowledge)
        self._adviser = Adviser(knowledge)
        self._writer = Writer(knowledge, self._adviser, words)
        self._drug_writer = DrugWriter(knowledge, self._adviser, self._writer)
        self._heard = heard
        self._answers = {Answers.OPTIONS: self._list_options, Answers.DRUGS: self._tell_of_drugs}

    def respond(self, call: HookCall, fetch: Fetch = closed) -> dict[str, Any]:
        """The body of the answer. Raises MissingData (412) where what is needed is neither sent nor to be had."""
        return self._answers[call.hook.answers](call, fetch)

    def trace(self, call: HookCall, fetch: Fetch = closed, assumed: Mapping[str, str] = NOTHING) -> Trace:
        """The same way, with every step kept; also for what is `assumed` of facts in place of what is on record."""
        asked = in_question(call)
        record, created, dispatched = self._record(call, asked, fetch)
        facts = self._reader.establish(record, assumed)
        answers = self._reader.truths(facts)
        known = self._adviser.truths(answers)
        advice = self._adviser.advise(answers)
        gate = _gate(facts, advice)
        context = _created_rows(created)
        if call.hook.answers is Answers.DRUGS:
            orders = self._reader.orders((*asked.resources, *dispatched), asked.beside, record)
            context = order_rows(asked, orders, shown(orders, self.knowledge), _said(gate))
        return Trace(record, facts, known, gate, advice.verdicts, context)

    def caches(self) -> Mapping[str, Callable[[], _CacheInfo]]:
        """What is remembered from call to call, by name: how often it was of use, how much it is."""
        return {
            "records": self.memory.cache_info,
            **self._reader.caches(),
            "advice": self._adviser.advise.cache_info,
            "texts": self._writer.text.cache_info,
        }

    # ANSWERS

    def _list_options(self, call: HookCall, fetch: Fetch) -> dict[str, Any]:
        """The options for the patient. Conditions that the call creates count beside the record, and are named."""
        sent = filled(call, self.needs, fetch)
        in_hand = in_question(call).resources
        created: Created = []
        if in_hand:
            record = self._gathered(call, *sent)
            created = add_conditions(in_hand, record)
            facts, answers = self._read(record)
        else:
            facts, answers = self._known(call, *sent, lambda: self._gathered(call, *sent))
        gate = _gate(facts, self._adviser.advise(answers))
        rows = _created_rows(created)
        if gate == OVER:
            return self._writer.answer([self._writer.over(call, facts)], context=rows)
        if gate:
            return self._writer.answer([], context=rows, noCard=self._writer.nothing(gate, facts))
        counted = sum(not reason for _, reason in created)
        return self._writer.answer(self._writer.cards(call, facts, answers, counted), context=rows)

    def _tell_of_drugs(self, call: HookCall, fetch: Fetch) -> dict[str, Any]:
        """What the documents say of the drugs in hand. Where no order can name one of theirs, no record is needed."""
        asked = in_question(call)
        orders = self._reader.orders(asked.resources, asked.beside, Record(call.patient))
        if not any(order.in_question or order.open for order in orders) and not asked.may_be_ordered:
            return self._nothing_in_hand(asked, orders)
        sent = filled(call, self.needs, fetch)
        record = self._gathered(call, *sent)
        dispatched = take_out(asked.references, record)
        orders = self._reader.orders((*asked.resources, *dispatched), asked.beside, record)
        if not any(order.in_question for order in orders):
            return self._nothing_in_hand(asked, orders)
        facts, answers = self._read(record) if dispatched else self._known(call, *sent, lambda: record)
        gate = _gate(facts, self._adviser.advise(answers))
        if gate:
            rows = order_rows(asked, orders, (), _said(gate))
            return self._writer.answer([], context=rows, noCard=self._writer.nothing(_said(gate), facts))
        cards = self._drug_writer.cards(call, orders, facts, answers)
        return self._writer.answer(cards, context=order_rows(asked, orders, shown(orders, self.knowledge)))

    def _nothing_in_hand(self, asked: InQuestion, orders: tuple[Order, ...]) -> dict[str, Any]:
        return self._writer.answer(
            [], context=order_rows(asked, orders, ()), noCard=self._writer.nothing(_NONE_IN_HAND, {})
        )

    def _record(self, call: HookCall, asked: InQuestion, fetch: Fetch) -> tuple[Record, Created, tuple[Held, ...]]:
        """The record as the hook reads it, the conditions that count beside it, the orders taken out of it."""
        record = self._gathered(call, *filled(call, self.needs, fetch))
        if call.hook.answers is Answers.OPTIONS:
            return record, add_conditions(asked.resources, record), ()
        return record, [], take_out(asked.references, record)

    def _gathered(self, call: HookCall, prefetch: Mapping[str, Any], cut_short: list[tuple[str, str]]) -> Record:
        record = gather(call.patient, prefetch, self.needs, call.today)
        record.set_aside += cut_short
        self._heard(record)
        lacking = [
            problem(need, state, prefetch.get(need.key))
            for need in self.needs
            if need.required and (state := record.delivery[need.type]) in (Delivery.ABSENT, Delivery.FAILED)
        ]
        if lacking:
            raise MissingData(lacking)
        return record

    def _known(
        self,
        call: HookCall,
        prefetch: Mapping[str, Any],
        cut_short: list[tuple[str, str]],
        record: Callable[[], Record],
    ) -> Known:
        """What the record of a call says, remembered or read."""
        written = call.written if prefetch is call.prefetch else b""
        key = b"" if cut_short else self.memory.key(call.patient, call.today, prefetch, written)
        known = self.memory.recall(key) if key else None
        if known is None:
            known = self._read(record())
            self.memory.keep(key, known)
        return known

    def _read(self, record: Record) -> Known:
        facts = self._reader.establish_as_needed(record)
        return Known(facts, self._reader.truths(facts))


def _created_rows(created: Created) -> list[dict[str, Any]]:
    return [row(place, reason, "set-aside" if reason else "counted") for place, reason in created]


def _said(gate: str) -> str:
    """Why there is no card, in words."""
    return _OVER_SAID if gate == OVER else gate


def fixed(reason: str) -> str:
    """The reason why there is no card, without the note in brackets that tells of the record: words of a closed set."""
    return reason.partition(" (")[0]


def _gate(facts: Mapping[str, Fact], advice: Advice) -> str:
    """'' when options may be listed, OVER for disease marked as over, else why there is no card."""
    if advice.gate is TRUE:
        return ""
    if advice.over is TRUE:
        return OVER
    cancer, stage = facts["breast-cancer"], facts["stage"]
    if facts["deceased"].value == "yes":
        return "the record says that the patient has died"
    if facts["deceased"].value == "unknown":
        return f"whether the patient lives is unknown ({facts['deceased'].note})"
    if cancer.value == "none":
        return "no confirmed breast cancer on record"
    if cancer.value == "unknown":
        return f"whether there is breast cancer is unknown ({cancer.note or 'the conditions were not delivered whole'})"
    whose = "breast cancer on record, marked as over" if cancer.value == "inactive" else "breast cancer on record"
    if stage.answer("stage-4").truth is FALSE:
        return f"{whose}, but of a lower stage than IV"
    if stage.note:
        return f"{whose}, but whether it is stage IV is not clear ({stage.note})"
    return f"{whose}, but no evidence of stage IV"
