"""Where has the breast cancer spread, how far, and do the metastases cause symptoms?"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import Chart, Entry, by_content, by_question, by_text
from cds_service.patient.content import Content, Question
from cds_service.patient.dates import certainly_before, days_between
from cds_service.patient.diagnosis import other_cancers
from cds_service.patient.elements import objects, one_or_more, word
from cds_service.patient.evidence import Evidence, nothing, references_of
from cds_service.patient.recognise import text_of, thoughts
from cds_service.patient.results import affirmed

_FACT = "sites"
_VAGUE = {"unspecified", "other"}
_MAY_BE_OTHERS = "a metastasis on record may be of another cancer"


class Site(NamedTuple):
    """A site that a resource states, how, and how its code and its words disagree on it, if they do."""

    name: str
    how: str
    differing: str


def sites(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Where the cancer has spread. No site recorded: unknown; at least one recorded: the others are false. What is
    marked as over, or coded as one site and worded as another, leaves that site unknown.
    """
    evidence = Evidence(definition)
    sure: list[Reading] = []
    unclear: list[Reading] = []
    current: list[Reading] = []
    for entry, stated in _site_statements(chart):
        if not stated or not evidence.admit(entry) or not _is_of_the_breast(entry, chart, evidence):
            continue
        over = _is_over(entry, chart)
        for site, how, differing in stated:
            reading = evidence.read(entry, site, how)
            (unclear if over or differing else sure).append(reading)
            if differing:
                evidence.note(differing)
            if over:
                evidence.note("a metastasis is marked as over")
            else:
                current.append(reading)
    _note_what_is_no_site(chart, evidence)
    chart.shelf["distant"] = current
    return _of_sites(evidence, sure, unclear)


def _of_sites(evidence: Evidence, sure: list[Reading], unclear: list[Reading]) -> Fact:
    answers: dict[str, Answer] = {}
    for readings, truth in ((unclear, UNKNOWN), (sure, TRUE)):
        for site in sorted({one.answer for one in readings}):
            references = references_of(one for one in readings if one.answer == site)
            groups = [name for name, members in evidence.fact.more["site_groups"].items() if site in members]
            for answer in [site, *groups]:
                known = answers.get(answer)
                if known is None or known.truth is not TRUE:
                    answers[answer] = Answer(truth, references)
    named = {one.answer for one in sure}
    closed = bool(named - _VAGUE) and not evidence.unreadable and "unspecified" not in named
    if named == {"unspecified"}:
        evidence.note("a metastasis is on record without its site")
    value = ", ".join(sorted(named - {"unspecified"})) or "unknown"
    return evidence.build(value, answers, FALSE if closed else UNKNOWN, references_of(evidence.readings))


def _is_over(entry: Entry, chart: Chart) -> bool:
    """Whether a metastasis is no longer there, or not clearly. One that a cancer itself names is over with it, where
    another is current.
    """
    if entry.kind != "Condition":
        return False
    if entry.reference in chart.shelf["breast"]:
        return entry.reference not in chart.shelf["current"]
    return entry.course != "active" or _is_over_by_words(entry, chart)


@by_content
def _is_over_by_words(content: Content, chart: Chart) -> bool:
    return bool(chart.recogniser.spoken("over", content.text) or chart.recogniser.spoken("removed", content.text))


def _stated(content: Content, named: Iterable[tuple[str, str]], chart: Chart) -> tuple[Site, ...]:
    return tuple(Site(site, how, _differing_words(content, site, chart)) for site, how in named)


def _differing_words(content: Content, site: str, chart: Chart) -> str:
    """How the words of a coded metastasis name another site than its code, in our words; '' where they do not."""
    if site in _VAGUE or not _says_a_site(content.codes):
        return ""
    worded = {named for named, _ in sites_in_words(content.text, chart)}
    close = chart.knowledge.facts[_FACT].more["site_kin"]
    kin = {site}.union(*(set(group) for group in close if site in group))
    if not worded or worded & kin:
        return ""
    return f"a metastasis whose code says {site} and whose words say {' and '.join(sorted(worded))}"


