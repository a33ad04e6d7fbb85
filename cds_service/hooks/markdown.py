"""The text of a card: what a clinician reads in ten seconds. Made of reviewed words; nothing of the chart is in it.

Equal advice reads the same for every patient, so texts are remembered; references to a patient's resources stand in the
card's extension, never here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cds_service.hooks.wording import opens, simplest, unknown_facts, why
from cds_service.kleene import FALSE, TRUE, Truth
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import CardPlan, Option, Position, Statement, Status, Verdict

SUMMARY_LIMIT = 139
#: how a card says that a fact which removes options must hold nothing against this one
NONE_OF = {"contraindications": "not contraindicated", "refusals": "not refused"}
EVERYONE = "for everyone with stage IV breast cancer"
#: for how many verdicts their words are remembered
_REMEMBERED = 4096


@dataclass(frozen=True)
class Item:
    """An option on a card: its label, its verdict, and marks of the patient's history that the label does not hold."""

    label: str
    verdict: Verdict
    option: Option
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """What the facts say, by id: their values and notes, and which of them some resource speaks of."""

    values: Mapping[str, str]
    notes: Mapping[str, str]
    recorded: frozenset[str]


def summary(plan: CardPlan, values: Mapping[str, str], counts: Mapping[Status, int]) -> str:
    """One line: what the card is, for whom, how many. At most 139 characters (CDS Hooks 2.0, card `summary`)."""
    differ, open_ = counts[Status.DIFFERS], counts[Status.NEEDS_DATA]
    parts = [
        f"{counts[Status.SUPPORTED]} supported",
        f"{differ} differ{'s' * (differ == 1)}" if differ else "",
        f"{open_} need{'s' * (open_ == 1)} a fact" if open_ else "",
    ]
    told = ", ".join(part for part in parts if part)
    lines = [f"{_title(plan, values, named)}: {told}" for named in (2, 1)]
    return next((line for line in lines if len(line) <= SUMMARY_LIMIT), lines[-1])


def _title(plan: CardPlan, values: Mapping[str, str], named: int) -> str:
    whom = ", ".join(said for fact in plan.summary_facts if (said := _profile(fact, values[fact], named)))
    return f"{plan.title}, stage IV breast cancer{f', {whom}' if whom else ''}"


def _profile(fact: str, value: str, named: int) -> str:
    """How a summary says a fact: short, and unknown is said too; of the sites so many are `named`, more are counted."""
    if fact in ("er", "pr", "hr", "her2"):
        return f"{fact.upper()} {value}"
    if fact == "sites":
        sites = value.replace("-", " ").split(", ")
        return f"sites {' and '.join(sites)}" if len(sites) <= named else f"{len(sites)} sites"
    return f"{fact} unknown" if value == "unknown" else value


def detail(
    plan: CardPlan, items: Iterable[Item], notices: Iterable[str], knowledge: Knowledge, said: Said, first: str
) -> str:
    """The card's Markdown. `first` is the line on what was read from the record; `notices` are those that hold."""
    listed = [item for item in items if item.verdict.status is not Status.NOT_SUPPORTED]
    groups = {status: [item for item in listed if item.verdict.status is status] for status in Status}
    blocks = [first] if first else []
    if groups[Status.SUPPORTED]:
        blocks.append("**Supported**\n" + "\n".join(_supported(groups[Status.SUPPORTED], knowledge)))
    if groups[Status.DIFFERS]:
        blocks.append("**Sources differ**\n" + "\n".join(_differing(groups[Status.DIFFERS], knowledge)))
    if groups[Status.NEEDS_DATA]:
        lines = _open(groups[Status.NEEDS_DATA], knowledge, said)
        blocks.append("**Depends on a missing fact**\n" + "\n".join(lines))
    noted = remarks(listed, knowledge)
    if noted:
        blocks.append("**Remarks**\n" + "\n".join(noted))
    cited_sources = {one.source for item in listed for one, value in item.verdict.statements if value is not FALSE}
    blocks.append(sources_line(cited_sources, knowledge))
    blocks.append(notice(all(section.reviewed for section in plan.sections), knowledge, notices))
    return "\n\n".join(blocks)


# GROUPS


