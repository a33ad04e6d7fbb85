"""Facts about earlier treatment: what was given, what failed, how many lines; refusals and contraindications.

Answers are phrases, so that a condition reads as it is meant: `trastuzumab`, `trastuzumab in metastatic disease`,
`at least 2`, `line 2 or later failed`.
"""

from collections.abc import Iterable, Iterator

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth, all_of, any_of
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.medicines import (
    BEFORE,
    KINDS,
    METASTATIC,
    UNSAID,
    Course,
    Medicines,
    medication,
    medicines,
    name,
    reasons,
)
from cds_service.patient.record import Delivery

_MOST = 9
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
    by_subject: dict[str, list[Course]] = {}
    for course in found.courses:
        for subject in _subjects(course, chart):
            by_subject.setdefault(subject, []).append(course)
    return by_subject


def _silence(found: Medicines, chart: Chart) -> Truth:
    """What it means that a drug is not on record: 'not given' only where the orders were delivered, and nothing that
    was delivered is in part. Statements and administrations add to orders; many records keep none.
    """
    partial = any(chart.record.delivery.get(kind) in (Delivery.PARTIAL, Delivery.FAILED) for kind in KINDS)
    whole = chart.record.delivered("MedicationRequest") and not partial
    return FALSE if whole and not found.no_information and not found.unnamed else UNKNOWN


def _silence_note(found: Medicines, chart: Chart) -> str:
    if found.no_information:
        return "the record says that it has no information about medicines"
    if found.unnamed:
        return "a medicine on record cannot be named"
    return "" if _silence(found, chart) is FALSE else "the medication list was not delivered whole"


def _possible(found: Medicines, chart: Chart, failed: bool = False) -> dict[str, tuple[str, ...]]:
    """Drugs and classes that an ambiguous or unreadable resource may be about, and the drugs of a class that was given
    without saying which; with `failed`, of classes that may have failed only.
    """
    possible: dict[str, set[str]] = {}
    for reference, subjects in found.may_be:
        for subject in subjects:
            for one in {subject} | chart.classes_of(subject):
                possible.setdefault(one, set()).add(reference)
    for course in found.courses:
        for drug in chart.knowledge.members.get(course.named_class, ()):
            for reference in course.references if not failed or course.progressed is not FALSE else ():
                possible.setdefault(drug, set()).add(reference)
    return {subject: tuple(sorted(references)) for subject, references in possible.items()}


