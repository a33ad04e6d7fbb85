"""Fitness for chemotherapy: ECOG grades and explicit words."""

import re
from typing import Any

from cds_service.model import Fact, FactDefinition
from cds_service.patient.chart import Chart, Entry, by_question
from cds_service.patient.content import Content, Question
from cds_service.patient.dates import certainly_before
from cds_service.patient.elements import listed
from cds_service.patient.evidence import Evidence, Told, nothing
from cds_service.patient.recognise import Recognised, text_of
from cds_service.patient.results import results

_GRADE = re.compile(r"(?<![\d.])([0-5])(?![\d.%])")
_OTHER_SCALE = "a grade of another scale"
_OPEN = ("unclear", _OTHER_SCALE, *(f"ECOG {grade}" for grade in range(6)))


def fitness(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Fit or unfit by the ECOG grades that the fact file names, or by explicit words; other grades, and a grade of
    another scale that is newer than every ECOG grade, leave it unknown.
    """
    if chart.silent(definition.id):
        return nothing(definition)
    evidence = Evidence(definition)
    elsewhere: list[tuple[Entry, Recognised]] = []
    for entry, question in chart.questions(definition.id):
        if not evidence.admit(entry):
            continue
        if _is_of_another_scale(entry, question, chart):
            elsewhere.append((entry, question.asked))
        else:
            evidence.take(entry, _graded(entry, question, chart))
    _read_words(definition, chart, evidence)
    for entry, asked in elsewhere:
        if all(certainly_before(one.date, entry.date) for one in evidence.readings):
            evidence.read(entry, _OTHER_SCALE, asked.how)
        else:
            evidence.ignore(entry, _OTHER_SCALE)
    return evidence.single(_OPEN)


@by_question
def _is_of_another_scale(content: Content, question: Question, chart: Chart) -> bool:
    return question.asked.sense.meaning == "karnofsky" or bool(chart.recogniser.spoken("other_scale", content.text))


@by_question
def _graded(content: Content, question: Question, chart: Chart) -> Told:
    """What the grades and the words of one answer come to."""
    asked, element = question.asked, question.element
    by_grade = _by_grade(chart.knowledge.facts[asked.sense.subject])
    grades, readable = _grades(content, element, chart)
    answers = {by_grade.get(grade, f"ECOG {grade}") for grade in grades}
    said = chart.recogniser.spoken("says:fitness", text_of(element.get("valueString")))
    answers |= {one.sense.meaning for one in said}
    if readable and len(answers) == 1:
        return Told(answers.pop(), said[0].how if said else asked.how)
    if not answers and not results(element, chart.recogniser):
        return Told(aside="no ECOG grade that can be read")
    return Told("unclear", asked.how, "contradicts itself" if answers else "cannot be read")


def _by_grade(definition: FactDefinition) -> dict[str, str]:
    return {grade: answer for answer, grades in definition.more["scores"].items() for grade in grades}


def _grades(content: Content, element: dict[str, Any], chart: Chart) -> tuple[set[str], bool]:
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
        texts.append(content.text)
    return grades | {grade for text in texts for grade in _GRADE.findall(text)}, readable


def _read_words(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    for entry, said in chart.told(definition.id, "Condition", "Observation"):
        if not entry.content.asks(definition.id) and evidence.admit(entry):
            evidence.read(entry, said[0].sense.meaning, said[0].how)
