"""From a record to facts: one function for each kind of fact, in the order in which they build on each other."""

from collections.abc import Callable, Iterable, Mapping
from functools import _CacheInfo
from types import MappingProxyType

from cds_service.decision.evaluate import truth
from cds_service.decision.what_if import assume
from cds_service.errors import KnowledgeError, Problem
from cds_service.kleene import DIGITS, FALSE, TRUE, UNKNOWN, Truth
from cds_service.knowledge.conditions import atoms
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Atom, Fact, FactDefinition, Open
from cds_service.patient import (
    brca,
    calcium,
    diagnosis,
    fitness,
    her2,
    history,
    lines,
    measures,
    menopause,
    receptors,
    removals,
    spread,
    stage,
)
from cds_service.patient.chart import Chart, chart
from cds_service.patient.content import Contents
from cds_service.patient.in_hand import Held, Order, orders
from cds_service.patient.recognise import Recogniser
from cds_service.patient.record import Record

Kind = Callable[[FactDefinition, Chart, dict[str, Fact]], Fact]

#: what reads each kind of fact; a fact may use those of the kinds above its own (`builds_on` in its file)
KINDS: dict[str, Kind] = {
    "sex": measures.sex,
    "deceased": measures.deceased,
    "cancer": diagnosis.breast_cancer,
    "sites": spread.sites,
    "stage": stage.stage,
    "receptor": receptors.receptor,
    "combined-receptor": receptors.combined,
    "her2": her2.her2,
    "ovarian-suppression": menopause.ovarian_suppression,
    "menopause": menopause.menopause,
    "variant": brca.brca,
    "symptoms": measures.symptoms,
    "organ-symptoms": spread.organ_symptoms,
    "history": history.prior_medications,
    "progression": history.progressed_on,
    "lines": lines.lines,
    "contraindications": removals.contraindications,
    "refusals": removals.refusals,
    "fitness": fitness.fitness,
    "calcium": calcium.calcium,
    "extent": spread.extent,
}


#: an assumption of nothing
NOTHING: Mapping[str, str] = MappingProxyType({})


class Reader:
    """Reads records with one knowledge: what a code or word means, and which fact is read in which order."""

    def __init__(self, knowledge: Knowledge):
        self._knowledge = knowledge
        recogniser = Recogniser(knowledge.lexicon)
        self._lens = Chart(Record(""), recogniser, knowledge, Contents(recogniser))
        unknown = [fact for fact in knowledge.facts.values() if fact.kind not in KINDS]
        if unknown:
            raise KnowledgeError(
                [Problem(f"cards/facts/{fact.id}.yaml:/kind", repr(fact.kind), " or ".join(KINDS)) for fact in unknown]
            )
        order = [
            (definition, read)
            for kind, read in KINDS.items()
            for definition in knowledge.facts.values()
            if definition.kind == kind
        ]
        first = knowledge.with_what_they_build_on(knowledge.gate_facts)
        self._of_the_gate = [one for one in order if one[0].id in first]
        self._of_options = [one for one in order if one[0].id not in first]
        self._asked_by_the_gate = tuple(dict.fromkeys(atoms(knowledge.gate)))
        self._unread = bytes([DIGITS[UNKNOWN]]) * len(knowledge.questions)
        self._places: dict[str, dict[str, int]] = {name: {} for name in knowledge.facts}
        self._open: dict[str, int] = {}
        for place, one in enumerate(knowledge.questions):
            if isinstance(one, Atom):
                self._places[one.fact][one.answer] = place
            else:
                self._open[one.fact] = place

    def caches(self) -> Mapping[str, Callable[[], _CacheInfo]]:
        """What is remembered from record to record, by name."""
        recogniser = self._lens.recogniser
        return {
            "contents": self._lens.contents.cache_info,
            "codes": recogniser.coded.cache_info,
            "words": recogniser.spoken.cache_info,
        }

    def orders(self, in_hand: Iterable[Held], beside: Iterable[Held], record: Record) -> tuple[Order, ...]:
        """Which drugs the orders in hand name; the record only lends its Medications."""
        lens = self._lens
        return orders(in_hand, beside, Chart(record, lens.recogniser, self._knowledge, lens.contents, lens=lens))

    def establish(self, record: Record, assumed: Mapping[str, str] = NOTHING) -> dict[str, Fact]:
        """Every fact of the knowledge, by its id, in the order of the knowledge. What is `assumed` of a fact stands in
        place of what is on record, also for the facts that build on it.
        """
        facts: dict[str, Fact] = {}
        self._read((*self._of_the_gate, *self._of_options), chart(record, self._lens), facts, assumed)
        return {name: facts[name] for name in self._knowledge.facts}

    def establish_as_needed(self, record: Record) -> dict[str, Fact]:
        """The facts that an answer needs: those of the gate and, where it is open, all the others."""
        opened = chart(record, self._lens)
        facts: dict[str, Fact] = {}
        self._read(self._of_the_gate, opened, facts)
        if not self._is_open(facts):
            return facts
        self._read(self._of_options, opened, facts)
        return {name: facts[name] for name in self._knowledge.facts}

    def _read(
        self, kinds: Iterable[tuple[FactDefinition, Kind]], opened: Chart, facts: dict[str, Fact],
        assumed: Mapping[str, str] = NOTHING,
    ) -> None:  # fmt: skip
        for definition, read in kinds:
            fact = read(definition, opened, facts)
            facts[definition.id] = (
                assume(definition, fact, assumed[definition.id]) if definition.id in assumed else fact
            )

    def _is_open(self, facts: Mapping[str, Fact]) -> bool:
        told: dict[Atom | Open, Truth] = {}
        for one in self._asked_by_the_gate:
            told[one] = facts[one.fact].answer(one.answer).truth
        return truth(self._knowledge.gate, told) is TRUE

    def truths(self, facts: Mapping[str, Fact]) -> bytes:
        """The truth of each of the knowledge's questions about these facts, in their order (kleene.DIGITS); unknown for
        facts that are not among them.
        """
        found = bytearray(self._unread)
        for name, fact in facts.items():
            places = self._places[name]
            if fact.default is not UNKNOWN:
                unsaid = DIGITS[fact.default]
                for place in places.values():
                    found[place] = unsaid
            for answer, said in fact.answers.items():
                if answer in places:
                    found[places[answer]] = DIGITS[said.truth]
            unknown = fact.value == "unknown" and fact.default is UNKNOWN
            found[self._open[name]] = DIGITS[TRUE if unknown else FALSE]
        return bytes(found)
