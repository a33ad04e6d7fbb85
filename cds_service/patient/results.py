"""A laboratory answer in any of the shapes that records use: code, words, percent, score, ratio, flag.

One element may answer several times (a value and an interpretation, a value beside the reason for its absence): every
signal is read by itself, and whoever asks compares them. Numbers are read as the span they leave open: "<10 %" may be
none at all.
"""

import re
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple

from cds_service.patient.chart import Entry
from cds_service.patient.elements import listed
from cds_service.patient.recognise import Recognised, Recogniser, plain_codes, senses_of, text_of

#: HL7 v3 ObservationInterpretation codes that say an answer by themselves; high, low and abnormal do not
_FLAGS = {"POS": "positive", "NEG": "negative", "DET": "positive", "ND": "negative", "IND": "unknown", "E": "equivocal"}
#: and those that say on which side of its reference range a value lies
_LEVELS = {
    **dict.fromkeys(("H", "HH", "HU"), "high"),
    **dict.fromkeys(("L", "LL", "LU"), "low"),
    "N": "normal",
}
_DEFINITE = ("positive", "negative", "equivocal")
_VALUES = (
    "valueCodeableConcept", "valueString", "valueBoolean", "valueQuantity", "valueInteger", "valueRange", "valueRatio",
)  # fmt: skip

# HOW NUMBERS ARE WRITTEN

_SIGNS = (
    (re.compile(r"(?:greater|more) than or equal to|at least|≥|=>"), ">="),
    (re.compile(r"(?:less|fewer) than or equal to|at most|up to|≤|=<"), "<="),
    (re.compile(r"(?:greater|more|higher) than|\b(?:over|above)\b"), ">"),
    (re.compile(r"(?:less|fewer|lower) than|\b(?:under|below)\b"), "<"),
    (re.compile(r"\bper ?cent\b"), "%"),
    (re.compile(r"(?<=\d),(?=\d{1,2}(?!\d))"), "."),
    (re.compile(r"[–—]"), "-"),
)
_NUMBER = r"\d+(?:\.\d+)?"
_SPAN = rf"([<>]=?)?\s*({_NUMBER})(?:\s*%?\s*(?:-|to)\s*({_NUMBER}))?"
_PERCENT = re.compile(rf"(?<![\w.]){_SPAN}\s*%")
_RATIO = re.compile(rf"ratio\s*(?:of|is|was|:|=)?\s*{_SPAN}(?![\d.%+])")
_COPIES = re.compile(
    rf"cop(?:y|ies)(?: numbers?)?(?: ?(?:per|/) ?(?:cell|nucleus))?\s*(?:of|is|was|:|=)?\s*{_SPAN}(?![\d.%+])"
    rf"|{_SPAN}\s*(?:\w+ )?(?:copies|signals)\b"
)
_SCORES = (
    re.compile(r"(?<![\d.+])([0-3])\s*\+?\s*(?:-|/|to|or)\s*([0-3])\s*\+"),
    re.compile(r"(?<![\d.+])([0-3])\s*\+(?!\d)"),
    re.compile(r"(?<![\w+])\+\s*([0-3])(?![\d.%])"),
    re.compile(r"(?:ihc|score)\s*:?\s*(?:score\s*)?(?:of\s*|is\s*|=\s*)?([0-3])(?![\d.%+/])"),
    re.compile(r"^\s*([0-3])\s*$"),
)
_PLAIN = re.compile(rf"\s*{_SPAN}\s*")
_PLUSES = re.compile(r"(?<![\w+])(\+{1,4})(?![\w+])")


class Span(NamedTuple):
    """What a number leaves open, from `low` to `high`; a bound marked as open is not itself included."""

    low: float
    high: float
    open_high: bool = False
    open_low: bool = False

    def exceeds(self, limit: float) -> bool:
        """Whether all of it is above the limit."""
        return self.low > limit or (self.open_low and self.low >= limit)

    def reaches(self, limit: float) -> bool:
        """Whether all of it is at the limit or above."""
        return self.low >= limit

    def stays_below(self, limit: float) -> bool:
        """Whether all of it is below the limit."""
        return self.high < limit or (self.open_high and self.high <= limit)


