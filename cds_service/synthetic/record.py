"""From a story to a record: the resources of one invented patient, byte for byte the same for the same story.

Dates are counted back from the reference date of writing.yaml, never from a clock. Codes come from the knowledge.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.synthetic.findings import findings
from cds_service.synthetic.sheet import MCODE, US_CORE, Resource, Sheet, date, months, status, timeline
from cds_service.synthetic.story import Story
from cds_service.synthetic.treatment import treatment
from cds_service.synthetic.visits import visits
from cds_service.synthetic.vocabulary import Element, Vocabulary, coded, worded

_OVER = {"active": "active", "inactive": "remission", "none": "active"}


def record(story: Story, vocabulary: Vocabulary, times: int = 2, shape: str = "") -> list[Resource]:
    """The resources of a story, the Patient first, with `times` visits besides; in its own shape or in another."""
    today = months(vocabulary.phrases["reference_month"])
    sheet = Sheet(story.id, shape or story.shape, vocabulary, timeline(list(story.facts.get("given", ())), today))
    return [
        _patient(sheet, story.facts),
        *_cancer(sheet, story.facts),
        *findings(sheet, story.facts),
        *treatment(sheet, story.facts),
        *visits(sheet, times, story.facts.get("besides", ())),
    ]


def bundle(resources: list[Resource]) -> Resource:
    """The record of one patient as a Bundle of type collection, its entries named as on a server of their own."""
    patient = resources[0]["id"]
    entries = [
        {"fullUrl": f"https://synthetic.example.org/fhir/{one['resourceType']}/{one['id']}", "resource": one}
        for one in resources
    ]
    return {"resourceType": "Bundle", "id": patient, "type": "collection", "entry": entries}


def _patient(sheet: Sheet, facts: Mapping[str, Any]) -> Resource:
    phrases = sheet.vocabulary.phrases
    place = sum(sheet.patient.encode())
    born = sheet.times.today - 12 * int(facts.get("age", 58)) - place % 12
    profiles = {"mcode": f"{MCODE}mcode-cancer-patient", "us-core": f"{US_CORE}us-core-patient"}
    given = phrases["given"][place % len(phrases["given"])]
    return {
        "resourceType": "Patient",
        "id": sheet.patient,
        "meta": sheet.meta(profiles.get(sheet.shape, "")),
        "identifier": [{"system": "https://synthetic.example.org/patients", "value": sheet.patient}],
        "name": [{"use": "official", "family": phrases["family"], "given": [given]}],
        "gender": facts.get("sex", "female"),
        "birthDate": date(born, 1 + place % 28),
        **({"deceasedDateTime": date(sheet.times.today)} if facts.get("deceased") == "yes" else {}),
    }


# THE DISEASE


def _cancer(sheet: Sheet, facts: Mapping[str, Any]) -> Iterator[Resource]:
    state = facts.get("breast-cancer", "active")
    meaning = "in-situ" if state == "none" else "malignant"
    stage = facts.get("stage", "stage-4") if state != "none" else "unknown"
    sites = facts.get("sites", ())
    yield _condition(
        sheet,
        "cancer",
        "mcode-primary-cancer-condition",
        sheet.times.diagnosis,
        _diagnosis(sheet, meaning, facts.get("sex", "female")),
        clinicalStatus=status("condition-clinical", _OVER[state]),
        **_stage_on_condition(sheet, stage, sites),
    )
    if sheet.mcode and stage != "unknown":
        yield _stage_group(sheet, stage)
    for site in sites:
        yield _metastasis(sheet, site)
    for symptom in facts.get("symptoms", ()):
        code = sheet.concept("says", "symptoms", symptom)
        yield _condition(sheet, f"symptom-{symptom}", "", sheet.times.today - 1, code)


def _condition(sheet: Sheet, name: str, profile: str, month: int, code: Element, **more: Any) -> Resource:
    elements = {
        "clinicalStatus": status("condition-clinical", "active"),
        "verificationStatus": status("condition-ver-status", "confirmed"),
        "category": [status("condition-category", "problem-list-item")],
        "code": code,
        "onsetDateTime": date(month),
        "recordedDate": date(month),
    }
    return sheet.resource("Condition", name, profile, **{**elements, **more})


def _diagnosis(sheet: Sheet, meaning: str, sex: str) -> Element:
    """The diagnosis, by the code that writing.yaml prefers for men where the patient is a man."""
    preferred = sheet.vocabulary.phrases["diagnosis_of_men"].get(sheet.shape)
    if sex == "male" and preferred and meaning == "malignant":
        return coded(sheet.vocabulary.displayed("says", "breast-cancer", meaning, preferred))
    return sheet.concept("says", "breast-cancer", meaning)


def _stage_on_condition(sheet: Sheet, stage: str, sites: Any) -> Element:
    """The stage at diagnosis. US practice records metastases, seldom stages: there it stands only where nothing else
    tells it. A cancer that came back keeps no stage here in mCODE: its stage group is the one of today.
    """
    came_back = sheet.mcode and sheet.times.diagnosis < sheet.times.metastasis
    told_by_sites = sheet.shape == "us-core" and stage == "stage-4" and sites
    if stage == "unknown" or came_back or told_by_sites:
        return {}
    summary: Element = {"summary": _stage(sheet, stage)}
    if sheet.mcode:
        summary["assessment"] = [sheet.reference("Observation", "stage")]
    return {"stage": [summary]}


def _stage(sheet: Sheet, stage: str) -> Element:
    return sheet.concept("says", "stage", "stage-4" if stage == "stage-4" else "not-stage-4")


def _stage_group(sheet: Sheet, stage: str) -> Resource:
    return sheet.resource(
        "Observation",
        "stage",
        "mcode-tnm-stage-group",
        status="final",
        category=[status("observation-category", "imaging")],
        code=sheet.concept("asks", "stage", "stage-group"),
        focus=[sheet.reference("Condition", "cancer")],
        effectiveDateTime=date(sheet.times.metastasis),
        valueCodeableConcept=_stage(sheet, stage),
        method=coded(
            sheet.vocabulary.displayed("ignored", "stage", "", sheet.vocabulary.phrases["staging_method"]),
        ),
    )


def _metastasis(sheet: Sheet, site: str) -> Resource:
    words = sheet.vocabulary.phrases["metastasis"].replace("*", sheet.vocabulary.site(site))
    found = sheet.find("says", "sites", site)
    related = {"url": "http://hl7.org/fhir/StructureDefinition/condition-related"}
    extension = [{**related, "valueReference": sheet.reference("Condition", "cancer")}]
    return _condition(
        sheet,
        f"metastasis-{site}",
        "mcode-secondary-cancer-condition",
        sheet.times.metastasis,
        coded(found) if found else worded(words),
        **({"extension": extension} if sheet.mcode else {}),
    )
