"""Facts about earlier treatment: what was given, and what failed.

Answers are phrases, so that a condition reads as it is meant: `trastuzumab`, `trastuzumab in metastatic disease`.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth, all_of, any_of
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart
from cds_service.patient.medicines import KINDS, Course, Medicines, medicines
from cds_service.patient.record import Delivery
from cds_service.patient.setting import BEFORE, METASTATIC, UNSAID

_PHRASES = (
    "{}",
    "{} before now",
    "{} in metastatic disease",
    "{} in metastatic disease, before now",
    "{} only before metastatic disease",
)


def _subjects(course: Course, chart: Chart) -> set[str]:
    """What a course counts as: its drug, the drugs a fixed-dose product contains, and all their classes."""
    drugs = {course.drug, *chart.drugs[course.drug].contains} if course.drug else set()
    return drugs | course.classes


def _by_subject(found: Medicines, chart: Chart) -> dict[str, list[Course]]:
    """The courses by everything that they count as."""
    by_subject: dict[str, list[Course]] | None = chart.shelf.get("by subject")
    if by_subject is None:
        by_subject = chart.shelf["by subject"] = {}
        for course in found.courses:
            for subject in _subjects(course, chart):
                by_subject.setdefault(subject, []).append(course)
    return by_subject


def silence(found: Medicines, chart: Chart) -> Truth:
    """What it means that a drug is not on record: 'not given' only where the orders were delivered, and nothing that
    was delivered is in part. Statements and administrations add to orders; many records keep none.
    """
    known: Truth | None = chart.shelf.get("silence")
    if known is None:
        known = chart.shelf["silence"] = _silence(found, chart)
    return known


def _silence(found: Medicines, chart: Chart) -> Truth:
    partial = any(chart.record.delivery.get(kind) in (Delivery.PARTIAL, Delivery.FAILED) for kind in KINDS)
    whole = chart.record.delivered("MedicationRequest") and not partial
    return FALSE if whole and not found.no_information and not found.unnamed else UNKNOWN


def _silence_note(found: Medicines, chart: Chart) -> str:
    if found.no_information:
        return "the record says that it has no information about medicines"
    if found.unnamed:
        return "a medicine on record cannot be named"
    return "" if silence(found, chart) is FALSE else "the medication list was not delivered whole"


def possible(found: Medicines, chart: Chart, failed: bool = False) -> dict[str, tuple[str, ...]]:
    """Drugs and classes that an ambiguous or unreadable resource may be about, and the drugs of a class that was given
    without saying which; with `failed`, of classes that may have failed only.
    """
    reached: dict[str, set[str]] = {}
    for reference, subjects in found.may_have_failed if failed else found.may_be:
        for subject in subjects:
            within = chart.knowledge.members.get(subject, frozenset())
            for one in {subject} | chart.classes_of(subject) | within:
                reached.setdefault(one, set()).add(reference)
    for course in found.courses:
        for drug in chart.knowledge.members.get(course.named_class, ()):
            for reference in course.references if not failed or course.progressed is not FALSE else ():
                reached.setdefault(drug, set()).add(reference)
    return {subject: tuple(sorted(references)) for subject, references in reached.items()}


def prior_medications(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Every drug given so far, in any setting, in metastatic disease, or only before it; and what has ended."""
    found = medicines(chart)
    silent = silence(found, chart)
    answers: dict[str, Answer] = {}
    for subject, references in possible(found, chart).items():
        for phrase in _PHRASES:
            answers[phrase.format(subject)] = Answer(UNKNOWN, references)
    said: dict[tuple[int, ...], Given] = {}  # a drug and its classes often stand for the same courses
    for subject, given in _by_subject(found, chart).items():
        alike = tuple(map(id, given))
        if alike not in said:
            said[alike] = _given(given, silent)
        answers.update(_phrases(subject, said[alike]))
    named = sorted({_name(course, chart) for course in found.courses})
    value = ", ".join(named) or ("none" if silent is FALSE and not found.may_be else "unknown")
    return Fact(
        definition.id, value, answers, silent, _all_references(found.courses), _note(found, chart),
        course_readings(found.courses), _aside(found),
    )  # fmt: skip


class Given(NamedTuple):
    """What courses say of the drug or class that was given in them; `now` where one is active."""

    ever: Answer
    metastatic: Answer
    only_before: Answer
    ended: Answer
    metastatic_ended: Answer
    now: Answer | None


def _given(given: list[Course], silent: Truth) -> Given:
    references = _all_references(given)
    metastatic = _in_metastatic(given, silent)
    ever = Answer(TRUE, references)
    return Given(
        ever=ever,
        metastatic=Answer(metastatic, references),
        only_before=Answer(_only_before(given), references),
        ended=Answer(_ended(given), references),
        metastatic_ended=Answer(all_of((metastatic, _ended_metastatic(given))), references),
        now=ever if any(course.active for course in given) else None,
    )


