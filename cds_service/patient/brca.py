"""An inherited mutation of BRCA1 or BRCA2: from variants, findings and words."""

import re
from typing import Any

from cds_service.model import Fact, FactDefinition
from cds_service.patient.chart import Chart, Entry, by_content
from cds_service.patient.content import Content
from cds_service.patient.elements import objects
from cds_service.patient.evidence import Evidence, nothing
from cds_service.patient.recognise import text_of
from cds_service.patient.results import results

#: what a test looked at, by the way it asks
_LOOKS_AT = {"panel-result": "brca", "brca1-result": "brca1", "brca2-result": "brca2", "limited-result": "limited"}
#: how words name a gene, and both
_GENES = {
    "brca1": re.compile(r"(?<![a-z0-9])brca1(?![a-z0-9])"),
    "brca2": re.compile(r"(?<![a-z0-9])brca2(?![a-z0-9])"),
    "brca": re.compile(r"(?<![a-z0-9])brca(?:1/2|1 and 2| ?1 ?& ?2)?(?![a-z0-9])"),
}
_ABOUT = {"brca", "brca1", "brca2", "limited", "mutated", "not-mutated", "brca1-not-mutated", "brca2-not-mutated"}


def brca(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """A pathogenic BRCA1 or BRCA2 variant. A somatic or an uncertain one, or one gene tested alone, settle nothing.
    What is inherited does not change, so that a newer answer does not outdate an older one.
    """
    if chart.silent(definition.id):
        return nothing(definition)
    evidence = Evidence(definition)
    denied: dict[str, Entry] = {}
    candidates = [entry for entry, _ in chart.questions(definition.id)]
    candidates += [entry for entry, _ in chart.saying(definition.id)]
    candidates += [entry for entry, _ in chart.told(definition.id, "Observation", "Condition") if not entry.codes]
    for entry in dict.fromkeys(candidates):
        meanings = _meanings(entry, chart)
        if not meanings or not evidence.admit(entry):
            continue
        answer = _brca_answer(entry.kind, meanings)
        if chart.recogniser.spoken("relative", entry.whole_text):
            evidence.ignore(entry, "a relative's")
        elif answer in ("brca1", "brca2"):
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
    if len({reading.answer for reading in evidence.readings}) > 1:
        evidence.note("what is inherited does not change with time")
    return evidence.settle(evidence.readings)


@by_content
def _meanings(content: Content, chart: Chart) -> frozenset[str]:
    """What a resource says of the genes, in the words of the fact file; nothing where it is not about them."""
    asked = {one.asked.sense.meaning for one in content.questions if one.asked.sense.subject == "brca"}
    if "dataAbsentReason" in content.raw:
        return frozenset()
    said = {one.sense.meaning for one in content.codes if one.sense.subject == "brca" and one.sense.role == "says"}
    if not asked and not said and not (not content.codes and chart.recogniser.spoken("says:brca", content.text)):
        return frozenset()
    found = said | {_LOOKS_AT[way] for way in asked & _LOOKS_AT.keys()}
    for element in [content.raw, *objects(content.raw.get("component"))]:
        found |= _said_in(element, chart)
    signals = {one.word for one in results(content.raw, chart.recogniser)} & {"positive", "negative"}
    found |= {"present" if word == "positive" else "absent" for word in signals}
    return frozenset(found) if found & _ABOUT else frozenset()


def _said_in(element: dict[str, Any], chart: Chart) -> set[str]:
    """What the codes and words of the resource or one of its components say."""
    concept = element.get("valueCodeableConcept")
    coded = [one.sense for one in chart.recogniser.codes(concept) if one.sense.subject == "brca"]
    found = {sense.meaning for sense in coded if sense.role == "says"}
    words = f"{text_of(element.get('code'))} {text_of(concept)} {text_of(element.get('valueString'))}"
    found |= {one.sense.meaning for one in chart.recogniser.spoken("says:brca", words)}
    found |= {"other-gene"} if chart.recogniser.spoken("other_gene", words) else set()
    found |= {gene for gene, pattern in _GENES.items() if pattern.search(words)}
    return found


def _brca_answer(kind: str, meanings: frozenset[str]) -> str:
    if meanings & {"uncertain", "somatic", "not-pathogenic"}:
        return ""
    if "limited" in meanings:
        return "mutated" if "present" in meanings and "absent" not in meanings else ""
    gene_known = bool(meanings & {"brca", "brca1", "brca2"})
    negative = meanings & {"absent", "not-mutated", "brca1-not-mutated", "brca2-not-mutated"}
    if "pathogenic" in meanings and (negative or "other-gene" in meanings):
        return ""  # which gene is meant by what cannot be told
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
    if "present" in meanings and "brca" in meanings and kind == "Observation":
        return "mutated"
    return ""