def _supported(items: list[Item], knowledge: Knowledge) -> list[str]:
    grouped: dict[tuple[str, str, tuple[str, ...]], list[Item]] = {}
    for item in items:
        key = (because(item.verdict), could_change(item, knowledge), _by_sources(item))
        grouped.setdefault(key, []).append(item)
    lines = []
    for (reason, unsettled, _), members in grouped.items():
        cited = citation([one for item in members for one in that_hold(item, Position.SUPPORTS)], knowledge)
        lines.append(f"- {_labels(members)}: {reason} ({cited}){unsettled}")
    return lines


def _by_sources(item: Item) -> tuple[str, ...]:
    return tuple(sorted({one.source for one in that_hold(item, Position.SUPPORTS)}))


def _differing(items: list[Item], knowledge: Knowledge) -> list[str]:
    """By what speaks against, then by what speaks for: an objection that many options share stands once."""
    grouped: dict[tuple[Statement, ...], dict[tuple[object, ...], list[Item]]] = {}
    for item in items:
        opposing = tuple(dict.fromkeys(that_hold(item, Position.AGAINST)))
        grouped.setdefault(opposing, {}).setdefault((because(item.verdict), _by_sources(item)), []).append(item)
    lines = []
    for opposing, groups in grouped.items():
        speaking = next(iter(groups.values()))[0]
        for i, ((reason, _), members) in enumerate(groups.items()):
            holding = [one for item in members for one in that_hold(item, Position.SUPPORTS)]
            supporting = f"{reason} ({citation(holding, knowledge)})"
            if len(groups) == 1:
                lines += [f"- {_labels(members)}", f"  - for: {supporting}"]
            else:
                lines += ["- For:"] if i == 0 else []
                lines.append(f"  - {_labels(members)}: {supporting}")
        whom = "against" if len(groups) == 1 else "Against all of these"
        lines += [f"  - {whom}: {objection(one, speaking.verdict, knowledge)}" for one in opposing]
    return lines


def _open(items: list[Item], knowledge: Knowledge, said: Said) -> list[str]:
    """By missing fact, then by what its answer would have to be."""
    grouped: dict[tuple[str, ...], dict[str, list[Item]]] = {}
    for item in items:
        asked, needed = _lacking(item.verdict, knowledge)
        ordered = tuple(fact for fact in knowledge.facts if fact in asked)
        grouped.setdefault(ordered, {}).setdefault(needed, []).append(item)
    lines = []
    for facts, answers in sorted(grouped.items(), key=lambda row: (len(row[0]), row[0])):
        absent = [
            knowledge.facts[fact].label
            for fact in facts
            if said.values[fact] == "unknown" and fact not in said.recorded
        ]
        present = [knowledge.facts[fact].label for fact in facts if knowledge.facts[fact].label not in absent]
        parts = [f"{' and '.join(absent)} not on record"] if absent else []
        parts += [f"{' and '.join(present)} on record, leaving it open"] if present else []
        notes = "; ".join(dict.fromkeys(said.notes[fact] for fact in facts if said.notes[fact]))
        lines.append(f"- {', '.join(parts)}{f' ({notes})' if notes else ''}")
        for needed, members in answers.items():
            cited = citation([one for item in members for one in may_hold(item)], knowledge)
            lines.append(f"  - if {needed}: {_labels(members)} ({cited})")
    return lines


def could_change(item: Item, knowledge: Knowledge) -> str:
    """Which missing facts could still change a status that stands."""
    if not item.verdict.missing:
        return ""
    names = " and ".join(within(knowledge.facts[fact].label) for fact in item.verdict.missing)
    return f"; could change with: {names}"


def remarks(items: list[Item], knowledge: Knowledge) -> list[str]:
    """Notes of statements that hold, errata, and what is known to have changed since."""
    grouped: dict[str, list[str]] = {}
    for item in items:
        option = item.option
        for statement, value in item.verdict.statements:
            if value is TRUE and statement.on_card and statement.note:
                grouped.setdefault(f"{statement.note} ({citation([statement], knowledge)})", []).append(option.label)
        for erratum in (one for one in option.errata if one.on_card):
            text = f"Erratum: {erratum.says} ({knowledge.sources[erratum.source].short} {erratum.passage})"
            grouped.setdefault(text, []).append(option.label)
        for change in option.currency:
            cites = f"[{change.cites}]({change.url})" if change.url else change.cites
            grouped.setdefault(f"Since then ({change.on}): {change.says} ({cites})", []).append(option.label)
    return [f"- {', '.join(dict.fromkeys(labels))}: {text}" for text, labels in grouped.items()]


