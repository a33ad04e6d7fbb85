"""Rewrites a record into other shapes that say the same: another code or words, another value[x], components, contained
medicines, other references, dates and statuses. Knows FHIR and tests/data/same-said.yaml, nothing of the service.

Every rewriter takes one resource and the chance to choose, and gives the resources that stand in its place.
"""

import copy
from collections.abc import Callable
from random import Random
from typing import Any

from support import Resource, data

SYSTEMS = {
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "icd10": "http://hl7.org/fhir/sid/icd-10",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "atc": "http://www.whocc.no/atc",
}
FLAGS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
SAID = data("same-said.yaml")
#: where a concept stands in a resource, and which groups of meanings stand there
PLACES = {
    "Condition": {"code": "condition"},
    "Observation": {"code": "question", "valueCodeableConcept": "value"},
    "MedicationRequest": {"medicationCodeableConcept": "medicine", "statusReason": "reason"},
    "Procedure": {"statusReason": "reason"},
}
Rewriter = Callable[[Resource, Random], list[Resource]]


def concept(member: str) -> dict[str, Any]:
    """A member of a group as a CodeableConcept."""
    system, _, code = member.partition(" ")
    if system in SYSTEMS and code:
        return {"coding": [{"system": SYSTEMS[system], "code": code}]}
    return {"text": member}


def meaning(found: Any, place: str) -> str:
    """The group that a coded concept belongs to; '' where it is in none, or says more in its text."""
    if not isinstance(found, dict) or "text" in found:
        return ""
    codings = {(coding.get("system"), coding.get("code")) for coding in found.get("coding", ())}
    for name, members in SAID[place].items():
        for member in members:
            coded = concept(member).get("coding", [{}])[0]
            if (coded.get("system"), coded.get("code")) in codings:
                return str(name)
    return ""


# ONE RESOURCE, OTHERWISE SAID


def other_words(resource: Resource, random: Random) -> list[Resource]:
    """Each concept that has a group, by any member of it."""
    changed = copy.deepcopy(resource)
    for place, groups in PLACES.get(resource["resourceType"], {}).items():
        group = meaning(resource.get(place), groups)
        if group:
            changed[place] = concept(random.choice(SAID[groups][group]))
    return [changed]


def other_value(resource: Resource, random: Random) -> list[Resource]:
    """A coded result as a string, a truth value, a flag, a number or a component."""
    question, value = meaning(resource.get("code"), "question"), meaning(resource.get("valueCodeableConcept"), "value")
    if resource["resourceType"] != "Observation" or not question or not value:
        return [copy.deepcopy(resource)]
    return [random.choice([as_string, as_truth, as_flag, as_number, as_component])(resource, question, value, random)]


def without_value(resource: Resource) -> Resource:
    return {key: copy.deepcopy(one) for key, one in resource.items() if not key.startswith("value")}


def as_string(resource: Resource, question: str, value: str, random: Random) -> Resource:
    own = [row["says"] for row in SAID["by-string"] if (row["question"], row["value"]) == (question, value)]
    words = [member for member in SAID["value"][value] if "text" in concept(member)]
    return {**without_value(resource), "valueString": random.choice(own + words)}


def as_truth(resource: Resource, question: str, value: str, random: Random) -> Resource:
    if question not in ("er", "pr", "her2") or value not in ("positive", "negative"):
        return as_string(resource, question, value, random)
    return {**without_value(resource), "valueBoolean": value == "positive"}


def as_flag(resource: Resource, question: str, value: str, random: Random) -> Resource:
    if question not in ("er", "pr", "her2") or value not in ("positive", "negative"):
        return as_string(resource, question, value, random)
    flag = {"coding": [{"system": FLAGS, "code": "POS" if value == "positive" else "NEG"}]}
    return {**without_value(resource), "interpretation": [flag]}


def as_number(resource: Resource, question: str, value: str, random: Random) -> Resource:
    rows = [row for row in SAID["by-number"] if (row["question"], row["value"]) == (question, value)]
    if not rows:
        return as_string(resource, question, value, random)
    row = random.choice(rows)
    quantity = {"value": row["number"], "unit": row["unit"], "system": "http://unitsofmeasure.org", "code": row["unit"]}
    return {**without_value(resource), "code": concept(row["asks"]), "valueQuantity": quantity}


def as_component(resource: Resource, question: str, value: str, random: Random) -> Resource:
    panel = without_value(resource)
    component = {"code": panel["code"], "valueCodeableConcept": copy.deepcopy(resource["valueCodeableConcept"])}
    return {**panel, "code": {"text": "Pathology findings"}, "component": [component]}


