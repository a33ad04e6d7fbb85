"""Any number of invented patients by chance, from a seed: patient k is the same however many are asked for.

Only `Random.random()` is drawn from: Python promises that its numbers stay the same from version to version.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from cds_service.errors import KnowledgeError
from cds_service.knowledge.knowledge import Knowledge
from cds_service.synthetic.story import Story, unheard

T = TypeVar("T")

_NOT_ON_RECORD = "-"
_RECEPTORS = ("er", "pr", "her2")


@dataclass(frozen=True)
class Population:
    """How often what occurs, in parts of 100 (population.yaml)."""

    shares: Mapping[str, Any]

    def stories(self, count: int, seed: int) -> Iterator[tuple[Story, int]]:
        """`count` stories, each with its number of visits; made one by one, none is kept."""
        for place in range(count):
            yield self._story(place, seed)

    def _story(self, place: int, seed: int) -> tuple[Story, int]:
        chance = Random(f"{seed}/{place}")
        shares = self.shares
        subtype = pick_by(shares["subtypes"], [row["share"] for row in shares["subtypes"]], chance)
        facts: dict[str, Any] = {"age": between(shares["ages"], chance), **subtype["facts"]}
        if happens(shares["men"], chance):
            facts["sex"] = "male"
        facts["sites"] = drawn(shares["sites"], chance) or [next(iter(shares["sites"]))]
        facts |= _single(shares["answers"], facts, chance)
        facts |= {name: drawn(shares[name], chance) for name in ("symptoms", "contraindicated", "refused", "besides")}
        facts["given"] = list(_given(shares, subtype, chance))
        shape = pick(shares["shapes"], chance)
        for mishap, share in shares["mess"].items():
            if happens(share, chance):
                _MISHAPS[mishap](facts, chance)
        told = {name: value for name, value in facts.items() if value != []}
        return Story(f"invented-{seed}-{place + 1}", "", shape, told), between(shares["visits"], chance)


def population(shares: Mapping[str, Any], knowledge: Knowledge) -> Population:
    """The population of a file that its schema has passed. Raises KnowledgeError where a word is not known."""
    facts = {name: list(shares[name]) for name in ("sites", "symptoms", "contraindicated", "refused")}
    given = [regimen for one in shares["subtypes"] for choices in (one["before"], *one["lines"]) for regimen in choices]
    problems = list(unheard("population.yaml:", {**facts, "given": given}, knowledge))
    if problems:
        raise KnowledgeError(problems)
    return Population(shares)


def _single(answers: Mapping[str, Any], facts: Mapping[str, Any], chance: Random) -> Iterator[tuple[str, str]]:
    for name, shares in answers.items():
        answer = pick(shares, chance)
        if answer != _NOT_ON_RECORD and not (name == "menopause" and facts.get("sex") == "male"):
            yield name, answer


def _given(shares: Mapping[str, Any], subtype: Mapping[str, Any], chance: Random) -> Iterator[dict[str, Any]]:
    """What was given before metastatic disease, then the lines of treatment; the last of them may still be running."""
    if happens(shares["given_before"], chance):
        yield {**one_of(subtype["before"], chance), "setting": "adjuvant", "ended": "as-planned"}
    lines = subtype["lines"][: int(pick(shares["lines_given"], chance))]
    running = happens(shares["still_running"], chance)
    for count, choices in enumerate(lines):
        regimen = {**one_of(choices, chance), "setting": "metastatic"}
        last = count == len(lines) - 1
        yield regimen if last and running else {**regimen, "ended": pick(shares["endings"], chance)}


# RECORDS AS THEY ARE


def _receptor_missing(facts: dict[str, Any], chance: Random) -> None:
    facts.pop(one_of(_RECEPTORS, chance), None)


def _results_disagree(facts: dict[str, Any], chance: Random) -> None:
    facts[one_of(_RECEPTORS, chance)] = "conflict"


def _her2_equivocal(facts: dict[str, Any], chance: Random) -> None:
    facts["her2"] = "equivocal"


def _withdrawn(facts: dict[str, Any], chance: Random) -> None:
    facts["withdrawn"] = {one_of(_RECEPTORS, chance): "negative"}


def _lower_stage(facts: dict[str, Any], chance: Random) -> None:
    """A patient without metastases: nothing is given for them either."""
    facts.update(stage="other", sites=[], given=[one for one in facts["given"] if one["setting"] == "adjuvant"])


def _no_stage(facts: dict[str, Any], chance: Random) -> None:
    _lower_stage(facts, chance)
    facts["stage"] = "unknown"


def _over(facts: dict[str, Any], chance: Random) -> None:
    facts["breast-cancer"] = "inactive"


def _died(facts: dict[str, Any], chance: Random) -> None:
    facts["deceased"] = "yes"


_MISHAPS = {
    "receptor-missing": _receptor_missing,
    "results-disagree": _results_disagree,
    "her2-equivocal": _her2_equivocal,
    "withdrawn": _withdrawn,
    "lower-stage": _lower_stage,
    "no-stage": _no_stage,
    "over": _over,
    "died": _died,
}

# CHANCE


def happens(share: int, chance: Random) -> bool:
    """Whether something that befalls `share` in 100 happens."""
    return chance.random() * 100 < share


def pick_by(choices: Sequence[T], shares: Sequence[int], chance: Random) -> T:
    """One choice, each as often as its share of the sum says."""
    point = chance.random() * sum(shares)
    for choice, share in zip(choices, shares, strict=True):
        point -= share
        if point < 0:
            return choice
    return choices[-1]


def pick(shares: Mapping[str, int], chance: Random) -> str:
    """One key, as often as its share says."""
    return pick_by(list(shares), list(shares.values()), chance)


def drawn(shares: Mapping[str, int], chance: Random) -> list[str]:
    """Every key that happens, each by itself."""
    return [name for name, share in shares.items() if happens(share, chance)]


def one_of(choices: Sequence[T], chance: Random) -> T:
    """One of equals."""
    return choices[int(chance.random() * len(choices))]


def between(bounds: Mapping[str, int], chance: Random) -> int:
    """A whole number from `from` to `to`."""
    return bounds["from"] + int(chance.random() * (bounds["to"] - bounds["from"] + 1))
