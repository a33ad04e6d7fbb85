"""Fitness for chemotherapy: ECOG grades and explicit words."""

import re
from typing import Any

from cds_service.model import Fact, FactDefinition
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.dates import certainly_before
from cds_service.patient.elements import listed
from cds_service.patient.evidence import Evidence
from cds_service.patient.recognise import Recognised, text_of
from cds_service.patient.results import results

_GRADE = re.compile(r"(?<![\d.])([0-5])(?![\d.%])")
_OTHER_SCALE = "a grade of another scale"


def fitness(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Fit or unfit by the ECOG grades that the fact file names, or by explicit words; other grades, and a grade of
    another scale that is newer than every ECOG grade, leave it unknown.
    """
    evidence = Evidence(definition)
    by_grade = {grade: answer for answer, grades in definition.more["scores"].items() for grade in grades}
    elsewhere: list[tuple[Entry, Recognised]] = []
    for entry, asked, element in chart.asking(definition.id):
        if not evidence.admit(entry):
            continue
        if asked.sense.meaning == "karnofsky" or chart.recogniser.spoken("other_scale", entry.text):
            elsewhere.append((entry, asked))
        else:
            _read_grade(evidence, entry, asked, element, chart, by_grade)
    _read_words(definition, chart, evidence)
    for entry, asked in elsewhere:
        if all(certainly_before(one.date, entry.date) for one in evidence.readings):
            evidence.read(entry, _OTHER_SCALE, asked.how)
        else:
            evidence.ignore(entry, _OTHER_SCALE)
    return evidence.single(open_answers=("unclear", _OTHER_SCALE, *(f"ECOG {grade}" for grade in range(6))))


def _read_grade(
    evidence: Evidence,
    entry: Entry,
    asked: Recognised,
    element: dict[str, Any],
    chart: Chart,
    by_grade: dict[str, str],
) -> None:
    grades, readable = _grades(entry, element, chart)
    answers = {by_grade.get(grade, f"ECOG {grade}") for grade in grades}
    said = chart.recogniser.spoken("says:fitness", text_of(element.get("valueString")))
    answers |= {one.sense.meaning for one in said}
    if readable and len(answers) == 1:
        evidence.read(entry, answers.pop(), said[0].how if said else asked.how)
    elif not answers and not results(element, chart.recogniser):
        evidence.ignore(entry, "no ECOG grade that can be read")
    else:
        evidence.read(entry, "unclear", asked.how)
        evidence.doubt(entry, "contradicts itself" if answers else "cannot be read")


def _grades(entry: Entry, element: dict[str, Any], chart: Chart) -> tuple[set[str], bool]:
    """Every grade that the values and the interpretation give; whether each of the values could be read."""
    grades: set[str] = set()
    readable = True
    texts = [text_of(element.get("valueString"))]
    for concept in (element.get("valueCodeableConcept"), *listed(element.get("interpretation"))):
        coded = [one.sense for one in chart.recogniser.codes(concept) if one.sense.subject == "fitness"]
        grades |= {sense.meaning.removeprefix("ecog-") for sense in coded if sense.role == "says"}
        texts += [] if coded else [text_of(concept)]
    found = results(element, chart.recogniser)
    for one in found:
        if one.quantity is not None and not one.text:
            whole = one.number is not None and one.number in range(6)
            readable = readable and whole
            grades |= {f"{one.number:g}"} if whole else set()
    if not found and not grades:
        texts.append(entry.text)
    return grades | {grade for text in texts for grade in _GRADE.findall(text)}, readable


def _read_words(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    asking = {entry.reference for entry, _, _ in chart.asking(definition.id)}
    for entry, said in chart.told(definition.id, "Condition", "Observation"):
        if entry.reference not in asking and evidence.admit(entry):
            evidence.read(entry, said[0].sense.meaning, said[0].how)