def other_medicine(resource: Resource, random: Random) -> list[Resource]:
    """A medicine named by a contained, a bundled or an absolute Medication."""
    named = resource.get("medicationCodeableConcept")
    if resource["resourceType"] != "MedicationRequest" or named is None:
        return [copy.deepcopy(resource)]
    changed = {key: copy.deepcopy(one) for key, one in resource.items() if key != "medicationCodeableConcept"}
    ident = f"{resource['id']}-medicine"
    medication = {"resourceType": "Medication", "id": ident, "code": copy.deepcopy(named)}
    match random.choice(["contained", "bundled", "absolute", "versioned"]):
        case "contained":
            return [{**changed, "contained": [medication], "medicationReference": {"reference": f"#{ident}"}}]
        case "bundled":
            reference = f"Medication/{ident}"
        case "absolute":
            reference = f"https://ehr.example.org/fhir/Medication/{ident}"
        case _:
            reference = f"Medication/{ident}/_history/3"
    return [{**changed, "medicationReference": {"reference": reference}}, medication]


def other_date(resource: Resource, random: Random) -> list[Resource]:
    """The same day as an instant, or as a period that begins on it."""
    changed = copy.deepcopy(resource)
    day = changed.get("effectiveDateTime")
    if resource["resourceType"] == "Observation" and isinstance(day, str) and len(day) == len("2026-01-31"):
        del changed["effectiveDateTime"]
        if random.random() < 0.5:
            changed["effectiveDateTime"] = f"{day}T{random.randint(10, 20)}:15:00+01:00"
        else:
            changed["effectivePeriod"] = {"start": day, "end": day}
    return [changed]


def other_reference(resource: Resource, random: Random) -> list[Resource]:
    """The patient by an absolute or a versioned reference, with a display."""
    changed = copy.deepcopy(resource)
    for name in ("subject", "patient"):
        owner = changed.get(name)
        if isinstance(owner, dict) and isinstance(owner.get("reference"), str):
            before = random.choice(["", "https://ehr.example.org/fhir/"])
            after = random.choice(["", "/_history/2"])
            changed[name] = {"reference": f"{before}{owner['reference']}{after}", "display": "the patient"}
    return [changed]


def other_body(resource: Resource, random: Random) -> list[Resource]:
    """A metastasis whose code names no site, with the site as body site in words."""
    sites = {
        "bone-metastasis": "Bone",
        "liver-metastasis": "Liver",
        "lung-metastasis": "Lung",
        "brain-metastasis": "Brain",
    }
    site = sites.get(meaning(resource.get("code"), "condition")) if resource["resourceType"] == "Condition" else None
    changed = copy.deepcopy(resource)
    if site and random.random() < 0.5:
        changed["code"] = {"coding": [{"system": SYSTEMS["sct"], "code": "128462008"}]}
        changed["bodySite"] = [{"text": site}]
    return [changed]


def older_version(resource: Resource, random: Random) -> list[Resource]:
    """The resource as STU3 wrote it, where the shapes differ."""
    changed = copy.deepcopy(resource)
    kind = resource["resourceType"]
    if kind in ("Condition", "AllergyIntolerance"):
        for name in ("clinicalStatus", "verificationStatus"):
            codings = changed.get(name, {}).get("coding", ())
            if codings:
                changed[name] = codings[0]["code"]
        if isinstance(changed.get("stage"), list) and len(changed["stage"]) == 1:
            changed["stage"] = {key: one for key, one in changed["stage"][0].items() if key != "type"}
        if "recordedDate" in changed:
            changed["assertedDate"] = changed.pop("recordedDate")
    if kind == "Observation" and isinstance(changed.get("interpretation"), list):
        changed["interpretation"] = changed["interpretation"][0]
    return [changed]


def noise(resource: Resource, random: Random) -> list[Resource]:
    """What no rule reads: narrative, profiles, notes, extensions."""
    changed = copy.deepcopy(resource)
    if resource["resourceType"] not in ("Patient", "Medication"):
        changed["meta"] = {"lastUpdated": "2026-01-01T00:00:00Z", "source": "#1"}
        changed["note"] = [{"text": "imported"}]
        changed.pop("text", None)
    return [changed]


#: first what a record says, then how it is written down
SAYING: tuple[Rewriter, ...] = (other_words, other_value, other_body)
WRITING: tuple[Rewriter, ...] = (other_medicine, other_date, other_reference, older_version, noise)


def rewritten(resources: list[Resource], random: Random) -> list[Resource]:
    """A record of which each resource is said and written in ways chosen by chance; its order too."""
    found: list[Resource] = []
    for resource in resources:
        said = random.choice([*SAYING, plain])(resource, random)
        for rewriter in WRITING:
            if random.random() < 0.4:
                said = [one for held in said for one in rewriter(held, random)]
        found += said
    random.shuffle(found)
    return found


def plain(resource: Resource, random: Random) -> list[Resource]:
    """As it is."""
    return [copy.deepcopy(resource)]
