"""Facts by the shape that a record gives them: one row of `tests/shapes/*.yaml`, one record, the facts to be read.

A row names its `shape` in words, the resources of its `record`, and what is read: any fact with its value, `gate` (open
or closed), `note` (fact: words that the fact's note must hold), `had`, `may-have-had` and `not-had` (drugs and classes
that were given for certain, perhaps, or not), `answers` (fact: answer: true, false or unknown), `set-aside` (fact:
words that one of the reasons must hold); `today` is the day of the call. Resources are FHIR as it is, with
two shorthands: where a CodeableConcept stands, a text does for one (`sct 10828004`, `loinc 85337-4 | ER`,
`POSITIVE (95%)`; `plain active` is the bare code of older versions); id, subject and status need not be written;
`absent` takes an element away, statuses too.
Every row is read beside a confirmed breast cancer with bone metastases, unless it is `alone`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from flask.testing import FlaskClient
from support import URL, Resource, facts, patient_view, put_in_prefetch

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder, Trace
from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.knowledge.load import home

FOLDER = Path(__file__).parent / "shapes"
MII = "https://www.medizininformatik-initiative.de/fhir/ext/modul-onko/CodeSystem/mii-cs-onko"
SYSTEMS = {
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "icd10": "http://hl7.org/fhir/sid/icd-10",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "atc": "http://www.whocc.no/atc",
    "icdo3": "http://terminology.hl7.org/CodeSystem/icd-o-3",
    "hgnc": "http://www.genenames.org",
    "icd10gm": "http://fhir.de/CodeSystem/bfarm/icd-10-gm",
    "mii-ecog": f"{MII}-allgemeiner-leistungszustand-ecog",
    "mii-site": f"{MII}-fernmetastasen",
    "mii-her2": f"{MII}-mamma-her2neu-status-obds",
    "certainty": "https://fhir.kbv.de/CodeSystem/KBV_CS_SFHIR_ICD_DIAGNOSESICHERHEIT",
    "ajcc": "http://cancerstaging.org",
    "local": "urn:oid:1.2.36.1.2001.1003.0.999",
    "hl7": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
    "verification": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
    "clinical": "http://terminology.hl7.org/CodeSystem/condition-clinical",
}
#: elements that hold a CodeableConcept, or a list of them
CONCEPTS = {
    "code", "valueCodeableConcept", "clinicalStatus", "verificationStatus", "statusReason", "medicationCodeableConcept",
    "substance", "reasonEnded", "reasonNotTaken", "reasonNotGiven", "reasonForUseCodeableConcept", "notDoneReason",
    "summary", "type", "method", "dataAbsentReason", "reasonCode", "category", "interpretation", "bodySite",
    "itemCodeableConcept",
}  # fmt: skip
#: elements whose `code` is no CodeableConcept
PLAIN = {"coding", "valueQuantity", "valueRange", "valueRatio", "referenceRange"}
LISTS = {"reasonCode", "category", "interpretation"}
STATUS = {
    "Observation": "final", "Procedure": "completed", "MedicationRequest": "active", "MedicationStatement": "active",
    "MedicationAdministration": "completed",
}  # fmt: skip
OWNER = {"AllergyIntolerance": "patient"}
PATIENT = {"Patient": {"id": "p", "gender": "female"}}
BREAST = {"Condition": {"id": "breast", "code": "icd10cm C50.912", "recordedDate": "2024-01-10"}}
BONE = {"Condition": {"id": "bone", "code": "icd10cm C79.51", "recordedDate": "2024-01-10"}}
WORDS = {"shape", "record", "alone", "gate", "note", "had", "may-have-had", "not-had", "because", "today"}
WORDS |= {"answers", "set-aside"}
TRUTHS = {True: TRUE, False: FALSE, "unknown": UNKNOWN}


class Loader(yaml.SafeLoader):
    """YAML in which a date is text, as in FHIR."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Row(NamedTuple):
    """One line of the table."""

    table: str
    shape: str
    raw: dict[str, Any]


