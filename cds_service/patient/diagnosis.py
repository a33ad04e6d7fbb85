"""Is it breast cancer? What the codes of a Condition say, what its words say, and what holds where they disagree."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from cds_service.model import Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry, by_content
from cds_service.patient.content import Content
from cds_service.patient.elements import objects, one_or_more, word
from cds_service.patient.evidence import Evidence, references_of
from cds_service.patient.recognise import Recognised, dotted, phrases_of, plain_codes, text_of, thoughts

_FACT = "breast-cancer"


class Signal(NamedTuple):
    """What a Condition says of breast cancer: its `answer` (malignant or unclear), and how, or why it is unclear."""

    answer: str
    how: str


def breast_cancer(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Confirmed invasive breast cancer, and whether it is current. In situ, history and relatives do not count. A
    Condition that contradicts itself leaves it unknown, unless another is clear.
    """
    evidence = Evidence(definition)
    entries: dict[str, Entry] = {}
    doubts: dict[str, str] = {}
    for entry in chart.of("Condition"):
        signal = signal_of(entry, chart)
        if signal is None or not evidence.admit(entry):
            continue
        if signal.answer == "unclear":
            doubts[entry.reference] = signal.how
            evidence.ignore(entry, signal.how)
            continue
        if "verificationStatus" not in entry.raw:
            evidence.note("no verification status on record: taken as confirmed")
        entries[entry.reference] = entry
        evidence.read(entry, _state(entry, chart), signal.how)
    chart.shelf["breast"] = set(entries)
    active = {one.reference: entries[one.reference] for one in evidence.readings if one.answer == "active"}
    chart.shelf["current"] = active or entries  # what is over speaks only where nothing is current
    value = _settle(evidence, entries, list(doubts.values()))
    if value == "none" and not chart.record.delivered("Condition"):
        value = "unknown"
    decided = [one for one in evidence.readings if one.answer == value] or evidence.readings
    unclear = doubts if value == "unknown" else ()
    return evidence.fact_of(value, tuple(sorted({*references_of(decided), *unclear})))


def _state(entry: Entry, chart: Chart) -> str:
    """Whether a breast cancer is current, by its course and its words."""
    if entry.course == "active" and chart.recogniser.spoken("over", entry.text):
        return "unclear"
    return {"over": "inactive"}.get(entry.course, entry.course)


def _settle(evidence: Evidence, entries: dict[str, Entry], doubts: list[str]) -> str:
    """The value, from the readings and the doubts; what decides is noted."""
    states = {one.answer for one in evidence.readings}
    if "active" in states:
        if not _only_an_encounter_says(evidence.readings, entries):
            return "active"
        evidence.note("marked as over in one entry, and as active only as the diagnosis of an encounter")
        return "unknown"
    if "unclear" in states:
        evidence.note("marked as active and yet over by its end or its words")
        return "unknown"
    if "inactive" in states and not doubts:
        return "inactive"
    for doubt in doubts:
        evidence.note(doubt)
    if evidence.unreadable:
        evidence.note("a diagnosis of breast cancer cannot be read")
    return "unknown" if doubts or evidence.unreadable else "none"


def _only_an_encounter_says(readings: list[Reading], entries: dict[str, Entry]) -> bool:
    """Whether it is active only as an encounter's diagnosis, which nobody closes, and over in an entry of the same
    tumour that is kept up to date.
    """
    over = [entries[one.reference] for one in readings if one.answer == "inactive"]
    if not over:
        return False
    active = [entries[one.reference] for one in readings if one.answer == "active"]
    if not all(map(_of_an_encounter, active)):
        return False
    kept = [one for one in over if not _of_an_encounter(one)]
    return any(_may_be_the_same(one, other) for one in active for other in kept)


def _of_an_encounter(entry: Entry) -> bool:
    return any("encounter-diagnosis" in plain_codes(one) for one in one_or_more(entry.raw.get("category")))


def _may_be_the_same(one: Entry, other: Entry) -> bool:
    """Whether two Conditions may be one tumour: a code in common, or no system in which they could differ."""
    codes = [
        {(coding.get("system"), coding.get("code")) for coding in _codings(entry.content)} for entry in (one, other)
    ]
    systems = [{system for system, _ in listed} for listed in codes]
    return bool(codes[0] & codes[1]) or not systems[0] & systems[1]


def _codings(content: Content) -> list[dict[str, Any]]:
    concept = content.raw.get("code")
    return objects(concept.get("coding")) if isinstance(concept, dict) else []


# WHAT ONE CONDITION SAYS


