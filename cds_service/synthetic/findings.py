"""Observations of a story: receptors, menopause, BRCA, fitness, calcium, as records of each shape have them."""

from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.synthetic.sheet import Resource, Sheet, date, status
from cds_service.synthetic.vocabulary import Element, coded, worded

_RECEPTORS = ("er", "pr", "her2")
_BOTH_WAYS = ("positive", "negative")


def findings(sheet: Sheet, facts: Mapping[str, Any]) -> Iterator[Resource]:
    """Every Observation that the story tells of, and the Conditions that tell the same where a shape has no code."""
    for fact in _RECEPTORS:
        answer = facts.get(fact)
        for count, one in enumerate(_BOTH_WAYS if answer == "conflict" else (answer,) if answer else ()):
            yield _receptor(sheet, fact, one, f"{fact}-{count}" if count else fact)
    for fact, answer in facts.get("withdrawn", {}).items():
        yield {**_receptor(sheet, fact, answer, f"{fact}-withdrawn"), "status": "entered-in-error"}
    if "menopause" in facts:
        yield _menopause(sheet, facts["menopause"])
    if "brca" in facts:
        yield from _brca(sheet, facts["brca"])
    if "fitness" in facts:
        yield _fitness(sheet, facts["fitness"])
    if "calcium" in facts:
        yield _calcium(sheet, facts["calcium"])
    for fact, name in (("extent", "extent"), ("organ-symptoms", "visceral-symptoms")):
        if fact in facts:
            yield in_words(sheet, fact, sheet.vocabulary.said(name, facts[fact]))


def observation(sheet: Sheet, name: str, profile: str, category: str, month: int, **elements: Any) -> Resource:
    """A final Observation."""
    return sheet.resource(
        "Observation",
        name,
        profile,
        status="final",
        category=[status("observation-category", category)],
        effectiveDateTime=date(month),
        **elements,
    )


def in_words(sheet: Sheet, name: str, text: str) -> Resource:
    """An entry of the problem list in words."""
    return sheet.resource(
        "Condition",
        name,
        clinicalStatus=status("condition-clinical", "active"),
        verificationStatus=status("condition-ver-status", "confirmed"),
        category=[status("condition-category", "problem-list-item")],
        code=worded(text[:1].upper() + text[1:]),
        recordedDate=date(sheet.times.today - 1),
    )


def _receptor(sheet: Sheet, fact: str, answer: str, name: str) -> Resource:
    way = sheet.vocabulary.phrases["receptors"][fact]
    own = way.get(sheet.shape, {})
    asked = own["by"] if answer in own.get("answers", ()) else way["by"]
    code = sheet.find("asks", fact, asked)
    elements: Element = {"code": coded(code) if code else worded(way["question"])}
    return observation(
        sheet,
        name,
        "mcode-tumor-marker-test",
        "laboratory",
        sheet.times.metastasis,
        **elements,
        **_value(sheet, fact, own.get("answers", {}).get(answer, answer)),
    )


