"""What the patient's own history says about an option: current, used before, same class as a drug that failed."""

from collections.abc import Mapping
from typing import NamedTuple

from cds_service.kleene import TRUE, UNKNOWN, Truth
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Fact, Option


class History(NamedTuple):
    """What marks an option: what was surely `given` (drugs, classes, and phrases such as 'letrozole now'), on what of
    it the disease surely progressed, and of what of it that is unknown.
    """

    given: frozenset[str]
    failed: frozenset[str]
    unclear: frozenset[str]


def history(facts: Mapping[str, Fact]) -> History:
    """The history that facts tell."""
    medicines, failures = facts["prior-medications"], facts["progressed-on"]
    given, unclear = _with(medicines, TRUE), _with(failures, UNKNOWN)
    if failures.default is UNKNOWN:
        unclear |= given - failures.answers.keys()
    return History(given, _with(failures, TRUE), given & unclear)


def _with(fact: Fact, truth: Truth) -> frozenset[str]:
    """The answers of a fact that are said to be so true."""
    return frozenset([name for name, one in fact.answers.items() if one.truth is truth])


def marks(option: Option, knowledge: Knowledge, told: History) -> tuple[str, ...]:
    """Short words for a card, in the order of the option's parts; none where nothing was ever given."""
    found: list[str] = []
    if not told.given and not told.failed:
        return ()
    for part in option.parts:
        if part in knowledge.drugs:
            found += _of_drug(part, knowledge, told)
        else:
            found += _of_class(part, knowledge, told)
    return tuple(dict.fromkeys(found))


def _of_drug(drug: str, knowledge: Knowledge, told: History) -> list[str]:
    if f"{drug} now" in told.given:
        return [f"{knowledge.spoken(drug)} is current"]
    found = []
    if drug in told.given:
        unclear = drug in told.unclear
        found.append(f"{knowledge.spoken(drug)} used before{', reason for stopping not on record' if unclear else ''}")
    narrow = knowledge.drugs[drug].classes[0]
    siblings = knowledge.members[narrow] & (told.given | told.failed) if narrow in knowledge.narrow_classes else ()
    for other in sorted(siblings):
        if other == drug:
            continue
        if other in told.failed:
            found.append(f"same class as {knowledge.spoken(other)}, which failed")
        elif f"{other} now" in told.given:
            found.append(f"instead of {knowledge.spoken(other)} (current), not beside it")
    return found


def _of_class(name: str, knowledge: Knowledge, told: History) -> list[str]:
    if name not in knowledge.narrow_classes:
        return []
    failed = sorted(knowledge.members[name] & told.failed)
    return [f"{knowledge.spoken(drug)} failed: another of its class" for drug in failed]
