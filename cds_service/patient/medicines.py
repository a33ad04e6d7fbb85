"""The courses of treatment on record: which drug, when, in which setting, how it ended.

A course is one drug in one setting. Several resources about it (an order, its administrations) are one course. What a
resource does not say stays unknown: a stop without a reason is not a failure and not a success.

An order counts as treatment from the day it is in force, unless the record says that it was not taken: a statement
(`not-taken`) or an administration (`not-done`) of the same drug, not older than the order, where nothing shows that it
was. Then an order in force is no treatment; an order that ended or was stopped disagrees with it, and the treatment is
unknown. Both resources are shown. An order stopped because the patient refused may or may not have been taken.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth
from cds_service.patient.chart import Chart, Entry, by_content
from cds_service.patient.content import Content
from cds_service.patient.dates import certainly_before, day, days_between
from cds_service.patient.elements import objects, one_or_more
from cds_service.patient.naming import Naming, naming, spoken_drugs
from cds_service.patient.recognise import Recognised, text_of
from cds_service.patient.setting import UNSAID, Setting, setting_of

KINDS = ("MedicationRequest", "MedicationStatement", "MedicationAdministration")
#: statuses under which a resource says nothing of what was taken
_VOID = {"entered-in-error", "cancelled", "draft", "not-done", "not-taken", "intended"}
_DENIED = {"not-done", "not-taken"}
_OVER = {"completed", "stopped"}
_IN_FORCE = {"active", "on-hold", "in-progress"}
#: reasons of a stop that are no failure
_NO_FAILURE = {"planned", "not-tolerated", "refused", "pregnancy", "access", "reordered"}
#: the elements by which a resource names the order that it belongs to
_ORDERED_BY = ("request", "basedOn", "derivedFrom", "partOf")


class Course(NamedTuple):
    """One drug (or, where only that is on record, one class) given in one setting. `last` is the latest day on which
    it is known to have been given; `elsewhere` says that it was not given for this cancer as far as the record
    tells; `end_unsure` that it is in force by its status and has an end that is not known to lie ahead: over or not is
    not certain. `again` are the days on which it was begun again, more than a cycle after it had ended.
    """

    drug: str
    named_class: str
    classes: frozenset[str]
    active: bool
    start: str
    end: str
    last: str
    setting: Setting
    progressed: Truth
    planned: bool
    not_tolerated: bool
    sources: tuple[tuple[str, str], ...]
    kinds: frozenset[str]
    end_unsure: bool = False
    on_hold: bool = False
    refused: bool = False
    elsewhere: bool = False
    by_diagnosis: bool = False
    may_be: tuple[str, ...] = ()
    again: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """The resources it was read from."""
        if len(self.sources) == 1:
            return (self.sources[0][0],)
        return tuple(sorted({reference for reference, _ in self.sources}))

    @property
    def subjects(self) -> tuple[str, ...]:
        """The drugs that it may be of; the class, where only that is on record."""
        return self.may_be or (self.drug or self.named_class,)


@dataclass
class Medicines:
    """All courses, and what keeps the list from being complete."""

    courses: list[Course] = field(default_factory=list)
    may_be: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    may_have_failed: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    no_information: list[str] = field(default_factory=list)
    none_known: list[str] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)

    def unclear(self, entry: Entry, subjects: Iterable[str], reason: str, failed: Truth = UNKNOWN) -> None:
        """These may have been given; nobody can tell, for this reason. `failed`: did the disease progress on them."""
        reached = (entry.reference, tuple(subjects))
        self.may_be.append(reached)
        self.set_aside.append((entry.reference, reason))
        if failed is not FALSE:
            self.may_have_failed.append(reached)


#: a resource with the course that it tells of
Told = tuple[Entry, Course]


@dataclass(frozen=True)
class Denial:
    """A resource that says that some drugs were not taken or not given."""

    reference: str
    drugs: tuple[str, ...]
    date: str


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
    told: list[Told] = []
    denials: list[Denial] = []
    for entry in chart.of(*KINDS):
        found = naming(entry, chart)
        if entry.status in _VOID:
            result.set_aside.append((entry.reference, entry.no_evidence))
            if entry.status in _DENIED and not entry.unreadable:
                denials.append(Denial(entry.reference, found.subjects, period_of(entry.raw)[0]))
        elif not found.nothing and _is_treatment(entry, found, result):
            told += [(entry, course) for course in _courses_of(entry, found, chart, result)]
    told = _with_setting_of_their_orders(_without_denied(told, denials, result), chart)
    read = [course for _, course in told] + list(_from_other_resources(chart, result))
    days = chart.knowledge.facts["lines"].more["one_regimen_days"]
    result.courses = _after_worsening(_merged(_told_by_drugs(read), days), chart)
    return result


def _is_treatment(entry: Entry, found: Naming, result: Medicines) -> bool:
    """Whether a resource that names something of ours tells of a treatment; if not, what it says instead is noted."""
    said, relevant = found.said, found.relevant
    if found.problem:
        result.unnamed.append(entry.reference)
        result.set_aside.append((entry.reference, found.problem))
    elif found.other_use:
        result.set_aside.append((entry.reference, found.other_use))
    elif entry.unreadable:
        result.unclear(entry, (one for one in found.subjects if relevant), entry.unreadable)
    elif said:
        (result.no_information if "no-information" in said else result.none_known).append(entry.reference)
    elif relevant and entry.no_evidence:
        if entry.status in _IN_FORCE | _OVER:
            result.set_aside.append((entry.reference, entry.no_evidence))
        else:  # unknown, or none of FHIR's
            result.unclear(entry, found.subjects, entry.no_evidence)
    else:
        return bool(relevant)
    return False


def _told_by_drugs(read: list[Course]) -> list[Course]:
    """Leave out what a diagnosis or procedure says of a class where a medication of that class says it with its drug:
    one that is over and of the same setting, for what is past.
    """
    drugs = [course for course in read if course.drug]
    return [course for course in read if not course.by_diagnosis or not any(_tells(one, course) for one in drugs)]


def _tells(one: Course, diagnosis: Course) -> bool:
    if diagnosis.named_class not in one.classes:
        return False
    same = diagnosis.setting in (UNSAID, one.setting) or one.setting is UNSAID
    return diagnosis.active or (same and not one.active)


# COURSES OF MEDICATION RESOURCES


def _courses_of(entry: Entry, found: Naming, chart: Chart, result: Medicines) -> Iterator[Course]:
    meanings = reasons(entry, chart)
    if "never-taken" in meanings and entry.kind == "MedicationRequest":
        result.set_aside.append((entry.reference, "an order that was never taken, by the reason it was stopped for"))
        return
    told = _told_by(entry, meanings, chart, result)
    if certainly_before(entry.today, told["start"]):
        result.set_aside.append((entry.reference, "planned: it starts after the day of the call"))
        return
    for one in found.senses:
        may_be = one.sense.may_be if one.sense.role == "ambiguous" else ()
        if may_be:
            why = f"it may be {' or '.join(may_be)} ({one.how})" if may_be[1:] else one.sense.why
            result.unclear(entry, may_be, why, told["progressed"])
        if len(may_be) == 1:
            continue  # the drug is known, whether it was given for cancer is not
        yield Course(
            **told,
            drug=one.sense.subject if one.sense.role == "drug" else "",
            named_class=one.sense.subject if one.sense.role == "class" else "",
            classes=_shared(may_be, chart) if may_be else chart.classes_of(one.sense.subject),
            sources=((entry.reference, one.how),),
            may_be=may_be,
        )


def _shared(drugs: Iterable[str], chart: Chart) -> frozenset[str]:
    """The classes that several drugs share: whichever of them it was, these were given."""
    return frozenset.intersection(*(chart.classes_of(drug) for drug in drugs))


def _told_by(entry: Entry, meanings: frozenset[str], chart: Chart, result: Medicines) -> dict[str, Any]:
    """What a medication resource tells of a course, whichever drug it is of: the rest of a Course by its fields."""
    start, end = period_of(entry.raw)
    if start and end and certainly_before(end, start):
        result.set_aside.append((entry.reference, "its dates: it ends before its start"))
        start, end = "", ""
    progressed, planned = _ending(entry, meanings)
    setting, elsewhere = setting_of(entry, chart, start, end)
    in_force = entry.status in _IN_FORCE
    ahead = bool(entry.today) and bool(end) and not certainly_before(end, entry.today)
    return {
        "active": in_force and (not end or ahead),
        "start": start,
        "end": end,
        "last": end or start,
        "setting": setting,
        "progressed": progressed if not elsewhere or progressed is FALSE else UNKNOWN,
        "planned": planned,
        "not_tolerated": "not-tolerated" in meanings,
        "kinds": frozenset({entry.kind}),
        "end_unsure": in_force and bool(end) and not ahead,
        "on_hold": entry.status == "on-hold",
        "refused": "refused" in meanings,
        "elsewhere": elsewhere,
    }


def period_of(raw: dict[str, Any]) -> tuple[str, str]:
    """From when to when, as far as the resource says; the planned end of an order in force is no end, and
    the day on which a treatment of the past was reported is not its start.
    """
    for name in ("effectivePeriod", "occurrencePeriod"):
        period = raw.get(name)
        if isinstance(period, dict):
            return day(period.get("start")), day(period.get("end"))
    planned = [one for one in _planned_periods(raw) if isinstance(one, dict)]
    over = raw.get("status") not in _IN_FORCE
    reported = raw.get("reportedBoolean") is True or "reportedReference" in raw
    start = day(raw.get("effectiveDateTime")) or ("" if reported and over else day(raw.get("authoredOn")))
    return start or _first(planned, "start"), _first(planned, "end") if over else ""


def _first(periods: list[dict[str, Any]], name: str) -> str:
    return next((date for one in periods if (date := day(one.get(name)))), "")


def _planned_periods(raw: dict[str, Any]) -> Iterator[Any]:
    dispense = raw.get("dispenseRequest")
    if isinstance(dispense, dict):
        yield dispense.get("validityPeriod")
    for dosage in objects(raw.get("dosageInstruction")):
        timing = dosage.get("timing")
        repeat = timing.get("repeat") if isinstance(timing, dict) else None
        if isinstance(repeat, dict):
            yield repeat.get("boundsPeriod")


def _ending(entry: Entry, meanings: frozenset[str]) -> tuple[Truth, bool]:
    """Did the disease progress on it; did it end as planned."""
    if "unclear" in meanings:
        return UNKNOWN, False
    if "progression" in meanings:
        return TRUE, False
    if meanings & _NO_FAILURE:
        return FALSE, "planned" in meanings
    if entry.status == "stopped":
        return UNKNOWN, False
    return FALSE, entry.status == "completed"


@by_content
def reasons(content: Content, chart: Chart) -> frozenset[str]:
    """What the reason of a stopped, omitted or refused treatment says; `unclear` where a code and words differ about
    progression.
    """
    return frozenset(_reasons(content.raw, chart))


def _reasons(raw: dict[str, Any], chart: Chart) -> Iterator[str]:
    names = ["statusReason", "reasonNotTaken", "notDoneReason"]
    if raw.get("doNotPerform") is True:
        names.append("reasonCode")
    for concept in [one for name in names for one in one_or_more(raw.get(name))]:
        coded = {one.sense.meaning for one in chart.recogniser.codes(concept) if one.sense.role == "says"}
        spoken = {one.sense.meaning for one in chart.recogniser.spoken("says:progressed-on", text_of(concept))}
        yield from coded or spoken
        if coded and spoken - coded and ("progression" in coded) != ("progression" in spoken):
            yield "unclear"


# WHAT WAS ORDERED AND NOT TAKEN


def _without_denied(told: list[Told], denials: list[Denial], result: Medicines) -> list[Told]:
    """Leave out the orders of which the record says, or lets it open, that they were never taken."""
    taken = [(entry, course) for entry, course in told if entry.kind != "MedicationRequest"]
    kept = []
    for entry, course in told:
        doubt = _doubt(entry, course, denials) if entry.kind == "MedicationRequest" else ""
        if not doubt or any(_shows(other, course) for _, other in taken):
            kept.append((entry, course))
        elif doubt == "refused":
            why = "an order stopped as refused: whether it was taken is not on record"
            result.unclear(entry, course.subjects, why, course.progressed)
        elif entry.status in _IN_FORCE:
            result.set_aside.append((entry.reference, f"an order that was never taken, says {doubt}"))
        else:
            result.unclear(entry, course.subjects, f"it and {doubt} disagree whether it was taken", course.progressed)
    return kept


def _doubt(entry: Entry, course: Course, denials: list[Denial]) -> str:
    """What speaks against an order having been taken: the reference of a denial, or that it was refused."""
    for denial in denials:
        if set(course.subjects) & set(denial.drugs) and not certainly_before(denial.date, course.start):
            return denial.reference
    return "refused" if entry.status == "stopped" and course.progressed is FALSE and course.refused else ""


def _shows(other: Course, order: Course) -> bool:
    """Whether a statement or administration shows that an order was taken."""
    return bool(set(other.subjects) & set(order.subjects)) and not certainly_before(other.last, order.start)


def _with_setting_of_their_orders(told: list[Told], chart: Chart) -> list[Told]:
    """A dose that does not tell its setting has that of the order it names, or of the course it falls into."""
    known: dict[str, list[Told]] = {}
    for entry, course in told:
        if course.setting is not UNSAID or course.elsewhere:
            known.setdefault(course.drug, []).append((entry, course))
    return [(entry, _like_its_order(entry, course, known.get(course.drug, []), chart)) for entry, course in told]


def _like_its_order(entry: Entry, course: Course, same: list[Told], chart: Chart) -> Course:
    """The course with the setting of those of its drug that are `same`, where they agree."""
    if course.setting is not UNSAID or course.elsewhere or not course.drug:
        return course
    orders = _orders_named(entry.raw, chart) if same else set()
    own = {(one.setting, one.elsewhere) for other, one in same if other.reference in orders}
    own = own or {(one.setting, one.elsewhere) for _, one in same if _within(course, one)}
    if len(own) != 1:
        return course
    setting, elsewhere = own.pop()
    return course._replace(setting=setting, elsewhere=elsewhere)


def _orders_named(raw: dict[str, Any], chart: Chart) -> set[str]:
    return {chart.record.references.name(one) for name in _ORDERED_BY for one in one_or_more(raw.get(name))}


def _within(course: Course, other: Course) -> bool:
    """Whether a course is known to lie within the dates of another."""
    if not course.start or not other.start or not other.end:
        return False
    return not certainly_before(course.start, other.start) and not certainly_before(other.end, course.last)


# OTHER RESOURCES THAT TELL OF TREATMENT


def _from_other_resources(chart: Chart, result: Medicines) -> Iterator[Course]:
    """Treatment on record as a diagnosis or procedure: by code; in words, a procedure that is named so and no more."""
    for entry, said in chart.saying("prior-medications"):
        drugs = chart.knowledge.members.get(said.sense.meaning)
        if drugs and entry.kind in ("Condition", "Procedure") and not entry.unreadable and not entry.no_evidence:
            yield _class_course(entry, said, chart)
    for entry in chart.of("Condition", "Procedure"):
        named = _treatments_in_words(entry, chart)
        if named and not entry.no_evidence:
            yield from _in_words(entry, named, chart, result)


@by_content
def _treatments_in_words(content: Content, chart: Chart) -> tuple[Recognised, ...]:
    """The treatments that words name where no code says anything."""
    if content.codes or not content.text:
        return ()
    counted = chart.knowledge.facts["lines"].more["by_classes"]
    spoken = spoken_drugs(content.text, chart)
    return tuple(one for one in spoken if not chart.classes_of(one.sense.subject).isdisjoint(counted))


def _in_words(entry: Entry, named: tuple[Recognised, ...], chart: Chart, result: Medicines) -> Iterator[Course]:
    subjects = tuple(dict.fromkeys(one.sense.subject for one in named))
    if entry.unreadable:
        result.unclear(entry, subjects, entry.unreadable)
    elif entry.kind == "Procedure" and f"“{entry.text}”" in named[0].how and named[0].sense.role == "class":
        yield _class_course(entry, Recognised(replace(named[0].sense, meaning=subjects[0]), named[0].how), chart)
    elif entry.kind == "Procedure" or _says_treated(entry.text, chart):
        result.unclear(entry, subjects, f"words that may tell of a treatment ({named[0].how})")


def _says_treated(text: str, chart: Chart) -> bool:
    said = {one.sense.meaning for one in chart.recogniser.spoken("says:prior-medications", text)}
    return "treated" in said and "relative" not in said


def _class_course(entry: Entry, said: Recognised, chart: Chart) -> Course:
    """A class without a drug: 'personal history of chemotherapy', 'long-term (current) use of …', a procedure."""
    current = said.sense.manner == "current"
    performed = entry.raw.get("performedPeriod")
    end = day(performed.get("end")) if isinstance(performed, dict) else ""
    start = entry.date if entry.kind == "Procedure" else ""
    setting, elsewhere = setting_of(entry, chart, start, end) if entry.kind == "Procedure" else (UNSAID, False)
    return Course(
        drug="",
        named_class=said.sense.meaning,
        classes=chart.classes_of(said.sense.meaning),
        active=current,
        start=start,
        end=end,
        last=end or start,
        setting=setting,
        progressed=FALSE if current else UNKNOWN,
        planned=False,
        not_tolerated=False,
        sources=((entry.reference, said.how),),
        kinds=frozenset({entry.kind}),
        elsewhere=elsewhere,
        by_diagnosis=True,
    )


# ONE COURSE OUT OF SEVERAL RESOURCES


def _merged(read: list[Course], days: int) -> list[Course]:
    """Several resources about one drug in one setting are one course; `days` is the length of a cycle."""
    alike: dict[tuple[object, ...], list[Course]] = {}
    for course in sorted(read, key=lambda one: (one.start or "9999", one.sources)):
        key = (course.drug, course.classes, course.may_be, course.setting, course.elsewhere)
        alike.setdefault(key, []).append(course)
    whole = [_joined(courses_, days) if len(courses_) > 1 else courses_[0] for courses_ in alike.values()]
    return sorted(whole, key=lambda one: (one.start or "9999", one.drug, one.setting.value))


def _joined(listed: list[Course], days: int) -> Course:
    """Courses that are alike, by start, as one."""
    running = [one for one in listed if one.active]
    progressed = {one.progressed for one in listed}
    return listed[0]._replace(
        active=bool(running),
        start=min((one.start for one in listed if one.start), default=""),
        end="" if running else max(one.end for one in listed),
        last=max(one.last for one in listed),
        progressed=TRUE if TRUE in progressed else UNKNOWN if UNKNOWN in progressed and not running else FALSE,
        planned=any(one.planned for one in listed),
        not_tolerated=any(one.not_tolerated for one in listed),
        sources=tuple(sorted({source for one in listed for source in one.sources})),
        kinds=frozenset().union(*(one.kinds for one in listed)),
        end_unsure=not running and any(one.end_unsure for one in listed),
        on_hold=bool(running) and all(one.on_hold for one in running),
        again=_begun_again(listed, days),
    )


def _begun_again(listed: list[Course], days: int) -> tuple[str, ...]:
    """The starts that lie more than a cycle after everything before them is known to have ended."""
    found: list[str] = []
    active, end, last = listed[0].active, listed[0].end, listed[0].last
    for course in listed[1:]:
        if not active and end and last <= end and certainly_before(end, course.start):
            apart = days_between(end, course.start)
            if apart is None or apart > days:
                found.append(course.start)
        active = active or course.active
        end, last = "" if active else max(end, course.end), max(last, course.last)
    return tuple(found)


# A DISEASE THAT IS WORSE


def _after_worsening(listed: list[Course], chart: Chart) -> list[Course]:
    """A disease status 'worsened' while a course ran, or at its open end, means progression on it."""
    worsened = sorted(
        (entry.date, entry.reference, how)
        for entry, how in _worsened(chart)
        if entry.date and not entry.unreadable and not entry.no_evidence
    )
    return [_failed_by(course, worsened, listed) for course in listed] if worsened else listed


def _worsened(chart: Chart) -> Iterator[tuple[Entry, str]]:
    for entry, one in chart.saying("progressed-on"):
        if entry.kind == "Observation" and one.sense.meaning == "progression":
            yield entry, one.how
    for entry, _, element in chart.asking("progressed-on"):
        value = element.get("valueCodeableConcept", element.get("valueString"))
        if not chart.recogniser.codes(value):
            spoken = chart.recogniser.spoken("says:progressed-on", text_of(value))
            if {one.sense.meaning for one in spoken} == {"progression"}:
                yield entry, spoken[0].how


def _failed_by(course: Course, worsened: list[tuple[str, str, str]], listed: list[Course]) -> Course:
    """The course with what a worse disease says of it: certain while it ran and is over; open while it is in force,
    or where another treatment began between its start and the finding and nobody says when it ended.
    """
    if course.progressed is TRUE or not course.start or not course.drug or course.elsewhere:
        return course
    for date, reference, how in worsened:
        if certainly_before(date, course.start) or (course.end and certainly_before(course.end, date)):
            continue
        if course.planned and not course.end:
            continue
        sure = not course.active and (bool(course.end) or not _another_began(course, date, listed))
        if sure or course.active:
            sources = tuple(sorted({*course.sources, (reference, how)}))
            return course._replace(progressed=TRUE if sure else UNKNOWN, sources=sources)
    return course


def _another_began(course: Course, date: str, listed: list[Course]) -> bool:
    return any(
        other.drug != course.drug
        and certainly_before(course.start, other.start)
        and not certainly_before(date, other.start)
        for other in listed
    )