def span(number: float, comparator: str = "", upper: float | None = None) -> Span:
    """The span of a number with FHIR's comparator, or of a range."""
    if comparator in ("<", "<="):
        return Span(-inf, number, comparator == "<")
    if comparator in (">", ">="):
        return Span(number, inf, open_low=comparator == ">")
    return Span(number, number if upper is None else upper)


class Result(NamedTuple):
    """What one signal says: a word (positive, negative, equivocal; unknown for an answer that settles nothing, none for
    no answer), scores of staining, spans of percent, a ratio, copies per nucleus, a number with its unit.
    """

    word: str = ""
    how: str = ""
    scores: tuple[str, ...] = ()
    pluses: int = 0
    percents: tuple[Span, ...] = ()
    ratio: Span | None = None
    copies: Span | None = None
    quantity: Span | None = None
    unit: str = ""
    text: str = ""

    @property
    def number(self) -> float | None:
        """The number of a quantity without a comparator."""
        exact = self.quantity is not None and self.quantity.low == self.quantity.high
        return self.quantity.low if exact and self.quantity else None

    @property
    def score(self) -> str:
        """The only score; '' where there is none or more than one."""
        return self.scores[0] if len(self.scores) == 1 else ""


def results(element: dict[str, Any], recogniser: Recogniser) -> list[Result]:
    """Every signal of an Observation or component: each value[x], the flags, and a reason why there is no value."""
    found = [_from_value(name, element[name], recogniser) for name in _VALUES if name in element]
    if found and "dataAbsentReason" in element:
        found.append(Result("unknown", "a reason why there is no value"))
    for concept in listed(element.get("interpretation")):
        found += _from_interpretation(concept, recogniser)
    return found


def _from_interpretation(concept: Any, recogniser: Recogniser) -> list[Result]:
    """What an interpretation says: by HL7's flags, or as a value would, by a code or words for an answer."""
    said = {_FLAGS[code]: f"the interpretation {code}" for code in sorted(plain_codes(concept) & _FLAGS.keys())}
    spoken = _from_concept(concept, recogniser)
    if spoken.word not in ("", "none"):
        said.setdefault(spoken.word, f"the interpretation: {spoken.how}")
    return [Result(word, how) for word, how in said.items()]


def result(element: dict[str, Any], recogniser: Recogniser) -> Result | None:
    """The first signal of an Observation or component; None where it has none."""
    found = results(element, recogniser)
    return found[0] if found else None


def denied(entry: Entry, said: Recognised, recogniser: Recogniser) -> bool:
    """Whether an Observation whose own code is a finding ('postmenopausal') has a value that does not affirm it."""
    if entry.kind != "Observation" or said not in entry.codes:
        return False
    found = results(entry.raw, recogniser)
    return "dataAbsentReason" in entry.raw or not all(affirms(one, recogniser) for one in found)


def affirms(found: Result, recogniser: Recogniser) -> bool:
    """Whether a signal says yes, and nothing else."""
    return found.word == "positive" or (found.word == "" and bool(recogniser.spoken("affirmed", found.text)))


def flagged(element: dict[str, Any]) -> set[str]:
    """High, low or normal, as the laboratory flags it; two flags may disagree."""
    flags = {code for one in listed(element.get("interpretation")) for code in plain_codes(one)}
    return {_LEVELS[code] for code in flags & _LEVELS.keys()}


def _from_value(name: str, value: Any, recogniser: Recogniser) -> Result:
    if name == "valueCodeableConcept":
        return _from_concept(value, recogniser)
    if name == "valueString":
        return from_text(text_of(value), recogniser)
    if isinstance(value, bool):
        return Result("positive" if value else "negative", f"the value {str(value).lower()}")
    if name == "valueInteger" and isinstance(value, int):
        return Result(how="a whole number", quantity=span(float(value)))
    read = {"valueQuantity": _from_quantity, "valueRange": _from_range, "valueRatio": _from_ratio}.get(name)
    return (
        read(value) if read and isinstance(value, dict) else Result("unknown", "a value of another kind than it says")
    )


