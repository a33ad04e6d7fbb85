"""What removes an option: contraindications and refusals."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.dates import certainly_before
from cds_service.patient.elements import objects
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.medicines import KINDS, medicines, period_of, reasons
from cds_service.patient.naming import named, naming, spoken_drugs
from cds_service.patient.recognise import Recognised, text_of

#: drugs that something on record leaves open, with its references, and why
Open = dict[str, tuple[str, ...]]


# REFUSALS


def refusals(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """What the patient refused: a treatment not done or not taken with a refusal as reason, or words that say so. A
    refusal that is older than a treatment with the same drug or class leaves it unknown.
    """
    evidence = Evidence(definition)
    unsure: Open = {}
    for entry in chart.of("Procedure", *KINDS):
        if entry.status != "entered-in-error" and "refused" in reasons(entry, chart):
            _read_refusal(entry, chart, evidence, unsure)
    for entry, _ in chart.told(definition.id, "Condition", "Observation"):
        if not entry.no_evidence:
            for target, how, may_be in _spoken_targets(entry.whole_text, chart):
                if may_be:
                    _leave_open(unsure, may_be, entry.reference)
                else:
                    evidence.read(entry, target, f"{how}, refused in words")
    _taken_since(evidence, chart, unsure)
    if unsure:
        evidence.note(f"refused or not is not clear: {', '.join(sorted(unsure))}")
    return _removing(evidence, chart, ("Procedure",), unsure)


def _read_refusal(entry: Entry, chart: Chart, evidence: Evidence, unsure: Open) -> None:
    if entry.unreadable:
        evidence.unreadable.append(entry.reference)
        return
    found = list(_targets(entry, chart))
    if not found and entry.kind != "Procedure" and naming(entry, chart).problem:
        evidence.unreadable.append(entry.reference)
        evidence.ignore(entry, f"a refusal: {naming(entry, chart).problem}")
    for target, how, may_be in found:
        if may_be:
            _leave_open(unsure, may_be, entry.reference)
            evidence.ignore(entry, f"a refusal of {' or '.join(may_be)} ({how})")
        else:
            evidence.read(entry, target, how, entry.date or period_of(entry.raw)[0])


def _targets(entry: Entry, chart: Chart) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The drugs, classes and procedures that a refused treatment is: how each was recognised, what it may be."""
    if entry.kind == "Procedure":
        coded = [one for one in entry.codes if one.sense.role in ("target", "class")]
        for one in coded:
            yield (one.sense.meaning if one.sense.role == "target" else one.sense.subject), one.how, ()
        yield from _spoken_targets(entry.text, chart) if not coded else ()
        return
    for one in naming(entry, chart).senses:
        if one.sense.role in ("drug", "class", "ambiguous"):
            yield one.sense.subject, one.how, _perhaps(one)


def _spoken_targets(text: str, chart: Chart) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for one in spoken_drugs(text, chart):
        yield one.sense.subject, one.how, _perhaps(one)


def _perhaps(one: Recognised) -> tuple[str, ...]:
    """What a refusal leaves open: one of several drugs; a regimen, whose drugs alone are not refused with it."""
    return one.sense.may_be or ((one.sense.subject,) if one.sense.meaning == "regimen" else ())


def _taken_since(evidence: Evidence, chart: Chart, unsure: Open) -> None:
    """Set aside the refusals after which the same drug or class was given."""
    for reading in list(evidence.readings):
        later = [
            course
            for course in medicines(chart).courses
            if reading.answer in {course.drug, *course.classes} and certainly_before(reading.date, course.start)
        ]
        if later:
            evidence.readings.remove(reading)
            given = ", ".join(sorted({reference for course in later for reference in course.references}))
            evidence.set_aside.append((reading.reference, f"refused, and given later: {given}"))
            _leave_open(unsure, sorted(_reach(reading.answer, chart)), reading.reference)


def _leave_open(unsure: Open, drugs: Iterable[str], reference: str) -> None:
    for drug in drugs:
        unsure[drug] = tuple(sorted({*unsure.get(drug, ()), reference}))


# CONTRAINDICATIONS


