"""The text of a card on one drug: its own option in full, then what it takes part in, a line for each reason.

Made of reviewed words, as the other cards are; nothing of the chart is in it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cds_service.decision.evaluate import Truths, truth
from cds_service.hooks.markdown import (
    EVERYONE,
    NONE_OF,
    SUMMARY_LIMIT,
    Item,
    citation,
    could_change,
    may_hold,
    passages,
    remarks,
    that_hold,
)
from cds_service.hooks.wording import opens, sides, simplest, unknown_facts, why
from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Drug, Effect, Option, Position, Statement, Status

#: a status as the text says it, and as a summary counts it
_SAID = {
    Status.SUPPORTED: ("supported", "supported"),
    Status.DIFFERS: ("sources differ", "differing"),
    Status.NEEDS_DATA: ("depends on a missing fact", "open"),
    Status.NOT_SUPPORTED: ("conditions not met", "not met"),
}
_REMOVED = "removed by the record"
_KINDS = {"monitoring": "Monitoring", "side-effect": "Side effects"}


@dataclass(frozen=True)
class DrugAdvice:
    """A drug in hand: its options with their verdicts, those that stand on another drug's card, its history, what the
    record holds against it, and what the sources say of its effects. The first of an answer also tells what was read.
    """

    drug: Drug
    items: tuple[Item, ...]
    elsewhere: tuple[tuple[str, Option], ...]
    marks: tuple[str, ...]
    removed: tuple[str, ...]
    effects: tuple[Effect, ...]
    first: bool = True

    @property
    def by_class(self) -> tuple[Item, ...]:
        """What is said of its classes, not of the drug by name."""
        return tuple(item for item in self.items if self.drug.id not in item.option.parts)

    @property
    def own(self) -> tuple[Item, ...]:
        """What is said of the drug by itself; where nothing is, what is said of the combinations that name it."""
        alone = tuple(item for item in self.items if item.option.parts == (self.drug.id,))
        return alone or tuple(item for item in self.items if self.drug.id in item.option.parts)


def drug_summary(advice: DrugAdvice, named: Iterable[Item], truths: Truths, knowledge: Knowledge) -> str:
    """One line of at most 139 characters: the drug, what is said of it alone, counts of the combinations that name it.

    What is said of its classes stays out: it must not read as if it were said of the drug.
    """
    listed = list(named)
    alone = [item for item in listed if item.option.parts == (advice.drug.id,)]
    if len(listed) == 1 and not alone:
        return _fitting(listed[0].label, [], listed, truths, knowledge)
    counts = Counter(item.verdict.status for item in listed if item not in alone)
    others = ", ".join(f"{counts[status]} {_SAID[status][1]}" for status in Status if counts[status])
    told = [f"{'combinations' if alone else 'in combinations only'}: {others}"] if others else []
    return _fitting(advice.drug.label, told, alone, truths, knowledge)


def _fitting(label: str, told: list[str], items: list[Item], truths: Truths, knowledge: Knowledge) -> str:
    subject = f"{label}, stage IV breast cancer: "
    lines = [subject + "; ".join([*head, *told]) for head in _heads(items, truths, knowledge)]
    return next((line for line in lines if len(line) <= SUMMARY_LIMIT), lines[-1])


def _heads(items: list[Item], truths: Truths, knowledge: Knowledge) -> Iterator[list[str]]:
    """The status of the one option, with its reason and, where there is no room for that, without."""
    if not items:
        yield []
        return
    status, reason = _SAID[items[0].verdict.status][0], _for_and_against(items[0])
    if items[0].verdict.status is Status.NEEDS_DATA:
        reason = ", ".join(knowledge.facts[fact].short for fact in items[0].verdict.missing)
    if items[0].verdict.status is Status.NOT_SUPPORTED:
        off = _removed(items[0], truths)
        status = _REMOVED if off else status
        reason = ", ".join(off or dict.fromkeys(_failing(items[0], truths)))
    if reason:
        yield [f"{status} ({reason})"]
    yield [status]


def _for_and_against(item: Item) -> str:
    held, opposed = (
        len({one.source for one in that_hold(item, position)}) for position in (Position.SUPPORTS, Position.AGAINST)
    )
    if item.verdict.status is Status.DIFFERS:
        return f"{held} for, {opposed} against"
    return f"{held} source{'s' * (held > 1)}"


def drug_detail(advice: DrugAdvice, truths: Truths, knowledge: Knowledge) -> list[str]:
    """The blocks of the card's Markdown on the drug itself."""
    own = advice.own
    named = [item for item in advice.items if item not in own and item not in advice.by_class]
    blocks = [f"For this patient: {'; '.join(advice.marks)}."] if advice.marks else []
    blocks += ["\n".join(_in_full(item, truths, knowledge)) for item in own]
    lines = [*_in_short(named, truths, knowledge), *_elsewhere(advice, by_name=True)]
    if lines:
        blocks.append("**Combinations that name it**\n" + "\n".join(lines))
    lines = [*_in_short(advice.by_class, truths, knowledge), *_elsewhere(advice, by_name=False)]
    if lines:
        without = f"; this drug is {_REMOVED}" if advice.removed else ""
        blocks.append(f"**Of its classes, not by name{without}**\n" + "\n".join(lines))
    effects = list(_effects(advice, knowledge))
    if effects:
        blocks.append("**Monitoring and side effects**\n" + "\n".join(effects))
    listed = [item for item in advice.items if item in own or item.verdict.status is not Status.NOT_SUPPORTED]
    noted = remarks(listed, knowledge)
    return [*blocks, "**Remarks**\n" + "\n".join(noted)] if noted else blocks