def prior_medications(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Every drug given so far, in any setting, in metastatic disease, or only before it; and what has ended."""
    found = medicines(chart)
    silence = _silence(found, chart)
    by_subject = _by_subject(found, chart)
    answers: dict[str, Answer] = {}
    for subject, references in _possible(found, chart).items():
        for phrase in _PHRASES:
            answers[phrase.format(subject)] = Answer(UNKNOWN, references)
    for subject, given in by_subject.items():
        references = _all_references(given)
        answers[subject] = Answer(TRUE, references)
        answers[f"{subject} in metastatic disease"] = Answer(_in_metastatic(given, silence), references)
        answers[f"{subject} only before metastatic disease"] = Answer(_only_before(given), references)
        if any(course.active for course in given):
            answers[f"{subject} now"] = Answer(TRUE, references)
        answers[f"{subject} before now"] = Answer(_ended(given), references)
        answers[f"{subject} in metastatic disease, before now"] = Answer(
            all_of((_in_metastatic(given, silence), _ended_metastatic(given))), references
        )
    readings = tuple(
        Reading(reference, _course_words(course), how, course.start)
        for course in found.courses
        for reference, how in course.sources
    )
    named = sorted({_name(course, chart) for course in found.courses})
    value = ", ".join(named) or ("none" if silence is FALSE else "unknown")
    return Fact(
        definition.id, value, answers, silence, _all_references(found.courses), _silence_note(found, chart),
        readings, tuple(sorted(set(found.set_aside))),
    )  # fmt: skip


def _in_metastatic(given: list[Course], silence: Truth) -> Truth:
    settings = {course.setting for course in given}
    if METASTATIC in settings:
        return TRUE
    return UNKNOWN if UNSAID in settings or silence is UNKNOWN else FALSE


def _ended(given: list[Course]) -> Truth:
    """Whether a treatment is over. A running one is neither 'tried' nor 'not tried': unknown."""
    return UNKNOWN if all(course.active for course in given) else TRUE


def _ended_metastatic(given: list[Course]) -> Truth:
    return _ended([course for course in given if course.setting == METASTATIC] or given)


def _only_before(given: list[Course]) -> Truth:
    return all_of(
        TRUE if course.setting == BEFORE else FALSE if course.setting == METASTATIC else UNKNOWN for course in given
    )


def _name(course: Course, chart: Chart) -> str:
    """The drug, or the narrowest class where no drug is on record."""
    members = chart.knowledge.members
    return course.drug or min(sorted(course.classes), key=lambda name_: len(members[name_]), default="a medicine")


def _course_words(course: Course) -> str:
    state = "active" if course.active else "ended"
    failed = {TRUE: ", progression", FALSE: "", UNKNOWN: ", reason not on record"}[course.progressed]
    return f"{course.drug or 'class only'}: {state}{failed}, setting {course.setting}"


def _all_references(given: Iterable[Course]) -> tuple[str, ...]:
    return tuple(sorted({reference for course in given for reference in course.references}))


def progressed_on(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """The drugs, and classes, on which the disease progressed. A stop without a reason leaves it unknown."""
    found = medicines(chart)
    silence = _silence(found, chart)
    treatments = set(definition.more["by_classes"])
    possible = _possible(found, chart, failed=True)
    answers = {subject: Answer(UNKNOWN, references) for subject, references in possible.items()}
    for subject, given in _by_subject(found, chart).items():
        open_ = [UNKNOWN] if silence is UNKNOWN or subject in answers else []
        truth = any_of([course.progressed for course in given] + open_)
        decisive = [course for course in given if course.progressed is truth] or given
        answers[subject] = Answer(truth, _all_references(decisive))
    cancer = [course for course in found.courses if course.drug and course.classes & treatments]
    failed = sorted({course.drug for course in cancer if course.progressed is TRUE})
    unsure = sorted({course.drug for course in cancer if course.progressed is UNKNOWN})
    value = ", ".join(failed) or ("none" if silence is FALSE and not unsure else "unknown")
    note = f"stopped, reason not on record: {', '.join(unsure)}" if unsure else _silence_note(found, chart)
    references = _all_references(course for course in cancer if course.progressed is not FALSE)
    return Fact(definition.id, value, answers, silence, references, note)


# LINES


def lines(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Successive regimens in the metastatic setting; drugs started together are one regimen.

    Counted from below and from above where starts or settings are not on record: what lies between is unknown.
    """
    found = medicines(chart)
    counted = set(definition.more["by_classes"])
    given = [course for course in found.courses if course.classes & counted]
    silence = _silence(found, chart)
    open_end = silence is UNKNOWN or bool(set(_possible(found, chart)) & counted)
    metastatic = [course for course in given if course.setting == METASTATIC]
    unsaid = [course for course in given if course.setting == UNSAID]
    references = _all_references(metastatic + unsaid)
    low, high = _count(metastatic, unsaid, open_end)
    if not given and not open_end:
        return Fact(definition.id, "0", {}, FALSE)
    answers: dict[str, Answer] = {}
    for n in range(1, _MOST + 1):
        answers[f"at least {n}"] = Answer(_between(n, low, high), references)
        answers[f"line {n} or later failed"] = Answer(_failed_from(n, metastatic, unsaid, open_end), references)
    for phrase, classes, listed in _counted(definition, given, metastatic):
        own = [one for one in listed if one.classes & classes]
        unsure = [one for one in unsaid if one.classes & classes] if "metastatic" in phrase else []
        unsure += [one for one in own if one.active]
        own_low, own_high = _count([one for one in own if not one.active], unsure, open_end)
        for n in range(1, _MOST + 1):
            answers[phrase.replace("*", str(n))] = Answer(_between(n, own_low, own_high), _all_references(listed))
    value = str(low) if low == high else "unknown"
    note = "" if low == high else f"at least {low}; settings or dates are not on record"
    return Fact(definition.id, value, answers, UNKNOWN, references, note)


def _counted(
    definition: FactDefinition, given: list[Course], metastatic: list[Course]
) -> Iterator[tuple[str, set[str], list[Course]]]:
    """The phrases of the fact file that count regimens of some classes, with the courses they are counted in."""
    for phrase, classes in definition.more["regimens_of"].items():
        yield phrase, set(classes), metastatic if "metastatic" in phrase else given


def _count(sure: list[Course], unsure: list[Course], open_end: bool) -> tuple[int, int]:
    """The least and the greatest number of regimens that the courses can be.

    Courses before the metastatic disease count as one regimen at least and as many as they have starts at most.
    """
    before = [one for one in sure if one.setting == BEFORE]
    rest = [one for one in sure if one.setting != BEFORE]
    starts = {one.start for one in rest if one.start}
    undated = [one for one in rest if not one.start]
    low = len(starts) + (1 if undated and not starts else 0) + (1 if before else 0)
    apart = {one.start or one.drug for one in before}, {one.start or one.drug for one in unsure}
    high = len(starts) + len(undated) + sum(len(regimens) for regimens in apart)
    return low, _MOST + 1 if open_end else max(low, high)


def _between(n: int, low: int, high: int) -> Truth:
    return TRUE if low >= n else FALSE if high < n else UNKNOWN


def _failed_from(n: int, metastatic: list[Course], unsaid: list[Course], open_end: bool) -> Truth:
    """Whether the n-th metastatic regimen, or a later one, was stopped for progression."""
    starts = sorted({course.start for course in metastatic if course.start})
    truths: list[Truth] = []
    for i, start in enumerate(starts, 1):
        if i >= n:
            truths += [course.progressed for course in metastatic if course.start == start]
        elif unsaid or any(not course.start for course in metastatic):
            truths += [UNKNOWN for course in metastatic if course.start == start and course.progressed is not FALSE]
    for course in [one for one in metastatic if not one.start] + unsaid:
        certain = n == 1 and course.setting == METASTATIC
        truths.append(course.progressed if certain or course.progressed is FALSE else UNKNOWN)
    return any_of(truths + ([UNKNOWN] if open_end else []))


# REFUSALS AND CONTRAINDICATIONS


def refusals(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """What the patient refused: a treatment not done or not taken with a refusal as reason, or words that say so."""
    evidence = Evidence(definition)
    for entry in chart.of("Procedure", *KINDS):
        if entry.status == "entered-in-error" or "refused" not in set(reasons(entry, chart)):
            continue
        if entry.unreadable:
            evidence.unreadable.append(entry.reference)
            continue
        for target, how in _targets(entry, chart):
            evidence.read(entry, target, how)
    for entry, _ in chart.told(definition.id, "Condition", "Observation"):
        if not entry.no_evidence:
            for one in chart.recogniser.spoken("drug", entry.whole_text):
                evidence.read(entry, one.sense.subject, f"{one.how}, refused in words")
    return _removing(evidence, chart, ("Procedure",))


def _targets(entry: Entry, chart: Chart) -> Iterator[tuple[str, str]]:
    if entry.kind == "Procedure":
        coded = [one for one in entry.codes if one.sense.role in ("target", "class")]
        for one in coded or chart.recogniser.spoken("drug", entry.text):
            yield one.sense.meaning if one.sense.role == "target" else one.sense.subject, one.how
        return
    concept, problem = medication(entry, chart)
    for one in name(concept, chart) if not problem else ():
        if one.sense.role in ("drug", "class"):
            yield one.sense.subject, one.how


def contraindications(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Allergies and intolerances to drugs and classes; a drug stopped as not tolerated leaves it unknown."""
    evidence = Evidence(definition)
    for entry in chart.of("AllergyIntolerance"):
        named = [one for one in entry.codes if one.sense.role in ("drug", "class", "not-this")]
        named = named or list(chart.recogniser.spoken("drug", entry.text))
        if named and evidence.admit(entry):
            for one in named:
                evidence.read(entry, one.sense.subject, one.how)
    for entry, said in chart.told(definition.id, "Condition", "Observation"):
        if {one.sense.meaning for one in said} & {"contraindicated", "not-tolerated"} and not entry.no_evidence:
            for one in chart.recogniser.spoken("drug", entry.whole_text):
                evidence.read(entry, one.sense.subject, f"{one.how}, contraindicated in words")
    unsure = {
        course.drug: course.references for course in medicines(chart).courses if course.not_tolerated and course.drug
    }
    return _removing(evidence, chart, ("AllergyIntolerance",), unsure)


def _removing(
    evidence: Evidence, chart: Chart, holders: tuple[str, ...], unsure: dict[str, tuple[str, ...]] | None = None
) -> Fact:
    """A fact whose answers remove options: what is named, all drugs of a named class, every product that holds it."""
    named = sorted({reading.answer for reading in evidence.readings})
    answers = {drug: Answer(UNKNOWN, references) for drug, references in (unsure or {}).items()}
    for subject in named:
        references = references_of(one for one in evidence.readings if one.answer == subject)
        for one in _reach(subject, chart):
            answers[one] = Answer(TRUE, references)
    if unsure:
        evidence.note(f"stopped as not tolerated: {', '.join(sorted(unsure))}")
    whole = chart.record.delivered(*holders) and not evidence.unreadable
    if not whole:
        evidence.note("the resources that would hold them were not delivered whole")
    value = ", ".join(named) or ("none" if whole and not unsure else "unknown")
    return evidence.build(value, answers, FALSE if whole else UNKNOWN, references_of(evidence.readings))


def _reach(subject: str, chart: Chart) -> set[str]:
    """A drug with the products that contain it; a class with its drugs and every class inside it."""
    members = chart.knowledge.members
    drugs = set(members.get(subject, {subject} if subject in chart.drugs else ()))
    drugs |= {drug.id for drug in chart.drugs.values() if set(drug.contains) & drugs}
    inside = {name_ for name_, held in members.items() if held and held <= drugs}
    return {subject} | drugs | inside | chart.knowledge.within.get(subject, frozenset())
