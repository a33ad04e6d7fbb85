"""HER2: several methods, one status."""

from cds_service.model import Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, by_question
from cds_service.patient.content import Content, Question
from cds_service.patient.evidence import Evidence, Told, nothing
from cds_service.patient.receptors import (
    answered,
    asked_of_else,
    definition_of,
    diagnoses,
    hear,
    misnamed,
    misplaced,
    newest_of,
    one_of,
    read_answer,
    settled,
)
from cds_service.patient.results import Result, Span, results

_SETTLED = ("positive", "negative")
#: the ways of asking whose bare number is a score
_SCORED = ("ihc", "overall", "text", "status")
_RATIO_UNITS = ("", "ratio", "{ratio}")


def her2(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """HER2 overall. An overall interpretation of a day outweighs the methods of that day; an equivocal
    immunohistochemistry is settled by in-situ hybridisation of the same day or later; equivocal and low stay unknown.
    """
    if chart.silent(definition.id) and not chart.misnamed:
        return nothing(definition)
    evidence = Evidence(definition)
    methods: dict[Reading, str] = {}
    copies = _copies(definition, chart)
    for entry, question in answered(definition, chart, evidence):
        beside = copies.get(entry.date)
        told, method = _beside(entry.content, question, beside, chart) if beside else _alone(entry, question, chart)
        evidence.take(entry, told)
        if told.answer and method:
            methods[evidence.readings[-1]] = method
    misnamed(definition, chart, evidence)
    diagnoses(definition, chart, evidence)
    return settled(evidence, chart, lambda readings: _weigh(readings, methods))


@by_question
def _alone(content: Content, question: Question, chart: Chart) -> tuple[Told, str]:
    """What one result comes to where no copies per nucleus stand beside it, and the method it stands for."""
    return _beside(content, question, None, chart)


def _beside(content: Content, question: Question, copies: Span | None, chart: Chart) -> tuple[Told, str]:
    """What one result comes to, with the copies per nucleus of its day, and the method it stands for, where it is a
    result of its method: '' where it is low, another finding or another test.
    """
    aside = asked_of_else(content, question, chart)
    if aside:
        return Told(aside=aside), ""
    definition, heard = definition_of(question, chart), hear(content, question, chart)
    asked, found = heard.asked, heard.found
    answer, method = _her2_answer(found, asked.sense.meaning, copies, chart, definition)
    if asked.sense.meaning == "ish-copies":
        return Told(aside="copies per nucleus settle nothing without the ratio"), ""
    if heard.other:
        return misplaced(heard, answer, definition, chart), ""
    if _said_low(content, chart):
        return Told("low", f"{asked.how}: said to be low"), ""
    if _other_finding(found, chart):
        doubt = "speaks of a mutation, which is neither amplification nor overexpression"
        return Told("unclear", f"{asked.how}: a change of the gene's sequence", doubt), ""
    if asked.sense.meaning == "panel" and not found:
        return Told(), ""
    return read_answer(content, heard, answer), method


def _said_low(content: Content, chart: Chart) -> bool:
    """Low is neither positive nor negative (reading principle 6), whatever score stands beside it."""
    text, spoken = content.whole_text, chart.recogniser.spoken
    return bool(spoken("low_expression", text)) or any(one.sense.meaning == "low" for one in spoken("says:her2", text))


def _other_finding(found: list[Result], chart: Chart) -> bool:
    return any(chart.recogniser.spoken("gene_change", one.text) for one in found if one.text)


def _copies(definition: FactDefinition, chart: Chart) -> dict[str, Span]:
    """HER2 copies per nucleus by date."""
    found = {}
    for entry, asked, element in chart.asking(definition.id):
        if asked.sense.meaning == "ish-copies" and not entry.unreadable and not entry.no_evidence:
            for one in results(element, chart.recogniser):
                if one.quantity is not None:
                    found[entry.date] = one.quantity
    return found


def _her2_answer(
    found: list[Result], asked_by: str, copies: Span | None, chart: Chart, definition: FactDefinition
) -> tuple[str, str]:
    """The answer of one result and the method it stands for: the overall interpretation, a stain or hybridisation."""
    method = {"text": "overall", "status": "overall", "panel": "ish", "ish-ratio": "ish"}.get(asked_by, asked_by)
    said = {_word_of(one, method, chart) for one in found} - {""}
    limits = {name: float(limit) for name, limit in definition.more["thresholds"].items()}
    by_score = {answer for one in found for answer in _by_scores(one, asked_by, definition.more["scores"])}
    if "positive" in by_score and any(
        not share.exceeds(limits["score-share-over"]) for one in found for share in one.percents
    ):
        by_score.add("unclear")
    by_ratio = {_by_ratio(one, asked_by, copies, limits) for one in found} - {""}
    if by_score == {"equivocal"} and len(said | by_ratio) == 1 and (said | by_ratio) <= set(_SETTLED):
        by_other = by_ratio or any(chart.recogniser.spoken("hybridised", one.text) for one in found if one.text)
        return (one_of(said | by_ratio) if by_other or asked_by == "overall" else "unclear"), "overall"
    method = "ihc" if by_score and not by_ratio else "ish" if by_ratio and not by_score else method
    return one_of(said | by_score | by_ratio), method


def _word_of(found: Result, method: str, chart: Chart) -> str:
    """The word of a result; a plus sign alone is positive, but not where it may be the score of a stain."""
    if found.word == "unknown" or (
        found.word == "positive" and not found.scores and chart.recogniser.spoken("hedged", found.text)
    ):
        return "unclear"
    if found.pluses == 1:
        return "unclear" if method == "ihc" or found.word == "negative" else "positive"
    return "" if found.word == "none" else found.word


def _by_scores(found: Result, asked_by: str, scores: dict[str, list[str]]) -> set[str]:
    """What scores of immunohistochemistry mean; a whole number without unit is a score where one is asked for."""
    listed = set(found.scores)
    if found.pluses > 1:
        listed.add(str(found.pluses))
    if not found.text and asked_by in _SCORED and found.number is not None and not found.unit:
        listed.add(f"{found.number:g}")
    by_score = {score: answer for answer, known in scores.items() for score in known}
    return {by_score.get(score, "unclear") for score in listed}


def _by_ratio(found: Result, asked_by: str, copies: Span | None, thresholds: dict[str, float]) -> str:
    """A ratio of HER2 to chromosome 17, with the copies per nucleus of the same text or day where they are on record:
    both high is positive, both low negative, one of each equivocal. A ratio alone counts only well above or below.
    """
    ratio = found.ratio
    if asked_by == "ish-ratio" and found.quantity is not None and ratio is None:
        if found.unit not in _RATIO_UNITS:
            return "unclear"
        ratio = found.quantity
    copies = found.copies or copies
    if ratio is None:
        return ""
    if copies is None:
        high, low = ratio.exceeds(thresholds["ratio-alone-over"]), ratio.stays_below(thresholds["ratio-alone-under"])
        return "positive" if high else "negative" if low else "equivocal"
    limits = ((ratio, thresholds["ish-ratio"]), (copies, thresholds["ish-copies"]))
    if all(one.reaches(limit) for one, limit in limits):
        return "positive"
    return "negative" if all(one.stays_below(limit) for one, limit in limits) else "equivocal"


def _weigh(readings: list[Reading], methods: dict[Reading, str]) -> list[Reading]:
    """The readings that count: see `her2`. An overall answer that all methods of the day contradict settles nothing."""
    latest = newest_of(readings)
    overall = [one for one in latest if methods.get(one, "overall") == "overall" and one.answer != "equivocal"]
    others = [one for one in latest if one not in overall and one.answer in _SETTLED]
    if overall:
        agreed = not others or any(one.answer in {two.answer for two in overall} for one in others)
        return overall if agreed else [*overall, *others]
    hybridised = [one for one in latest if methods.get(one) == "ish" and one.answer in _SETTLED]
    stained = [one for one in latest if methods.get(one) != "ish"]
    if hybridised and all(one.answer == "equivocal" for one in stained):
        return hybridised
    return latest
