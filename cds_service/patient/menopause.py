"""Menopause and ovarian suppression. Never from age; derived only as the Canadian source derives it, and named so."""

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.elements import listed
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.medicines import courses
from cds_service.patient.recognise import plain_codes, text_of

_STATUSES = ("premenopausal", "postmenopausal", "perimenopausal", "induced")


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
    evidence = Evidence(definition)
    removed = _read_status(definition, chart, evidence)
    stated = evidence.single(open_answers=("perimenopausal",))
    if stated.value in ("premenopausal", "postmenopausal"):
        natural = stated.value == "postmenopausal" and "induced" not in {one.answer for one in evidence.latest()}
        return _natural(stated, definition, TRUE if natural else FALSE, facts["ovarian-suppression"])
    if evidence.unreadable or stated.references:
        return _induced(stated, definition, evidence) if _all_induced(evidence) else stated
    if removed:
        evidence.note("derived: both ovaries were removed; why is not on record")
        return _natural(evidence.fact_of("postmenopausal", removed), definition, UNKNOWN, None)
    return _from_laboratory(definition, chart, evidence, facts["ovarian-suppression"]) or stated


def _natural(fact: Fact, definition: FactDefinition, natural: object, suppression: Fact | None) -> Fact:
    truth = natural
    note = fact.note
    if natural is TRUE and suppression is not None and suppression.value == "yes":
        truth = UNKNOWN
        note = "; ".join(part for part in (note, "ovarian suppression on record: it may be the cause") if part)
    answers = {**fact.answers, "naturally postmenopausal": Answer(truth, fact.references)}  # type: ignore[arg-type]
    return Fact(fact.name, fact.value, answers, UNKNOWN, fact.references, note, fact.readings, fact.set_aside)


def _all_induced(evidence: Evidence) -> bool:
    return {one.answer for one in evidence.latest()} == {"induced"} and not evidence.unreadable


def _induced(stated: Fact, definition: FactDefinition, evidence: Evidence) -> Fact:
    evidence.notes.clear()
    evidence.note("menopause caused by treatment")
    return _natural(evidence.fact_of("postmenopausal", stated.references), definition, FALSE, None)


def _read_status(definition: FactDefinition, chart: Chart, evidence: Evidence) -> tuple[str, ...]:
    """Read every stated status; return the procedures by which both ovaries were removed."""
    removals: dict[str, list[str]] = {"ovaries-removed": [], "left-ovary-removed": [], "right-ovary-removed": []}
    for entry, said in chart.saying(definition.id):
        if not evidence.admit(entry):
            continue
        if said.sense.meaning in removals:
            removals[said.sense.meaning].append(entry.reference)
        elif said.sense.meaning in _STATUSES:
            evidence.read(entry, said.sense.meaning, said.how)
    for entry, told in chart.told(definition.id, "Condition", "Procedure"):
        for said in told:
            if entry.codes or not evidence.admit(entry):
                continue
            if said.sense.meaning in removals:
                removals[said.sense.meaning].append(entry.reference)
            elif said.sense.meaning in _STATUSES and entry.kind == "Condition":
                evidence.read(entry, said.sense.meaning, said.how)
    for entry in _status_observations(definition, chart):
        _read_words(entry, chart, evidence)
    both = removals["ovaries-removed"]
    if removals["left-ovary-removed"] and removals["right-ovary-removed"]:
        both += removals["left-ovary-removed"] + removals["right-ovary-removed"]
    return tuple(sorted(set(both)))


def _status_observations(definition: FactDefinition, chart: Chart) -> list[Entry]:
    asked = [entry for entry, one, _ in chart.asking(definition.id) if one.sense.meaning in ("status", "text")]
    return asked + [
        entry for entry, _ in chart.told(definition.id, "Observation") if not entry.codes and entry not in asked
    ]


def _read_words(entry: Entry, chart: Chart, evidence: Evidence) -> None:
    value = entry.raw.get("valueCodeableConcept", entry.raw.get("valueString"))
    if any(one.sense.subject == "menopause" and one.sense.role == "says" for one in chart.recogniser.codes(value)):
        return
    spoken = chart.recogniser.spoken("says:menopause", text_of(value))
    if not spoken and value is None:
        spoken = chart.recogniser.spoken("says:menopause", entry.text)
    answers = {one.sense.meaning: one.how for one in spoken}
    if not evidence.admit(entry):
        return
    if len(answers) == 1:
        ((answer, how),) = answers.items()
        if answer in _STATUSES:
            evidence.read(entry, answer, how)
    else:
        evidence.ignore(entry, "its words are not one menopausal status")


def _from_laboratory(definition: FactDefinition, chart: Chart, evidence: Evidence, suppression: Fact) -> Fact | None:
    """High FSH with low oestrogen, as flagged by the laboratory: the source names no limits and none is invented."""
    flags: dict[str, tuple[str, tuple[str, ...]]] = {}
    for test in ("fsh", "estradiol"):
        found = Evidence(definition)
        for entry, asked, _ in chart.asking(definition.id):
            if asked.sense.meaning == test and evidence.admit(entry):
                codes = {code for one in listed(entry.raw.get("interpretation")) for code in plain_codes(one)}
                flag = "high" if codes & {"H", "HH"} else "low" if codes & {"L", "LL"} else "unflagged"
                found.read(entry, flag, asked.how)
        latest = found.latest()
        if len({one.answer for one in latest}) == 1:
            flags[test] = (latest[0].answer, references_of(latest))
    if flags.get("fsh", ("",))[0] == "high" and flags.get("estradiol", ("",))[0] == "low":
        if suppression.value == "yes":
            evidence.note("FSH and oestrogen under ovarian suppression settle nothing")
            return None
        evidence.note("derived: high FSH with low oestrogen")
        references = tuple(sorted({*flags["fsh"][1], *flags["estradiol"][1]}))
        return _natural(evidence.fact_of("postmenopausal", references), definition, TRUE, None)
    return None


def ovarian_suppression(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Whether the ovaries are suppressed or ablated now."""
    evidence = Evidence(definition)
    for entry, said in chart.saying(definition.id):
        if evidence.admit(entry):
            evidence.read(entry, "yes", said.how)
    for course in courses(chart):
        if course.active and course.classes & set(definition.more["by_classes"]):
            evidence.readings += [Reading(reference, "yes", how, course.start) for reference, how in course.sources]
    references = references_of(evidence.readings)
    if references:
        return evidence.fact_of("yes", references)
    whole = chart.record.delivered("Procedure") and chart.record.delivered("MedicationRequest")
    return evidence.fact_of("no" if whole else "unknown", ())