def _note_what_is_no_site(chart: Chart, evidence: Evidence) -> None:
    """Codes of metastases that may be regional, or of no known primary, are set aside with the reason."""
    read = {one.reference for one in evidence.readings}
    for entry in chart.of("Condition"):
        for one in entry.codes:
            if one.sense.subject != _FACT or one.sense.role not in ("ambiguous", "ignored") or entry.reference in read:
                continue
            if evidence.admit(entry):
                evidence.ignore(entry, one.sense.why)
                if one.sense.role == "ambiguous":
                    evidence.note(f"a metastasis on record is not clearly distant ({one.sense.why})")


# WHOSE METASTASIS


def _is_of_the_breast(entry: Entry, chart: Chart, evidence: Evidence) -> bool:
    """Whether a metastasis is one of the breast cancer: as it says itself, else only if there is no other cancer."""
    breast = chart.shelf["breast"]
    if entry.reference in breast or chart.recogniser.spoken("diagnosis", entry.text):
        return True
    primaries = _related_primaries(entry, chart)
    if primaries & breast or not (primaries or other_cancers(chart)):
        return True
    evidence.ignore(entry, "whose metastasis it is, is not known: another cancer is on record or named as its primary")
    evidence.note(_MAY_BE_OTHERS)
    return False


def _related_primaries(entry: Entry, chart: Chart) -> set[str]:
    """The primary cancers that a metastasis names: mCODE, secondary cancer condition, relatedPrimaryCancerCondition;
    the Conditions in the focus of an Observation.
    """
    found: set[str] = set()
    if entry.kind == "Observation" and entry.raw.get("focus"):
        known = {one.reference for one in chart.of("Condition")}
        found |= {chart.record.references.name(one) for one in objects(entry.raw.get("focus"))} & known
    for extension in objects(entry.raw.get("extension")):
        if word(extension.get("url")).endswith("mcode-related-primary-cancer-condition"):
            found.add(chart.record.references.name(extension.get("valueReference")))
    return found


# WHAT SAYS A SITE


def _site_statements(chart: Chart) -> Iterator[tuple[Entry, tuple[Site, ...]]]:
    for entry in dict.fromkeys(entry for entry, _ in chart.saying(_FACT)):
        yield entry, _by_own_code(entry, chart)
    for entry, question in chart.questions(_FACT):
        yield entry, _in_answer(entry, question, chart)
    breast, current = chart.shelf["breast"], chart.shelf["current"]
    for entry in chart.of("Condition"):
        found = _without_code(entry, chart)
        if found and (entry.reference in breast or not _is_elsewhere(entry, chart)):
            yield entry, found
        if entry.reference in current:
            yield entry, _in_stages(entry, chart)


@by_content
def _by_own_code(content: Content, chart: Chart) -> tuple[Site, ...]:
    """The sites that the codes of a metastasis say, or body site or words where the code leaves them open."""
    coded = [one for one in content.says if one.sense.subject == _FACT and one in content.codes]
    if not coded or content.kind not in chart.knowledge.facts[_FACT].reads:
        return ()
    if content.kind != "Condition" and not affirmed(content.raw, chart.recogniser):
        return ()
    named = [_finer(content, one.sense.meaning, chart) or [(one.sense.meaning, one.how)] for one in coded]
    return _stated(content, [site for each in named for site in each], chart)


@by_question
def _in_answer(content: Content, question: Question, chart: Chart) -> tuple[Site, ...]:
    """The sites that the answer to a question for sites names, or else the body site."""
    element = question.element
    valued = "valueCodeableConcept" in element or "valueString" in element
    return _stated(content, _in_value(element, chart) if valued else _body_sites(element, chart), chart)


@by_content
def _in_stages(content: Content, chart: Chart) -> tuple[Site, ...]:
    """The sites that the stage of a cancer names: 'stage IV, bone metastases'."""
    rows = objects(content.raw.get("stage"))
    named = [found for row in rows for found in sites_in_words(text_of(row.get("summary")), chart)]
    return _stated(content, named, chart)


def _in_value(element: dict[str, Any], chart: Chart) -> Iterator[tuple[str, str]]:
    """The sites that a value names: a metastasis or a body site by code, or words."""
    value = element.get("valueCodeableConcept", element.get("valueString"))
    coded = [one for one in chart.recogniser.codes(value) if one.sense.subject == _FACT]
    said = [one for one in coded if one.sense.role in ("says", "body-site")]
    yield from ((one.sense.meaning, one.how) for one in said)
    if not said and not chart.recogniser.spoken("regional", text_of(value)):
        yield from _named_sites(text_of(value), chart)


