"""Facts about earlier treatment: what was given, and what failed.

Answers are phrases, so that a condition reads as it is meant: `trastuzumab`, `trastuzumab in metastatic disease`.
"""

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth, all_of, any_of
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart
from cds_service.patient.medicines import KINDS, Course, Medicines, medicines
from cds_service.patient.record import Delivery
from cds_service.patient.setting import BEFORE, METASTATIC, UNSAID, Setting

_PROGRESSED = {TRUE: ", progression", FALSE: "", UNKNOWN: ", progression not known"}


@cache
def _phrases(subject: str) -> tuple[str, ...]:
    """The answers about one drug or class, in the order of `_given`; the last only while it is given."""
    metastatic = f"{subject} in metastatic disease"
    return (
        subject,
        metastatic,
        f"{subject} only before metastatic disease",
        f"{subject} before now",
        f"{metastatic}, before now",
        f"{subject} now",
    )


def _alike(found: Medicines, chart: Chart) -> list[tuple[list[Course], list[str]]]:
    """The courses in groups, each with everything that is given in just these: most often a drug and its classes."""
    groups: list[tuple[list[Course], list[str]]] | None = chart.shelf.get("alike")
    if groups is None:
        by_subject: dict[str, list[int]] = {}
        for place, course in enumerate(found.courses):
            for subject in _subjects(course, chart):
                by_subject.setdefault(subject, []).append(place)
        alike: dict[tuple[int, ...], list[str]] = {}
        for subject, places in by_subject.items():
            alike.setdefault(tuple(places), []).append(subject)
        groups = [([found.courses[place] for place in places], subjects) for places, subjects in alike.items()]
        chart.shelf["alike"] = groups
    return groups


def _subjects(course: Course, chart: Chart) -> Iterable[str]:
    """What a course counts as: its drug, the drugs a fixed-dose product contains, and all their classes."""
    return course.classes.union((course.drug, *chart.drugs[course.drug].contains)) if course.drug else course.classes


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
        answers.update(dict.fromkeys(_phrases(subject)[:-1], Answer(UNKNOWN, references)))
    for given, subjects in _alike(found, chart):
        said = _given(given, silent)
        for subject in subjects:
            answers.update(zip(_phrases(subject), said, strict=False))
    named = sorted({_name(course, chart) for course in found.courses})
    value = ", ".join(named) or ("none" if silent is FALSE and not found.may_be else "unknown")
    return Fact(
        definition.id, value, answers, silent, _all_references(found.courses), _note(found, chart),
        course_readings(found.courses), _aside(found),
    )  # fmt: skip


def _given(given: list[Course], silent: Truth) -> list[Answer]:
    """What courses say of the drug or class that was given in them, in the order of its phrases."""
    references = _all_references(given)
    stays = tuple([Stay(one.setting, one.elsewhere, one.active, one.end_unsure) for one in given])
    answers = [Answer(truth, references) for truth in _truths(stays, silent)]
    return [*answers, answers[0]] if any(stay.active for stay in stays) else answers


class Stay(NamedTuple):
    """What of a course tells whether a drug was given, when, and whether that is over."""

    setting: Setting
    elsewhere: bool
    active: bool
    end_unsure: bool


@lru_cache(maxsize=1024)
def _truths(given: tuple[Stay, ...], silent: Truth) -> tuple[Truth, ...]:
    """The truth of each phrase but the last; the same for all drugs and patients of whom no more is known."""
    metastatic = _in_metastatic(given, silent)
    in_metastatic = tuple(stay for stay in given if stay.setting is METASTATIC)
    return (
        TRUE,
        metastatic,
        _only_before(given),
        _ended(given),
        all_of((metastatic, _ended(in_metastatic or given))),
    )


def _note(found: Medicines, chart: Chart) -> str:
    elsewhere = sorted({_name(course, chart) for course in found.courses if course.elsewhere})
    notes = [f"not for this cancer, as far as the record tells: {', '.join(elsewhere)}"] if elsewhere else []
    perhaps = sorted({subject for _, subjects in found.may_be for subject in subjects})
    notes += [f"may have been given: {', '.join(perhaps)}"] if perhaps else []
    return "; ".join(one for one in (*notes, _silence_note(found, chart)) if one)


def _in_metastatic(given: tuple[Stay, ...], silent: Truth) -> Truth:
    settings = {UNSAID if stay.elsewhere and stay.setting is METASTATIC else stay.setting for stay in given}
    if METASTATIC in settings:
        return TRUE
    return UNKNOWN if UNSAID in settings or silent is UNKNOWN else FALSE


def _ended(given: tuple[Stay, ...]) -> Truth:
    """Whether a treatment is over. A running one is neither 'tried' nor 'not tried', one with an end that is in force
    by its status may be either, and what was given for something else is not surely an earlier treatment: unknown.
    """
    return UNKNOWN if all(stay.active or stay.end_unsure or stay.elsewhere for stay in given) else TRUE


def _only_before(given: tuple[Stay, ...]) -> Truth:
    return all_of(
        UNKNOWN if stay.elsewhere or stay.setting is UNSAID else (TRUE if stay.setting is BEFORE else FALSE)
        for stay in given
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
    failed = _PROGRESSED[course.progressed]
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
    for given, subjects in _alike(found, chart):
        said = _failed(given, silent)
        open_ = _failed(given, UNKNOWN) if reached else said
        answers.update({subject: open_ if subject in reached else said for subject in subjects})
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


def _failed(given: list[Course], silent: Truth) -> Answer:
    """Whether the disease progressed in one of these courses, or else in one that is not on record."""
    truth = any_of([*(course.progressed for course in given), silent])
    return Answer(truth, _all_references([course for course in given if course.progressed is truth] or given))