# PIECES


@lru_cache(maxsize=_REMEMBERED)
def because(verdict: Verdict) -> str:
    """Why an option is listed, by the first of the statements that support it."""
    first = next(one for one, value in verdict.statements if one.position is Position.SUPPORTS and value is TRUE)
    return ", ".join(why(first.when, verdict.truths)) or EVERYONE


def objection(statement: Statement, verdict: Verdict, knowledge: Knowledge) -> str:
    """A statement that speaks against, in words, with its citation."""
    return f"{statement.note or ', '.join(why(statement.when, verdict.truths))} ({citation([statement], knowledge)})"


@lru_cache(maxsize=_REMEMBERED)
def _lacking(verdict: Verdict, knowledge: Knowledge) -> tuple[frozenset[str], str]:
    """The facts that keep an option open, and in words what they would have to be."""
    nearest = simplest((one for one, value in verdict.statements if _may_hold(one, value)), verdict.truths)
    removing = list(dict.fromkeys(unknown_facts(knowledge.options[verdict.option].requires, verdict.truths)))
    needed = " and ".join(
        part for part in (opens(nearest.when, verdict.truths), *(NONE_OF[fact] for fact in removing)) if part
    )
    return frozenset((*unknown_facts(nearest.when, verdict.truths), *removing)), needed


def that_hold(item: Item, position: Position) -> list[Statement]:
    """The statements of a position that hold for this patient."""
    return [one for one, value in item.verdict.statements if one.position is position and value is TRUE]


def may_hold(item: Item) -> list[Statement]:
    """The supporting statements of an open option: what is open itself, and what holds but for what may remove it."""
    return [one for one, value in item.verdict.statements if _may_hold(one, value)]


def _may_hold(statement: Statement, value: Truth) -> bool:
    return statement.position is Position.SUPPORTS and value is not FALSE


def _labels(items: list[Item]) -> str:
    return ", ".join(item.label for item in items)


def citation(statements: Iterable[Statement], knowledge: Knowledge) -> str:
    """Short citations: each source with its passages, its own word of strength kept."""
    by_source: dict[str, dict[str, str]] = {}
    for one in statements:
        by_source.setdefault(one.source, {})[one.passage] = one.strength
    return "; ".join(
        f"{knowledge.sources[source].short} {passages(tuple(found))}{_strength(found)}"
        for source in knowledge.sources
        if (found := by_source.get(source))
    )


def _strength(found: Mapping[str, str]) -> str:
    words = list(dict.fromkeys(word for word in found.values() if word))
    return f" “{' / '.join(words)}”" if words else ""


@lru_cache(maxsize=_REMEMBERED)
def passages(listed: tuple[str, ...]) -> str:
    """Passages as a reader finds them: L31-L36, L38."""
    numbers = sorted({int(passage[1:]) for passage in listed})
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"L{first}" if first == last else f"L{first}-L{last}" for first, last in runs)


def sources_line(cited: Collection[str], knowledge: Knowledge) -> str:
    """The sources behind a card, with publisher and date, linked where an address is known."""
    rows = []
    for source in knowledge.sources.values():
        if source.id in cited:
            name = f"{source.publisher}, {source.dated}"
            rows.append(f"[{name}]({source.url})" if source.url else name)
    return "Sources: " + "; ".join(rows)


def notice(reviewed: bool, knowledge: Knowledge, notices: Iterable[str]) -> str:
    """The line at the end: what the card is not, how old its sources are, whether anybody has reviewed it."""
    years = sorted(source.dated[:4] for source in knowledge.sources.values() if source.dated[:4].isdigit())
    review = "" if reviewed else " Not reviewed by a clinician."
    return f"_{' '.join([knowledge.notice, f'Sources of {years[0]} to {years[-1]}.', *notices])}{review}_"


def within(label: str) -> str:
    """A label within a sentence."""
    return label[0].lower() + label[1:] if label[1:2].islower() else label