def _phrases(subject: str, said: Given) -> Iterator[tuple[str, Answer]]:
    """Every phrase about one drug or class that was given."""
    metastatic = f"{subject} in metastatic disease"
    yield subject, said.ever
    yield metastatic, said.metastatic
    yield f"{subject} only before metastatic disease", said.only_before
    yield f"{subject} before now", said.ended
    yield f"{metastatic}, before now", said.metastatic_ended
    if said.now is not None:
        yield f"{subject} now", said.now


def _note(found: Medicines, chart: Chart) -> str:
    elsewhere = sorted({_name(course, chart) for course in found.courses if course.elsewhere})
    notes = [f"not for this cancer, as far as the record tells: {', '.join(elsewhere)}"] if elsewhere else []
    perhaps = sorted({subject for _, subjects in found.may_be for subject in subjects})
    notes += [f"may have been given: {', '.join(perhaps)}"] if perhaps else []
    return "; ".join(one for one in (*notes, _silence_note(found, chart)) if one)


def _in_metastatic(given: list[Course], silent: Truth) -> Truth:
    settings = {UNSAID if course.elsewhere and course.setting is METASTATIC else course.setting for course in given}
    if METASTATIC in settings:
        return TRUE
    return UNKNOWN if UNSAID in settings or silent is UNKNOWN else FALSE


def _ended(given: list[Course]) -> Truth:
    """Whether a treatment is over. A running one is neither 'tried' nor 'not tried', one with an end that is in force
    by its status may be either, and what was given for something else is not surely an earlier treatment: unknown.
    """
    return UNKNOWN if all(course.active or course.end_unsure or course.elsewhere for course in given) else TRUE


def _ended_metastatic(given: list[Course]) -> Truth:
    return _ended([course for course in given if course.setting is METASTATIC] or given)


def _only_before(given: list[Course]) -> Truth:
    return all_of(
        UNKNOWN if course.elsewhere or course.setting is UNSAID else (TRUE if course.setting is BEFORE else FALSE)
        for course in given
    )


def _name(course: Course, chart: Chart) -> str:
    """The drug, or the narrowest class where no drug is on record."""
    members = chart.knowledge.members
    return course.drug or min(sorted(course.classes), key=lambda name_: len(members[name_]), default="a medicine")


def course_readings(listed: Iterable[Course]) -> tuple[Reading, ...]:
    """How each resource behind these courses was read."""
    found: list[Reading] = []
    for course in listed:
        words = _course_words(course)
        found += [Reading(reference, words, how, course.start) for reference, how in course.sources]
    return tuple(found)


def _course_words(course: Course) -> str:
    state = "active" if course.active else "in force, with an end" if course.end_unsure else "ended"
    failed = {TRUE: ", progression", FALSE: "", UNKNOWN: ", progression not known"}[course.progressed]
    which = course.drug or (f"one of {', '.join(course.may_be)}" if course.may_be else course.named_class)
    elsewhere = ", not for this cancer as far as the record tells" if course.elsewhere else ""
    return f"{which}: {state}{failed}, setting {course.setting.value}{elsewhere}"


def _all_references(given: Iterable[Course]) -> tuple[str, ...]:
    listed = list(given)
    if len(listed) == 1:
        return listed[0].references
    return tuple(sorted({reference for course in listed for reference in course.references}))


def _aside(found: Medicines) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(set(found.set_aside)))


def progressed_on(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """The drugs, and classes, on which the disease progressed. A stop without a reason leaves it unknown."""
    found = medicines(chart)
    silent = silence(found, chart)
    treatments = set(definition.more["by_classes"])
    reached = possible(found, chart, failed=True)
    answers = {subject: Answer(UNKNOWN, references) for subject, references in reached.items()}
    for subject, given in _by_subject(found, chart).items():
        open_ = [UNKNOWN] if silent is UNKNOWN or subject in answers else []
        truth = any_of([course.progressed for course in given] + open_)
        decisive = [course for course in given if course.progressed is truth] or given
        answers[subject] = Answer(truth, _all_references(decisive))
    cancer = [course for course in found.courses if course.classes & treatments]
    failed = sorted({course.drug for course in cancer if course.drug and course.progressed is TRUE})
    unsure = sorted({course.drug for course in cancer if course.drug and course.progressed is UNKNOWN})
    unclear = any(course.may_be and course.progressed is not FALSE for course in cancer)
    perhaps = [one for _, subjects in found.may_have_failed for one in subjects if chart.classes_of(one) & treatments]
    value = ", ".join(failed) or ("none" if silent is FALSE and not unsure and not perhaps else "unknown")
    notes = [f"progression not known: {', '.join(unsure)}"] if unsure else []
    notes += ["on which of several drugs is not known"] if unclear else []
    notes += [f"whether given and how it ended not known: {', '.join(sorted(set(perhaps)))}"] if perhaps else []
    references = _all_references(course for course in cancer if course.progressed is not FALSE)
    note = "; ".join(notes) or _silence_note(found, chart)
    return Fact(definition.id, value, answers, silent, references, note, course_readings(cancer), _aside(found))
