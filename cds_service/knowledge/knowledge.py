"""The knowledge: sources, drugs, facts, sections and the rules of reading, compiled and checked against each other."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from cds_service.knowledge.conditions import atoms, facts_read
from cds_service.knowledge.drugs import within_sentence
from cds_service.knowledge.lexicon import Lexicon
from cds_service.model import (
    Atom,
    CardPlan,
    Code,
    Condition,
    Drug,
    Effect,
    FactDefinition,
    Open,
    Option,
    Section,
    Source,
)


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Everything the service knows of medicine, frozen. It equals itself only."""

    version: str
    title: str
    notice: str
    notices: tuple[tuple[Condition, str], ...]
    digest: str
    sources: Mapping[str, Source]
    drugs: Mapping[str, Drug]
    classes: Mapping[str, str]
    members: Mapping[str, frozenset[str]]
    within: Mapping[str, frozenset[str]]
    broad: frozenset[str]
    facts: Mapping[str, FactDefinition]  # in the order of knowledge.yaml
    gate: Condition
    gate_inactive: Condition
    cards: tuple[CardPlan, ...]
    effects: tuple[Effect, ...]
    effects_reviewed: bool
    override_reasons: tuple[Code, ...]
    not_formalised: Mapping[tuple[str, str], str]
    lexicon: Lexicon

    @property
    def sections(self) -> Iterator[Section]:
        """Every section, in the order of the cards."""
        for card in self.cards:
            yield from card.sections

    @cached_property
    def options(self) -> Mapping[str, Option]:
        """Every option by its id, in the order of the cards."""
        return {option.id: option for section in self.sections for option in section.options}

    @cached_property
    def classes_of(self) -> Mapping[str, frozenset[str]]:
        """The classes of every drug, and for a class itself with the classes that hold it."""
        held = {drug: {name for name, inside in self.members.items() if drug in inside} for drug in self.drugs}
        outer = {
            name: {name} | {other for other, inner in self.within.items() if name in inner} for name in self.classes
        }
        return {subject: frozenset(classes) for subject, classes in (held | outer).items()}

    @cached_property
    def asked(self) -> tuple[Atom, ...]:
        """Every question that the gate or a statement asks of a fact, each once."""
        conditions = [self.gate, self.gate_inactive, *(when for when, _ in self.notices)]
        for option in self.options.values():
            conditions += [option.requires, option.removed_by, *(statement.when for statement in option.statements)]
        return tuple(dict.fromkeys(atom for condition in conditions for atom in atoms(condition)))

    @cached_property
    def gate_facts(self) -> tuple[str, ...]:
        """The facts that open or close the gate: they stand behind every card, not on it."""
        return tuple(dict.fromkeys((*facts_read(self.gate), *facts_read(self.gate_inactive))))

    @cached_property
    def questions(self) -> tuple[Atom | Open, ...]:
        """Everything that decides: the asked atoms, and whether each fact is unknown."""
        return (*self.asked, *(Open(name) for name in self.facts))

    @cached_property
    def facts_asked(self) -> tuple[str, ...]:
        """The facts that the gate and the statements read, and those they build on, in the order of knowledge.yaml."""
        read = self.with_what_they_build_on(self._facts_read())
        return tuple(fact for fact in self.facts if fact in read)

    def with_what_they_build_on(self, facts: Iterable[str]) -> frozenset[str]:
        """These facts and those that they build on, at any remove."""
        read, open_ = set(), list(facts)
        while open_:
            fact = open_.pop()
            if fact not in read:
                read.add(fact)
                open_ += self.facts[fact].builds_on
        return frozenset(read)

    def _facts_read(self) -> Iterator[str]:
        yield from facts_read(self.gate)
        yield from facts_read(self.gate_inactive)
        for option in self.options.values():
            yield from facts_read(option.requires)
            yield from facts_read(option.removed_by)
            for statement in option.statements:
                yield from facts_read(statement.when)

    @cached_property
    def narrow_classes(self) -> frozenset[str]:
        """The classes that are a drug's narrowest: drugs of one such class stand instead of each other."""
        return frozenset(drug.classes[0] for drug in self.drugs.values()) - self.broad

    def label(self, part: str) -> str:
        """What a card calls a drug or class."""
        return self.drugs[part].label if part in self.drugs else self.classes.get(part, part)

    def spoken(self, part: str) -> str:
        """A drug or class within a sentence: lower case, save abbreviations."""
        return within_sentence(self.label(part))
