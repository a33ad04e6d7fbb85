"""Cards out: text and extension from the same verdicts, so that the two never disagree."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from cds_service.decision.advise import Adviser
from cds_service.decision.marks import History, history, marks
from cds_service.hooks.listing import EXTENSION, card_id, fingerprint, imprint
from cds_service.hooks.markdown import Item, Said, detail, summary
from cds_service.hooks.request import HookCall
from cds_service.kleene import TRUE, UNKNOWN
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import CardPlan, Fact, Position, Status, Verdict

#: left out of the line on what was read, beside the gate's facts: HR follows from ER and PR, lines from the medicines
_UNSHOWN = {"hr", "lines"}
#: how much is remembered: texts of cards (some five kilobytes each), options as they stand in them, marks
_TEXTS, _ENTRIES, _LABELS = 1024, 4096, 512
#: a fact that decided, and the answers of it that did
Decider = tuple[str, ...]
#: an option of the extension without the resources of a patient, and what decided it
Entry = tuple[dict[str, Any], tuple[Decider, ...]]
Reasons = dict[tuple[Decider, ...], list[dict[str, Any]]]
#: a fact as a text says it: its id, value and note, and whether some resource speaks of it
Spoken = tuple[str, str, str, bool]


class Writer:
    """Writes the cards of one knowledge. Remembers texts by what they depend on; no patient is in them. Without `words`
    the cards on options are their extension and no more.
    """

    def __init__(self, knowledge: Knowledge, adviser: Adviser, words: bool = True):
        self._knowledge = knowledge
        self._words = words
        self._adviser = adviser
        self.text = lru_cache(maxsize=_TEXTS)(self._written)
        self._listing = lru_cache(maxsize=_TEXTS)(self._listed)
        self._imprint = lru_cache(maxsize=_TEXTS)(self._imprinted)
        self._labels = lru_cache(maxsize=_LABELS)(self._labelled)
        self._links = lru_cache(maxsize=_TEXTS)(self._linked)
        self._fingerprint = lru_cache(maxsize=_TEXTS)(fingerprint)
        self._entry = lru_cache(maxsize=_ENTRIES)(self._fixed)
        self._plans = {plan.id: plan for plan in knowledge.cards}
        self._own = dict(_places(knowledge.cards))
        self.fixed = {"version": knowledge.version, "digest": knowledge.digest}
        self._codings = {option.id: self.coding(option.drugs) for option in knowledge.options.values()}
        self._override = [
            {"code": one.code, "system": one.system, "display": one.display} for one in knowledge.override_reasons
        ]

    def cards(
        self, call: HookCall, facts: Mapping[str, Fact], answers: bytes, created: int = 0
    ) -> list[dict[str, Any]]:
        """At most one card for each plan that has an option to list. `created` conditions are not on record yet."""
        values, labels = self._told(facts) if self._words else ((), ())
        written: list[dict[str, Any]] = []
        because: Reasons = {}
        for plan in self._knowledge.cards:
            listed = self._listing(plan.id, answers)
            if not listed:
                continue
            card: dict[str, Any] = {}
            if self._words:
                head, body = self.text(plan.id, answers, values, labels, not written)
                if created and not written:
                    counted = f"{created} condition{'s' * (created > 1)} being created"
                    body = f"Counted as if on record: {counted}.\n\n{body}"
                card = self.card(call, plan, head, body, self._imprint(plan.id, answers))
            options = [_option(*one, facts, because) for one in listed]
            extension = {"knowledge": self.fixed, "options": options}
            if not written:
                extension["facts"] = self.facts(facts)
            card["extension"] = {EXTENSION: extension}
            written.append(card)
        return written

    def _told(self, facts: Mapping[str, Fact]) -> tuple[tuple[Spoken, ...], tuple[tuple[str, str], ...]]:
        """What the text of a card needs to know of the patient."""
        values = tuple((name, _value(fact), _spoken(fact), bool(fact.references)) for name, fact in facts.items())
        return values, self._labels(history(facts))

    def over(self, call: HookCall, facts: Mapping[str, Fact]) -> dict[str, Any]:
        """The one card for stage IV disease whose breast cancer is marked as inactive, in remission or resolved."""
        plan = self._knowledge.cards[0]
        head = (
            "Stage IV breast cancer on record, but marked as inactive, in remission or resolved: no options are listed"
        )
        body = (
            "Evidence of stage IV breast cancer is on record, and the breast cancer itself is marked as inactive, in "
            "remission or resolved. No options are listed. If the disease is current, its clinical status needs "
            f"correction on record.\n\n_{self._knowledge.notice}_"
        )
        card = self.card(call, plan, head, body, imprint(self._knowledge.digest, ()))
        gate = [_because(facts[name], facts[name].references) for name in self._knowledge.gate_facts]
        card["extension"] = {EXTENSION: {"knowledge": self.fixed, "options": [], "gate": gate}}
        return card

    def nothing(self, reason: str, facts: Mapping[str, Fact]) -> dict[str, Any]:
        """Why there is no card: stands beside the empty list, for whoever asks. No facts where none were needed."""
        gate = [_because(facts[name], facts[name].references) for name in self._knowledge.gate_facts if facts]
        return {"reason": reason, **({"gate": gate} if gate else {})}

    def answer(self, cards: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """The body of an answer: the cards, and beside them what concerns no single card."""
        told = {name: value for name, value in more.items() if value}
        return {"cards": cards, **({"extension": {EXTENSION: {"knowledge": self.fixed, **told}}} if told else {})}

    def card(self, call: HookCall, plan: CardPlan, head: str, body: str, mark: str) -> dict[str, Any]:
        """A card without its extension (CDS Hooks 2.0, "Card Attributes"); never a suggestion or an action.

        `mark` is the imprint of what it lists.
        """
        card: dict[str, Any] = {
            "uuid": card_id(mark, f"{call.instance}\0{plan.id}\0{self._fingerprint(head, body)}"),
            "summary": head,
            "indicator": "info",
            "detail": body,
            "source": {"label": self._knowledge.title},
            "overrideReasons": self._override,
        }
        links = self._links(body)
        if links:
            card["links"] = links
        return card

    def _linked(self, body: str) -> list[dict[str, str]]:
        """The sources that a text links to."""
        return [
            {"label": f"{source.publisher}: {source.title}", "url": source.url, "type": "absolute"}
            for source in self._knowledge.sources.values()
            if source.url and source.url in body
        ]

    def _labelled(self, told: History) -> tuple[tuple[str, str], ...]:
        """The options that carry a mark of the patient's history, with their labels."""
        marked = ((option, marks(option, self._knowledge, told)) for option in self._knowledge.options.values())
        return tuple((option.id, f"{option.label} [{'; '.join(found)}]") for option, found in marked if found)

    def _listed(self, card: str, answers: bytes) -> list[Entry]:
        """The options of a card as far as they are the same for every patient with these answers."""
        return [self._entry(one) for one in self._verdicts(card, answers)]

    def _imprinted(self, card: str, answers: bytes) -> str:
        """The imprint of what a card lists for these answers."""
        listed = self._verdicts(card, answers)
        return imprint(self._knowledge.digest, ((one.option, one.status.value) for one in listed))

    def _verdicts(self, card: str, answers: bytes) -> list[Verdict]:
        """The options that a card lists for these answers."""
        own = self._adviser.advise(answers).verdicts[self._own[card]]
        return [one for one in own if one.status is not Status.NOT_SUPPORTED]

    def _written(
        self,
        card: str,
        answers: bytes,
        values: tuple[Spoken, ...],
        labels: tuple[tuple[str, str], ...],
        first: bool,
    ) -> tuple[str, str]:
        """Summary and detail of a card that lists something."""
        plan, marked, listed = self._plans[card], dict(labels), self._verdicts(card, answers)
        by_name = {name: value for name, value, _, _ in values}
        notes = {name: note for name, _, note, _ in values}
        said = Said(by_name, notes, frozenset(name for name, _, _, read in values if read))
        items = [self._item(one, marked) for one in listed]
        read = read_line(said, self._knowledge) if first else ""
        body = detail(plan, items, self._adviser.advise(answers).notices, self._knowledge, said, read)
        return summary(plan, by_name, Counter(one.status for one in listed)), body

    def _item(self, verdict: Verdict, marked: Mapping[str, str]) -> Item:
        option = self._knowledge.options[verdict.option]
        return Item(marked.get(option.id, option.label), verdict, option)

    def entry(self, verdict: Verdict, facts: Mapping[str, Fact]) -> dict[str, Any]:
        """An option as the extension of a card holds it."""
        return _option(*self._entry(verdict), facts, {})

    def coding(self, drugs: Iterable[str]) -> list[dict[str, str]]:
        """The RxNorm ingredient of each drug that has one."""
        return [
            {"system": self._knowledge.lexicon.uri(code.system), "code": code.code, "display": code.display}
            for drug in drugs
            for code in self._knowledge.drugs[drug].rxnorm[:1]
        ]

    def _fixed(self, verdict: Verdict) -> Entry:
        """An option as far as it is the same for every patient, and the answers of facts that decided it."""
        coding = self._codings[verdict.option]
        fixed = {
            "option": verdict.option,
            "status": verdict.status.value,
            **({"coding": coding} if coding else {}),
            "citations": _citations(verdict),
            "missing": list(verdict.missing),
        }
        return fixed, _deciders(verdict)

    def facts(self, facts: Mapping[str, Fact]) -> list[dict[str, Any]]:
        """Every fact that the rules ask for, known or not, save those of the gate."""
        return [
            {**_because(fact, fact.references), **({"note": fact.note} if fact.note else {})}
            for name, fact in facts.items()
            if name not in self._knowledge.gate_facts
        ]


