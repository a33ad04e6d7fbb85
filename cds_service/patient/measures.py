"""Facts read from one kind of measurement or list: sex, death, symptoms."""

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition
from cds_service.patient.chart import Chart, Entry, by_content
from cds_service.patient.content import Content
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.recognise import text_of
from cds_service.patient.results import affirmed, result


def sex(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Administrative gender of the Patient resource; other and unknown stay unknown."""
    evidence = Evidence(definition)
    for entry in chart.of("Patient"):
        if evidence.admit(entry) and entry.raw.get("gender") in definition.answers:
            evidence.read(entry, str(entry.raw["gender"]), "Patient.gender", "")
    return evidence.single()


def deceased(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Whether the record says that the patient has died; silence is taken for life. A date of death, readable or not,
    says it; beside it, a word that she lives leaves it unknown.
    """
    evidence = Evidence(definition)
    for entry in chart.of("Patient"):
        said, dated = entry.raw.get("deceasedBoolean"), _has_a_date_of_death(entry)
        if said is False and dated:
            evidence.note("the record says that the patient lives, and gives a date of death")
            return evidence.fact_of("unknown", (entry.reference,))
        evidence.read(entry, "yes" if dated or said is True else "no", "Patient.deceased", "")
    return evidence.single() if evidence.readings else evidence.fact_of("no", ())


def _has_a_date_of_death(entry: Entry) -> bool:
    """Whether deceasedDateTime is there at all, or at least its extensions, which say why the date is not."""
    return bool(entry.raw.get("deceasedDateTime") or entry.raw.get("_deceasedDateTime"))


def symptoms(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Symptoms on record. None recorded is none, if the conditions were delivered; a pain score of 0 is no pain."""
    evidence = Evidence(definition)
    for entry, said in chart.saying(definition.id):
        if entry.kind == "Condition" and not _over(entry) and evidence.admit(entry):
            finer = _finer_pains(entry, chart) if said.sense.meaning.endswith("pain") else ()
            for meaning in sorted({said.sense.meaning, *finer}):
                evidence.read(entry, meaning, said.how)
        elif entry.kind == "Observation" and affirmed(entry.raw, chart.recogniser) and evidence.admit(entry):
            evidence.read(entry, said.sense.meaning, said.how)
    _read_pain_scores(definition, chart, evidence)
    for entry, _ in chart.told(definition.id, "Condition", "Observation"):
        if entry.codes or (_over(entry) if entry.kind == "Condition" else entry.coded):
            continue
        text = entry.text if entry.kind == "Condition" else _observed_words(entry, chart)
        for said in chart.recogniser.spoken(f"says:{definition.id}", text):
            if evidence.admit(entry):
                evidence.read(entry, said.sense.meaning, said.how)
    named = sorted({reading.answer for reading in evidence.readings})
    answers = {
        symptom: Answer(TRUE, references_of(one for one in evidence.readings if one.answer == symptom))
        for symptom in named
    }
    if "pain" in answers and not any(symptom.endswith("-pain") for symptom in named):
        evidence.note("the place of the pain is not on record")
        placed = (symptom for symptom in definition.answers if symptom.endswith("-pain"))
        answers |= {symptom: Answer(UNKNOWN, answers["pain"].references) for symptom in placed}
    whole = chart.record.delivered("Condition") and not evidence.unreadable
    if not whole:
        evidence.note("the conditions were not delivered whole")
    value = ", ".join(named) or ("none" if whole else "unknown")
    return evidence.build(value, answers, FALSE if whole else UNKNOWN, references_of(evidence.readings))


def _read_pain_scores(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    """The newest pain score tells whether there is pain."""
    asking = chart.asking(definition.id)
    if not asking:
        return
    scores = Evidence(definition)
    for entry, asked, element in asking:
        found = result(element, chart.recogniser)
        if asked.sense.meaning == "pain-score" and found and found.number is not None and evidence.admit(entry):
            scores.read(entry, "pain" if found.number > 0 else "none", asked.how)
    for reading in scores.readings:
        if reading in scores.latest() and reading.answer == "pain":
            evidence.readings.append(reading)
        elif reading.answer == "pain":
            evidence.set_aside.append((reading.reference, "a newer pain score is on record"))


def _over(entry: Entry) -> bool:
    return entry.course != "active"


@by_content
def _finer_pains(content: Content, chart: Chart) -> frozenset[str]:
    """A coded pain whose words name the place ('neoplasm related pain', 'Bone pain') is that pain too."""
    spoken = {one.sense.meaning for one in chart.recogniser.spoken("says:symptoms", content.text)}
    return frozenset(one for one in spoken if one.endswith("-pain"))


def _observed_words(entry: Entry, chart: Chart) -> str:
    """The words of an Observation about symptoms; '' where its value denies them."""
    found = result(entry.raw, chart.recogniser)
    if found is not None and (found.word == "negative" or found.number == 0 or found.score == "0"):
        return ""
    value = text_of(entry.raw.get("valueString") or entry.raw.get("valueCodeableConcept"))
    if value in ("no", "none") or value.startswith(("no ", "none ", "denies ", "without ")):
        return ""
    return f"{entry.text}: {value}"