@by_content
def signal_of(content: Content, chart: Chart) -> Signal | None:
    """What a Condition says of breast cancer; None where it speaks of something else."""
    said = [one for one in content.codes if one.sense.subject == _FACT]
    malignant = [one for one in said if one.sense.role == "says" and one.sense.meaning.startswith("malignant")]
    against = _code_of_something_else(content, chart)
    tumour = malignant[0].how if malignant else _by_morphology(content, chart)
    if tumour and against:
        return Signal("unclear", f"one of its codes says breast cancer and another something else ({against})")
    if tumour:
        return _coded(content, tumour, chart)
    if _of_unstated_behaviour(content, said, chart) and not against:
        return _by_stage(content, chart)
    worded = _in_words(content, chart)
    if worded and against:
        return Signal("unclear", f"its words say breast cancer and its code something else ({against})")
    return Signal("malignant", worded) if worded else None


def _of_unstated_behaviour(content: Content, said: list[Recognised], chart: Chart) -> bool:
    """A tumour of the breast that may be malignant or not, by a code, or by words and nothing else."""
    if any((one.sense.role, one.sense.meaning) == ("says", "tumour") for one in said):
        phrases = phrases_of(content.raw.get("code"))
        return not any(_other_in_words(phrase, chart) or chart.recogniser.denies(phrase) for phrase in phrases)
    spoken = chart.recogniser.spoken("tumour", content.text)
    return bool(spoken) and chart.recogniser.only(content.text, "tumour", "cancer-filler")


def _by_stage(content: Content, chart: Chart) -> Signal:
    """A tumour of the breast: malignant where the Condition itself codes it as stage IV; else unclear."""
    for row in objects(one_or_more(content.raw.get("stage"))):
        for one in chart.recogniser.codes(row.get("summary")):
            if (one.sense.subject, one.sense.meaning) == ("stage", "stage-4"):
                return Signal("malignant", f"a tumour of the breast with {one.how}")
    return Signal("unclear", "a tumour of the breast is on record, and not whether it is malignant")


def _coded(content: Content, how: str, chart: Chart) -> Signal:
    """A code of breast cancer, unless words beside it name something else and no breast cancer."""
    for words in phrases_of(content.raw.get("code")):
        other = _other_in_words(words, chart)
        if other:
            return Signal("unclear", f"its code says breast cancer and its words something else ({other})")
    return Signal("malignant", how)


def _other_in_words(text: str, chart: Chart) -> str:
    """In our words, what a text names that is no current breast cancer of the patient; '' where it names none, or names
    breast cancer in a thought of its own.
    """
    kinds = {
        "excluded": chart.recogniser.spoken("says:breast-cancer", text),
        "another cancer": chart.recogniser.spoken("other_primary", text),
    }
    named = [kind for kind, found in kinds.items() if found]
    mentioned = chart.recogniser.spoken("mention", text)
    if any(_names_breast_cancer(text[start:end], text, start, chart) for start, end in thoughts(text)):
        return ""
    if named:
        return "in situ, benign, at risk, in relatives or elsewhere" if named[0] == "excluded" else named[0]
    return "history, doubt or denial" if mentioned else ""


def _names_breast_cancer(thought: str, text: str, start: int, chart: Chart) -> bool:
    """Whether one thought of a text names breast cancer and nothing that takes it back."""
    if chart.recogniser.spoken("says:breast-cancer", thought) and not _invasive_beside_in_situ(thought, chart):
        return False
    placed = [place for place, _ in chart.recogniser.placed("diagnosis", text)]
    if any(start <= place < start + len(thought) for place in placed):
        return True
    return bool(_cancer_of_the_breast(thought, chart))


def _invasive_beside_in_situ(text: str, chart: Chart) -> bool:
    """'Invasive ductal carcinoma with DCIS': the in-situ part takes nothing back."""
    found = {one.sense.display for one in chart.recogniser.spoken("says:breast-cancer", text)}
    in_situ = {one.sense.display for one in chart.recogniser.spoken("in-situ", text)}
    return found <= in_situ and bool(chart.recogniser.spoken("invasive", text))


def _in_words(content: Content, chart: Chart) -> str:
    """How the words of a Condition say breast cancer; '' where they do not. Any word that takes it back counts."""
    text = content.text
    if chart.recogniser.spoken("says:breast-cancer", text) and not _invasive_beside_in_situ(text, chart):
        return ""
    spoken = chart.recogniser.spoken("diagnosis", text)
    if spoken:
        return spoken[0].how
    if chart.recogniser.spoken("other_primary", text):
        return ""
    return _cancer_of_the_breast(text, chart) or _cancer_with_body_site(content, chart)


def _cancer_of_the_breast(text: str, chart: Chart) -> str:
    paired = chart.recogniser.paired
    return paired("carcinoma", "between", "breast", text) or paired("breast", "between", "carcinoma", text)


