"""The courses of treatment on record: which drug, when, in which setting, how it ended.

A course is one drug in one setting. Several resources about it (an order, its administrations) are one course. What a
resource does not say stays unknown: a stop without a reason is not a failure and not a success.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.dates import certainly_before, day
from cds_service.patient.elements import objects, one_or_more
from cds_service.patient.project import fault
from cds_service.patient.recognise import Recognised, text_of

KINDS = ("MedicationRequest", "MedicationStatement", "MedicationAdministration")
#: statuses under which a resource says nothing of what was taken
_VOID = {"entered-in-error", "cancelled", "draft", "not-done", "not-taken", "intended"}
BEFORE, METASTATIC, UNSAID = "before metastatic disease", "metastatic", "unknown"


@dataclass(frozen=True)
class Course:
    """One drug (or, where only that is on record, one class) given in one setting."""

    drug: str
    named_class: str
    classes: frozenset[str]
    active: bool
    start: str
    end: str
    setting: str
    progressed: Truth
    planned: bool
    not_tolerated: bool
    sources: tuple[tuple[str, str], ...]
    by_diagnosis: bool = False

    @property
    def references(self) -> tuple[str, ...]:
        """The resources it was read from."""
        return tuple(sorted({reference for reference, _ in self.sources}))


@dataclass
class Medicines:
    """All courses, and what keeps the list from being complete."""

    courses: list[Course] = field(default_factory=list)
    may_be: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    no_information: list[str] = field(default_factory=list)
    none_known: list[str] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)


def medicines(chart: Chart) -> Medicines:
    """Read the medication resources of a record, once."""
    cached = chart.shelf.get("medicines")
    if cached is None:
        cached = chart.shelf["medicines"] = _read(chart)
    return cached


def courses(chart: Chart) -> list[Course]:
    """The courses of treatment on record, by start."""
    return medicines(chart).courses


def _read(chart: Chart) -> Medicines:
    result = Medicines()
    read: list[Course] = []
    first = first_metastasis(chart)
    for entry in chart.of(*KINDS):
        concept, problem = medication(entry, chart)
        if entry.status in _VOID:
            result.set_aside.append((entry.reference, entry.no_evidence))
            continue
        if problem:
            result.unnamed.append(entry.reference)
            result.set_aside.append((entry.reference, problem))
            continue
        named = name(concept, chart)
        statement = {one.sense.meaning for one in named if one.sense.role == "says"}
        relevant = [one for one in named if one.sense.role in ("drug", "class", "ambiguous")]
        if not relevant and not statement:
            continue
        if entry.unreadable:
            result.set_aside.append((entry.reference, entry.unreadable))
            result.may_be.append((entry.reference, tuple(one.sense.subject for one in relevant)))
            continue
        if statement & {"no-information", "none"}:
            (result.no_information if "no-information" in statement else result.none_known).append(entry.reference)
            continue
        if entry.no_evidence:
            result.set_aside.append((entry.reference, entry.no_evidence))
            if entry.status == "unknown":
                result.may_be.append((entry.reference, tuple(one.sense.subject for one in relevant)))
            continue
        read += _courses_of(entry, relevant, chart, first, result)
    for entry, said in chart.saying("prior-medications"):
        drugs = chart.knowledge.members.get(said.sense.meaning)
        if drugs and entry.kind in ("Condition", "Procedure") and not entry.unreadable and not entry.no_evidence:
            read.append(_class_course(entry, said, chart))
    result.courses = _after_worsening(_merged(_told_by_drugs(read)), chart)
    return result


def _told_by_drugs(read: list[Course]) -> list[Course]:
    """Leave out what a diagnosis says of a class where a medication of that class says it with its drug."""
    told = {name for course in read if course.drug for name in course.classes}
    return [course for course in read if course.drug or not course.by_diagnosis or course.named_class not in told]


# NAMING THE DRUG


def medication(entry: Entry, chart: Chart) -> tuple[Any, str]:
    """The concept that names the medicine of a resource, or why it cannot be had."""
    concept = entry.raw.get("medicationCodeableConcept")
    if concept is not None:
        return concept, ""
    raw = entry.raw.get("medicationReference")
    reference = raw if isinstance(raw, dict) else {}
    shown = reference.get("display")
    found = chart.record.target(reference, entry.raw)
    if found is None:
        return ({"text": shown}, "") if isinstance(shown, str) else (None, "it names no medicine that can be found")
    problem = fault(found) if found.get("resourceType") == "Medication" else "its reference is no Medication"
    return found.get("code"), problem


def name(concept: Any, chart: Chart) -> tuple[Recognised, ...]:
    """What a medication concept names: by code, else by words. A code that is not this use (a cream) names nothing.

    The most precise code wins: a product over a form over a plain ingredient, because the ingredient of an
    antibody-drug conjugate or of a liposomal form rolls up to another drug.
    """
    coded = chart.recogniser.codes(concept)
    if any(one.sense.role == "not-this" for one in coded):
        return ()
    if any(one.sense.role == "says" for one in coded):
        return tuple(one for one in coded if one.sense.role == "says")
    for level in ("product", "ingredient-form", "ingredient"):
        named = tuple(one for one in coded if one.sense.role == "drug" and one.sense.meaning == level)
        if named:
            spoken = _spoken_drugs(concept, chart)
            if spoken and not {one.sense.subject for one in spoken} & {one.sense.subject for one in named}:
                return _either(named, spoken)
            return _unique(named)
    spoken = _spoken_drugs(concept, chart)
    if any(one.sense.role == "ambiguous" for one in coded):
        return _unique(tuple(one for one in coded if one.sense.role == "ambiguous"))
    classes = tuple(one for one in coded if one.sense.role == "class")
    return _unique(spoken or classes or chart.recogniser.spoken("says:prior-medications", text_of(concept)))


def _spoken_drugs(concept: Any, chart: Chart) -> tuple[Recognised, ...]:
    spoken = chart.recogniser.spoken("drug", text_of(concept))
    drugs = tuple(one for one in spoken if one.sense.role == "drug")
    return drugs or spoken


def _either(named: tuple[Recognised, ...], spoken: tuple[Recognised, ...]) -> tuple[Recognised, ...]:
    """A code and a text that name different drugs: it may be any of them."""
    drugs = tuple(sorted({one.sense.subject for one in named + spoken}))
    sense = replace(named[0].sense, role="ambiguous", subject="drug", may_be=drugs, meaning="")
    return (Recognised(sense, f"{named[0].how}, but {spoken[0].how}"),)


def _unique(named: tuple[Recognised, ...]) -> tuple[Recognised, ...]:
    return tuple({one.sense.subject: one for one in reversed(named)}.values())


# COURSES


def _courses_of(
    entry: Entry, named: list[Recognised], chart: Chart, first: tuple[str, bool], result: Medicines
) -> Iterator[Course]:
    start, end = _period(entry.raw)
    progressed, planned, not_tolerated = _ending(entry, chart)
    setting = _setting(entry, chart, start, end, first)
    active = entry.status in ("active", "on-hold", "in-progress") and not end
    for one in named:
        if one.sense.role == "ambiguous":
            result.may_be.append((entry.reference, one.sense.may_be))
            result.set_aside.append((entry.reference, f"it may be one of {', '.join(one.sense.may_be)} ({one.how})"))
        candidates = one.sense.may_be if one.sense.role == "ambiguous" else (one.sense.subject,)
        yield Course(
            drug=one.sense.subject if one.sense.role == "drug" else "",
            named_class=one.sense.subject if one.sense.role == "class" else "",
            # whichever of several drugs it was, the classes that they share were given
            classes=frozenset.intersection(*(chart.classes_of(candidate) for candidate in candidates)),
            active=active,
            start=start,
            end=end,
            setting=setting,
            progressed=progressed,
            planned=planned,
            not_tolerated=not_tolerated,
            sources=((entry.reference, one.how),),
        )


def _class_course(entry: Entry, said: Recognised, chart: Chart) -> Course:
    """A class without a drug: 'personal history of chemotherapy', 'long-term (current) use of …'."""
    current = said.sense.manner == "current"
    return Course(
        drug="",
        named_class=said.sense.meaning,
        classes=chart.classes_of(said.sense.meaning),
        active=current,
        start="",
        end="",
        setting=UNSAID,
        progressed=FALSE if current else UNKNOWN,
        planned=False,
        not_tolerated=False,
        sources=((entry.reference, said.how),),
        by_diagnosis=True,
    )


def _period(raw: dict[str, Any]) -> tuple[str, str]:
    for name_ in ("effectivePeriod", "occurrencePeriod"):
        period = raw.get(name_)
        if isinstance(period, dict):
            return day(period.get("start")), day(period.get("end"))
    dispense = raw.get("dispenseRequest")
    validity = dispense.get("validityPeriod") if isinstance(dispense, dict) else None
    end = day(validity.get("end")) if isinstance(validity, dict) and raw.get("status") != "active" else ""
    return day(raw.get("effectiveDateTime")) or day(raw.get("authoredOn")) or day(raw.get("dateAsserted")), end


def _ending(entry: Entry, chart: Chart) -> tuple[Truth, bool, bool]:
    """Did the disease progress on it; did it end as planned; was it not tolerated."""
    meanings = set(reasons(entry, chart))
    status = entry.status
    if "progression" in meanings:
        return TRUE, False, "not-tolerated" in meanings
    if meanings & {"planned", "not-tolerated", "refused", "pregnancy"}:
        return FALSE, "planned" in meanings, "not-tolerated" in meanings
    if status == "stopped":
        return UNKNOWN, False, False
    return FALSE, status == "completed", False


def reasons(entry: Entry, chart: Chart) -> Iterator[str]:
    """What the reason of a stopped, omitted or refused treatment says."""
    reason = entry.raw.get("statusReason") or entry.raw.get("reasonNotTaken") or entry.raw.get("notDoneReason")
    for concept in one_or_more(reason):
        known = [one for one in chart.recogniser.codes(concept) if one.sense.role == "says"]
        spoken = chart.recogniser.spoken("says:progressed-on", text_of(concept))
        for one in known or spoken:
            yield one.sense.meaning


def _setting(entry: Entry, chart: Chart, start: str, end: str, first: tuple[str, bool]) -> str:
    """By intent or reason on the resource; else by its dates against the first evidence of metastasis."""
    said = set(_said_settings(entry, chart))
    if said & {"adjuvant", "neoadjuvant", "curative", "prevention"}:
        return UNSAID if "metastatic" in said else BEFORE
    if "metastatic" in said:
        return METASTATIC
    date, complete = first
    if date and (certainly_before(end, date) or certainly_before(start, date)):
        return BEFORE if complete else UNSAID
    if date and start and not certainly_before(start, date) and len(start) >= len(date):
        return METASTATIC
    return UNSAID


def _said_settings(entry: Entry, chart: Chart) -> Iterator[str]:
    concepts: list[Any] = []
    for name_ in ("category", "reasonCode"):
        concepts += one_or_more(entry.raw.get(name_))
    concepts += [extension.get("valueCodeableConcept") for extension in objects(entry.raw.get("extension"))]
    for concept in concepts:
        coded = [one for one in chart.recogniser.codes(concept) if one.sense.role == "setting"]
        spoken = chart.recogniser.spoken("setting", text_of(concept))
        for one in coded or spoken:
            yield one.sense.meaning
    for reference in objects(entry.raw.get("reasonReference")):
        if chart.record.references.name(reference) in chart.metastases:
            yield "metastatic"


def first_metastasis(chart: Chart) -> tuple[str, bool]:
    """The earliest dated evidence of metastasis, and whether all of it is dated (else something may be earlier)."""
    dates = list(chart.metastases.values())
    dated = sorted(date for date in dates if date)
    return (dated[0] if dated else "", len(dated) == len(dates) and bool(dated))


def _merged(read: list[Course]) -> list[Course]:
    """Several resources about one drug in one setting are one course."""
    merged: dict[tuple[str, frozenset[str], str], Course] = {}
    for course in sorted(read, key=lambda one: (one.start or "9999", one.sources)):
        key = (course.drug, course.classes, course.setting)
        known = merged.get(key)
        merged[key] = course if known is None else _joined(known, course)
    # sorted once at the end: a course of a thousand administrations is no rarity
    whole = [replace(course, sources=tuple(sorted(set(course.sources)))) for course in merged.values()]
    return sorted(whole, key=lambda one: (one.start or "9999", one.drug, one.setting))


def _joined(one: Course, other: Course) -> Course:
    progressed = {one.progressed, other.progressed}
    active = one.active or other.active
    ends = [end for end in (one.end, other.end) if end]
    return replace(
        one,
        active=active,
        start=one.start or other.start,
        end="" if active else max(ends, default=""),
        progressed=TRUE if TRUE in progressed else UNKNOWN if UNKNOWN in progressed and not active else FALSE,
        planned=one.planned or other.planned,
        not_tolerated=one.not_tolerated or other.not_tolerated,
        sources=one.sources + other.sources,
    )


def _after_worsening(listed: list[Course], chart: Chart) -> list[Course]:
    """A disease status 'worsened' while a course ran, or at its open end, means progression on it."""
    worsened = [
        (entry.date, entry.reference, one.how)
        for entry, one in chart.saying("progressed-on")
        if entry.kind == "Observation" and one.sense.meaning == "progression"
        and entry.date and not entry.unreadable and not entry.no_evidence
    ]  # fmt: skip
    return [_failed_by(course, worsened) for course in listed]


def _failed_by(course: Course, worsened: list[tuple[str, str, str]]) -> Course:
    if course.active or course.progressed is TRUE or not course.start:
        return course
    for date, reference, how in worsened:
        during = not certainly_before(date, course.start) and not (course.end and certainly_before(course.end, date))
        if during and (course.end or not course.planned):
            return replace(course, progressed=TRUE, sources=tuple(sorted({*course.sources, (reference, how)})))
    return course