def _says_a_site(codes: Iterable[Any]) -> bool:
    return any(one.sense.subject == _FACT and one.sense.role == "says" for one in codes)


def _finer(content: Content, meaning: str, chart: Chart) -> list[tuple[str, str]]:
    """The sites that body site or words name where the code leaves them open."""
    if meaning not in _VAGUE:
        return []
    return list(_body_sites(content.raw, chart)) or list(_named_sites(content.text, chart))


@by_content
def _without_code(content: Content, chart: Chart) -> tuple[Site, ...]:
    """The sites of a Condition whose codes say none: of a metastasis by code with its body site, or in words."""
    return _stated(content, _sites_of(content, chart), chart)


def _sites_of(content: Content, chart: Chart) -> list[tuple[str, str]]:
    if any(one.sense.subject == _FACT for one in content.codes):
        if not _without_site(content):
            return []
        return list(_body_sites(content.raw, chart)) or list(_named_sites(content.text, chart))
    if not chart.recogniser.spoken("secondary", content.text):
        return []
    return list(sites_in_words(content.text, chart)) or list(_body_sites(content.raw, chart))


@by_content
def _is_elsewhere(content: Content, chart: Chart) -> bool:
    """Whether words that are not about the patient's breast cancer (relatives, a metastasis in the breast) say a site
    that no code does.
    """
    return not _without_site(content) and bool(chart.recogniser.spoken("says:breast-cancer", content.text))


def _without_site(content: Content) -> bool:
    """Whether a metastasis is coded without its site."""
    sites = [one for one in content.codes if one.sense.subject == _FACT]
    return any(one.sense.meaning == "unsited" for one in sites) and not _says_a_site(sites)


def _body_sites(element: dict[str, Any], chart: Chart) -> Iterator[tuple[str, str]]:
    for concept in one_or_more(element.get("bodySite")):
        coded = [one for one in chart.recogniser.codes(concept) if one.sense.role == "body-site"]
        for one in coded:
            if one.sense.subject == _FACT:
                yield one.sense.meaning, one.how
        if not coded and not chart.recogniser.spoken("regional", text_of(concept)):
            yield from _named_sites(text_of(concept), chart)


def _named_sites(text: str, chart: Chart) -> Iterator[tuple[str, str]]:
    for one in chart.recogniser.spoken("site", text):
        yield one.sense.meaning, one.how


@by_text
def sites_in_words(text: str, chart: Chart) -> Iterator[tuple[str, str]]:
    """The sites that a text names as those of metastases: in the same thought as a word for metastasis, or in thoughts
    of sites alone that stand beside it ('liver, lung and bone mets'). A denial holds for its whole list.
    """
    found = chart.recogniser.placed("site", text)
    local = chart.knowledge.facts[_FACT].more["may_be_local"]
    for start, end in told_of_metastases(text, chart):
        regional = chart.recogniser.spoken("regional", text[start:end])
        for place, one in found:
            if start <= place < end and not (regional and one.sense.meaning in local):
                yield one.sense.meaning, one.how


@by_text
def told_of_metastases(text: str, chart: Chart) -> Iterator[tuple[int, int]]:
    """The thoughts of a text that tell of metastases, by where they start and end: those with a word for metastasis
    and no other cancer, and those of sites alone beside them, unless a denial holds for the list they stand in.
    """
    words = [place for place, _ in chart.recogniser.placed("secondary", text)]
    if not words or chart.recogniser.spoken("not-secondary", text):
        return
    beside: list[tuple[int, int, bool]] = []
    for start, end in [*thoughts(text), (len(text), len(text))]:
        part = text[start:end]
        has_word = any(start <= place < end for place in words) and not chart.recogniser.spoken("other_primary", part)
        if has_word or (part.strip() and _only_sites(part, chart)):
            beside.append((start, end, has_word))
        elif part.strip() or start == len(text):
            yield from _not_denied(beside, text, chart)
            beside = []


