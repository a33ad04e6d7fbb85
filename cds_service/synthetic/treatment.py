"""Treatment of a story: what was given and how it ended, what was refused, what is not tolerated."""

from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.synthetic.sheet import MCODE, Resource, Sheet, date, status
from cds_service.synthetic.vocabulary import Element, coded, worded

_STATUS = {"as-planned": "completed", "": "active"}
#: what the fact file calls the reason of an ending; a reason that is not on record has none
_REASONS = {"progression": "progression", "not-tolerated": "not-tolerated", "as-planned": "planned"}

_INGREDIENT_FIRST = ("ingredient", "ingredient-form", "product")
_PRODUCT_FIRST = ("product", "ingredient", "ingredient-form")


def treatment(sheet: Sheet, facts: Mapping[str, Any]) -> Iterator[Resource]:
    """Every medication, refusal and intolerance that the story tells of."""
    for count, regimen in enumerate(facts.get("given", ())):
        for drug in regimen["drugs"]:
            yield from _given(sheet, drug, regimen, count)
    for target in facts.get("refused", ()):
        yield _refused(sheet, target)
    for target in facts.get("contraindicated", ()):
        yield _not_tolerated(sheet, target)


def _given(sheet: Sheet, drug: str, regimen: Mapping[str, Any], count: int) -> Iterator[Resource]:
    name = f"{count + 1}-{drug}"
    ended = regimen.get("ended", "")
    elements: Element = {"status": _STATUS.get(ended, "stopped"), **_setting(sheet, regimen.get("setting", ""))}
    start, end = sheet.times.regimens[count]
    period = {"start": date(start), **({"end": date(end)} if ended else {})}
    dated = "setting" in regimen
    if sheet.shape == "words":
        elements["medicationCodeableConcept"] = worded(sheet.vocabulary.named(drug).capitalize())
        elements |= {"statusReason": [_reason(sheet, ended)]} if ended in _REASONS else {}
        elements |= {"effectivePeriod": period} if dated else {}
        yield sheet.resource("MedicationStatement", name, **elements)
        return
    if ended in _REASONS:
        elements["statusReason"] = _reason(sheet, ended)
    if dated:
        elements |= {"authoredOn": date(start), "dispenseRequest": {"validityPeriod": period}}
    medicine, listed = _medicine(sheet, drug, name)
    yield from listed
    yield sheet.resource(
        "MedicationRequest",
        name,
        "mcode-cancer-related-medication-request",
        intent="order",
        requester={"display": "Oncology clinic"},
        **medicine,
        **elements,
    )


def _medicine(sheet: Sheet, drug: str, name: str) -> tuple[Element, list[Resource]]:
    """The ingredient, on the order itself; in the US Core shape the product, in a Medication that it points at."""
    if sheet.shape != "us-core":
        return {"medicationCodeableConcept": _drug(sheet, drug, _INGREDIENT_FIRST)}, []
    concept = _drug(sheet, drug, _PRODUCT_FIRST)
    shown = concept["text"] if "text" in concept else concept["coding"][0]["display"]
    reference = {**sheet.reference("Medication", f"{name}-product"), "display": shown}
    return {"medicationReference": reference}, [sheet.resource("Medication", f"{name}-product", code=concept)]


def _drug(sheet: Sheet, drug: str, levels: tuple[str, ...]) -> Element:
    """A drug by the code of the first of these levels that has one, else by its name."""
    found = next((code for level in levels if (code := sheet.find("drug", drug, level))), None)
    return coded(found) if found else worded(sheet.vocabulary.named(drug).capitalize())


def _setting(sheet: Sheet, setting: str) -> Element:
    """The setting as an intent (mCODE) or as a reason in words; a story that does not tell it has neither."""
    elements: Element = {"reasonReference": [sheet.reference("Condition", "cancer")]} if sheet.mcode else {}
    if setting and sheet.mcode:
        intent = sheet.concept("setting", "prior-medications", setting)
        elements["extension"] = [{"url": f"{MCODE}mcode-procedure-intent", "valueCodeableConcept": intent}]
    elif setting:
        elements["reasonCode"] = [worded(sheet.vocabulary.setting(setting).capitalize())]
    return elements


def _reason(sheet: Sheet, ended: str) -> Element:
    meaning = _REASONS[ended]
    return sheet.concept("says", "progressed-on", meaning, "" if sheet.systems else _spoken(sheet, meaning))


def _spoken(sheet: Sheet, meaning: str) -> str:
    return sheet.vocabulary.said("progressed-on", meaning).capitalize()


def _refused(sheet: Sheet, target: str) -> Resource:
    """A class of treatment as a procedure that was not done, a drug as an order that was cancelled."""
    reason = _reason_refused(sheet)
    if sheet.systems and target in sheet.vocabulary.knowledge.drugs:
        medicine = {"medicationCodeableConcept": _drug(sheet, target, _INGREDIENT_FIRST)}
        order: Element = {"status": "cancelled", "intent": "order", "statusReason": reason, **medicine}
        return sheet.resource("MedicationRequest", f"refused-{target}", authoredOn=_lately(sheet), **order)
    words = sheet.vocabulary.named(target).capitalize()
    code = sheet.concept("target", "refusals", target, words if not sheet.find("target", "refusals", target) else "")
    return sheet.resource("Procedure", f"refused-{target}", status="not-done", statusReason=reason, code=code)


def _reason_refused(sheet: Sheet) -> Element:
    return sheet.concept("says", "progressed-on", "refused", "" if sheet.systems else _spoken(sheet, "refused"))


def _not_tolerated(sheet: Sheet, target: str) -> Resource:
    is_drug = target in sheet.vocabulary.knowledge.drugs
    code = None if is_drug else sheet.find("class", target, "")
    return sheet.resource(
        "AllergyIntolerance",
        f"allergy-{target}",
        clinicalStatus=status("allergyintolerance-clinical", "active"),
        verificationStatus=status("allergyintolerance-verification", "confirmed"),
        code=coded(code) if code else _drug(sheet, target, _INGREDIENT_FIRST),
        recordedDate=_lately(sheet),
    )


def _lately(sheet: Sheet) -> str:
    return date(sheet.times.today - 1)
