"""The words of conditions on a card: why an option is listed, and what would decide the ones that are open."""

from collections.abc import Iterator

from cds_service.decision.evaluate import Truths, deciding, truth
from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth
from cds_service.model import All, Any_, Atom, Condition, Not, Open, Statement


def why(condition: Condition, truths: Truths) -> tuple[str, ...]:
    """What made a condition true, as phrases: 'hormone receptor-positive', 'postmenopausal'."""
    return tuple(dict.fromkeys(_said(atom, truths) for atom in deciding(condition, truths)))


def _said(atom: Atom, truths: Truths) -> str:
    return atom.says if truths[atom] is TRUE else atom.denies


def stated(condition: Condition, wanted: bool = True) -> str:
    """A whole condition in words, for no patient: 'HER2-negative and (postmenopausal or ...)'; '' for `always`."""
    match condition:
        case Atom():
            return condition.says if wanted else condition.denies
        case Open(fact):
            return f"{fact} not on record" if wanted else f"{fact} on record"
        case Not(member):
            return stated(member, not wanted)
        case All(members) | Any_(members):
            words = [one for one in dict.fromkeys(stated(member, wanted) for member in members) if one]
            own, other = (" and ", " or ") if isinstance(condition, All) is wanted else (" or ", " and ")
            return own.join(f"({one})" if other in one and len(words) > 1 else one for one in words)


def sides(condition: Condition, truths: Truths) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What of a condition is not met, what is unknown and what is met, as phrases; nothing of `always`."""
    found: dict[Truth, list[str]] = {FALSE: [], UNKNOWN: [], TRUE: []}
    for member in _conjuncts(condition):
        value = truth(member, truths)
        found[value] += [opens(member, truths)] if value is UNKNOWN else why(member, truths)
    return tuple(dict.fromkeys(found[FALSE])), tuple(dict.fromkeys(found[UNKNOWN])), tuple(dict.fromkeys(found[TRUE]))


def _conjuncts(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, All):
        for member in condition.members:
            yield from _conjuncts(member)
    else:
        yield condition


def opens(condition: Condition, truths: Truths) -> str:
    """What is still needed for a condition to be true, in words: 'HER2-negative and postmenopausal'; '' where it is."""
    return "" if truth(condition, truths) is TRUE else _needed(condition, truths, True)


def _needed(condition: Condition, truths: Truths, wanted: bool) -> str:
    match condition:
        case Atom():
            return condition.says if wanted else condition.denies
        case Open(fact):
            return f"{fact} known"
        case Not(member):
            return _needed(member, truths, not wanted)
        case All(members) | Any_(members):
            open_ = [member for member in members if truth(member, truths) is UNKNOWN]
            words = list(dict.fromkeys(_needed(member, truths, wanted) for member in open_))
            own, other = (" and ", " or ") if isinstance(condition, All) is wanted else (" or ", " and ")
            return own.join(f"({one})" if other in one and len(words) > 1 else one for one in words)


def simplest(statements: Iterator[Statement], truths: Truths) -> Statement:
    """Of several open statements the one that needs the fewest further facts."""
    return min(statements, key=lambda one: len(set(unknown_facts(one.when, truths))))


def unknown_facts(condition: Condition, truths: Truths) -> Iterator[str]:
    """The facts of the unknown atoms that keep a condition open, each as often as it stands there."""
    match condition:
        case Atom(fact, _):
            if truths[condition] is UNKNOWN:
                yield fact
        case Not(member):
            yield from unknown_facts(member, truths)
        case All(members) | Any_(members):
            if truth(condition, truths) not in (TRUE, FALSE):
                for member in members:
                    if truth(member, truths) is UNKNOWN:
                        yield from unknown_facts(member, truths)