def _not_denied(beside: list[tuple[int, int, bool]], text: str, chart: Chart) -> Iterator[tuple[int, int]]:
    """Of thoughts that stand beside each other, those that tell: 'no brain, lung or liver mets' denies all it lists."""
    kept: list[tuple[int, int]] = []
    denied = told = False
    for start, end, has_word in beside:
        denied = denied or (not has_word and bool(chart.recogniser.spoken("denial", text[start:end])))
        if not denied:
            kept.append((start, end))
            told = told or has_word
        denied = denied and not has_word
    if told:
        yield from kept


def _only_sites(part: str, chart: Chart) -> bool:
    """Whether a thought names sites and nothing else ('no brain', 'left lung')."""
    return bool(chart.recogniser.only(part, "denial", "site", "site-filler"))


# SYMPTOMS OF ORGANS, EXTENT


def organ_symptoms(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Do organ metastases cause symptoms? As the record says it; by a symptom that fits an organ site (named as
    derived); false where only other sites are on record; else unknown until the record says so. A symptom that fits
    speaks against a record that says there are none.
    """
    evidence = Evidence(definition)
    for entry, said in chart.told(definition.id, "Observation", "Condition"):
        if (entry.kind != "Condition" or entry.course == "active") and evidence.admit(entry):
            evidence.read(entry, said[0].sense.meaning, said[0].how)
    where = facts["sites"]
    fitting, references = _fitting(definition, facts, chart)
    stated = evidence.single()
    if stated.value == "no" and fitting and where.answer("organ").truth is TRUE:
        evidence.note(f"said to cause no symptoms, but {fitting} is on record")
        return evidence.fact_of("unknown", tuple(sorted({*stated.references, *references})))
    if stated.value != "unknown" or stated.references:
        return stated
    if fitting:
        evidence.note(f"derived: {fitting}")
        return evidence.fact_of("yes", references)
    if where.answer("organ").truth is FALSE:
        return evidence.fact_of("no", where.references)
    if where.answer("organ").truth is TRUE:
        evidence.note("the record does not say whether organ metastases cause symptoms")
    return evidence.fact_of("unknown", ())


def _fitting(definition: FactDefinition, facts: dict[str, Fact], chart: Chart) -> tuple[str, tuple[str, ...]]:
    """A symptom on record that fits a site on record, in words and references; '' and none where there is none."""
    where, symptoms, lead = facts["sites"], facts["symptoms"], definition.more["symptom_lead_days"]
    true = {name for name, one in symptoms.answers.items() if one.truth is TRUE}
    felt = [symptom for symptom in definition.more["symptom_sites"] if symptom in true]
    explained = _explained(chart) if felt else set()
    began = {one.reference: one.date for one in symptoms.readings}
    for symptom in felt:
        for site in definition.more["symptom_sites"][symptom]:
            spread = [one.date for one in where.readings if one.answer == site]
            open_cause = tuple(
                one
                for one in symptoms.answer(symptom).references
                if one not in explained
                and not (spread and all(_long_before(began.get(one, ""), date, lead) for date in spread))
            )
            if open_cause and where.answer(site).truth is TRUE:
                references = tuple(sorted({*open_cause, *where.answer(site).references}))
                return f"{symptom} with metastasis in {site}", references
    return "", ()


def _long_before(symptom: str, metastasis: str, lead: int) -> bool:
    """Whether a symptom began so many days before a metastasis was found that it need not come from it."""
    if not certainly_before(symptom, metastasis):
        return False
    apart = days_between(symptom, metastasis)
    return apart is None or apart > lead


def _explained(chart: Chart) -> set[str]:
    """Resources whose words name another cause of a symptom than metastases."""
    return {entry.reference for entry in chart.telling if chart.recogniser.spoken("other-cause", entry.whole_text)}


def extent(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Limited or several metastases, only where the record says so in words."""
    if chart.silent(definition.id):
        return nothing(definition)
    evidence = Evidence(definition)
    for entry, said in chart.told(definition.id, "Observation", "Condition"):
        if (entry.kind != "Condition" or entry.course == "active") and evidence.admit(entry):
            for one in said:
                evidence.read(entry, one.sense.meaning, one.how)
    return evidence.single()
