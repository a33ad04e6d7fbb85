"""From a record to facts: one function for each kind of fact, in the order in which they build on each other."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from cds_service.decision.what_if import assume
from cds_service.errors import KnowledgeError, Problem
from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth
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
        self._lens = Chart(Record(""), Recogniser(knowledge.lexicon), knowledge)
        unknown = [fact for fact in knowledge.facts.values() if fact.kind not in KINDS]
        if unknown:
            raise KnowledgeError(
                [Problem(f"cards/facts/{fact.id}.yaml:/kind", repr(fact.kind), " or ".join(KINDS)) for fact in unknown]
            )
        self._order = [
            (definition, read)
            for kind, read in KINDS.items()
            for definition in knowledge.facts.values()
            if definition.kind == kind
        ]
        self._asked = [question.fact for question in knowledge.questions]
        self._places = {(one.fact, one.answer): n for n, one in enumerate(knowledge.questions) if isinstance(one, Atom)}
        self._open = [(n, one.fact) for n, one in enumerate(knowledge.questions) if isinstance(one, Open)]

    def orders(self, in_hand: Iterable[Held], beside: Iterable[Held], record: Record) -> tuple[Order, ...]:
        """Which drugs the orders in hand name; the record only lends its Medications."""
        return orders(in_hand, beside, Chart(record, self._lens.recogniser, self._knowledge, lens=self._lens))

    def establish(self, record: Record, assumed: Mapping[str, str] = NOTHING) -> dict[str, Fact]:
        """Every fact of the knowledge, by its id, in the order of the knowledge. What is `assumed` of a fact stands in
        place of what is on record, also for the facts that build on it.
        """
        opened = chart(record, self._lens)
        facts: dict[str, Fact] = {}
        for definition, read in self._order:
            fact = read(definition, opened, facts)
            facts[definition.id] = (
                assume(definition, fact, assumed[definition.id]) if definition.id in assumed else fact
            )
        return {name: facts[name] for name in self._knowledge.facts}

    def truths(self, facts: Mapping[str, Fact]) -> tuple[Truth, ...]:
        """The truth of each of the knowledge's questions about these facts, in the order of the questions."""
        defaults = {name: fact.default for name, fact in facts.items()}
        found = [defaults[name] for name in self._asked]
        for name, fact in facts.items():
            for answer, said in fact.answers.items():
                place = self._places.get((name, answer))
                if place is not None:
                    found[place] = said.truth
        for place, name in self._open:
            found[place] = TRUE if facts[name].value == "unknown" and defaults[name] is UNKNOWN else FALSE
        return tuple(found)
