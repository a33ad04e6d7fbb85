"""In which setting a medicine was given: before metastatic disease, for it, or not for this cancer at all."""

from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any

from cds_service.patient.chart import Chart, Entry, by_content
from cds_service.patient.content import Content
from cds_service.patient.dates import certainly_before, day
from cds_service.patient.elements import objects, one_or_more
from cds_service.patient.recognise import Recognised, text_of


class Setting(Enum):
    """When in the course of the disease a treatment was given, as far as the record says."""

    BEFORE = "before metastatic disease"
    METASTATIC = "metastatic"
    UNSAID = "unknown"

    __hash__ = object.__hash__  # by identity, as of a Truth


BEFORE, METASTATIC, UNSAID = Setting
_EARLY = {"adjuvant", "neoadjuvant", "curative"}
#: reasons other than this cancer: to prevent it, a carcinoma in situ, another cancer, another disease
_ELSEWHERE = {"prevention", "other-cancer", "other-use"}
#: the breast cancer itself is a reason: what stands beside it is not the only one
_THIS = "breast-cancer"


def setting_of(entry: Entry, chart: Chart, start: str, end: str) -> tuple[Setting, bool]:
    """The setting of a treatment, and whether it was given for something else than this cancer.

    By intent or reason on the resource; else by its dates against the first evidence of metastasis. A treatment that
    ended before the breast cancer began was not given for it.
    """
    said = _said(entry, chart)
    if "reasonReference" in entry.raw:
        named = [chart.record.references.name(one) for one in objects(entry.raw["reasonReference"])]
        said = said.union(*(_said_by_condition(reference, chart) for reference in named))
    setting, elsewhere = _in_words(said)
    if setting is not None:
        return setting, elsewhere
    return _by_dates(entry.raw, chart, start, end), elsewhere or certainly_before(end, _onset(chart))


@cache
def _in_words(said: frozenset[str]) -> tuple[Setting | None, bool]:
    """The setting that a resource states, None where its dates have to tell; and whether it was given for something
    else.
    """
    others = said & _ELSEWHERE - {"other-use"} if _THIS in said else said & _ELSEWHERE
    early, metastatic = said & _EARLY, "metastatic" in said
    elsewhere = bool(others) and not early and not metastatic
    if early or (elsewhere and others == {"prevention"}):
        return (UNSAID if metastatic else BEFORE), elsewhere
    return (METASTATIC, False) if metastatic else (None, elsewhere)


def _by_dates(raw: dict[str, Any], chart: Chart, start: str, end: str) -> Setting:
    earliest, certain = metastatic_since(chart)
    if earliest:
        reported = day(raw.get("dateAsserted")) or day(raw.get("authoredOn"))
        if any(certainly_before(date, earliest) for date in (end, start, reported)):
            return BEFORE
    if certain and start and not certainly_before(start, certain) and len(start) >= len(certain):
        return METASTATIC
    return UNSAID


# WHAT THE RESOURCE SAYS


@by_content
def _said(content: Content, chart: Chart) -> frozenset[str]:
    """What the resource says itself."""
    concepts: list[Any] = []
    for name in ("category", "reasonCode"):
        concepts += one_or_more(content.raw.get(name))
    concepts += [extension.get("valueCodeableConcept") for extension in objects(content.raw.get("extension"))]
    concepts.append(content.raw.get("medicationCodeableConcept"))
    said = {meaning for concept in concepts for meaning in _said_by(concept, chart)}
    if any(_names_breast_cancer(concept, chart) for concept in concepts):
        said.add(_THIS)
    return frozenset(said)


def _said_by(concept: Any, chart: Chart) -> Iterator[str]:
    if concept is None:
        return
    codes, text = chart.recogniser.codes(concept), text_of(concept)
    coded = [one.sense.meaning for one in codes if one.sense.role == "setting"]
    coded += list(_by_diagnosis(concept, codes, text, chart))
    yield from coded or (one.sense.meaning for one in chart.recogniser.spoken("setting", text))


def _said_by_condition(reference: str, chart: Chart) -> Iterator[str]:
    """What it says that a treatment was given for this condition. The breast cancer itself says nothing: its stage may
    have changed since.
    """
    if reference in chart.shelf.get("breast", ()):
        yield _THIS
        return
    if reference in chart.metastases:
        yield "metastatic"
    entry = chart.named.get(reference)
    if entry is not None and entry.kind == "Condition":
        yield from _said_as_a_reason(entry, chart)


