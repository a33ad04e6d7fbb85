"""Cards on the drugs in hand: for each, what the documents say of it for this patient, from the same verdicts as the
options, those included whose conditions are not met.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cds_service.decision.advise import Adviser
from cds_service.decision.by_drug import removed, share_out, taking_part
from cds_service.decision.evaluate import Truths
from cds_service.decision.marks import history, marks
from cds_service.hooks.cards import Writer, read_line, say
from cds_service.hooks.drug_text import DrugAdvice, drug_detail, drug_summary
from cds_service.hooks.listing import EXTENSION, imprint
from cds_service.hooks.markdown import Item, notice, sources_line
from cds_service.hooks.request import HookCall
from cds_service.kleene import TRUE
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import CardPlan, Drug, Effect, Fact, Option, Position, Verdict
from cds_service.patient.in_hand import Order

#: at most so many cards in one answer; what is beyond is named in its extension
LIMIT = 10


@dataclass(frozen=True)
class Case:
    """One patient, as far as a card needs to know: the facts, the truths they give, the verdict on every option, the
    notices that hold.
    """

    facts: Mapping[str, Fact]
    truths: Truths
    verdicts: Mapping[str, Verdict]
    notices: tuple[str, ...]


def shown(orders: Iterable[Order], knowledge: Knowledge) -> tuple[str, ...]:
    """The drugs that get a card, in the order of the knowledge; room is kept for the orders that leave theirs open."""
    listed = list(orders)
    named = {drug for order in listed for drug in order.drugs}
    room = LIMIT - any(order.may_be for order in listed)
    return tuple(drug for drug in knowledge.drugs if drug in named)[:room]


class DrugWriter:
    """Writes the cards on drugs in hand."""

    def __init__(self, knowledge: Knowledge, adviser: Adviser, writer: Writer):
        self._knowledge = knowledge
        self._adviser = adviser
        self._writer = writer

    def cards(
        self, call: HookCall, orders: tuple[Order, ...], facts: Mapping[str, Fact], answers: bytes
    ) -> list[dict[str, Any]]:
        """One card for each drug, one for the orders that leave open which drug they name; the facts on the first."""
        case = self._case(facts, answers)
        shared = share_out(shown(orders, self._knowledge), self._knowledge)
        cards = [self._card(call, self._advice(drug, shared, case), orders, case) for drug in shared]
        unsure = [order for order in orders if order.may_be]
        cards += [self._open(call, unsure)] if unsure else []
        cards[0]["extension"][EXTENSION]["facts"] = self._writer.facts(facts)
        return cards

    def _case(self, facts: Mapping[str, Fact], answers: bytes) -> Case:
        truths = self._adviser.truths(answers)
        advice = self._adviser.advise(answers)
        return Case(facts, truths, {one.option: one for one in advice.verdicts}, advice.notices)

    def _card(self, call: HookCall, advice: DrugAdvice, orders: tuple[Order, ...], case: Case) -> dict[str, Any]:
        drug, knowledge = advice.drug.id, self._knowledge
        every = [Item(one.label, case.verdicts[one.id], one) for one in taking_part(drug, knowledge)]
        named = [item for item in every if drug in item.option.parts]
        head = drug_summary(advice, named, case.truths, knowledge)
        extension = {
            "knowledge": self._writer.fixed,
            "drug": self._drug(advice, orders),
            "options": [self._writer.entry(item.verdict, case.facts) for item in advice.items],
        }
        plan = self._plan(advice)
        listed = [(plan.id, ""), *((item.option.id, item.verdict.status.value) for item in advice.items)]
        mark = imprint(knowledge.digest, listed)
        card = self._writer.card(call, plan, head, self._body(advice, case), mark)
        return {**card, "extension": {EXTENSION: extension}}

    def _body(self, advice: DrugAdvice, case: Case) -> str:
        knowledge, sections = self._knowledge, self._plan(advice).sections
        reviewed = knowledge.effects_reviewed and all(section.reviewed for section in sections)
        blocks = drug_detail(advice, case.truths, knowledge)
        blocks += [read_line(say(case.facts), knowledge)] if advice.first else []
        blocks += [sources_line(_sources(advice), knowledge), notice(reviewed, knowledge, case.notices)]
        return "\n\n".join(blocks)

    def _advice(self, drug: str, shared: Mapping[str, tuple[Option, ...]], case: Case) -> DrugAdvice:
        knowledge = self._knowledge
        every = taking_part(drug, knowledge)
        return DrugAdvice(
            drug=knowledge.drugs[drug],
            items=tuple(self._item(drug, option, case) for option in shared[drug]),
            elsewhere=tuple(
                (knowledge.drugs[other].label, option)
                for other, options in shared.items()
                for option in options
                if other != drug and option in every
            ),
            marks=marks(replace(every[0], parts=(drug,)), knowledge, history(case.facts)),
            removed=tuple(atom.says for atom in removed(drug, knowledge, case.truths)),
            effects=self._effects(knowledge.drugs[drug]),
            first=drug == next(iter(shared)),
        )

    def _item(self, drug: str, option: Option, case: Case) -> Item:
        """An option of a drug, with what the record says of the drug's partners in it."""
        partners = replace(option, parts=tuple(part for part in option.parts if part != drug))
        return Item(
            option.label, case.verdicts[option.id], option, marks(partners, self._knowledge, history(case.facts))
        )

    def _effects(self, drug: Drug) -> tuple[Effect, ...]:
        whose = {drug.id, *drug.contains, *self._knowledge.classes_of[drug.id]}
        return tuple(effect for effect in self._knowledge.effects if effect.of in whose)

    def _plan(self, advice: DrugAdvice) -> CardPlan:
        listed = {item.option.id for item in advice.items}
        sections = tuple(
            section for section in self._knowledge.sections if any(one.id in listed for one in section.options)
        )
        return CardPlan(f"drug:{advice.drug.id}", advice.drug.label, (), sections)

    def _drug(self, advice: DrugAdvice, orders: tuple[Order, ...]) -> dict[str, Any]:
        coding = self._writer.coding((advice.drug.id,))
        effects = [
            {"of": one.of, "kind": one.kind, "says": one.says, "source": one.source, "passage": one.passage}
            for one in advice.effects
        ]
        return {
            "drug": advice.drug.id,
            **({"coding": coding} if coding else {}),
            "orders": sorted({order.reference for order in orders if advice.drug.id in order.drugs}),
            **({"marks": list(advice.marks)} if advice.marks else {}),
            **({"removed": list(advice.removed)} if advice.removed else {}),
            **({"byClass": [item.option.id for item in advice.by_class]} if advice.by_class else {}),
            **({"effects": effects} if effects else {}),
        }

    def _open(self, call: HookCall, unsure: Iterable[Order]) -> dict[str, Any]:
        """The card that says which drugs the orders may name that leave it open; it lists nothing."""
        alternatives = sorted({tuple(self._knowledge.label(drug) for drug in order.may_be) for order in unsure})
        lines = [
            f"- {' or '.join(labels if len(labels) > 1 else (*labels, 'another product'))}" for labels in alternatives
        ]
        head = "An order leaves open which medicine it is, so nothing is listed for it"
        body = (
            "The codes and words of an order in hand fit more than one medicine, which the sources treat differently:\n"
            + "\n".join(lines)
            + f"\n\nNothing is listed for it. A code of the product settles it.\n\n_{self._knowledge.notice}_"
        )
        plan = CardPlan("drug:open", head, (), ())
        extension: dict[str, Any] = {"knowledge": self._writer.fixed, "options": []}
        mark = imprint(self._knowledge.digest, [(plan.id, "")])
        return {**self._writer.card(call, plan, head, body, mark), "extension": {EXTENSION: extension}}


def _sources(advice: DrugAdvice) -> set[str]:
    asked = {
        one.source for item in advice.items for one, _ in item.verdict.statements if one.position is Position.SUPPORTS
    }
    opposed = {one.source for item in advice.items for one, value in item.verdict.statements if value is TRUE}
    return asked | opposed | {effect.source for effect in advice.effects}
