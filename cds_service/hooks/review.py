"""The knowledge for whoever reviews it: statements in words beside their passages, and who says what in one table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cds_service.hooks.wording import stated
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import CardPlan, Condition, Effect, Option, Position, Section, Source, Statement

EVERYBODY = "everybody with stage IV breast cancer"
_STRONGEST = (Position.SUPPORTS, Position.AGAINST, Position.BACKGROUND)


@dataclass(frozen=True)
class Line:
    """A statement, what its passage says in our words, and its conditions in words."""

    statement: Statement
    source: Source
    says: str
    when: str


#: what one source says of an option: its positions, each with the passages; empty where it is silent
Cell = Mapping[Position, tuple[str, ...]]


@dataclass(frozen=True)
class Row:
    """An option and what each source says of it. `opposed`: one source speaks for it and one against it, for whatever
    patients; `conditions`: the sources that support it do so under different conditions.
    """

    option: Option
    cells: Mapping[str, Cell]
    opposed: bool
    conditions: bool


def lines(option: Option, knowledge: Knowledge) -> tuple[Line, ...]:
    """The statements of an option, source by source, in the order of the sources."""
    order = list(knowledge.sources)
    ranked = sorted(option.statements, key=lambda one: (order.index(one.source), _STRONGEST.index(one.position)))
    return tuple(_line(one, knowledge) for one in ranked)


def _line(statement: Statement, knowledge: Knowledge) -> Line:
    source = knowledge.sources[statement.source]
    return Line(statement, source, source.passages[statement.passage].says, in_words(statement.when))


def in_words(condition: Condition) -> str:
    """A condition in words; who passes the gate where it is `always`."""
    return stated(condition) or EVERYBODY


def matrix(options: Iterable[Option], knowledge: Knowledge) -> tuple[Row, ...]:
    """Options by sources."""
    return tuple(_row(option, knowledge) for option in options)


def _row(option: Option, knowledge: Knowledge) -> Row:
    supports = [one for one in option.statements if one.position is Position.SUPPORTS]
    against = any(one.position is Position.AGAINST for one in option.statements)
    by_source = {
        source: frozenset(one.when for one in supports if one.source == source) for source in knowledge.sources
    }
    differing = {conditions for conditions in by_source.values() if conditions}
    cells = {source: _cell(source, option) for source in knowledge.sources}
    return Row(option, cells, against and bool(supports), len(differing) > 1)


def _cell(source: str, option: Option) -> Cell:
    own = [one for one in option.statements if one.source == source]
    passages = {
        position: tuple(dict.fromkeys(one.passage for one in own if one.position is position))
        for position in _STRONGEST
    }
    return {position: named for position, named in passages.items() if named}


def effects(option: Option, knowledge: Knowledge) -> tuple[Effect, ...]:
    """What the sources say on watching the medicines of an option and on their side effects."""
    whose = {*option.parts}
    for part in option.parts:
        whose |= knowledge.classes_of.get(part, frozenset())
        whose |= set(knowledge.drugs[part].contains) if part in knowledge.drugs else set()
    return tuple(one for one in knowledge.effects if one.of in whose)


def place(option: str, knowledge: Knowledge) -> tuple[CardPlan, Section]:
    """The card and the section that an option stands in."""
    return next(
        (card, section)
        for card in knowledge.cards
        for section in card.sections
        if any(one.id == option for one in section.options)
    )


def cited_by(source: str, knowledge: Knowledge) -> Mapping[str, tuple[Option, ...]]:
    """The options whose statements cite each passage of a source."""
    found: dict[str, dict[str, Option]] = {}
    for option in knowledge.options.values():
        for one in option.statements:
            if one.source == source:
                found.setdefault(one.passage, {})[option.id] = option
    return {passage: tuple(options.values()) for passage, options in found.items()}