def _elsewhere(advice: DrugAdvice, by_name: bool) -> Iterator[str]:
    """The options that stand on the card of another drug in hand."""
    grouped: dict[str, list[str]] = {}
    for label, option in advice.elsewhere:
        if (advice.drug.id in option.parts) is by_name:
            grouped.setdefault(label, []).append(option.label)
    for label, options in grouped.items():
        yield f"- On the card of {label}: {', '.join(options)}"


# AN OPTION IN FULL


def _in_full(item: Item, truths: Truths, knowledge: Knowledge) -> Iterator[str]:
    """The status, then what each source asks: not met, unknown, met; and who speaks against."""
    off = _removed(item, truths)
    status = f"{_REMOVED}: {', '.join(off)}" if off else _SAID[item.verdict.status][0]
    yield f"**{item.label}: {status}**{_could_change(item, knowledge)}"
    if item.marks:
        yield f"- on record: {'; '.join(item.marks)}"
    lacking = _lacking(item, truths)
    if lacking:
        yield f"- unknown: {' and '.join(lacking)}"
    grouped: dict[tuple[tuple[str, ...], ...], list[Statement]] = {}
    for statement in _telling(item):
        grouped.setdefault(sides(statement.when, truths), []).append(statement)
    for key, statements in grouped.items():
        yield f"- {_sides(key)} ({citation(statements, knowledge)})"
    for text in _against(item, truths, knowledge):
        yield f"- against: {text}"


def _sides(sides_: tuple[tuple[str, ...], ...]) -> str:
    parts = zip(("not met, because", "unknown", "met"), sides_, strict=True)
    return "; ".join(f"{word}: {', '.join(phrases)}" for word, phrases in parts if phrases) or EVERYONE


def _supporting(item: Item, value: Truth) -> list[Statement]:
    return [one for one, found in item.verdict.statements if one.position is Position.SUPPORTS and found is value]


def _telling(item: Item) -> Iterator[Statement]:
    """The supporting statements, those that hold first; of those that fail, none whose passage has spoken already."""
    spoken = set()
    for value in (TRUE, UNKNOWN, FALSE):
        for statement in _supporting(item, value):
            passage = (statement.source, statement.passage)
            if value is not FALSE or passage not in spoken:
                yield statement
            spoken.add(passage)


def _could_change(item: Item, knowledge: Knowledge) -> str:
    """Which missing facts could still change a status that stands; one that is open says so itself."""
    return "" if item.verdict.status is Status.NEEDS_DATA else could_change(item, knowledge)