def _from_concept(concept: Any, recogniser: Recogniser) -> Result:
    recognised = [one for one in recogniser.codes(concept) if one.sense.role == "value"]
    how = "; ".join(one.how for one in recognised)
    spoken = from_text(text_of(concept), recogniser)
    meanings = {sense.meaning for sense in senses_of(tuple(recognised), "value")}
    if not meanings:
        return spoken
    if len(meanings) > 1 or _contradicts(next(iter(meanings)), spoken):
        return Result("unknown", f"{how}, which its other code or its text contradicts")
    meaning = next(iter(meanings))
    return Result("", how, scores=(meaning[0],)) if meaning[0].isdigit() else spoken._replace(word=meaning, how=how)


def _contradicts(meaning: str, spoken: Result) -> bool:
    """Whether the words beside a code say another answer than the code."""
    if meaning[0].isdigit():
        return bool(spoken.scores) and spoken.scores != (meaning[0],)
    if meaning in _DEFINITE:
        return spoken.word not in ("", meaning)
    return spoken.word == "unknown" and meaning != "unknown"


# NUMBERS


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def unit_of(quantity: Any) -> str:
    """The unit of a quantity, by its code or else its words; '' where it has none. UCUM's unity is none."""
    unit = (quantity.get("code") or quantity.get("unit") or "") if isinstance(quantity, dict) else ""
    return "" if unit == "1" else str(unit).strip().lower()


def _from_quantity(quantity: dict[str, Any]) -> Result:
    number = _number(quantity.get("value"))
    if number is None:
        return Result("unknown", "a quantity without a number")
    found = span(number, str(quantity.get("comparator", "")))
    return Result(how="a quantity", quantity=found, unit=unit_of(quantity))


def _from_range(bounds: dict[str, Any]) -> Result:
    low, high = bounds.get("low"), bounds.get("high")
    lowest = _number(low.get("value")) if isinstance(low, dict) else None
    highest = _number(high.get("value")) if isinstance(high, dict) else None
    units = {unit_of(one) for one in (low, high) if isinstance(one, dict)}
    if len(units) != 1:
        return Result("unknown", "a range of two units or none")
    found = Span(-inf if lowest is None else lowest, inf if highest is None else highest)
    return Result(how="a range", quantity=found, unit=units.pop())


def _from_ratio(ratio: dict[str, Any]) -> Result:
    above, below = ratio.get("numerator"), ratio.get("denominator")
    numbers = [_number(one.get("value")) if isinstance(one, dict) else None for one in (above, below)]
    compared = any(isinstance(one, dict) and one.get("comparator") for one in (above, below))
    if None in numbers or not numbers[1] or unit_of(above) != unit_of(below) or compared:
        return Result("unknown", "a ratio that gives no number")
    return Result(how="a ratio", quantity=span(float(numbers[0] or 0) / numbers[1]), unit="ratio")


# WORDS


@lru_cache(maxsize=8192)
def from_text(text: str, recogniser: Recogniser) -> Result:
    """Read lower-case words such as 'positive (95%)', '3+', 'not amplified', 'ratio 1.1'."""
    if not text:
        return Result()
    plain = text
    for pattern, sign in _SIGNS:
        plain = pattern.sub(sign, plain)
    words = recogniser.answers(plain)
    unscored = plain
    scores: set[str] = set()
    for pattern in _SCORES:
        scores |= {group for match in pattern.finditer(unscored) for group in match.groups() if group}
        unscored = pattern.sub(" ", unscored)
    return Result(
        word=_word(words),
        how="; ".join(sorted({f"the words “{one.word}”" for one in words})) or "words",
        scores=tuple(sorted(scores)),
        pluses=sum(len(signs) for signs in _PLUSES.findall(unscored)),
        percents=tuple(_spans(_PERCENT, plain)),
        ratio=next(iter(_spans(_RATIO, plain)), None),
        copies=next(iter(_spans(_COPIES, plain)), None),
        quantity=next(iter(_spans(_PLAIN, plain)), None) if _PLAIN.fullmatch(plain) else None,
        text=plain,
    )


def _spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    found = []
    for match in pattern.finditer(text):
        groups = match.groups()
        comparator, number, upper = groups[:3] if groups[1] else groups[3:]
        found.append(span(float(number), comparator or "", float(upper) if upper else None))
    return found


