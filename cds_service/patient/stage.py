"""Is it stage IV: by stage group, by M category, by a distant metastasis, or by name."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from cds_service.model import Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry, by_content, by_question, by_text
from cds_service.patient.content import Content, Question
from cds_service.patient.dates import certainly_before
from cds_service.patient.diagnosis import other_cancers
from cds_service.patient.elements import objects, one_or_more
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.recognise import Recognised, phrases_of, plain_codes, text_of, thoughts
from cds_service.patient.results import affirmed, results
from cds_service.patient.spread import told_of_metastases

_FACT = "stage"
_IV = {"stage-4", "m1", "metastatic"}
#: T, N and M written without a space between them: pT2N1M1, cT4bN3aM1, T1cN1mi(sn)M0
_TNM = re.compile(
    r"(t(?:is|[0-4x])[a-d]?(?:\(\w+\))?)([cpyra]{0,3}n[0-3x](?:mi|[a-c])?(?:\([\w+-]+\))?)([cpyra]{0,3}m[01x])"
)
_MAY_BE_OTHERS = "a stage on record may be of another cancer"


class Said(NamedTuple):
    """A stage that a resource states, and how."""

    entry: Entry
    meaning: str
    how: str


class Row(NamedTuple):
    """One of the stages that a Condition gives: the element, whether it is one of another disease, what it says."""

    element: dict[str, Any]
    of_else: bool
    said: tuple[tuple[str, str], ...]


def stage(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Stage IV by stage group, M category or a distant metastasis. What contradicts it on the same day or later, or
    without a date to tell, leaves it unknown; an older lower stage does not.
    """
    evidence = Evidence(definition)
    for entry, meaning, how in _statements(definition, chart, evidence):
        if evidence.admit(entry):
            evidence.read(entry, "stage-4" if meaning in _IV else "other", how)
    metastases: list[Reading] = chart.shelf["distant"]
    stated = [one for one in evidence.readings if one.answer == "stage-4"]
    lower = [one for one in evidence.readings if one.answer == "other"]
    chart.metastases.update({one.reference: one.date for one in [*metastases, *stated]})
    sure = [one for one in stated if all(certainly_before(low.date, one.date) for low in lower)]
    sure += [one for one in metastases if not any(_speaks_against(low, one) for low in lower)]
    if sure:
        return evidence.fact_of("stage-4", references_of(sure))
    if stated or metastases:
        above, below = _hows([*stated, *metastases]), _hows(lower)
        evidence.note(f"the record contradicts itself about the stage: stage IV by {above}, a lower stage by {below}")
        return evidence.fact_of("unknown", references_of([*stated, *metastases, *lower]))
    if facts["sites"].note:
        evidence.note(facts["sites"].note)
    if lower:
        return evidence.fact_of("other", references_of(lower))
    return evidence.fact_of("unknown", ())


def _hows(readings: list[Reading]) -> str:
    return " and ".join(dict.fromkeys(one.recognised for one in readings))


def _speaks_against(low: Reading, metastasis: Reading) -> bool:
    """A lower stage speaks against a recorded metastasis when it is known to be of the same day or later."""
    if not low.date or not metastasis.date:
        return False
    return not certainly_before(low.date, metastasis.date)


# OBSERVATIONS


def _statements(definition: FactDefinition, chart: Chart, evidence: Evidence) -> Iterator[Said]:
    current: dict[str, Entry] = chart.shelf["current"]
    assessed = _assessments(current.values(), chart)
    yield from _by_own_code(definition, chart, evidence, assessed)
    for entry, question in chart.questions(definition.id):
        if question.asked.sense.meaning == "history":
            _history(entry, question.element, chart, evidence)
            continue
        if _names_a_grade(entry, question, chart):
            evidence.ignore(entry, "its code asks for a stage, and its words for a grade or a kind of tumour")
            continue
        found = _in_question(entry, question, chart)
        if found and _is_about_breast(entry, assessed, chart, evidence):
            yield from (Said(entry, meaning, how) for meaning, how in found)
    for entry in current.values():
        yield from _of_condition(entry, chart, evidence)
    for reference in sorted(one for one in assessed if not _is_observation(one, chart)):
        evidence.note("a stage is referred to and not delivered")
        evidence.set_aside.append(
            (reference or "Observation", "referred to as the assessment of the stage, and not delivered")
        )


