"""What the patient's own history says about an option: current, used before, same class as a drug that failed."""

from collections.abc import Mapping

from cds_service.kleene import TRUE, UNKNOWN
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Fact, Option


def has_history(facts: Mapping[str, Fact]) -> bool:
    """Whether any treatment at all is on record."""
    return bool(facts["prior-medications"].answers)


def marks(option: Option, knowledge: Knowledge, facts: Mapping[str, Fact]) -> tuple[str, ...]:
    """Short words for a card, in the order of the option's parts; none where nothing was ever given."""
    history, failures = facts["prior-medications"], facts["progressed-on"]
    found: list[str] = []
    for part in option.parts:
        if part in knowledge.drugs:
            found += _of_drug(part, knowledge, history, failures)
        else:
            found += _of_class(part, knowledge, failures)
    return tuple(dict.fromkeys(found))


def _of_drug(drug: str, knowledge: Knowledge, history: Fact, failures: Fact) -> list[str]:
    label = knowledge.spoken(drug)
    if history.answer(f"{drug} now").truth is TRUE:
        return [f"{label} is current"]
    found = []
    if history.answer(drug).truth is TRUE:
        unclear = failures.answer(drug).truth is UNKNOWN
        found.append(f"{label} used before{', reason for stopping not on record' if unclear else ''}")
    narrow = knowledge.drugs[drug].classes[0]
    siblings = knowledge.members[narrow] - {drug} if narrow in knowledge.narrow_classes else ()
    for other in sorted(siblings):
        if failures.answer(other).truth is TRUE:
            found.append(f"same class as {knowledge.spoken(other)}, which failed")
        elif history.answer(f"{other} now").truth is TRUE:
            found.append(f"instead of {knowledge.spoken(other)} (current), not beside it")
    return found


def _of_class(name: str, knowledge: Knowledge, failures: Fact) -> list[str]:
    if name not in knowledge.narrow_classes:
        return []
    failed = [drug for drug in sorted(knowledge.members[name]) if failures.answer(drug).truth is TRUE]
    return [f"{knowledge.spoken(drug)} failed: another of its class" for drug in failed]