def _value(sheet: Sheet, fact: str, told: str | int) -> Element:
    """A value as this way of asking has it: a percentage, a score, or the answer itself, in words where no code is."""
    if isinstance(told, int):
        unit = {"unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}
        return {"valueQuantity": {"value": told, **unit}}
    code = sheet.find("value", "value", told)
    if code:
        return {"valueCodeableConcept": coded(code)}
    coded_at_all = sheet.vocabulary.any_code("value", "value", told)
    return {"valueString": told.capitalize() if coded_at_all else sheet.vocabulary.said(fact, told).capitalize()}


def _menopause(sheet: Sheet, answer: str) -> Resource:
    icd = sheet.vocabulary.code("says", "menopause", answer, ("icd-10-cm",)) if sheet.shape == "us-core" else None
    text = sheet.vocabulary.said("menopause", answer)
    if icd:
        return {**in_words(sheet, "menopause", ""), "code": coded(icd)}
    if sheet.shape == "words":
        return in_words(sheet, "menopause", text)
    value = sheet.vocabulary.code("says", "menopause", answer, ("snomed",))
    return observation(
        sheet,
        "menopause",
        "",
        "social-history",
        sheet.times.today - 1,
        code=sheet.concept("asks", "menopause", "status"),
        valueCodeableConcept=coded(value) if value else worded(text),
    )


def _brca(sheet: Sheet, answer: str) -> Iterator[Resource]:
    if sheet.mcode:
        genes = ("brca1",) if answer == "mutated" else ("brca1", "brca2")
        for gene in genes:
            yield _variant(sheet, gene, answer == "mutated")
    elif sheet.shape == "us-core":
        yield _panel(sheet, answer)
    else:
        phrases = sheet.vocabulary.phrases["brca"]
        elements = {"code": worded(phrases["question"]), "valueString": phrases[answer]}
        yield observation(sheet, "brca", "", "laboratory", sheet.times.metastasis, **elements)


def _panel(sheet: Sheet, answer: str) -> Resource:
    """A panel without a mutation, or the finding of one."""
    if answer == "mutated":
        return {**in_words(sheet, "brca", ""), "code": sheet.concept("says", "brca", "mutated")}
    elements = {
        "code": sheet.concept("asks", "brca", "panel-result"),
        "valueCodeableConcept": sheet.concept("value", "value", "negative"),
    }
    return observation(sheet, "brca", "", "laboratory", sheet.times.metastasis, **elements)


def _variant(sheet: Sheet, gene: str, present: bool) -> Resource:
    answer = "positive" if present else "negative"
    found = sheet.vocabulary.displayed("value", "value", answer, sheet.vocabulary.phrases["variant"][answer])
    parts = [("gene", gene), *([("significance", "pathogenic")] if present else []), ("source-class", "germline")]
    return observation(
        sheet,
        gene,
        "mcode-genomic-variant",
        "laboratory",
        sheet.times.metastasis,
        code=sheet.concept("asks", "brca", "variant"),
        valueCodeableConcept=coded(found),
        component=[
            {"code": sheet.concept("asks", "brca", asked), "valueCodeableConcept": sheet.concept("says", "brca", said)}
            for asked, said in parts
        ],
    )


def _fitness(sheet: Sheet, answer: str) -> Resource:
    """An ECOG grade that the fact file reads as this answer, with the words of LOINC for it; else words."""
    grade = sheet.vocabulary.knowledge.facts["fitness"].more["scores"][answer][-1]
    if sheet.shape == "words":
        return in_words(sheet, "fitness", sheet.vocabulary.said("fitness", answer))
    meaning = sheet.vocabulary.code("says", "fitness", f"ecog-{grade}", ("loinc",))
    return observation(
        sheet,
        "ecog",
        "mcode-ecog-performance-status",
        "survey",
        sheet.times.today - 1,
        code=sheet.concept("asks", "fitness", "ecog"),
        valueInteger=int(grade),
        **({"interpretation": [coded(meaning)]} if meaning else {}),
    )


def _calcium(sheet: Sheet, answer: str) -> Resource:
    """A number with the laboratory's flag and range: the source names no limits, the laboratory does."""
    lab = sheet.vocabulary.phrases["calcium"]
    unit = {"unit": lab["unit"], "system": "http://unitsofmeasure.org", "code": lab["unit"]}
    bounds = {side: {"value": float(lab[side]), **unit} for side in ("low", "high")}
    return observation(
        sheet,
        "calcium",
        "",
        "laboratory",
        sheet.times.today - 1,
        code=sheet.concept("asks", "calcium", "total", "" if sheet.systems else lab["words"]),
        valueQuantity={"value": float(lab["answers"][answer]), **unit},
        interpretation=[status("v3-ObservationInterpretation", lab["flags"][answer])],
        referenceRange=[bounds],
    )
