"""Blood calcium as the laboratory flags it or its reference range says; the sources name no limits."""

from typing import Any

from cds_service.model import Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, by_content, by_question
from cds_service.patient.content import Content, Question
from cds_service.patient.evidence import Evidence, Told, nothing
from cds_service.patient.recognise import plain_codes
from cds_service.patient.results import Result, denied, flagged, results, unit_of

_OVER = {"inactive", "remission", "resolved"}
#: the ways of asking whose answer does not depend on albumin
_BEFORE_TOTAL = ("corrected", "ionized")


def calcium(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """High, normal or low. A corrected or ionized result counts before a total one of its day; a total that is not
    high is unclear beside a low albumin.
    """
    if chart.silent(definition.id):
        return nothing(definition)
    evidence = Evidence(definition)
    methods: dict[Reading, str] = {}
    albumin: set[str] = set()
    for entry, question in chart.questions(definition.id):
        if question.asked.sense.meaning == "albumin":
            if _is_low(entry, question, chart) and not (entry.unreadable or entry.no_evidence):
                albumin.add(entry.date)
        elif evidence.admit(entry):
            told = _measured(entry, question, chart)
            evidence.take(entry, told)
            if told.answer:
                methods.setdefault(evidence.readings[-1], question.asked.sense.meaning)
    _read_diagnoses(definition, chart, evidence)
    _correct(evidence, methods, albumin - {""})
    return evidence.single(open_answers=("unclear",))


@by_question
def _is_low(content: Content, question: Question, chart: Chart) -> bool:
    return "low" in _levels(question.element, chart)


@by_question
def _measured(content: Content, question: Question, chart: Chart) -> Told:
    """What one result comes to."""
    asked, levels = question.asked, _levels(question.element, chart)
    if asked.sense.meaning == "text" and chart.recogniser.spoken("not_blood", content.text):
        return Told(aside="not of the blood")
    if not levels:
        return Told(aside="neither flagged nor with a reference range that settles it")
    if len(levels) == 1:
        return Told(levels.pop(), asked.how)
    return Told("unclear", asked.how, "contradicts itself")


def _read_diagnoses(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    for entry, said in chart.saying(definition.id):
        if not _is_over(entry, chart) and not denied(entry, said, chart.recogniser) and evidence.admit(entry):
            evidence.read(entry, said.sense.meaning, said.how)
    for entry, told in chart.told(definition.id, "Condition"):
        if not entry.codes and not _is_over(entry, chart) and evidence.admit(entry):
            evidence.read(entry, told[0].sense.meaning, told[0].how)


@by_content
def _is_over(content: Content, chart: Chart) -> bool:
    return bool(plain_codes(content.raw.get("clinicalStatus")) & _OVER)


def _correct(evidence: Evidence, methods: dict[Reading, str], low_albumin: set[str]) -> None:
    """Set total results aside where the day has a better one, make them unclear where a low albumin may mislead."""
    better = {one.date for one, method in methods.items() if method in _BEFORE_TOTAL and one.date}
    readings = []
    for one in evidence.readings:
        total = one in methods and methods[one] not in _BEFORE_TOTAL
        if total and one.date in better:
            evidence.set_aside.append((one.reference, f"{one.answer}; a corrected or ionized result of the day counts"))
        elif total and one.date in low_albumin and one.answer in ("low", "normal"):
            evidence.doubts[one.reference] = f"says {one.answer} but is not corrected for the low albumin of the day"
            readings.append(one._replace(answer="unclear"))
        else:
            readings.append(one)
    evidence.readings = readings


def _levels(element: dict[str, Any], chart: Chart) -> set[str]:
    """What the flags and the reference range say."""
    levels = flagged(element)
    ranges = element.get("referenceRange")
    row = ranges[0] if isinstance(ranges, list) and len(ranges) == 1 and isinstance(ranges[0], dict) else {}
    return levels | {level for one in results(element, chart.recogniser) if (level := _by_range(one, row))}


def _by_range(found: Result, row: dict[str, Any]) -> str:
    if found.quantity is None:
        return ""
    low, high = (_bound(row.get(name), found.unit) for name in ("low", "high"))
    if high is not None and found.quantity.exceeds(high):
        return "high"
    if low is not None and found.quantity.stays_below(low):
        return "low"
    if low is None or high is None:
        return ""
    return "normal" if found.quantity.low >= low and found.quantity.high <= high else ""


def _bound(bound: Any, unit: str) -> float | None:
    number = bound.get("value") if isinstance(bound, dict) else None
    known = isinstance(number, int | float) and not isinstance(number, bool)
    return float(number) if known and unit_of(bound) in ("", unit) else None  # type: ignore[arg-type]
