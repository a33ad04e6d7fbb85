"""Oestrogen and progesterone receptors: from results, from diagnoses that name them, from words."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry, by_question
from cds_service.patient.content import Content, Question
from cds_service.patient.dates import certainly_before, newest
from cds_service.patient.diagnosis import other_cancers
from cds_service.patient.elements import objects
from cds_service.patient.evidence import Evidence, Told, nothing, references_of
from cds_service.patient.recognise import Recognised, phrases_of, text_of
from cds_service.patient.results import Result, Span, about, denied, results, span
from cds_service.patient.sides import side_of

#: facts whose answers one text may hold together
_FAMILY = frozenset({"er", "pr", "hr", "her2"})
_OPEN = ("equivocal", "unclear", "low")
#: the ways of asking whose answer is never a percentage
_NO_PERCENT = ("intensity", "quantity")
_NOT_ASKED = "the words ask something else"
_NOT_OF_BREAST = "the result of another cancer"
_IN_SITU = "the words tell of a carcinoma in situ"


class Heard(NamedTuple):
    """What the answer to a question for a receptor says: its signals, and whether words beside the code name another
    test.
    """

    asked: Recognised
    element: dict[str, Any]
    found: list[Result]
    other: bool


def receptor(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """ER, PR or the combined status; a percentage by the threshold of the fact file."""
    if chart.silent(definition.id) and not chart.misnamed:
        return nothing(definition)
    evidence = Evidence(definition)
    for entry, question in answered(definition, chart, evidence):
        evidence.take(entry, _told(entry, question, chart))
    misnamed(definition, chart, evidence)
    diagnoses(definition, chart, evidence)
    return settled(evidence, chart, newest_of)


@by_question
def _told(content: Content, question: Question, chart: Chart) -> Told:
    aside = asked_of_else(content, question, chart)
    if aside:
        return Told(aside=aside)
    definition, heard = definition_of(question, chart), hear(content, question, chart)
    threshold, by = definition.more.get("thresholds", {}).get("percent-positive"), heard.asked.sense.meaning
    answer = one_of({one for result in heard.found for one in _receptor_answers(result, by, threshold)})
    return misplaced(heard, answer, definition, chart) if heard.other else read_answer(content, heard, answer)


def definition_of(question: Question, chart: Chart) -> FactDefinition:
    """The fact that a question asks for."""
    return chart.knowledge.facts[question.asked.sense.subject]


def answered(definition: FactDefinition, chart: Chart, evidence: Evidence) -> Iterator[tuple[Entry, Question]]:
    """The questions for the receptor of the breast cancer; those of another cancer are set aside."""
    for entry, question in chart.questions(definition.id):
        if not evidence.admit(entry):
            continue
        if _is_of_another_cancer(entry, chart):
            evidence.ignore(entry, _NOT_OF_BREAST)
        else:
            yield entry, question


def asked_of_else(content: Content, question: Question, chart: Chart) -> str:
    """Why a question in words is about something else; '' where it is not."""
    if _by_words(content, question, chart).sense.meaning != "text":
        return ""
    if chart.recogniser.spoken("other_question", _question(content, question.element)):
        return _NOT_ASKED
    return _IN_SITU if _is_in_situ(content, chart) else ""


def hear(content: Content, question: Question, chart: Chart) -> Heard:
    """What the answer to a question says of the fact that it asks for."""
    definition, asked, element = definition_of(question, chart), _by_words(content, question, chart), question.element
    found = claimed(definition, content, asked, element, chart) or signals(definition, content, asked, element, chart)
    return Heard(asked, element, found, other_test(definition, asked, element, chart))


def _is_of_another_cancer(entry: Entry, chart: Chart) -> bool:
    """Whether a result names other cancers as its focus, and nothing else."""
    if "focus" not in entry.raw or not other_cancers(chart):
        return False
    focus = {chart.record.references.name(one) for one in objects(entry.raw["focus"])}
    return bool(focus) and focus <= {one.reference for one in other_cancers(chart)}


def _is_in_situ(said: Entry | Content, chart: Chart) -> bool:
    """Whether words tell of a carcinoma in situ and of no invasive one."""
    spoken = chart.recogniser.spoken
    return bool(spoken("in_situ", said.whole_text)) and not spoken("invasive", said.whole_text)


def _by_words(content: Content, question: Question, chart: Chart) -> Recognised:
    """A question in words that asks for a percentage asks as a code for it does."""
    asked, words = question.asked, _question(content, question.element)
    if asked.sense.meaning == "text" and chart.recogniser.spoken("percent_question", words):
        return Recognised(replace(asked.sense, meaning="percent"), asked.how)
    return asked


def _question(content: Content, element: dict[str, Any]) -> str:
    return content.text if element is content.raw else text_of(element.get("code"))


def signals(
    definition: FactDefinition, content: Content, asked: Recognised, element: dict[str, Any], chart: Chart
) -> list[Result]:
    """The signals of an element as far as they are about this fact."""
    found = []
    named_by = chart.recogniser.names(_question(content, element))
    own_question = asked.sense.meaning != "text" or any(definition.id in at.subjects for at in named_by)
    for one in results(element, chart.recogniser):
        names = chart.recogniser.names(one.text) if one.text else ()
        named = {name for at in names for name in at.subjects & _FAMILY}
        if definition.kind == "combined-receptor" and named and definition.id not in named:
            continue
        own = about(one.text, definition.id, _FAMILY, own_question, chart.recogniser) if named else one
        if own is None:
            found.append(Result("unknown", "words in which it cannot be told whose answer is whose"))
            continue
        if own is not one and not one.how.startswith("the words") and one.word:
            found.append(Result(one.word, one.how))
        found.append(own)
    return found


def claimed(
    definition: FactDefinition, content: Content, asked: Recognised, element: dict[str, Any], chart: Chart
) -> list[Result]:
    """A question that claims an answer ('ER negative: true'): the value says whether that is so. Said not to be so, it
    may still be equivocal or low.
    """
    if asked.sense.meaning != "text":
        return []
    claims = {
        one.sense.meaning for one in chart.recogniser.spoken(f"says:{definition.id}", _question(content, element))
    }
    found = results(element, chart.recogniser)
    if not claims or not found:
        return []
    so = len(claims) == 1 and {one.word for one in found} == {"positive"}
    return [Result(claims.pop() if so else "unknown", "a question that claims an answer")]


def read_answer(content: Content, heard: Heard, answer: str) -> Told:
    """What an answer comes to. What says something that cannot be read is not the same as no result: it may be the
    newest.
    """
    asked, found = heard.asked, heard.found
    how = f"{asked.how}: {'; '.join(one.how for one in found if one.how)}"
    if answer not in ("", "unclear"):
        return Told(answer, how)
    nameless = asked.sense.meaning == "ish" and any(one.quantity is not None for one in found)  # a ratio, or copies?
    silent = nameless or not found or all(one.word == "none" or one == Result() for one in found)
    if silent or not (answer or _plainly_asked(content, heard)):
        return Told(aside="it gives no result that can be read" if found else "it has no value")
    return Told("unclear", how, "contradicts itself or settles nothing" if answer else "cannot be read")


def _plainly_asked(content: Content, heard: Heard) -> bool:
    """Whether the question is the receptor itself, not a comment, an intensity or an amount beside it."""
    sense = heard.asked.sense
    if sense.meaning == "text":
        return _question(content, heard.element).strip(" :") == sense.display
    return sense.meaning not in _NO_PERCENT


def other_test(definition: FactDefinition, asked: Recognised, element: dict[str, Any], chart: Chart) -> bool:
    """Whether the text or a display beside a code for this receptor names another test."""
    return asked.sense.meaning != "text" and any(
        _is_of_another(phrase, definition, chart) for phrase in phrases_of(element.get("code"))
    )


def _is_of_another(phrase: str, definition: FactDefinition, chart: Chart) -> bool:
    spoken = chart.recogniser.spoken
    if spoken("gene_question", phrase):
        return True
    return bool(spoken("other_test", phrase)) and not _names_it(phrase, definition, chart)


def _names_it(phrase: str, definition: FactDefinition, chart: Chart) -> bool:
    return any(definition.id in at.subjects for at in chart.recogniser.names(phrase))


def misplaced(heard: Heard, answer: str, definition: FactDefinition, chart: Chart) -> Told:
    """The code of this receptor on another test is none of its results, unless words beside it name the receptor too:
    then an answer may be either's.
    """
    named = any(
        _names_it(phrase, definition, chart) and not _is_of_another(phrase, definition, chart)
        for phrase in phrases_of(heard.element.get("code"))
    )
    if answer in ("", "unclear") or not named:
        return Told(aside="its code asks this, and its words another test")
    how = "a code for this receptor with the name of another test"
    return Told("unclear", how, "has the code of this receptor and the name of another test")


def one_of(answers: set[str]) -> str:
    """One answer where there is one; two that disagree are unclear."""
    return next(iter(answers), "") if len(answers) < 2 else "unclear"


def _receptor_answers(found: Result, asked_by: str, threshold: int | None) -> set[str]:
    said = {"unclear" if found.word == "unknown" else found.word} - {"", "none"}
    if asked_by in _NO_PERCENT:
        return said
    if found.pluses:
        said.add("positive")
    return said | {_by_percent(one, threshold) for one in _percents(found, asked_by)}


def _percents(found: Result, asked_by: str) -> list[Span]:
    spans = list(found.percents)
    if found.quantity is None:
        return spans
    if found.unit.startswith("%") or found.unit in ("percent", "{percent}"):
        return [*spans, found.quantity]
    if asked_by == "percent" and found.unit == "ratio":
        return [*spans, Span(found.quantity.low * 100, found.quantity.high * 100)]
    if asked_by == "percent" and found.unit == "":
        a_share = 0 < found.quantity.low < 1 and found.quantity.low == found.quantity.high
        return [*spans, span(-1) if a_share else found.quantity]
    return spans


def _by_percent(share: Span, threshold: int | None) -> str:
    """Positive or negative where all of the span lies on one side; a share below 0 or above 100 is no percentage."""
    exact = share.low == share.high
    if threshold is None or (exact and not 0 <= share.low <= 100):
        return "unclear"
    return "positive" if share.reaches(threshold) else "negative" if share.stays_below(threshold) else "unclear"


def misnamed(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    """A code for one receptor with the name of another: neither is known."""
    for entry, asked, named in chart.misnamed:
        if definition.id in (asked & _FAMILY) | (named & _FAMILY) and asked & _FAMILY and named & _FAMILY:
            if "hr" in asked | named and "her2" not in asked | named:
                continue
            evidence.readings = [one for one in evidence.readings if one.reference != entry.reference]
            if evidence.admit(entry):
                evidence.read(entry, "unclear", "a code for one receptor with the name of another")
                both = " and ".join(sorted(one.upper() for one in (asked | named) & _FAMILY))
                evidence.doubt(entry, f"names different receptors in its code and its words: {both}")


def diagnoses(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    """Read what diagnoses, findings used as codes and reports say of the receptor."""
    for entry, said in chart.saying(definition.id):
        if evidence.admit(entry) and denied(entry, said, chart.recogniser):
            evidence.ignore(entry, "its value does not affirm it")
        elif _is_of_another_cancer(entry, chart):
            evidence.ignore(entry, _NOT_OF_BREAST)
        elif not (entry.unreadable or entry.no_evidence):
            evidence.read(entry, said.sense.meaning, said.how)
    for entry, told in chart.told(definition.id, "Observation"):
        if entry.content.asks(definition.id) or not _may_hold_several(entry, chart) or not evidence.admit(entry):
            continue
        if _is_in_situ(entry, chart) or _is_of_another_cancer(entry, chart):
            evidence.ignore(entry, _IN_SITU if _is_in_situ(entry, chart) else _NOT_OF_BREAST)
            continue
        evidence.read(entry, one_of({one.sense.meaning for one in told}), told[0].how)
    for entry, told in chart.told(definition.id, "Condition"):
        known = {one.sense.meaning for one in entry.codes if one.sense.subject == definition.id}
        relative = chart.recogniser.spoken("relative", entry.text)
        for said in told if not (known or relative) else ():
            if evidence.admit(entry):
                evidence.read(entry, said.sense.meaning, said.how)


def _may_hold_several(entry: Entry, chart: Chart) -> bool:
    """Whether an Observation is a panel of receptors or the final diagnosis of a pathology report."""
    spoken = chart.recogniser.spoken
    return bool(spoken("panel", entry.text) or spoken("report", entry.text))


def combined(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Hormone receptors: derived from ER and PR, and from resources that name the combined status only."""
    stated = receptor(definition, chart, facts)
    er, pr = facts["er"], facts["pr"]
    positive = [fact for fact in (er, pr) if fact.value == "positive"]
    if stated.value == "negative" and positive:
        return _both_ways(stated, er, pr)
    if positive:
        references = tuple(sorted({one for fact in positive for one in fact.references}))
        return _with_value(stated, "positive", references)
    if er.value == pr.value == "negative":
        if stated.value == "positive":
            return _both_ways(stated, er, pr)
        return _with_value(stated, "negative", tuple(sorted({*er.references, *pr.references})))
    if stated.value != "unknown":
        return stated
    lacking = [fact.name for fact in (er, pr) if fact.value == "unknown"]
    note = stated.note or f"needs {' and '.join(name.upper() for name in lacking)}"
    return Fact(stated.name, "unknown", {}, UNKNOWN, stated.references, note, stated.readings, stated.set_aside)


