"""Facts read from one kind of measurement or list: sex, death, symptoms."""

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.dates import day
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.recognise import plain_codes, text_of
from cds_service.patient.results import result

_OVER = {"inactive", "remission", "resolved"}


def sex(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Administrative gender of the Patient resource; other and unknown stay unknown."""
    evidence = Evidence(definition)
    for entry in chart.of("Patient"):
        if evidence.admit(entry) and entry.raw.get("gender") in definition.answers:
            evidence.read(entry, str(entry.raw["gender"]), "Patient.gender", "")
    return evidence.single()


def deceased(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Whether the record says that the patient has died; silence is taken for life."""
    evidence = Evidence(definition)
    for entry in chart.of("Patient"):
        died = entry.raw.get("deceasedBoolean") is True or bool(day(entry.raw.get("deceasedDateTime")))
        evidence.read(entry, "yes" if died else "no", "Patient.deceased", "")
    return evidence.single() if evidence.readings else evidence.fact_of("no", ())


def symptoms(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Symptoms on record. None recorded is none, if the conditions were delivered; a pain score of 0 is no pain."""
    evidence = Evidence(definition)
    for entry, said in chart.saying(definition.id):
        if entry.kind == "Condition" and not _over(entry) and evidence.admit(entry):
            for meaning in _refined(entry, said.sense.meaning, chart):
                evidence.read(entry, meaning, said.how)
        elif entry.kind == "Observation" and _present(entry, chart) and evidence.admit(entry):
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
    scores = Evidence(definition)
    for entry, asked, element in chart.asking(definition.id):
        found = result(element, chart.recogniser)
        if asked.sense.meaning == "pain-score" and found and found.number is not None and evidence.admit(entry):
            scores.read(entry, "pain" if found.number > 0 else "none", asked.how)
    for reading in scores.readings:
        if reading in scores.latest() and reading.answer == "pain":
            evidence.readings.append(reading)
        elif reading.answer == "pain":
            evidence.set_aside.append((reading.reference, "a newer pain score is on record"))


def _over(entry: Entry) -> bool:
    return bool(plain_codes(entry.raw.get("clinicalStatus")) & _OVER)


def _refined(entry: Entry, meaning: str, chart: Chart) -> list[str]:
    """A coded pain whose words name the place ('neoplasm related pain', 'Bone pain') is that pain too."""
    spoken = {one.sense.meaning for one in chart.recogniser.spoken("says:symptoms", entry.text)}
    finer = {one for one in spoken if one.endswith("-pain")}
    return sorted({meaning} | finer if meaning.endswith("pain") else {meaning})


def _present(entry: Entry, chart: Chart) -> bool:
    found = result(entry.raw, chart.recogniser)
    return found is None or found.word not in ("negative", "unknown")


def _observed_words(entry: Entry, chart: Chart) -> str:
    """The words of an Observation about symptoms; '' where its value denies them."""
    found = result(entry.raw, chart.recogniser)
    if found is not None and (found.word == "negative" or found.number == 0 or found.score == "0"):
        return ""
    value = text_of(entry.raw.get("valueString") or entry.raw.get("valueCodeableConcept"))
    if value in ("no", "none") or value.startswith(("no ", "none ", "denies ", "without ")):
        return ""
    return f"{entry.text}: {value}"