def rows() -> list[Row]:
    """Every row of every table."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        found += [Row(path.stem, raw["shape"], raw) for raw in yaml.load(path.read_text(encoding="utf-8"), Loader)]
    return found


def concept(said: Any) -> Any:
    """'sct 10828004 | Positive' as a coding with display, anything else as text; what is no text stays as it is."""
    if not isinstance(said, str):
        return said
    system, _, rest = said.partition(" ")
    if system == "plain":
        return rest
    if system not in SYSTEMS or not rest:
        return {"text": said}
    code, _, display = (part.strip() for part in rest.partition(" | "))
    return {"coding": [{"system": SYSTEMS[system], "code": code, **({"display": display} if display else {})}]}


def written(value: Any) -> Any:
    """A value with its shorthands written out."""
    if isinstance(value, list):
        return [written(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: element(key, one) for key, one in value.items()}


def element(key: str, value: Any) -> Any:
    """One element, written out where it holds concepts."""
    if key in PLAIN or value == "absent":
        return value
    if key not in CONCEPTS:
        return written(value)
    if isinstance(value, list):
        return [concept(one) if isinstance(one, str) else written(one) for one in value]
    full = concept(value) if isinstance(value, str) else written(value)
    return [full] if key in LISTS and isinstance(value, str) else full


def resource(entry: dict[str, Any], position: int) -> Resource:
    """`{Observation: {code: loinc 85337-4, …}}` as a resource of the patient."""
    ((kind, said),) = entry.items()
    given: Resource = {"resourceType": kind, "id": f"r{position}", **written(said)}
    if kind in STATUS:
        given.setdefault("status", STATUS[kind])
    if kind == "Condition":
        given.setdefault("clinicalStatus", concept("clinical active"))
        given.setdefault("verificationStatus", concept("verification confirmed"))
    if kind == "MedicationRequest":
        given.setdefault("intent", "order")
    if kind not in ("Patient", "Medication", "Bundle"):
        given.setdefault(OWNER.get(kind, "subject"), {"reference": "Patient/p"})
    return {key: value for key, value in given.items() if value != "absent"}


def record(row: Row) -> list[Resource]:
    """The resources of a row."""
    own = row.raw["record"]
    around = [] if row.raw.get("alone") else [BREAST, BONE]
    patient = [] if any("Patient" in entry for entry in own) else [PATIENT]
    return [resource(entry, position) for position, entry in enumerate([*patient, *around, *own])]


ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.table}: {row.shape}"[:120] for row in ROWS])
def test_a_fact_is_read_in_whatever_shape_the_record_gives_it(
    responder: Responder, services: list[dict[str, Any]], row: Row
) -> None:
    call = read(patient_view("p", put_in_prefetch(record(row), "p", services)), HOOKS[0], home()[1])
    call = replace(call, today=row.raw.get("today", ""))
    trace = responder.trace(call)
    expected = {name: value for name, value in row.raw.items() if name not in WORDS}

    assert expected or set(row.raw) & WORDS - {"shape", "record", "alone", "today"}, "a row that expects nothing"
    assert {name: trace.facts[name].value for name in expected} == expected
    if "gate" in row.raw:
        assert ("closed" if trace.gate else "open") == row.raw["gate"], trace.gate
    for fact, words in row.raw.get("note", {}).items():
        assert words in trace.facts[fact].note
    for fact, answers in row.raw.get("answers", {}).items():
        expected_truths = {answer: TRUTHS[truth] for answer, truth in answers.items()}
        assert {answer: trace.facts[fact].answer(answer).truth for answer in answers} == expected_truths
    for fact, words in row.raw.get("set-aside", {}).items():
        assert any(words in reason for _, reason in trace.facts[fact].set_aside), trace.facts[fact].set_aside
    check_history(trace, row)


def check_history(trace: Trace, row: Row) -> None:
    """The drugs and classes that were given, perhaps given, and certainly not given."""
    given = trace.facts["prior-medications"]
    for word, truth in (("had", TRUE), ("may-have-had", UNKNOWN), ("not-had", FALSE)):
        named = row.raw.get(word, [])
        assert {one: given.answer(one).truth for one in named} == dict.fromkeys(named, truth)


def test_the_web_knows_the_day_and_sets_aside_a_result_of_the_future(
    client: FlaskClient, services: list[dict[str, Any]]
) -> None:
    result = {"code": "loinc 85337-4", "valueString": "Positive", "effectiveDateTime": "2999-01-01"}
    row = Row("", "", {"record": [{"Observation": result}]})

    answer = client.post(URL, json=patient_view("p", put_in_prefetch(record(row), "p", services))).get_json()

    assert facts(answer)["er"]["value"] == "unknown"


def test_the_table_is_large_enough_to_speak_of_and_names_no_row_twice() -> None:
    names = [(row.table, row.shape) for row in ROWS]

    assert len(names) == len(set(names))
