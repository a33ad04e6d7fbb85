"""The disease itself: is it breast cancer, is it stage IV, where has it spread, does it cause symptoms."""

from collections.abc import Iterator
from typing import Any

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.dates import certainly_before
from cds_service.patient.elements import objects, one_or_more
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.recognise import plain_codes, text_of

_OVER = {"inactive", "remission", "resolved"}


def breast_cancer(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Confirmed invasive breast cancer, and whether it is current. In situ, history and relatives do not count."""
    evidence = Evidence(definition)
    for entry, how in _breast_conditions(definition, chart):
        if not evidence.admit(entry):
            continue
        if "verificationStatus" not in entry.raw:
            evidence.note("no verification status on record: taken as confirmed")
        state = "inactive" if plain_codes(entry.raw.get("clinicalStatus")) & _OVER else "active"
        evidence.read(entry, state, how)
    chart.shelf["breast"] = {reading.reference for reading in evidence.readings}
    current = [one for one in evidence.readings if one.answer == "active"]
    references = references_of(current or evidence.readings)
    value = "active" if current else "inactive" if evidence.readings else "none"
    if value == "none" and evidence.unreadable:
        evidence.note("a diagnosis of breast cancer cannot be read")
    if value == "none" and (evidence.unreadable or not chart.record.delivered("Condition")):
        return evidence.fact_of("unknown", ())
    return evidence.fact_of(value, references)


def _breast_conditions(definition: FactDefinition, chart: Chart) -> Iterator[tuple[Entry, str]]:
    for entry in chart.of("Condition"):
        said = [one for one in entry.codes if one.sense.subject == definition.id and one.sense.role == "says"]
        malignant = [one for one in said if one.sense.meaning.startswith("malignant")]
        if malignant:
            yield entry, malignant[0].how
        elif not _known(entry):
            how = _breast_in_words(entry, chart)
            if how:
                yield entry, how


def _known(entry: Entry) -> bool:
    """Whether the codes already say what the condition is, so that its words are not needed."""
    return any(
        one.sense.subject in ("breast-cancer", "sites") and (one.sense.role, one.sense.meaning) != ("says", "cancer")
        for one in entry.codes
    )


def _breast_in_words(entry: Entry, chart: Chart) -> str:
    text = entry.text
    if chart.recogniser.spoken("says:breast-cancer", text):
        return ""
    spoken = chart.recogniser.spoken("diagnosis", text)
    if spoken:
        return spoken[0].how
    site = " ".join(text_of(one) for one in one_or_more(entry.raw.get("bodySite")))
    if chart.recogniser.spoken("cancer", text) and chart.recogniser.spoken("breast", site):
        return f"a cancer whose body site is the breast ({chart.recogniser.spoken('cancer', text)[0].how})"
    return ""


# STAGE


def stage(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Stage IV by stage group, M category or a distant metastasis. What contradicts it on the same day or later, or
    without a date to tell, leaves it unknown; an older lower stage does not.
    """
    evidence = Evidence(definition)
    for entry, meaning, how in _stage_statements(definition, chart):
        if evidence.admit(entry):
            evidence.read(entry, "stage-4" if meaning in ("stage-4", "m1") else "other", how)
    metastases = [one for one in facts["sites"].readings if one.answer != "regional"]
    chart.metastases.update({one.reference: one.date for one in metastases})
    stated = [one for one in evidence.readings if one.answer == "stage-4"]
    chart.metastases.update({one.reference: one.date for one in stated})
    lower = [one for one in evidence.readings if one.answer == "other"]
    sure = [one for one in stated if all(certainly_before(low.date, one.date) for low in lower)]
    sure += [one for one in metastases if not any(_speaks_against(low, one) for low in lower)]
    if sure:
        return evidence.fact_of("stage-4", references_of(sure))
    if stated or metastases:
        evidence.note("the record contradicts itself about the stage")
        return evidence.fact_of("unknown", references_of(stated + metastases + lower))
    if lower:
        return evidence.fact_of("other", references_of(lower))
    if facts["sites"].note:
        evidence.note(facts["sites"].note)
    return evidence.fact_of("unknown", ())


def _speaks_against(low: Reading, metastasis: Reading) -> bool:
    """A lower stage speaks against a recorded metastasis when it is known to be of the same day or later."""
    if not low.date or not metastasis.date:
        return False
    return not certainly_before(low.date, metastasis.date)


def _stage_statements(definition: FactDefinition, chart: Chart) -> Iterator[tuple[Entry, str, str]]:
    breast = chart.shelf["breast"]
    other_cancer = any(True for _ in _other_cancers(chart))
    for entry, said in chart.saying(definition.id):
        if entry.kind != "Observation" or _about_breast(entry, chart, other_cancer):
            yield entry, said.sense.meaning, said.how
    for entry, _, element in chart.asking(definition.id):
        value = element.get("valueCodeableConcept", element.get("valueString"))
        coded = [one for one in chart.recogniser.codes(value) if one.sense.subject == definition.id]
        if not coded and _about_breast(entry, chart, other_cancer):
            yield from ((entry, meaning, how) for meaning, how in _stage_words(text_of(value), value, chart))
    for entry in chart.of("Condition"):
        if entry.reference in breast:
            yield from _stage_of_condition(entry, chart)


def _stage_of_condition(entry: Entry, chart: Chart) -> Iterator[tuple[Entry, str, str]]:
    for row in one_or_more(entry.raw.get("stage")):
        summary = row.get("summary") if isinstance(row, dict) else None
        coded = [one for one in chart.recogniser.codes(summary) if one.sense.subject == "stage"]
        for one in coded:
            yield entry, one.sense.meaning, one.how
        if not coded:
            yield from ((entry, meaning, how) for meaning, how in _stage_words(text_of(summary), summary, chart))
    if not any(one.sense.subject == "breast-cancer" for one in entry.codes) or _own_words(entry):
        for one in chart.recogniser.spoken("says:stage", entry.text):
            yield entry, one.sense.meaning, one.how


def _own_words(entry: Entry) -> bool:
    """Whether somebody wrote words to the code."""
    concept = entry.raw.get("code")
    return isinstance(concept, dict) and bool(concept.get("text"))


def _stage_words(text: str, value: Any, chart: Chart) -> Iterator[tuple[str, str]]:
    """A stage group or M category in words, or as a bare code of a system that is not ours ('4', 'IV')."""
    bare = {code.lower() for code in plain_codes(value)} if isinstance(value, dict) else set()
    candidates = [text, *sorted(bare)]
    for candidate in candidates:
        spoken = chart.recogniser.spoken("says:stage", candidate) or chart.recogniser.spoken(
            "says:stage", f"stage {candidate}"
        )
        if spoken:
            yield spoken[0].sense.meaning, spoken[0].how
            return


def _about_breast(entry: Entry, chart: Chart, other_cancer: bool) -> bool:
    """Whether a stage Observation is about the breast cancer: by its focus, else only if there is no other cancer."""
    named = {chart.record.references.name(one) for one in objects(entry.raw.get("focus"))}
    return bool(named & chart.shelf["breast"]) if named else not other_cancer


def _other_cancers(chart: Chart) -> Iterator[Entry]:
    """Conditions that are another cancer: not of the breast, not a metastasis."""
    none = chart.knowledge.facts["breast-cancer"].more["no_other_cancer"]
    for entry in chart.of("Condition"):
        known = any((one.sense.role, one.sense.meaning) != ("says", "cancer") for one in entry.codes)
        if known or entry.reference in chart.shelf["breast"] or entry.no_evidence:
            continue
        if chart.recogniser.spoken("says:symptoms", entry.text):
            continue
        if chart.recogniser.spoken("other_primary", entry.text):
            yield entry
            continue
        ours = chart.recogniser.spoken("says:breast-cancer", entry.text) or chart.recogniser.spoken(
            "secondary", entry.text
        )
        if not ours and (_other_by_code(entry, none) or chart.recogniser.spoken("cancer", entry.text)):
            yield entry


def _other_by_code(entry: Entry, none: list[str]) -> bool:
    concept = entry.raw.get("code")
    for coding in objects(concept.get("coding")) if isinstance(concept, dict) else ():
        code, system = coding.get("code"), coding.get("system")
        if isinstance(code, str) and isinstance(system, str) and "icd-10" in system and code[:1] == "C":
            return code[:3] not in none
    return False


# SITES


def sites(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Where the cancer has spread. No site recorded: unknown; at least one recorded: the others are false."""
    evidence = Evidence(definition)
    others = list(_other_cancers(chart))
    unclear: set[str] = set()
    for entry, site, how in _site_statements(definition, chart):
        if not evidence.admit(entry):
            continue
        if others and entry.reference not in chart.shelf["breast"]:
            evidence.ignore(entry, "another cancer is on record: whose metastasis it is, is not known")
            evidence.note("a metastasis on record may be of another cancer")
            continue
        if (
            entry.kind == "Condition"
            and plain_codes(entry.raw.get("clinicalStatus")) & _OVER
            and entry.reference not in chart.shelf["breast"]
        ):
            unclear.add(site)
            evidence.note("a metastasis is marked as over")
        evidence.read(entry, site, how)
    groups = definition.more["site_groups"]
    named = {one.answer for one in evidence.readings}
    answers: dict[str, Answer] = {}
    for site in sorted(named):
        references = references_of(one for one in evidence.readings if one.answer == site)
        truth = UNKNOWN if site in unclear else TRUE
        answers[site] = Answer(truth, references)
        for group, members in groups.items():
            if site in members and answers.get(group, Answer(UNKNOWN)).truth is not TRUE:
                answers[group] = Answer(truth, references)
    vague = named & {"unspecified", "other"}
    closed = bool(named - vague) and not evidence.unreadable and "unspecified" not in named
    if "unspecified" in named and not named - {"unspecified"}:
        evidence.note("a metastasis is on record without its site")
    value = ", ".join(sorted(named - {"unspecified"})) or "unknown"
    return evidence.build(value, answers, FALSE if closed else UNKNOWN, references_of(evidence.readings))


def _site_statements(definition: FactDefinition, chart: Chart) -> Iterator[tuple[Entry, str, str]]:
    breast = chart.shelf["breast"]
    for entry, said in chart.saying(definition.id):
        meaning = said.sense.meaning
        if meaning in ("unspecified", "other"):
            found = list(_body_sites(entry, chart)) or list(_sites_in_words(_site_text(entry), chart))
            if found:
                yield from ((entry, site, how) for site, how in found)
                continue
        yield entry, meaning, said.how
    for entry, _, element in chart.asking(definition.id):
        value = element.get("valueCodeableConcept", element.get("valueString"))
        if not any(one.sense.subject == definition.id for one in chart.recogniser.codes(value)):
            yield from ((entry, site, how) for site, how in _sites_in_words(text_of(value), chart))
    for entry in chart.of("Condition"):
        own = [one for one in entry.codes if one.sense.subject == definition.id]
        if own:
            continue
        text = entry.text
        if entry.reference in breast:
            if chart.recogniser.spoken("secondary", text):
                yield from ((entry, site, how) for site, how in _sites_in_words(text, chart))
        elif chart.recogniser.spoken("secondary", text) and not chart.recogniser.spoken("says:breast-cancer", text):
            yield from ((entry, site, how) for site, how in _sites_in_words(_site_text(entry), chart))


def _body_sites(entry: Entry, chart: Chart) -> Iterator[tuple[str, str]]:
    for concept in one_or_more(entry.raw.get("bodySite")):
        for one in chart.recogniser.codes(concept):
            if one.sense.role == "body-site":
                yield one.sense.meaning, one.how


def _site_text(entry: Entry) -> str:
    body = [text_of(one) for one in one_or_more(entry.raw.get("bodySite"))]
    return " ; ".join(part for part in [entry.text, *body] if part)


def _sites_in_words(text: str, chart: Chart) -> Iterator[tuple[str, str]]:
    for one in chart.recogniser.spoken("site", text):
        yield one.sense.meaning, one.how


# SYMPTOMS OF ORGANS, EXTENT


def organ_symptoms(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Do organ metastases cause symptoms? As the record says it; by a symptom that fits an organ site (named as
    derived); false where only other sites are on record; else unknown until the record says so.
    """
    evidence = Evidence(definition)
    for entry, said in chart.told(definition.id, "Observation", "Condition"):
        if evidence.admit(entry):
            evidence.read(entry, said[0].sense.meaning, said[0].how)
    stated = evidence.single()
    if stated.value != "unknown" or stated.references:
        return stated
    where, symptoms = facts["sites"], facts["symptoms"]
    for symptom, fitting in definition.more["symptom_sites"].items():
        felt = symptoms.answer(symptom)
        for site in fitting:
            if felt.truth is TRUE and where.answer(site).truth is TRUE:
                evidence.note(f"derived: {symptom} with metastasis in {site}")
                return evidence.fact_of("yes", tuple(sorted({*felt.references, *where.answer(site).references})))
    if where.answer("organ").truth is FALSE:
        return evidence.fact_of("no", where.references)
    if where.answer("organ").truth is TRUE:
        evidence.note("the record does not say whether organ metastases cause symptoms")
    return evidence.fact_of("unknown", ())


def extent(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Limited or several metastases, only where the record says so in words."""
    evidence = Evidence(definition)
    for entry, said in chart.told(definition.id, "Observation", "Condition"):
        if evidence.admit(entry):
            evidence.read(entry, said[0].sense.meaning, said[0].how)
    return evidence.single()
