"""Oestrogen, progesterone and HER2 receptors: from results, from diagnoses that name them, from words."""

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.dates import newest
from cds_service.patient.evidence import Evidence
from cds_service.patient.results import Result, result

_NO_RESULT = ("", "unknown")
#: the ways of asking for HER2 whose bare number is a score
_SCORED = ("ihc", "overall", "text", "status")


def receptor(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """ER, PR or the combined status; a percentage by the threshold of the fact file."""
    evidence = Evidence(definition)
    thresholds = definition.more.get("thresholds", {})
    for entry, asked, element in chart.asking(definition.id):
        if not evidence.admit(entry):
            continue
        found = result(element, chart.recogniser)
        answer = _receptor_answer(found, asked.sense.meaning, thresholds.get("percent-positive"))
        if answer in _NO_RESULT:
            evidence.ignore(entry, "it gives no result that can be read" if found else "it has no value")
            _open_if_unclear(evidence, entry, found)
        else:
            evidence.read(entry, answer, f"{asked.how}: {found.how if found else ''}")
    _diagnoses(definition, chart, evidence)
    return evidence.single(open_answers=("equivocal", "unclear"))


def _receptor_answer(found: Result | None, asked_by: str, threshold: int | None) -> str:
    if found is None:
        return ""
    by_number = ""
    percent = found.unit in ("%", "") and (found.percent or asked_by == "percent")
    if threshold is not None and found.number is not None and percent:
        by_number = "positive" if found.number >= threshold else "negative"
    if found.word and by_number and found.word != by_number:
        return "unclear"
    return by_number or found.word


def _open_if_unclear(evidence: Evidence, entry: Entry, found: Result | None) -> None:
    """A result that says something which cannot be read is not the same as no result: it may be the newest."""
    if found is not None and found.how.endswith("contradicts"):
        evidence.read(entry, "unclear", found.how)


def _diagnoses(definition: FactDefinition, chart: Chart, evidence: Evidence) -> None:
    for entry, said in chart.saying(definition.id):
        if evidence.admit(entry):
            evidence.read(entry, said.sense.meaning, said.how)
    for entry, told in chart.told(definition.id, "Condition"):
        known = {one.sense.meaning for one in entry.codes if one.sense.subject == definition.id}
        for said in told if not known else ():
            if evidence.admit(entry):
                evidence.read(entry, said.sense.meaning, said.how)


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


# HER2: several methods, one status


def her2(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """HER2 overall. An overall interpretation of a day outweighs the methods of that day; an equivocal
    immunohistochemistry is settled by in-situ hybridisation of the same day or later; equivocal and low stay unknown.
    """
    evidence = Evidence(definition)
    methods: dict[Reading, str] = {}
    copies = _copies(chart)
    for entry, asked, element in chart.asking(definition.id):
        method = asked.sense.meaning
        if method in ("panel", "ish-copies"):
            continue
        if not evidence.admit(entry):
            continue
        found = result(element, chart.recogniser)
        if _said_low(entry, chart):
            evidence.read(entry, "low", f"{asked.how}: said to be low")
            continue
        answer, method = _her2_answer(found, method, copies.get(entry.date), definition)
        if answer in _NO_RESULT:
            evidence.ignore(entry, "it gives no result that can be read" if found else "it has no value")
            _open_if_unclear(evidence, entry, found)
            continue
        evidence.read(entry, answer, f"{asked.how}: {found.how if found else ''}")
        methods[evidence.readings[-1]] = method
    _diagnoses(definition, chart, evidence)
    kept = _weigh(evidence.readings, methods)
    for reading in evidence.readings:
        if reading not in kept:
            evidence.set_aside.append((reading.reference, f"{reading.answer}, settled by another result"))
    return Evidence(definition, kept, evidence.set_aside, evidence.unreadable, evidence.notes).single(
        open_answers=("equivocal", "unclear", "low")
    )


def _said_low(entry: Entry, chart: Chart) -> bool:
    """Low is neither positive nor negative (reading principle 6), whatever score stands beside it."""
    text, spoken = entry.whole_text, chart.recogniser.spoken
    return bool(spoken("low_expression", text)) or any(one.sense.meaning == "low" for one in spoken("says:her2", text))


def _copies(chart: Chart) -> dict[str, float]:
    """HER2 copies per nucleus by date."""
    found = {}
    for entry, asked, element in chart.asking("her2"):
        value = result(element, chart.recogniser) if asked.sense.meaning == "ish-copies" else None
        if value is not None and value.number is not None and not entry.unreadable and not entry.no_evidence:
            found[entry.date] = value.number
    return found


def _her2_answer(
    found: Result | None, method: str, copies: float | None, definition: FactDefinition
) -> tuple[str, str]:
    """The answer of one result and the method it stands for."""
    if found is None:
        return "", method
    if method == "ish-ratio" or found.unit == "ratio":
        return _by_ratio(found, copies, definition.more["thresholds"]), "ish"
    score = found.score[:1] if not found.percent else ""
    if not score and method in _SCORED and found.number in (0, 1, 2, 3) and not found.percent and not found.unit:
        score = str(int(found.number))
    if score:
        return _by_score(found.word, score, definition.more["scores"])
    if found.number is not None and not found.word:
        return "", method
    return found.word, "overall" if method == "text" else method


def _by_ratio(found: Result, copies: float | None, thresholds: dict[str, int]) -> str:
    """A ratio of HER2 to chromosome 17, with the copies per nucleus of the same day where they are on record: both high
    is positive, both low negative, one of each equivocal (thresholds of the fact file).
    """
    if found.number is None:
        return found.word if found.word in ("positive", "negative", "equivocal") else ""
    high = found.number >= thresholds["ish-ratio"]
    if copies is not None and high != (copies >= thresholds["ish-copies"]):
        return "equivocal"
    by_ratio = "positive" if high else "negative"
    return by_ratio if found.word in ("", by_ratio) else "unclear"


def _by_score(word: str, score: str, scores: dict[str, list[str]]) -> tuple[str, str]:
    """A score of immunohistochemistry; a word beside an equivocal score is the overall interpretation."""
    by_score = next(answer for answer, listed in scores.items() if score in listed)
    if by_score == "equivocal" and word in ("positive", "negative"):
        return word, "overall"
    return ("unclear" if word in ("positive", "negative") and word != by_score else by_score), "ihc"


def _weigh(readings: list[Reading], methods: dict[Reading, str]) -> list[Reading]:
    """The readings that count: see `her2`."""
    positions = newest(reading.date for reading in readings)
    latest = [reading for i, reading in enumerate(readings) if i in positions]
    overall = [one for one in latest if methods.get(one, "overall") == "overall" and one.answer != "equivocal"]
    if overall:
        return overall
    hybridised = [one for one in latest if methods.get(one) == "ish" and one.answer in ("positive", "negative")]
    stained = [one for one in latest if methods.get(one) != "ish"]
    if hybridised and all(one.answer == "equivocal" for one in stained):
        return hybridised
    return latest
