"""Menopause and ovarian suppression. Never from age; derived only as the Canadian source derives it, and named so."""

from dataclasses import dataclass

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry, by_content
from cds_service.patient.content import Content
from cds_service.patient.dates import certainly_before
from cds_service.patient.evidence import Evidence, Told, nothing, references_of
from cds_service.patient.medicines import courses, medicines
from cds_service.patient.recognise import text_of
from cds_service.patient.results import affirms, denied, flagged, results

_STATUSES = ("premenopausal", "postmenopausal", "perimenopausal", "induced")


@dataclass(frozen=True)
class Removal:
    """What tells that both ovaries were removed. `known` is a day by which they were, `done` the day of it; each is ''
    where it is not on record.
    """

    references: tuple[str, ...] = ()
    known: str = ""
    done: str = ""


def menopause(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Premenopausal, postmenopausal or unknown; for men the question does not apply and no answer of it is true.

    The answer `naturally postmenopausal` is apart: menopause caused by treatment (or by removal of the ovaries, where
    the record does not say why) is not what CDK4/6 combinations, fulvestrant and everolimus are named for.
    """
    sex = facts["sex"]
    if sex.value == "male":
        no = Answer(FALSE, sex.references)
        answers = dict.fromkeys((*definition.answers, "naturally postmenopausal"), no)
        return Fact(definition.id, "unknown", answers, FALSE, sex.references, "does not apply: the record says male")
    if chart.silent(definition.id):
        return nothing(definition)
    evidence = Evidence(definition)
    removal = _read_status(definition, chart, evidence)
    stated = evidence.single(open_answers=("perimenopausal", "unclear"))
    if removal.references and not evidence.unreadable and stated.value != "postmenopausal":
        if all(certainly_before(one.date, removal.known) for one in evidence.latest()):
            return _by_removal(definition, evidence, removal)
        if stated.value == "premenopausal":
            evidence.note("both ovaries were removed, and whether before or after that status is not known")
            return evidence.fact_of("unknown", tuple(sorted({*stated.references, *removal.references})))
    if stated.value in ("premenopausal", "postmenopausal"):
        natural = _naturally(stated, evidence, removal)
        return _natural(stated, definition, natural, facts["ovarian-suppression"])
    if evidence.unreadable or stated.references:
        return _induced(stated, definition, evidence) if _all_induced(evidence) else stated
    return _from_laboratory(definition, chart, evidence, facts["ovarian-suppression"]) or stated


def _by_removal(definition: FactDefinition, evidence: Evidence, removal: Removal) -> Fact:
    """Both ovaries were removed after whatever else is on record."""
    evidence.notes.clear()
    evidence.note("derived: both ovaries were removed; why is not on record")
    return _natural(evidence.fact_of("postmenopausal", removal.references), definition, UNKNOWN, None)


def _naturally(stated: Fact, evidence: Evidence, removal: Removal) -> Truth:
    """Whether a stated menopause is a natural one: not where treatment caused it, and open where both ovaries were
    removed unless it was stated before that day.
    """
    latest = evidence.latest()
    if stated.value != "postmenopausal" or "induced" in {one.answer for one in latest}:
        return FALSE
    before = any(certainly_before(one.date, removal.done) for one in latest)
    return TRUE if before or not removal.references else UNKNOWN


def _natural(fact: Fact, definition: FactDefinition, natural: Truth, suppression: Fact | None) -> Fact:
    truth = natural
    note = fact.note
    if natural is TRUE and suppression is not None and suppression.value == "yes":
        truth = UNKNOWN
        note = "; ".join(part for part in (note, "ovarian suppression on record: it may be the cause") if part)
    answers = {**fact.answers, "naturally postmenopausal": Answer(truth, fact.references)}
    return Fact(fact.name, fact.value, answers, UNKNOWN, fact.references, note, fact.readings, fact.set_aside)


def _all_induced(evidence: Evidence) -> bool:
    return {one.answer for one in evidence.latest()} == {"induced"} and not evidence.unreadable


def _induced(stated: Fact, definition: FactDefinition, evidence: Evidence) -> Fact:
    evidence.notes.clear()
    evidence.note("menopause caused by treatment")
    return _natural(evidence.fact_of("postmenopausal", stated.references), definition, FALSE, None)


def _read_status(definition: FactDefinition, chart: Chart, evidence: Evidence) -> Removal:
    """Read every stated status; return what tells that both ovaries were removed."""
    removals: dict[str, list[Entry]] = {"ovaries-removed": [], "left-ovary-removed": [], "right-ovary-removed": []}
    for entry, said in chart.saying(definition.id):
        if not evidence.admit(entry):
            continue
        if said.sense.meaning in removals:
            removals[said.sense.meaning].append(entry)
        elif denied(entry, said, chart.recogniser):
            evidence.ignore(entry, "its value does not affirm it")
        elif said.sense.meaning in _STATUSES and _contradicted(said.sense.meaning, _named(entry, chart)):
            evidence.read(entry, "unclear", said.how)
            evidence.doubt(entry, "has a code and words that disagree")
        elif said.sense.meaning in _STATUSES:
            evidence.read(entry, said.sense.meaning, said.how)
    for entry, told in chart.told(definition.id, "Condition", "Procedure"):
        if chart.recogniser.spoken("relative", entry.text):
            continue
        for said in told:
            if entry.codes or not evidence.admit(entry):
                continue
            if said.sense.meaning in removals:
                removals[said.sense.meaning].append(entry)
            elif said.sense.meaning in _STATUSES and entry.kind == "Condition":
                evidence.read(entry, said.sense.meaning, said.how)
    for entry in _status_observations(definition, chart):
        worded = _in_words(entry, chart)
        if worded is not None and evidence.admit(entry):
            evidence.take(entry, worded)
    return _removal(removals["ovaries-removed"], removals["left-ovary-removed"], removals["right-ovary-removed"])


def _removal(both: list[Entry], left: list[Entry], right: list[Entry]) -> Removal:
    """Both at once, or the one and the other. A diagnosis tells of what was, a procedure of its own day."""
    told = both + (left + right if left and right else [])
    if not told:
        return Removal()
    by = [entry.date for entry in both if entry.date]
    pairs = [[entry.date for entry in side] for side in (left, right)]
    by += [max(min(pairs[0]), min(pairs[1]))] if all(pairs) and all(map(all, pairs)) else []
    done = [entry.date for entry in told if entry.kind == "Procedure"]
    references = tuple(sorted({entry.reference for entry in told}))
    return Removal(references, min(by, default=""), min(done, default=""))


def _status_observations(definition: FactDefinition, chart: Chart) -> list[Entry]:
    asked = [entry for entry, one, _ in chart.asking(definition.id) if one.sense.meaning in ("status", "text")]
    return asked + [
        entry for entry, _ in chart.told(definition.id, "Observation") if not entry.codes and entry not in asked
    ]


@by_content
def _named(content: Content, chart: Chart) -> frozenset[str]:
    """The statuses that the words beside a code name."""
    observed = content.kind == "Observation"
    text = text_of(content.raw.get("valueCodeableConcept")) if observed else content.text
    return frozenset(one.sense.meaning for one in chart.recogniser.spoken("says:menopause", text)) & {*_STATUSES}


def _contradicted(meaning: str, named: frozenset[str]) -> bool:
    """Whether the words beside a code name another status; induced menopause is menopause."""
    return bool(named) and meaning not in named and not {meaning, *named} <= {"postmenopausal", "induced"}


@by_content
def _in_words(content: Content, chart: Chart) -> Told | None:
    """What the words of an Observation come to; None where its value says a status by code."""
    value = content.raw.get("valueCodeableConcept", content.raw.get("valueString"))
    if any(one.sense.subject == "menopause" and one.sense.role == "says" for one in chart.recogniser.codes(value)):
        return None
    spoken = chart.recogniser.spoken("says:menopause", text_of(value))
    claims = () if spoken else chart.recogniser.spoken("says:menopause", content.text)
    answers = {one.sense.meaning: one.how for one in spoken or claims}
    if len(answers) != 1 or (claims and not (answers.keys() <= {*_STATUSES} and _is_affirmed(content, chart))):
        return Told(aside="its words are not one menopausal status")
    ((answer, how),) = answers.items()
    return Told(answer, how) if answer in _STATUSES else Told()


def _is_affirmed(content: Content, chart: Chart) -> bool:
    """Whether the value upholds a claim of a status ('Postmenopausal? Yes'); where it does not, it may be any other."""
    found = results(content.raw, chart.recogniser)
    return "dataAbsentReason" not in content.raw and all(affirms(one, chart.recogniser) for one in found)


def _from_laboratory(definition: FactDefinition, chart: Chart, evidence: Evidence, suppression: Fact) -> Fact | None:
    """High FSH with low oestrogen, as flagged by the laboratory: the source names no limits and none is invented."""
    measured = [one for one in chart.asking(definition.id) if one[1].sense.meaning in ("fsh", "estradiol")]
    if not measured:
        return None
    flags: dict[str, tuple[str, tuple[str, ...]]] = {}
    days: set[str] = set()
    for test in ("fsh", "estradiol"):
        found = Evidence(definition)
        for entry, asked, element in measured:
            if asked.sense.meaning == test and evidence.admit(entry):
                found.read(entry, " and ".join(sorted(flagged(element))) or "unflagged", asked.how)
        latest = found.latest()
        if len({one.answer for one in latest}) == 1:
            flags[test] = (latest[0].answer, references_of(latest))
            days |= {one.date for one in latest}
    if flags.get("fsh", ("",))[0] == "high" and flags.get("estradiol", ("",))[0] == "low":
        if len(days) > 1:
            evidence.note("FSH and oestrogen of different days settle nothing")
            return None
        if suppression.value == "yes":
            evidence.note("FSH and oestrogen under ovarian suppression settle nothing")
            return None
        evidence.note("derived: high FSH with low oestrogen")
        references = tuple(sorted({*flags["fsh"][1], *flags["estradiol"][1]}))
        treated = any(course.classes & set(definition.more["by_classes"]) for course in courses(chart))
        if treated:
            evidence.note("chemotherapy on record: it may be the cause")
        natural = UNKNOWN if treated or suppression.value == "unknown" else TRUE
        return _natural(evidence.fact_of("postmenopausal", references), definition, natural, None)
    return None


def ovarian_suppression(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Whether the ovaries are suppressed or ablated now. A drug on hold, injections without an order and without an
    end, and a medicine that nobody can name leave it unknown; for men the question does not apply.
    """
    evidence = Evidence(definition)
    if facts["sex"].value == "male":
        evidence.note("does not apply: the record says male")
        return evidence.fact_of("no", facts["sex"].references)
    _read_ablation(definition, chart, evidence)
    suppressing = set(definition.more["by_classes"])
    now = [course for course in courses(chart) if course.active and course.classes & suppressing]
    for course in now:
        if not course.on_hold:
            evidence.readings += [Reading(reference, "yes", how, course.start) for reference, how in course.sources]
    references = references_of(evidence.readings)
    if references:
        return evidence.fact_of("yes", references)
    return _not_suppressed(chart, evidence, suppressing)


def _read_ablation(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    for entry, said in chart.saying(definition.id):
        if evidence.admit(entry):
            evidence.read(entry, "yes", said.how)
    for entry, told in chart.told(definition.id, "Procedure"):
        if not entry.codes and evidence.admit(entry):
            evidence.read(entry, "yes", told[0].how)


def _not_suppressed(chart: Chart, evidence: Evidence, suppressing: set[str]) -> Fact:
    """No suppression on record: 'no' where nothing leaves it open."""
    found = medicines(chart)
    for course in found.courses:
        injected = course.kinds == {"MedicationAdministration"} and course.progressed is FALSE
        if course.classes & suppressing and (
            course.on_hold or course.end_unsure or (injected and not course.not_tolerated)
        ):
            why = "on hold" if course.on_hold else "in force, with an end" if course.end_unsure else ""
            evidence.note(why or "given, without an order and without an end")
            evidence.set_aside += [(reference, evidence.notes[-1]) for reference in course.references]
    if any(chart.classes_of(subject) & suppressing for _, subjects in found.may_be for subject in subjects):
        evidence.note("a medicine on record may suppress the ovaries")
    if found.unnamed or found.no_information:
        evidence.note("a medicine on record cannot be named, or medicines are not known")
    whole = chart.record.delivered("Procedure", "MedicationRequest") and not evidence.unreadable
    return evidence.fact_of("no" if whole and not evidence.notes else "unknown", ())