def _against(item: Item, truths: Truths, knowledge: Knowledge) -> list[str]:
    speaking = dict.fromkeys(that_hold(item, Position.AGAINST))
    return [f"{one.note or ', '.join(why(one.when, truths))} ({citation([one], knowledge)})" for one in speaking]


def _removed(item: Item, truths: Truths) -> tuple[str, ...]:
    """Why the record removes an option whatever its statements say: a failure, a contraindication, a refusal."""
    if truth(item.option.removed_by, truths) is TRUE:
        return why(item.option.removed_by, truths)
    return why(item.option.requires, truths) if truth(item.option.requires, truths) is FALSE else ()


def _lacking(item: Item, truths: Truths) -> list[str]:
    """That nothing removes the option, where that is not known."""
    return [NONE_OF[fact] for fact in dict.fromkeys(unknown_facts(item.option.requires, truths))]


def _failing(item: Item, truths: Truths) -> Iterator[str]:
    for statement in _supporting(item, FALSE):
        yield from sides(statement.when, truths)[0]


# OPTIONS IN SHORT


def _in_short(items: Iterable[Item], truths: Truths, knowledge: Knowledge) -> Iterator[str]:
    """Options with the same status for the same reason share a line."""
    grouped: dict[Status, dict[tuple[str, str], list[tuple[Item, list[Statement]]]]] = {status: {} for status in Status}
    for item in items:
        reason, statements = _reason(item, truths)
        against = "; ".join(_against(item, truths, knowledge)) if item.verdict.status is Status.DIFFERS else ""
        tail = f"; against: {against}" if against else _could_change(item, knowledge)
        grouped[item.verdict.status].setdefault((reason, tail), []).append((item, statements))
    for status, reasons in grouped.items():
        for (reason, tail), members in reasons.items():
            labels = ", ".join(_marked(item) for item, _ in members)
            cites = citation([one for _, statements in members for one in statements], knowledge)
            yield f"- {_SAID[status][0].capitalize()}: {labels}: {reason} ({cites}){tail}"


def _marked(item: Item) -> str:
    return f"{item.label} [{'; '.join(item.marks)}]" if item.marks else item.label


def _reason(item: Item, truths: Truths) -> tuple[str, list[Statement]]:
    """Why an option has its status, and whose statements say so."""
    match item.verdict.status:
        case Status.NEEDS_DATA:
            return _needs(item, truths)
        case Status.NOT_SUPPORTED:
            off = _removed(item, truths)
            words = f"{_REMOVED}: {', '.join(off)}" if off else ""
            return words or f"because {', '.join(dict.fromkeys(_failing(item, truths)))}", _supporting(item, FALSE) or [
                one for one, _ in item.verdict.statements if one.position is Position.SUPPORTS
            ]
    held = that_hold(item, Position.SUPPORTS)
    return ", ".join(why(held[0].when, truths)) or EVERYONE, held


def _needs(item: Item, truths: Truths) -> tuple[str, list[Statement]]:
    candidates = may_hold(item)
    nearest = simplest(iter(candidates), truths)
    parts = [opens(nearest.when, truths), *_lacking(item, truths)]
    return f"if {' and '.join(part for part in parts if part)}", candidates


# MONITORING AND SIDE EFFECTS


def _effects(advice: DrugAdvice, knowledge: Knowledge) -> Iterator[str]:
    grouped: dict[tuple[str, str], list[Effect]] = {}
    for effect in advice.effects:
        grouped.setdefault((effect.kind, effect.of), []).append(effect)
    for (kind, of), effects in sorted(grouped.items(), key=lambda row: list(_KINDS).index(row[0][0])):
        whose = "" if of == advice.drug.id else f" of {knowledge.spoken(of)}"
        by_source = {one.source: [row for row in effects if row.source == one.source] for one in effects}
        said = (f"{', '.join(one.says for one in rows)} ({_cited(rows, knowledge)})" for rows in by_source.values())
        yield f"- {_KINDS[kind]}{whose}: {'; '.join(said)}"


def _cited(effects: Iterable[Effect], knowledge: Knowledge) -> str:
    rows = list(effects)
    return f"{knowledge.sources[rows[0].source].short} {passages(tuple(one.passage for one in rows))}"
