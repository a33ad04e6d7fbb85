"""Oestrogen, progesterone and HER2 receptors: from results, from diagnoses that name them, from words."""

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry
from cds_service.patient.dates import newest
from cds_service.patient.evidence import Evidence
from cds_service.patient.results import Result, result

_NO_RESULT = ("", "unknown")


def receptor(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """ER, PR or the combined status. At least 1 % stained nuclei is positive (ASCO/CAP 2020, terminology notes)."""
    evidence = Evidence(definition)
    for entry, asked, element in chart.asking(definition.id):
        if not evidence.admit(entry):
            continue
        found = result(element, chart.recogniser)
        answer = _receptor_answer(found, asked.sense.meaning)
        if answer in _NO_RESULT:
            evidence.ignore(entry, "it gives no result that can be read" if found else "it has no value")
            _open_if_unclear(evidence, entry, found)
        else:
            evidence.read(entry, answer, f"{asked.how}: {found.how if found else ''}")
    _diagnoses(definition, chart, evidence)
    return evidence.single(open_answers=("equivocal", "unclear"))


def _receptor_answer(found: Result | None, asked_by: str) -> str:
    if found is None:
        return ""
    by_number = ""
    if found.number is not None and (found.percent or asked_by == "percent") and found.unit in ("%", ""):
        by_number = "positive" if found.number >= 1 else "negative"
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
        answer, method = _her2_answer(found, method, copies.get(entry.date))
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


def _copies(chart: Chart) -> dict[str, float]:
    """HER2 copies per nucleus by date."""
    found = {}
    for entry, asked, element in chart.asking("her2"):
        value = result(element, chart.recogniser) if asked.sense.meaning == "ish-copies" else None
        if value is not None and value.number is not None and not entry.unreadable and not entry.no_evidence:
            found[entry.date] = value.number
    return found


def _her2_answer(found: Result | None, method: str, copies: float | None) -> tuple[str, str]:
    """The answer of one result and the method it stands for.

    Scores: 0 and 1+ negative, 2+ equivocal, 3+ positive. Ratio (ASCO/CAP 2018): at least 2.0 with at least 4 copies
    positive, below 2.0 with fewer than 4 copies negative, everything else equivocal; copies not on record do not count.
    """
    if found is None:
        return "", method
    if method == "ish-ratio" or found.unit == "ratio":
        if found.number is None:
            return found.word if found.word in ("positive", "negative", "equivocal") else "", "ish"
        high = found.number >= 2.0
        if copies is not None and high != (copies >= 4):
            return "equivocal", "ish"
        by_ratio = "positive" if high else "negative"
        return ("unclear" if found.word not in ("", by_ratio) else by_ratio), "ish"
    if found.score and not found.percent:
        by_score = {"0": "negative", "1": "negative", "2": "equivocal", "3": "positive"}[found.score[0]]
        if by_score == "equivocal" and found.word in ("positive", "negative"):
            return found.word, "overall"
        if found.word in ("positive", "negative") and found.word != by_score:
            return "unclear", "ihc"
        return by_score, "ihc"
    if (
        method in ("ihc", "overall", "text", "status")
        and found.number is not None
        and not found.percent
        and not found.unit
    ):
        return {0.0: "negative", 1.0: "negative", 2.0: "equivocal", 3.0: "positive"}.get(found.number, ""), "ihc"
    if found.number is not None and not found.word:
        return "", method
    return found.word, "ish" if method == "ish" else "overall" if method in ("overall", "text") else method


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