def _with_value(stated: Fact, value: str, references: tuple[str, ...]) -> Fact:
    answers = {answer: Answer(TRUE if answer == value else FALSE, references) for answer in ("positive", "negative")}
    return Fact(stated.name, value, answers, UNKNOWN, references, stated.note, stated.readings, stated.set_aside)


def _both_ways(stated: Fact, er: Fact, pr: Fact) -> Fact:
    references = tuple(sorted({*stated.references, *er.references, *pr.references}))
    note = "the combined status and the single receptors disagree"
    return Fact(stated.name, "unknown", {}, UNKNOWN, references, note, stated.readings, stated.set_aside)


# SETTLING


def newest_of(readings: list[Reading]) -> list[Reading]:
    """The readings that no other is certainly newer than."""
    positions = newest(reading.date for reading in readings)
    return [reading for i, reading in enumerate(readings) if i in positions]


def settled(evidence: Evidence, chart: Chart, weigh: Callable[[list[Reading]], list[Reading]]) -> Fact:
    """One answer for the patient: the newest, unless the two breasts differ or a diagnosis contradicts the results."""
    everything = list(evidence.readings)
    if len(everything) < 2:
        return evidence.settle(everything, _OPEN)
    split = _sides_differ(everything, chart, weigh)
    kept = weigh(everything)
    if not evidence.unreadable and split:
        evidence.note(split)
        return evidence.fact_of("unknown", references_of(everything))
    opposed = _opposed(kept, everything, weigh)
    if not evidence.unreadable and opposed:
        evidence.note(f"a later diagnosis says {_shown(kept)} and the newest result {_shown(opposed)}")
        return evidence.fact_of("unknown", references_of([*kept, *opposed]))
    for reading in everything:
        if reading not in kept and not any(certainly_before(reading.date, one.date) for one in kept):
            evidence.set_aside.append((reading.reference, f"{reading.answer}, settled by another result"))
    return evidence.settle(kept, _OPEN, older=True)


