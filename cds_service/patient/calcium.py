"""Blood calcium as the laboratory flags it or its reference range says; the sources name no limits."""

from typing import Any

from cds_service.model import Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.evidence import Evidence
from cds_service.patient.recognise import Recognised, plain_codes
from cds_service.patient.results import Result, denied, flagged, results, unit_of

_OVER = {"inactive", "remission", "resolved"}
#: the ways of asking whose answer does not depend on albumin
_BEFORE_TOTAL = ("corrected", "ionized")


def calcium(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """High, normal or low. A corrected or ionized result counts before a total one of its day; a total that is not
    high is unclear beside a low albumin.
    """
    evidence = Evidence(definition)
    methods: dict[Reading, str] = {}
    albumin: set[str] = set()
    for entry, asked, element in chart.asking(definition.id):
        if asked.sense.meaning == "albumin":
            if "low" in _levels(element, chart) and not (entry.unreadable or entry.no_evidence):
                albumin.add(entry.date)
        elif evidence.admit(entry):
            _read_result(evidence, entry, asked, element, chart)
            methods |= {one: asked.sense.meaning for one in evidence.readings if one not in methods}
    _read_diagnoses(definition, chart, evidence)
    _correct(evidence, methods, albumin - {""})
    return evidence.single(open_answers=("unclear",))


def _read_result(evidence: Evidence, entry: Entry, asked: Recognised, element: dict[str, Any], chart: Chart) -> None:
    levels = _levels(element, chart)
    if asked.sense.meaning == "text" and chart.recogniser.spoken("not_blood", entry.text):
        evidence.ignore(entry, "not of the blood")
    elif not levels:
        evidence.ignore(entry, "neither flagged nor with a reference range that settles it")
    elif len(levels) == 1:
        evidence.read(entry, levels.pop(), asked.how)
    else:
        evidence.read(entry, "unclear", asked.how)
        evidence.doubt(entry, "contradicts itself")


def _read_diagnoses(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    for entry, said in chart.saying(definition.id):
        over = plain_codes(entry.raw.get("clinicalStatus")) & _OVER or denied(entry, said, chart.recogniser)
        if not over and evidence.admit(entry):
            evidence.read(entry, said.sense.meaning, said.how)
    for entry, told in chart.told(definition.id, "Condition"):
        over = plain_codes(entry.raw.get("clinicalStatus")) & _OVER
        if not entry.codes and not over and evidence.admit(entry):
            evidence.read(entry, told[0].sense.meaning, told[0].how)


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
