"""What every record holds besides its story: visits with vital signs and blood counts, other complaints."""

from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any

from cds_service.synthetic.sheet import Resource, Sheet, date, status
from cds_service.synthetic.vocabulary import Element


def visits(sheet: Sheet, times: int, besides: Iterable[str]) -> Iterator[Resource]:
    """`times` visits, the last in the month of the reference date, and the other conditions named by `besides`."""
    by_chance = Random(sheet.patient)
    for count in range(times):
        yield from _visit(sheet, count, sheet.times.today - 2 * (times - 1 - count), by_chance)
    for name in besides:
        yield from _besides(sheet, name)


def _visit(sheet: Sheet, count: int, month: int, by_chance: Random) -> Iterator[Resource]:
    phrases = sheet.vocabulary.phrases
    day = date(month, 2 + int(by_chance.random() * 20))
    visit = f"visit-{count + 1}"
    elements: Element = {"class": {**status("v3-ActCode", "AMB")["coding"][0], "display": "ambulatory"}}
    elements |= {"type": [_concept(sheet, phrases["visit"])], "period": {"start": day, "end": day}}
    yield sheet.resource("Encounter", visit, status="finished", **elements)
    for row in phrases["measured"]:
        yield _measured(sheet, row, f"{visit}-{row['name']}", visit, day, by_chance)


def _measured(sheet: Sheet, row: Mapping[str, Any], name: str, visit: str, day: str, by_chance: Random) -> Resource:
    parts = row.get("parts")
    elements: Element = {"status": "final", "category": [status("observation-category", row["category"])]}
    if parts:
        elements["component"] = [
            {"code": _concept(sheet, part), "valueQuantity": _quantity(part, by_chance)} for part in parts
        ]
    else:
        elements["valueQuantity"] = _quantity(row, by_chance)
    elements |= {"effectiveDateTime": day, "encounter": sheet.reference("Encounter", visit)}
    return sheet.resource("Observation", name, code=_concept(sheet, row), **elements)


def _quantity(row: Mapping[str, Any], by_chance: Random) -> Element:
    low, high = float(row["from"]), float(row["to"])
    number = round(low + (high - low) * by_chance.random(), 1)
    return {"value": number, "unit": row["unit"], "system": "http://unitsofmeasure.org", "code": row["unit"]}


def _besides(sheet: Sheet, name: str) -> Iterator[Resource]:
    """Another complaint with its medicine, neither of which any fact reads."""
    row = sheet.vocabulary.phrases["besides"][name]
    yield sheet.resource(
        "Condition",
        name,
        clinicalStatus=status("condition-clinical", "active"),
        verificationStatus=status("condition-ver-status", "confirmed"),
        category=[status("condition-category", "problem-list-item")],
        code=_concept(sheet, row["complaint"]),
        recordedDate=date(sheet.times.diagnosis - 12),
    )
    yield sheet.resource(
        "MedicationRequest",
        f"{name}-medicine",
        status="active",
        intent="order",
        medicationCodeableConcept=_concept(sheet, row["medicine"]),
        authoredOn=date(sheet.times.diagnosis - 12),
    )


def _concept(sheet: Sheet, row: Mapping[str, Any]) -> Element:
    if sheet.shape == "words":
        return {"text": row["display"]}
    return {"coding": [{name: row[name] for name in ("system", "code", "display")}]}