def contraindications(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Allergies and intolerances to drugs and classes. A drug stopped as not tolerated, one that is instructed not to
    be given, and the other forms of a drug that is not tolerated, are unknown.
    """
    evidence = Evidence(definition)
    unsure: Open = {}
    silent = False
    for entry in chart.of("AllergyIntolerance"):
        silent = _read_allergy(entry, definition, chart, evidence, unsure) or silent
    for entry, said in chart.told(definition.id, "Condition", "Observation"):
        if {one.sense.meaning for one in said} & {"contraindicated", "not-tolerated"} and not entry.no_evidence:
            for one in spoken_drugs(entry.whole_text, chart):
                if one.sense.role in ("drug", "class"):
                    evidence.read(entry, one.sense.subject, f"{one.how}, contraindicated in words")
    for entry in chart.of("MedicationRequest"):
        if entry.raw.get("doNotPerform") is True and entry.status in ("active", "on-hold"):
            _read_instruction(entry, chart, evidence, unsure)
    for course in medicines(chart).courses:
        if course.not_tolerated and course.drug:
            for reference in course.references:
                _leave_open(unsure, [course.drug], reference)
            evidence.note(f"stopped as not tolerated: {course.drug}")
    for reading in evidence.readings:
        _leave_open(unsure, _kin(reading.answer, chart), reading.reference)
    if silent:
        evidence.note("an allergy on record names nothing that can be told, or allergies are not known")
    return _removing(evidence, chart, ("AllergyIntolerance",), unsure, silent)


def _read_instruction(entry: Entry, chart: Chart, evidence: Evidence, unsure: Open) -> None:
    """An instruction not to give a medicine (`doNotPerform`) that is in force: why is seldom said, so it stays open."""
    for one in naming(entry, chart).senses:
        if one.sense.role in ("drug", "class", "ambiguous"):
            for subject in one.sense.may_be or (one.sense.subject,):
                _leave_open(unsure, sorted(_reach(subject, chart)), entry.reference)
            evidence.note("an instruction not to give a medicine is on record")


def _read_allergy(entry: Entry, definition: FactDefinition, chart: Chart, evidence: Evidence, unsure: Open) -> bool:
    """Read one allergy; true where it leaves open which drugs are contraindicated."""
    text = entry.text
    said = {one.sense.meaning for one in entry.codes if one.sense.subject == definition.id}
    said |= {one.sense.meaning for one in chart.recogniser.spoken(f"says:{definition.id}", text)}
    if said & {"none", "no-information"}:
        return "no-information" in said and evidence.admit(entry)
    found = _allergens(entry, chart)
    if not found:
        nameless = not text and not entry.codes and not _substances(entry)
        return nameless and evidence.admit(entry)
    if evidence.admit(entry):
        for one in found:
            if len(one.sense.may_be) > 1 or one.sense.why == "its solvent":
                _leave_open(unsure, one.sense.may_be, entry.reference)
                evidence.ignore(entry, f"it leaves open {' and '.join(one.sense.may_be)} ({one.how})")
                evidence.note(f"an allergy leaves open: {', '.join(one.sense.may_be)}")
            else:
                evidence.read(entry, (one.sense.may_be or (one.sense.subject,))[0], one.how)
    return False


def _substances(entry: Entry) -> list[object]:
    return [one["substance"] for one in objects(entry.raw.get("reaction")) if one.get("substance")]


def _allergens(entry: Entry, chart: Chart) -> list[Recognised]:
    """What an allergy is to: by code, where the words agree, or by words; of another use of a drug too, and its
    solvents.
    """
    found: list[Recognised] = []
    for concept in (entry.raw.get("code"), *_substances(entry)):
        text = text_of(concept)
        coded = chart.recogniser.codes(concept)
        other_use = [one for one in coded if one.sense.role == "not-this"]
        senses = [one for one in named(concept, chart).senses if one.sense.role in ("drug", "class", "ambiguous")]
        spoken = [] if coded else _form_or_parent(text, chart)
        found += spoken or other_use or senses or list(spoken_drugs(text, chart))
        found += [] if found else chart.recogniser.spoken("solvent", text)
    return found


def _form_or_parent(text: str, chart: Chart) -> list[Recognised]:
    """Words that name a drug and a form of it leave open which of them is meant ('X, tolerates liposomal X')."""
    spoken = [one for one in chart.recogniser.spoken("drug", text) if one.sense.role == "drug"]
    drugs = {one.sense.subject for one in spoken}
    both = {drug for drug in drugs if drugs & {*chart.drugs[drug].form_of}}
    both |= {parent for drug in both for parent in chart.drugs[drug].form_of if parent in drugs}
    if not both:
        return []
    sense = replace(spoken[0].sense, role="ambiguous", subject="drug", may_be=tuple(sorted(both)))
    rest = [one for one in spoken if one.sense.subject not in both]
    return [Recognised(sense, " and ".join(dict.fromkeys(one.how for one in spoken))), *rest]


def _kin(subject: str, chart: Chart) -> set[str]:
    """The other forms of a drug: what it is a form of or contains, and the forms of it."""
    if subject not in chart.drugs:
        return set()
    own = {*chart.drugs[subject].form_of, *chart.drugs[subject].contains}
    return own | {drug.id for drug in chart.drugs.values() if subject in drug.form_of}


# WHAT IS REMOVED


def _removing(
    evidence: Evidence,
    chart: Chart,
    holders: tuple[str, ...],
    unsure: Mapping[str, tuple[str, ...]],
    silent: bool = False,
) -> Fact:
    """A fact whose answers remove options: what is named, all drugs of a named class, every product that holds it."""
    subjects = sorted({reading.answer for reading in evidence.readings})
    answers = {drug: Answer(UNKNOWN, references) for drug, references in unsure.items()}
    for subject in subjects:
        references = references_of(one for one in evidence.readings if one.answer == subject)
        for one in _reach(subject, chart):
            answers[one] = Answer(TRUE, references)
    whole = chart.record.delivered(*holders) and not evidence.unreadable
    if not whole:
        evidence.note("the resources that would hold them were not delivered whole")
    known = whole and not silent
    value = ", ".join(subjects) or ("none" if known and not unsure else "unknown")
    return evidence.build(value, answers, FALSE if known else UNKNOWN, references_of(evidence.readings))


def _reach(subject: str, chart: Chart) -> set[str]:
    """A drug with the products that contain it; a class with its drugs and every class inside it."""
    members = chart.knowledge.members
    drugs = set(members.get(subject, {subject} if subject in chart.drugs else ()))
    drugs |= {drug.id for drug in chart.drugs.values() if set(drug.contains) & drugs}
    inside = {name_ for name_, held in members.items() if held and held <= drugs}
    return {subject} | drugs | inside | chart.knowledge.within.get(subject, frozenset())