def _is_observation(reference: str, chart: Chart) -> bool:
    return reference in chart.named and chart.named[reference].kind == "Observation"


@by_question
def _names_a_grade(content: Content, question: Question, chart: Chart) -> bool:
    """Whether the text or a display beside a code for the stage names how the tumour looks, and no stage."""
    spoken, phrases = chart.recogniser.spoken, phrases_of(question.element.get("code"))
    return any(spoken("graded", phrase) and not spoken("staged", phrase) for phrase in phrases)


@by_question
def _in_question(content: Content, question: Question, chart: Chart) -> tuple[tuple[str, str], ...]:
    """The stages that the answer to a question says."""
    element = question.element
    return tuple(_in_value(element, chart)) or tuple(_in_answer(question.asked, element, chart))


def _history(entry: Entry, element: dict[str, Any], chart: Chart, evidence: Evidence) -> None:
    """A history of metastases says nothing of today, and one that is denied is none."""
    if not affirmed(element, chart.recogniser):
        evidence.ignore(entry, "a history that its value does not affirm")
        return
    evidence.ignore(entry, "a history, which may no longer be so")
    evidence.note("a history of metastases is on record: whether they are there today is not")


def _by_own_code(definition: FactDefinition, chart: Chart, evidence: Evidence, assessed: set[str]) -> Iterator[Said]:
    """Conditions and Observations whose own code is a stage, and a note of stages that answer no question we know."""
    for entry, said in chart.saying(definition.id):
        if entry.kind == "Condition" and entry.reference in chart.shelf["current"]:
            yield Said(entry, said.sense.meaning, said.how)
        elif entry.kind == "Observation" and said in entry.codes:
            if affirmed(entry.raw, chart.recogniser) and _is_about_breast(entry, assessed, chart, evidence):
                yield Said(entry, said.sense.meaning, said.how)
        elif entry.kind == "Observation" and not entry.content.asks(definition.id):
            evidence.ignore(entry, "a stage as the answer to another question")
            evidence.note("a stage is on record as the answer to another question")


def _in_answer(asked: Recognised, element: dict[str, Any], chart: Chart) -> Iterator[tuple[str, str]]:
    """'Distant metastases: positive', where the question is the M category and its words name no nodes."""
    if asked.sense.meaning != "m-category" or chart.recogniser.spoken("regional", text_of(element.get("code"))):
        return
    for one in results(element, chart.recogniser):
        if one.word in ("positive", "negative"):
            yield ("m1" if one.word == "positive" else "m0"), f"distant metastases: {one.how}"


def _in_value(element: dict[str, Any], chart: Chart) -> Iterator[tuple[str, str]]:
    """The stages that a value says, by codes and in words: where these disagree, both."""
    value = element.get("valueCodeableConcept", element.get("valueString"))
    number = element.get("valueInteger")
    if value is None and isinstance(number, int) and not isinstance(number, bool):
        value = str(number)
    yield from _in_summary(value, chart)


def _is_about_breast(entry: Entry, assessed: set[str], chart: Chart, evidence: Evidence) -> bool:
    """Whether a stage Observation is about the breast cancer: by its focus, or as the assessment of the cancer's stage;
    else only if there is no other cancer.
    """
    if entry.reference in assessed:
        return True
    named = {chart.record.references.name(one) for one in objects(entry.raw.get("focus"))}
    if named & chart.shelf["current"].keys():
        return True
    known = {one.reference for one in chart.of("Condition")}
    if named and named <= known - chart.shelf["breast"]:
        evidence.ignore(entry, "the stage of another condition")
        return False
    if not named and not other_cancers(chart):
        return True
    evidence.ignore(entry, _MAY_BE_OTHERS)
    evidence.note(_MAY_BE_OTHERS)
    return False


# CONDITION.STAGE


def _assessments(current: Iterable[Entry], chart: Chart) -> set[str]:
    """The Observations that the breast cancer names as the assessments of its stage."""
    return {
        chart.record.references.name(reference)
        for entry in current
        for row in objects(entry.raw.get("stage"))
        for reference in _references(row)
        if not reference.startswith("#")
    }


def _references(row: dict[str, Any]) -> list[str]:
    found = [one.get("reference") for one in objects(row.get("assessment"))]
    return [one for one in found if isinstance(one, str) and one]


