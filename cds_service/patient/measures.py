"""Facts read from one kind of measurement or list: sex, fitness, calcium, symptoms, BRCA."""

import re
from typing import Any

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.dates import day
from cds_service.patient.elements import listed, objects
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.recognise import plain_codes, text_of
from cds_service.patient.results import result

_GRADE = re.compile(r"(?<![\d.])([0-5])(?![\d.%])")
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


def fitness(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Fit or unfit by the ECOG grades that the fact file names, or by explicit words; other grades, and Karnofsky,
    leave it unknown.
    """
    evidence = Evidence(definition)
    by_grade = {grade: answer for answer, grades in definition.more["scores"].items() for grade in grades}
    for entry, asked, element in chart.asking(definition.id):
        grade = "" if asked.sense.meaning == "karnofsky" else _grade(entry, element, chart)
        spoken = chart.recogniser.spoken(f"says:{definition.id}", text_of(element.get("valueString")))
        if not evidence.admit(entry):
            continue
        if spoken:
            evidence.read(entry, spoken[0].sense.meaning, spoken[0].how)
        elif grade:
            evidence.read(entry, by_grade.get(grade, f"ECOG {grade}"), asked.how)
        else:
            evidence.ignore(entry, "no ECOG grade that can be read")
    asking = {entry.reference for entry, _, _ in chart.asking(definition.id)}
    for entry, said in chart.told(definition.id, "Condition", "Observation"):
        if entry.reference not in asking and evidence.admit(entry):
            evidence.read(entry, said[0].sense.meaning, said[0].how)
    return evidence.single(open_answers=tuple(f"ECOG {grade}" for grade in range(6)))


def _grade(entry: Entry, element: dict[str, Any], chart: Chart) -> str:
    value = element.get("valueInteger")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 <= value <= 5 else ""
    quantity = element.get("valueQuantity")
    number = quantity.get("value") if isinstance(quantity, dict) else None
    if isinstance(number, int | float) and number in (0, 1, 2, 3, 4, 5):
        return str(int(number))
    concepts = [element.get("valueCodeableConcept"), *listed(entry.raw.get("interpretation"))]
    for concept in concepts:
        for one in chart.recogniser.codes(concept):
            if one.sense.subject == "fitness" and one.sense.role == "says":
                return one.sense.meaning.removeprefix("ecog-")
    for text in (text_of(element.get("valueString")), text_of(element.get("valueCodeableConcept")), entry.text):
        found = set(_GRADE.findall(text))
        if len(found) == 1:
            return str(found.pop())
    return ""


def calcium(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """High, normal or low as the laboratory flags it or its reference range says; the sources name no limits."""
    evidence = Evidence(definition)
    for entry, asked, element in chart.asking(definition.id):
        level = _level(element)
        if not evidence.admit(entry):
            continue
        if level:
            evidence.read(entry, level, asked.how)
        else:
            evidence.ignore(entry, "neither flagged nor with a reference range that settles it")
    for entry, said in chart.saying(definition.id):
        if not plain_codes(entry.raw.get("clinicalStatus")) & _OVER and evidence.admit(entry):
            evidence.read(entry, said.sense.meaning, said.how)
    for entry, told in chart.told(definition.id, "Condition"):
        if not entry.codes and not _over(entry) and evidence.admit(entry):
            evidence.read(entry, told[0].sense.meaning, told[0].how)
    return evidence.single()


def _level(element: dict[str, Any]) -> str:
    flags = {code for one in listed(element.get("interpretation")) for code in plain_codes(one)}
    for level, codes in {"high": {"H", "HH", "HU"}, "low": {"L", "LL", "LU"}, "normal": {"N"}}.items():
        if flags & codes:
            return level
    quantity = element.get("valueQuantity")
    number = quantity.get("value") if isinstance(quantity, dict) else None
    ranges = element.get("referenceRange")
    if not isinstance(number, int | float) or not isinstance(ranges, list) or len(ranges) != 1:
        return ""
    low, high = (_bound(ranges[0], name, quantity) for name in ("low", "high"))
    if high is not None and number > high:
        return "high"
    if low is not None and number < low:
        return "low"
    return "normal" if low is not None and high is not None else ""


def _bound(row: Any, name: str, quantity: Any) -> float | None:
    bound = row.get(name) if isinstance(row, dict) else None
    number = bound.get("value") if isinstance(bound, dict) else None
    unit = (bound.get("code") or bound.get("unit")) if isinstance(bound, dict) else None
    same_unit = unit in (None, quantity.get("code"), quantity.get("unit"))
    return float(number) if isinstance(number, int | float) and same_unit else None


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


# BRCA


def brca(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """A pathogenic BRCA1 or BRCA2 variant. A somatic or an uncertain one, or one gene tested alone, settle nothing."""
    evidence = Evidence(definition)
    denied: dict[str, Entry] = {}
    candidates = [entry for entry, _, _ in chart.asking(definition.id)]
    candidates += [entry for entry, _ in chart.saying(definition.id)]
    candidates += [entry for entry, _ in chart.told(definition.id, "Observation", "Condition") if not entry.codes]
    for entry in {id(entry): entry for entry in candidates}.values():
        meanings = _meanings(entry, chart)
        if not meanings or not evidence.admit(entry):
            continue
        answer = _brca_answer(entry, meanings)
        if answer in ("brca1", "brca2"):
            denied[answer] = entry
        elif answer:
            evidence.read(entry, answer, f"{', '.join(sorted(meanings))}")
        else:
            evidence.ignore(entry, f"settles nothing: {', '.join(sorted(meanings))}")
    if set(denied) == {"brca1", "brca2"}:
        for entry in denied.values():
            evidence.read(entry, "not-mutated", "both genes reported without a mutation")
    elif denied and not evidence.readings:
        evidence.note(f"only {' and '.join(sorted(denied)).upper()} is on record as not mutated")
    return evidence.single()


def _meanings(entry: Entry, chart: Chart) -> set[str]:
    elements = [entry.raw, *objects(entry.raw.get("component"))]
    coded = [one for one in entry.codes if one.sense.subject == "brca"]
    asked = [one for one, question, _ in chart.asking("brca") if one is entry]
    says = {one.sense.meaning for one in coded if one.sense.role == "says"}
    if not asked and not says and not (not entry.codes and chart.recogniser.spoken("says:brca", entry.text)):
        return set()
    found = says
    for element in elements:
        concept = element.get("valueCodeableConcept")
        found |= {
            one.sense.meaning
            for one in chart.recogniser.codes(concept)
            if one.sense.subject == "brca" and one.sense.role == "says"
        }
        value = result(element, chart.recogniser)
        if element is entry.raw and value is not None and value.word in ("positive", "negative"):
            found.add("present" if value.word == "positive" else "absent")
        words = f"{text_of(element.get('code'))} {text_of(concept)} {text_of(element.get('valueString'))}"
        found |= {one.sense.meaning for one in chart.recogniser.spoken("says:brca", words)}
        found |= {gene for gene in ("brca1", "brca2") if re.search(rf"(?<![a-z0-9]){gene}(?![a-z0-9])", words)}
        if re.search(r"(?<![a-z0-9])brca(?:1/2|1 and 2| ?1 ?& ?2)?(?![a-z0-9])", words):
            found.add("brca")
    return (
        found
        if found & {"brca", "brca1", "brca2", "mutated", "not-mutated", "brca1-not-mutated", "brca2-not-mutated"}
        else set()
    )


def _brca_answer(entry: Entry, meanings: set[str]) -> str:
    gene_known = bool(meanings & {"brca", "brca1", "brca2"})
    if meanings & {"uncertain", "somatic", "not-pathogenic"}:
        return ""
    if "mutated" in meanings and not meanings & {"not-mutated", "absent"}:
        return "mutated"
    if {"present", "pathogenic"} <= meanings and gene_known:
        return "mutated"
    if "pathogenic" in meanings and gene_known and "absent" not in meanings:
        return "mutated"
    one_gene = [gene for gene in ("brca1", "brca2") if f"{gene}-not-mutated" in meanings]
    if len(one_gene) == 2:
        return "not-mutated"
    if one_gene:
        return one_gene[0]
    if meanings & {"not-mutated", "absent"} and not meanings & {"mutated", "present", "pathogenic"}:
        genes = meanings & {"brca", "brca1", "brca2"}
        if "brca" in genes or {"brca1", "brca2"} <= genes:
            return "not-mutated"
        return next(iter(genes), "")
    if "present" in meanings and "brca" in meanings and entry.kind == "Observation" and not entry.codes:
        return "mutated"
    return ""