def _places(plans: Iterable[CardPlan]) -> Iterator[tuple[str, slice]]:
    """Where the options of each card stand among all options."""
    begin = 0
    for plan in plans:
        end = begin + sum(len(section.options) for section in plan.sections)
        yield plan.id, slice(begin, end)
        begin = end


def _deciders(verdict: Verdict) -> tuple[Decider, ...]:
    """The facts that decided a verdict, with the answers that did."""
    found: dict[str, list[str]] = {}
    for atom in verdict.because:
        found.setdefault(atom.fact, []).append(atom.answer)
    return tuple((fact, *answers) for fact, answers in found.items())


def _option(
    fixed: dict[str, Any], deciders: tuple[Decider, ...], facts: Mapping[str, Fact], known: Reasons
) -> dict[str, Any]:
    """An option of the extension, with the resources of this patient."""
    return {**fixed, "because": _reasons(deciders, facts, known)}


def _reasons(deciders: tuple[Decider, ...], facts: Mapping[str, Fact], known: Reasons) -> list[dict[str, Any]]:
    """What decided an option, with the resources of this patient. Options often rest on the same: `known` holds what
    was written of the patient so far.
    """
    found = known.get(deciders)
    if found is None:
        if len(deciders) == 1:
            [(name, *answers)] = deciders
            references = {one for answer in answers for one in facts[name].answer(answer).references}
            found = [_because(facts[name], sorted(references))]
        else:
            found = [row for one in deciders for row in _reasons((one,), facts, known)]
        known[deciders] = found
    return found


