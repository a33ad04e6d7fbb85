"""A laboratory answer in any of the shapes that records use: code, words, percent, score, ratio, flag."""

import re
from typing import Any, NamedTuple

from cds_service.patient.elements import listed
from cds_service.patient.recognise import Recogniser, plain_codes, senses_of, text_of

_PERCENT = re.compile(r"([<>≥≤]=?)?\s*(\d+(?:\.\d+)?)\s*(?:-\s*\d+\s*)?%")
_SCORE = re.compile(
    r"(?<![\d.+])([0-3])\s*\+|(?:ihc|score)\s*:?\s*(?:score\s*)?(?:of\s*)?([0-3])(?![\d.%])|^\s*([0-3])\s*$"
)
_RATIO = re.compile(r"ratio\s*(?:of|is|:|=)?\s*(\d+(?:\.\d+)?)")
#: HL7 v3 ObservationInterpretation codes that say an answer by themselves
_FLAGS = {"POS": "positive", "NEG": "negative", "DET": "positive", "ND": "negative", "IND": "unknown", "E": "equivocal"}


class Result(NamedTuple):
    """What one value says: a word (positive, negative, equivocal, unknown), a score, a number with its unit."""

    word: str = ""
    score: str = ""
    number: float | None = None
    unit: str = ""
    percent: bool = False
    how: str = ""


def result(element: dict[str, Any], recogniser: Recogniser) -> Result | None:
    """Read the value of an Observation or component; None where it has none."""
    concept = element.get("valueCodeableConcept")
    if isinstance(concept, dict):
        return _from_concept(concept, recogniser)
    for name in ("valueString", "valueBoolean", "valueQuantity", "valueInteger"):
        if name in element:
            return _from_plain(element[name], recogniser)
    for concept in listed(element.get("interpretation")):
        for code in sorted(plain_codes(concept)):
            if code in _FLAGS:
                return Result(_FLAGS[code], how=f"the interpretation {code}")
    return None


def _from_concept(concept: dict[str, Any], recogniser: Recogniser) -> Result:
    values = senses_of(recogniser.codes(concept), "value")
    how = "; ".join(one.how for one in recogniser.codes(concept) if one.sense.role == "value")
    spoken = from_text(text_of(concept), recogniser)
    if not values:
        return spoken
    meanings = {sense.meaning for sense in values}
    if len(meanings) > 1 or _contradicts(next(iter(meanings)), spoken):
        return Result("unknown", how=f"{how}, which its other code or its text contradicts")
    meaning = next(iter(meanings))
    return Result(score=meaning, how=how) if meaning[0].isdigit() else Result(meaning, how=how)


def _contradicts(meaning: str, spoken: Result) -> bool:
    return {meaning, spoken.word} == {"positive", "negative"}


def _from_plain(value: Any, recogniser: Recogniser) -> Result:
    if isinstance(value, bool):
        return Result("positive" if value else "negative", how=f"the value {str(value).lower()}")
    if isinstance(value, str):
        return from_text(" ".join(value.lower().split()), recogniser)
    if isinstance(value, int):
        return Result(number=float(value), how="a whole number")
    number = value.get("value") if isinstance(value, dict) else None
    if isinstance(number, bool) or not isinstance(number, int | float):
        return Result("unknown", how="a quantity without a number")
    unit = value.get("code") or value.get("unit") or ""
    if value.get("comparator") in ("<", "<=", ">", ">="):
        return _compared(float(number), value["comparator"], str(unit))
    return Result(number=float(number), unit=str(unit), percent=unit == "%", how="a quantity")


def _compared(number: float, comparator: str, unit: str) -> Result:
    if unit != "%":
        return Result("unknown", how="a quantity with a comparator")
    nudge = -0.001 if comparator == "<" else 0.001 if comparator == ">" else 0.0
    if comparator == "<" and number > 1:
        return Result("unknown", how="a quantity with a comparator")
    return Result(number=number + nudge, unit="%", percent=True, how="a quantity with a comparator")


def from_text(text: str, recogniser: Recogniser) -> Result:
    """Read lower-case words such as 'positive (95%)', '3+', 'not amplified', 'ratio 1.1'."""
    words = {one.sense.meaning: one.how for one in recogniser.spoken("value", text)}
    percent, score, ratio = _PERCENT.search(text), _SCORE.search(text), _RATIO.search(text)
    definite = [word for word in ("positive", "negative", "equivocal") if word in words]
    word = definite[0] if len(definite) == 1 else "unknown" if len(definite) > 1 or "unknown" in words else ""
    how = "; ".join(sorted(set(words.values()))) or "words"
    if score:
        return Result(word, next(group for group in score.groups() if group), how=how if words else "a score in words")
    if ratio:
        return Result(word, number=float(ratio.group(1)), unit="ratio", how="a ratio in words")
    if percent:
        number = float(percent.group(2))
        compared = _compared(number, percent.group(1) or "", "%") if percent.group(1) else Result(number=number)
        return Result(
            word, number=compared.number, unit="%", percent=True, how=how if words else "a percentage in words"
        )
    return Result(word, how=how)