def _of_condition(entry: Entry, chart: Chart, evidence: Evidence) -> Iterator[Said]:
    for row in _rows(entry, chart):
        if row.of_else:
            evidence.ignore(entry, "the stage of another disease")
            continue
        yield from (Said(entry, meaning, how) for meaning, how in row.said)
        yield from _contained(entry, row.element, chart, evidence)
    yield from (Said(entry, meaning, how) for meaning, how in _in_own_words(entry, chart))


@by_content
def _rows(content: Content, chart: Chart) -> tuple[Row, ...]:
    return tuple(
        Row(
            row,
            bool(chart.recogniser.spoken("stage-of-else", text_of(row.get("type")))),
            tuple(_in_summary(row.get("summary"), chart)),
        )
        for row in objects(one_or_more(content.raw.get("stage")))
    )


@by_content
def _in_own_words(content: Content, chart: Chart) -> tuple[tuple[str, str], ...]:
    """The stages in the words of a Condition: those that somebody wrote to the code of a breast cancer."""
    coded = any(one.sense.subject == "breast-cancer" for one in content.codes)
    return () if coded and not _own_words(content) else _in_thoughts(content.text, chart)


def _in_summary(summary: Any, chart: Chart) -> Iterator[tuple[str, str]]:
    coded = [one for one in chart.recogniser.codes(summary) if one.sense.subject == _FACT]
    for one in coded:
        yield one.sense.meaning, one.how
    if coded:
        yield from _in_thoughts(text_of(summary), chart)
    else:
        yield from _in_words(text_of(summary), summary, chart)


def _contained(entry: Entry, row: dict[str, Any], chart: Chart, evidence: Evidence) -> Iterator[Said]:
    """The stage of a contained Observation that the stage refers to."""
    for reference in (one for one in _references(row) if one.startswith("#")):
        raw = chart.record.target(reference, entry.raw)
        if raw is None or raw.get("resourceType") != "Observation":
            continue
        held = Entry(f"{entry.reference}{reference}", raw, chart.contents.of(raw))
        if evidence.admit(held):
            yield from (Said(entry, meaning, how) for meaning, how in _in_value(raw, chart))


# WORDS


def _own_words(content: Content) -> bool:
    """Whether somebody wrote words to the code."""
    concept = content.raw.get("code")
    return isinstance(concept, dict) and bool(concept.get("text"))


def _in_words(text: str, value: Any, chart: Chart) -> Iterator[tuple[str, str]]:
    """Stage groups and M categories in words, or as a bare code of a system that is not ours ('4', 'IV')."""
    bare = sorted(code.lower() for code in plain_codes(value)) if isinstance(value, dict) else []
    for candidate in [text, *bare]:
        found = list(_in_thoughts(candidate, chart)) or list(_in_thoughts(f"stage {candidate}", chart))
        if found:
            yield from found
            return


@by_text
def _in_thoughts(text: str, chart: Chart) -> Iterator[tuple[str, str]]:
    """The stages that a text names, thought by thought: not those of other diseases, nor lower ones of the past."""
    text = _TNM.sub(r"\1 \2 \3", text)
    by_name = _metastatic_by_name(text, chart)
    if by_name:
        yield "metastatic", by_name
    placed = chart.recogniser.placed(f"says:{_FACT}", text)
    if not placed:
        return
    told = set(told_of_metastases(text, chart))
    for start, end in thoughts(text):
        thought = text[start:end]
        if chart.recogniser.spoken("stage-of-else", thought) or chart.recogniser.spoken("other_primary", thought):
            continue
        for place, one in placed:
            if start <= place < end and _holds(one.sense.meaning, thought, (start, end) in told, chart):
                yield one.sense.meaning, one.how


def _metastatic_by_name(text: str, chart: Chart) -> str:
    """'Metastatic left breast cancer', 'breast cancer, metastatic', without a word of nodes or chest wall; or ''."""
    if chart.recogniser.spoken("regional", text) or chart.recogniser.spoken("not-secondary", text):
        return ""
    paired = chart.recogniser.paired
    return paired("metastatic", "between", "mention", text) or paired("mention", "between", "metastatic", text)


def _holds(meaning: str, thought: str, told: bool, chart: Chart) -> bool:
    """Whether a stage in a thought is today's, and a metastatic cancer's spread more than regional."""
    if meaning == "metastatic":
        return told and not chart.recogniser.spoken("regional", thought)
    return meaning in _IV or not chart.recogniser.spoken("past-stage", thought)