def _because(fact: Fact, references: Iterable[str]) -> dict[str, Any]:
    return {"fact": fact.name, "value": fact.value, "references": list(references)}


def _citations(verdict: Verdict) -> list[dict[str, str]]:
    """What holds or is still open; `against` only where it holds, since open it decides nothing yet. Of an option whose
    conditions are not met, also the statements that ask for them.
    """
    asking = {Position.SUPPORTS} if verdict.status is Status.NOT_SUPPORTED else set()
    rows = dict.fromkeys(
        (one.source, one.passage, one.position.value)
        for one, value in verdict.statements
        if one.position in asking or (value is TRUE or (value is UNKNOWN and one.position is not Position.AGAINST))
    )
    return [{"source": source, "passage": passage, "position": position} for source, passage, position in rows]


def say(facts: Mapping[str, Fact]) -> Said:
    """What the facts say, for the text of a card."""
    return Said(
        {name: _value(fact) for name, fact in facts.items()},
        {name: _spoken(fact) for name, fact in facts.items()},
        frozenset(name for name, fact in facts.items() if fact.references),
    )


def _value(fact: Fact) -> str:
    """The value of a fact as a card says it; nothing is said of a fact that does not apply."""
    return fact.value if fact.applies else ""


def _spoken(fact: Fact) -> str:
    """The note of a fact as a card says it: the references that it names stand in the extension only."""
    note = fact.note
    if "(" in note:
        for reference in {*fact.references, *(one.reference for one in fact.readings)}:
            note = note.replace(f" ({reference})", "")
    return note


def _in_words(value: str, knowledge: Knowledge) -> str:
    """The value of a fact in words: slugs of drugs, classes, sites and symptoms as a reader writes them."""
    listed = value.split(", ")
    named = (
        knowledge.spoken(one) if one in knowledge.drugs or one in knowledge.classes else one.replace("-", " ")
        for one in listed
    )
    return ", ".join(named)


def read_line(said: Said, knowledge: Knowledge) -> str:
    """What was read from the record, what its silence was read as, and what was asked for and is not known."""
    shown = [
        name
        for name in knowledge.facts_asked
        if name not in _UNSHOWN and name not in knowledge.gate_facts and said.values[name]
    ]
    short = {name: knowledge.facts[name].short for name in shown}
    unknown = [name for name in shown if said.values[name] == "unknown"]
    known = [
        f"{short[name]} {_in_words(said.values[name], knowledge)}"
        for name in shown
        if name in said.recorded and name not in unknown
    ]
    silent = [short[name] for name in shown if name not in said.recorded and name not in unknown]
    absent = [short[name] for name in unknown if name not in said.recorded]
    unclear = [short[name] for name in unknown if name in said.recorded]
    line = f"On record: {'; '.join(known) or 'none of the facts asked for'}."
    for words, names in (
        ("Looked for and not recorded, read as none", silent),
        ("Not on record", absent),
        ("On record but not clear", unclear),
    ):
        line += f" {words}: {', '.join(names)}." if names else ""
    return line