@by_content
def _said_as_a_reason(content: Content, chart: Chart) -> frozenset[str]:
    return frozenset(_said_by(content.raw.get("code"), chart))


def _by_diagnosis(concept: Any, codes: tuple[Recognised, ...], text: str, chart: Chart) -> Iterator[str]:
    """What a diagnosis says as the reason of a treatment."""
    known = [one.sense for one in codes if one.sense.role == "says"]
    for sense in known:
        if sense.subject == "sites" and sense.meaning != "regional":
            yield "metastatic"
        if sense.subject == "breast-cancer" and sense.meaning == "in-situ":
            yield "prevention"
    if _categories(concept) & set(chart.knowledge.facts["prior-medications"].more["other_use_categories"]):
        yield "other-use"
    if _is_other_cancer(concept, chart) or (
        not known
        and chart.recogniser.spoken("other_primary", text)
        and not chart.recogniser.spoken("diagnosis", text)
        and not chart.recogniser.spoken("secondary", text)
    ):
        yield "other-cancer"


def _names_breast_cancer(concept: Any, chart: Chart) -> bool:
    coded = (one.sense for one in chart.recogniser.codes(concept) if one.sense.subject == "breast-cancer")
    return any(sense.meaning.startswith("malignant") for sense in coded) or bool(
        chart.recogniser.spoken("diagnosis", text_of(concept))
    )


def _is_other_cancer(concept: Any, chart: Chart) -> bool:
    """Whether a diagnosis is coded as a cancer that is neither of the breast nor a metastasis (ICD-10, chapter C)."""
    none = chart.knowledge.facts["breast-cancer"].more["no_other_cancer"]
    cancers = {category for category in _categories(concept) if category[:1] == "C"}
    return bool(cancers) and cancers.isdisjoint(none)


def _categories(concept: Any) -> set[str]:
    """The ICD-10 categories that a concept is coded with."""
    codings = objects(concept.get("coding")) if isinstance(concept, dict) else ()
    coded = ((coding.get("code"), coding.get("system")) for coding in codings)
    return {
        code[:3] for code, system in coded if isinstance(code, str) and isinstance(system, str) and "icd-10" in system
    }


# DATES OF THE DISEASE


def metastatic_since(chart: Chart) -> tuple[str, str]:
    """The day before which there was no metastasis ('' where some evidence has no date), and the day since when there
    certainly was one.

    The date of the breast cancer itself is when that began, not when it spread: a stage recorded on it has no date, and
    words that call it metastatic date the spread only where nothing else does.
    """
    cached = chart.shelf.get("metastatic since")
    if cached is None:
        cached = chart.shelf["metastatic since"] = _metastatic_since(chart)
    return cached


def _metastatic_since(chart: Chart) -> tuple[str, str]:
    breast = chart.shelf.get("breast", set())
    staged = {entry.reference for entry in chart.of("Condition") if entry.raw.get("stage")} & set(breast)
    dates = {ref: "" if ref in staged else date for ref, date in chart.metastases.items()}
    dated = sorted(date for date in dates.values() if date)
    others = sorted(date for ref, date in dates.items() if date and ref not in breast)
    complete = bool(dated) and len(dated) == len(dates)
    return (dated[0] if complete else ""), next(iter(others or dated), "")


def _onset(chart: Chart) -> str:
    """When the breast cancer began, as far as its onset is on record; '' where an earlier one may have been."""
    cached = chart.shelf.get("onset")
    if cached is None:
        cached = chart.shelf["onset"] = _find_onset(chart)
    return cached


def _find_onset(chart: Chart) -> str:
    if any(said.sense.meaning == "history" for _, said in chart.saying("breast-cancer")):
        return ""
    breast = [entry for entry in chart.of("Condition") if entry.reference in chart.shelf.get("breast", ())]
    onsets = [_onset_of(entry.raw) for entry in breast]
    return min(onsets) if onsets and all(onsets) else ""


def _onset_of(raw: dict[str, Any]) -> str:
    period = raw.get("onsetPeriod")
    return day(raw.get("onsetDateTime")) or (day(period.get("start")) if isinstance(period, dict) else "")
