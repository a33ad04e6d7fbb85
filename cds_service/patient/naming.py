"""Which medicine a resource names: by code, by words, through a Medication and its ingredients.

The most precise code wins: a product over a form over a plain ingredient, because the ingredient of an antibody-drug
conjugate or of a liposomal form rolls up to another drug. Where codes and words name different drugs it may be any of
them. What nobody can name is a problem, never nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from cds_service.patient.chart import Chart, Entry, by_content, by_text
from cds_service.patient.content import Content
from cds_service.patient.elements import objects
from cds_service.patient.project import fault
from cds_service.patient.recognise import Recognised, text_of

#: how precise a code is, the most precise first
_LEVELS = ("product", "ingredient-form", "ingredient")
#: what the words of a medication list may say instead of a name
_STATEMENTS = ("none", "no-information", "unnamed")
#: Medications that are made of Medications are followed so far
_DEPTH = 2


@dataclass(frozen=True)
class Naming:
    """What a resource names: `senses`; else why it cannot be told, or why it is another use of the drug."""

    senses: tuple[Recognised, ...] = ()
    problem: str = ""
    other_use: str = ""

    @cached_property
    def said(self) -> frozenset[str]:
        """What it says of all medicines: that there are none, or no information."""
        return frozenset(one.sense.meaning for one in self.senses if one.sense.role == "says")

    @cached_property
    def relevant(self) -> bool:
        """Whether it names, or may name, a drug or class of ours."""
        return any(one.sense.role in ("drug", "class", "ambiguous") for one in self.senses)

    @cached_property
    def nothing(self) -> bool:
        """Whether it names something, and nothing that matters here."""
        return not (self.problem or self.other_use or self.said or self.relevant)

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """The drugs and classes that it names or may name."""
        return tuple(
            dict.fromkeys(subject for one in self.senses for subject in one.sense.may_be or (one.sense.subject,))
        )


def naming(entry: Entry, chart: Chart) -> Naming:
    """What a medication resource names, by its concept or its reference."""
    if entry.raw.get("medicationCodeableConcept") is not None:
        return _by_concept(entry, chart)
    raw = entry.raw.get("medicationReference")
    reference = raw if isinstance(raw, dict) else {}
    display = reference.get("display")
    shown = _by_display(display, chart)[0] if isinstance(display, str) and display else None
    found = chart.record.target(reference, entry.raw)
    if found is None:
        return shown or Naming(problem="it names no medicine that can be found")
    told = _of_medication(found, entry.raw, chart, _DEPTH)
    if shown is None or not shown.senses or (told.problem and _is_void(found)):
        return told
    return _together(told, shown, chart)


@by_content
def _by_concept(content: Content, chart: Chart) -> Naming:
    return named(content.raw["medicationCodeableConcept"], chart)


@by_text
def _by_display(text: str, chart: Chart) -> Iterator[Naming]:
    yield named({"text": text}, chart)


def _together(told: Naming, shown: Naming, chart: Chart) -> Naming:
    """A Medication and the display of the reference to it."""
    if not told.senses:
        return told if told.other_use else shown
    drugs, words = _drugs(told.senses), _drugs(shown.senses)
    return Naming(_either(told.senses, shown.senses)) if drugs and words and not _agree(drugs, words, chart) else told


def _is_void(medication: dict[str, Any]) -> bool:
    return medication.get("status") == "entered-in-error"


def _of_medication(found: dict[str, Any], holder: dict[str, Any], chart: Chart, depth: int) -> Naming:
    """What a Medication names: by its code, else by its ingredients."""
    if found.get("resourceType") != "Medication":
        return Naming(problem="its reference is no Medication")
    problem = "its Medication was entered in error" if _is_void(found) else fault(found)
    if problem:
        return Naming(problem=problem)
    own = named(found.get("code"), chart)
    if own.senses or own.other_use:
        return own
    parts = [_of_ingredient(one, holder, chart, depth) for one in objects(found.get("ingredient"))]
    senses = tuple(sense for part in parts for sense in part.senses)
    if senses:
        return Naming(_unique(senses))
    return next((part for part in parts if part.problem), own if not parts or not own.problem else parts[0])


def _of_ingredient(ingredient: dict[str, Any], holder: dict[str, Any], chart: Chart, depth: int) -> Naming:
    if ingredient.get("isActive") is False:
        return Naming()
    concept = ingredient.get("itemCodeableConcept")
    if concept is not None:
        return named(concept, chart)
    reference = ingredient.get("itemReference")
    found = chart.record.target(reference, holder) if depth else None
    return _of_medication(found, holder, chart, depth - 1) if found else Naming(problem="an ingredient cannot be found")


# ONE CONCEPT


def named(concept: Any, chart: Chart) -> Naming:
    """What a CodeableConcept of a medicine names."""
    coded = chart.recogniser.codes(concept)
    other = next((one for one in coded if one.sense.role == "not-this"), None)
    if other is not None:
        return Naming(other_use=f"another use ({other.how})")
    says = tuple(one for one in coded if one.sense.role == "says")
    if says:
        return Naming(says)
    text = text_of(concept)
    spoken = spoken_drugs(text, chart)
    senses = _by_code(concept, coded, spoken, chart) or spoken
    kept = tuple(one for one in senses if one.sense.meaning == "product" or not _in_another_use(one, text, chart))
    if senses and not kept:
        return Naming(other_use=f"another use, by its words ({senses[0].how})")
    if kept:
        return Naming(_unique(_beside(kept, text, chart)))
    return _without_drug(coded, text, chart)


def _beside(kept: tuple[Recognised, ...], text: str, chart: Chart) -> tuple[Recognised, ...]:
    """A treatment named in words beside 'nausea', 'premedication' and the like: it may be what another medicine goes
    with.
    """
    said = {one.sense.meaning for one in chart.recogniser.spoken("says:prior-medications", text)}
    if "accompanying" not in said:
        return kept
    return tuple(_only_perhaps(one) if one.sense.meaning in ("text", "regimen") else one for one in kept)


def _only_perhaps(one: Recognised) -> Recognised:
    why = "its words may name what it goes with"
    return Recognised(
        replace(one.sense, role="ambiguous", subject="drug", may_be=(one.sense.subject,), why=why), one.how
    )


def _without_drug(coded: tuple[Recognised, ...], text: str, chart: Chart) -> Naming:
    classes = tuple(one for one in coded if one.sense.role == "class")
    if classes:
        return Naming(_unique(classes))
    says = chart.recogniser.spoken("says:prior-medications", text)
    stated = tuple(one for one in says if one.sense.meaning in _STATEMENTS)
    if any(one.sense.meaning == "unnamed" for one in stated):
        return Naming(problem="it does not say which medicine it is")
    if not stated and not text and not coded:
        return Naming(problem="neither its codes nor any words tell which medicine it is")
    return Naming(_unique(stated))


def spoken_drugs(text: str, chart: Chart) -> tuple[Recognised, ...]:
    """The drugs that words name, without the drug that a named form is a form of ('Kadcyla (trastuzumab)'), and the
    classes of which no drug is named.
    """
    spoken = tuple(one for one in chart.recogniser.spoken("drug", text) if one.sense.role != "other")
    drugs = {one.sense.subject for one in spoken if one.sense.role == "drug"}
    parents = {parent for drug in drugs for parent in chart.drugs[drug].form_of}
    told = {name for drug in drugs for name in chart.classes_of(drug)}
    return tuple(one for one in spoken if one.sense.subject not in (told if one.sense.role == "class" else parents))


def _by_code(
    concept: Any, coded: tuple[Recognised, ...], spoken: tuple[Recognised, ...], chart: Chart
) -> tuple[Recognised, ...]:
    """What the codes name, where the words agree; nothing where no code names a drug."""
    words = _drugs(spoken)
    for level in _LEVELS:
        best = tuple(one for one in coded if one.sense.role == "drug" and one.sense.meaning == level)
        if best:
            drugs = _drugs(best)
            others = [one for one in (_drugs(senses) for senses in _each_coding(concept, chart)) if one]
            if any(not _agree(one, other, chart) for one, other in combinations(others, 2)):
                return _either(tuple(one for one in coded if one.sense.role == "drug"), best)
            if words and not words & drugs:
                more_precise = level == "ingredient" and all(set(chart.drugs[one].form_of) & drugs for one in words)
                return spoken if more_precise else _either(best, spoken)
            return best
    unclear = tuple(one for one in coded if one.sense.role == "ambiguous")
    if not unclear:
        return ()
    may_be = {drug for one in unclear for drug in one.sense.may_be}
    if words and words <= may_be and all(chart.drugs[one].form_of for one in words):
        return spoken
    return _either(unclear, spoken) if words - may_be else unclear


def _each_coding(concept: Any, chart: Chart) -> Iterator[tuple[Recognised, ...]]:
    for coding in objects(concept.get("coding")):
        yield chart.recogniser.codes({"coding": [coding]})


def _drugs(senses: Iterable[Recognised]) -> set[str]:
    return {one.sense.subject for one in senses if one.sense.role == "drug"}


def _agree(drugs: set[str], other: set[str], chart: Chart) -> bool:
    """Whether two namings can be of one medicine: they share a drug, or one names what the other is a form of."""
    forms = {parent for drug in drugs for parent in chart.drugs[drug].form_of}
    parents = {parent for drug in other for parent in chart.drugs[drug].form_of}
    return bool(drugs & other or forms & other or parents & drugs)


def _either(one: tuple[Recognised, ...], other: tuple[Recognised, ...]) -> tuple[Recognised, ...]:
    """Two namings that differ: it may be any of them."""
    drugs = tuple(sorted({drug for each in one + other for drug in each.sense.may_be or (each.sense.subject,)}))
    first, second = one[0], next((each for each in other if each.how != one[0].how), one[-1])
    sense = replace(first.sense, role="ambiguous", subject="drug", may_be=drugs, meaning="")
    return (Recognised(sense, f"{first.how}, but {second.how}"),)


def _in_another_use(named_: Recognised, text: str, chart: Chart) -> bool:
    drugs = named_.sense.may_be or (named_.sense.subject,)
    return all(chart.recogniser.spoken(f"not-with:{drug}", text) for drug in drugs)


def _unique(senses: tuple[Recognised, ...]) -> tuple[Recognised, ...]:
    return tuple({(one.sense.subject, one.sense.may_be): one for one in reversed(senses)}.values())