def _word(answers: tuple[Any, ...]) -> str:
    """The one answer of a text; what is denied ('not positive') is no answer, and two answers are none."""
    said = {one.meaning for one in answers if not one.denied}
    denied = {one.meaning for one in answers if one.denied}
    definite = said & {"positive", "negative", "equivocal"}
    if len(definite) > 1 or definite & denied or (denied and not definite) or (definite and "unknown" in said):
        return "unknown"
    return next(iter(definite or (said & {"unknown"}) or (said & {"none"})), "")


# SEVERAL QUESTIONS IN ONE TEXT

_CLAUSE = re.compile(r"[,;](?!\d)|\.(?!\d)")
_DASH = re.compile(r"\s+-+\s+")
_JOINER = re.compile(r"[\s,;:/&().]*(?:and|or)?[\s,;:/&().-]*")
_SIGNED = re.compile(r"(?: ?(\+)\+*|(-))\s*[,;/&.)]*\s*(?:and)?\s*")


def about(text: str, fact: str, family: frozenset[str], own: bool, recogniser: Recogniser) -> Result | None:
    """What a text says of one of several facts it may name: 'ER 95%, PR 0%', 'ER+/PR-', 'positive for ER, negative for
    PR'. The whole text where the question is the fact's `own` and the text names no other; None where it cannot be told
    whose answer is whose.
    """
    named = [one for one in recogniser.names(text) if one.subjects & family]
    subjects = {subject for one in named for subject in one.subjects & family}
    if own and not subjects - {fact}:
        signed = _SIGNED.fullmatch(text[named[-1].end :]) if len(named) == 1 and named[0].start == 0 else None
        return _signed(signed) if signed else from_text(text, recogniser)
    if fact not in subjects:
        return None
    ends = [one.end for one in named]
    gaps = [text[start:end] for start, end in zip([0, *ends], [*(one.start for one in named), len(text)], strict=True)]
    owned = [fact in one.subjects for one in named]
    if not _answers(gaps[0], recogniser):
        denied = any(recogniser.denies(text[: one.start]) for one, mine in zip(named, owned, strict=True) if mine)
        return None if denied else _own(gaps[1:], range(len(named) - 1, -1, -1), owned, recogniser, 0)
    if _answers(gaps[-1], recogniser):
        return None
    return _own(gaps[:-1], range(len(named)), owned, recogniser, -1)


def _own(parts: list[str], order: range, owned: list[bool], recogniser: Recogniser, beside: int) -> Result | None:
    """The answer beside the fact's own name; a name with nothing but a comma or an 'and' shares its neighbour's."""
    found: list[Result] = []
    near = Result()
    for i in order:
        signed = _SIGNED.fullmatch(parts[i])
        if signed and not (signed.group(2) and i < len(parts) - 1 and parts[i] == "-"):
            near = _signed(signed)
        elif _DASH.fullmatch(parts[i]):
            near = Result("unknown", "a dash that may join or deny")
        elif not _JOINER.fullmatch(parts[i]):
            near = _beside(parts[i], beside, recogniser)
        if owned[i]:
            found.append(near)
    said = [one for one in found if one != Result() and one.how != "words"] or found
    return said[0] if len({one._replace(how="", text="") for one in said}) == 1 else None


def _beside(part: str, beside: int, recogniser: Recogniser) -> Result:
    """The answer in a part; one that stands in a clause of its own, away from the name, may be something else's."""
    clauses = _CLAUSE.split(part.strip(" ,;:/&().-"))
    nearest = from_text(clauses[beside].strip(), recogniser)
    whole = from_text(part, recogniser)
    if nearest.word == "none":
        return nearest
    if _answers(part, recogniser) and not _answers(clauses[beside], recogniser):
        return Result("unknown", "an answer that may be something else's")
    return whole


def _signed(match: re.Match[str]) -> Result:
    return Result("positive" if match.group(1) else "negative", "a plus or minus sign")


def _answers(text: str, recogniser: Recogniser) -> bool:
    read = from_text(text.strip(), recogniser)
    return bool(read.word or read.scores or read.pluses or read.percents or read.ratio)


def affirmed(element: dict[str, Any], recogniser: Recogniser) -> bool:
    """Whether an element whose own code makes a statement upholds it: no value of it denies or doubts that."""
    found = result(element, recogniser)
    return found is None or found.word not in ("negative", "unknown", "none")