def _shown(readings: list[Reading]) -> str:
    return " and ".join(f"{one.answer} ({one.reference})" for one in readings)


def _opposed(
    kept: list[Reading], everything: list[Reading], weigh: Callable[[list[Reading]], list[Reading]]
) -> list[Reading]:
    """The newest results, where only a later diagnosis outdates them and says otherwise: a diagnosis is often carried
    on from visit to visit, under a new date.
    """
    measured = weigh([one for one in everything if not one.reference.startswith("Condition")])
    if not measured or any(one in kept for one in measured):
        return []
    if not all(one.reference.startswith("Condition") for one in kept):
        return []
    return measured if {one.answer for one in measured} != {one.answer for one in kept} else []


def _sides_differ(readings: list[Reading], chart: Chart, weigh: Callable[[list[Reading]], list[Reading]]) -> str:
    """What the two breasts say, where they differ and nothing newer speaks of the disease as a whole; else ''."""
    if len(readings) < 2:
        return ""
    read = {entry.reference: entry for one in readings if (entry := chart.named.get(one.reference))}
    sides = {reference: side for reference, entry in read.items() if (side := side_of(entry, chart))}
    if len(set(sides.values())) < 2:
        return ""
    left, right = (weigh([one for one in readings if sides.get(one.reference) == side]) for side in ("left", "right"))
    if {one.answer for one in left} == {one.answer for one in right}:
        return ""
    whole = [one for one in readings if one.reference not in sides]
    if any(all(certainly_before(sided.date, one.date) for sided in [*left, *right]) for one in whole):
        return ""
    return f"the two breasts differ: left {_shown(left)}, right {_shown(right)}"