def _cancer_with_body_site(content: Content, chart: Chart) -> str:
    """A cancer of no named organ, by code or words, whose body site is the breast."""
    if not _is_in_the_breast(content, chart):
        return ""
    generic = [one.how for one in content.codes if (one.sense.subject, one.sense.meaning) == (_FACT, "cancer")]
    if not generic and not content.codes and "secondary" not in content.text:
        generic = [one.how for one in chart.recogniser.spoken("carcinoma", content.text)]
    return f"a cancer whose body site is the breast ({generic[0]})" if generic else ""


def _is_in_the_breast(content: Content, chart: Chart) -> bool:
    """Whether the body sites name the breast and nothing that is not of it: a side, a quadrant, nodes beside it."""
    sites = one_or_more(content.raw.get("bodySite"))
    others = [site for site in sites if not _is_breast(site, chart)]
    return len(others) < len(sites) and all(_is_beside_the_breast(text_of(site), chart) for site in others)


def _is_beside_the_breast(words: str, chart: Chart) -> bool:
    return bool(words) and (
        bool(chart.recogniser.spoken("regional", words)) or chart.recogniser.only(words, "between", "cancer-filler")
    )


def _is_breast(site: Any, chart: Chart) -> bool:
    codes = chart.recogniser.codes(site)
    if any(one.sense.subject == _FACT for one in codes):
        return True
    return bool(chart.recogniser.spoken("breast", text_of(site))) or "topography" in _icd_o(site, chart)


# ICD-O, BY RULE


def _by_morphology(content: Content, chart: Chart) -> str:
    """An invasive carcinoma by its ICD-O morphology, in the breast by topography or body site; '' otherwise."""
    found = _icd_o(content.raw.get("code"), chart)
    if "carcinoma" not in found:
        return ""
    if "topography" in found or _is_in_the_breast(content, chart):
        return "an invasive carcinoma by its ICD-O morphology, in the breast"
    return ""


def _icd_o(concept: Any, chart: Chart) -> set[str]:
    """Which of topography (of the breast), carcinoma (invasive) and other the ICD-O codes of a concept are."""
    rule = chart.knowledge.facts[_FACT].more["icd_o"]
    found = set()
    for coding in objects(concept.get("coding")) if isinstance(concept, dict) else ():
        if chart.knowledge.lexicon.systems.get(word(coding.get("system"))) != rule["system"]:
            continue
        kind, _, behaviour = word(coding.get("code")).partition("/")
        if not behaviour:
            found.add("topography" if kind.startswith(rule["topography"]) else "other")
        else:
            carcinoma = kind.startswith(tuple(rule["carcinomas"])) and behaviour == rule["invasive"]
            found.add("carcinoma" if carcinoma else "other")
    return found


# OTHER THAN BREAST CANCER


def _code_of_something_else(content: Content, chart: Chart) -> str:
    """In our words, what a code of the Condition says that is not breast cancer; '' where none does."""
    for one in content.codes:
        if one.sense.subject != _FACT:
            continue
        if one.sense.role == "says" and one.sense.meaning in ("in-situ", "history"):
            return one.sense.meaning.replace("-", " ")
        if one.sense.role == "ignored":
            return one.sense.why
    about = chart.knowledge.facts[_FACT].more["about_breast_cancer"]
    return next((f"ICD-10 {code[:3]}" for code in _icd_10(content) if code[:3] not in about), "")


def _icd_10(content: Content) -> Iterator[str]:
    for coding in _codings(content):
        code, system = word(coding.get("code")), word(coding.get("system"))
        if "icd-10" in system and "pcs" not in system and code:
            yield dotted(code.strip())


def other_cancers(chart: Chart) -> list[Entry]:
    """Conditions that are, or were, another cancer: not of the breast, not a metastasis."""
    found = chart.shelf.get("other-cancers")
    if found is None:
        named = [one for one in chart.of("Condition") if _says_another(one, chart)]
        breast = chart.shelf["breast"]
        found = [one for one in named if one.reference not in breast and not one.no_evidence]
        chart.shelf["other-cancers"] = found
    listed: list[Entry] = found
    return listed


@by_content
def _says_another(content: Content, chart: Chart) -> bool:
    """Whether what is no breast cancer says a cancer that is not a metastasis."""
    known = [one for one in content.codes if (one.sense.role, one.sense.meaning) != ("says", "cancer")]
    none = chart.knowledge.facts[_FACT].more["no_other_cancer"]
    if any(code[:1] == "C" and code[:3] not in none for code in _icd_10(content)):
        return True
    spoken, text = chart.recogniser.spoken, content.text
    if known or spoken("says:symptoms", text) or spoken("says:breast-cancer", text):
        return False
    if spoken("other_primary", text):
        return True
    if spoken("secondary", text) or spoken("mention", text) or spoken("aside", text) or not spoken("cancer", text):
        return False
    names_no_organ = not content.raw.get("bodySite") and chart.recogniser.only(text, "cancer", "cancer-filler")
    return not names_no_organ
