"""The options in which a drug takes part: by its own name, or through a class that holds it."""

from collections.abc import Iterable

from cds_service.decision.evaluate import Truths
from cds_service.kleene import TRUE
from cds_service.knowledge.conditions import atoms
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Atom, Option


def taking_part(drug: str, knowledge: Knowledge) -> tuple[Option, ...]:
    """Every option that a drug is part of: the drug alone, combinations with it, then those that name its class."""
    classes = knowledge.classes_of[drug]
    found = [one for one in knowledge.options.values() if drug in one.parts or not classes.isdisjoint(one.parts)]
    return tuple(sorted(found, key=lambda one: (drug not in one.parts, len(one.parts))))


def share_out(drugs: Iterable[str], knowledge: Knowledge) -> dict[str, tuple[Option, ...]]:
    """The options of several drugs, each option once: with a drug that it names, else with one whose class it names; of
    several, with one that has no option by itself, else the first.

    The drugs come in the order of the knowledge, so that the order in which they are asked for decides nothing.
    """
    wanted = set(drugs)
    ordered = [drug for drug in knowledge.drugs if drug in wanted]
    parts = {drug: taking_part(drug, knowledge) for drug in ordered}
    takers = sorted(ordered, key=lambda drug: any(option.parts == (drug,) for option in parts[drug]))
    holder: dict[str, str] = {}
    for named in (True, False):
        for drug in takers:
            for option in parts[drug]:
                if (drug in option.parts) is named:
                    holder.setdefault(option.id, drug)
    return {drug: tuple(one for one in parts[drug] if holder[one.id] == drug) for drug in ordered}


def removed(drug: str, knowledge: Knowledge, truths: Truths) -> tuple[Atom, ...]:
    """What the record holds against this very drug: a contraindication, a refusal, a progression on it."""
    rules = (rule for option in taking_part(drug, knowledge) for rule in (option.requires, option.removed_by))
    asked = dict.fromkeys(atom for rule in rules for atom in atoms(rule) if atom.answer == drug)
    return tuple(atom for atom in asked if truths[atom] is TRUE)
