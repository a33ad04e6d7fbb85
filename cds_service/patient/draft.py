"""A draft order, and a record as a client would prefetch it: what the sandbox sends in place of an EHR."""

from collections.abc import Iterable
from typing import Any

from cds_service.model import Drug
from cds_service.patient.record import Need

Resource = dict[str, Any]
#: the id of the draft order of a call
DRAFT = "draft-order"


def draft_order(drug: Drug, patient: str, status: str = "draft") -> Resource:
    """An order of a drug by its words, and by its code where there is one."""
    coding = [{"system": one.system, "code": one.code, "display": one.display} for one in drug.rxnorm[:1]]
    return {
        "resourceType": "MedicationRequest",
        "id": DRAFT,
        "status": status,
        "intent": "order",
        "subject": {"reference": f"Patient/{patient}"},
        "medicationCodeableConcept": {**({"coding": coding} if coding else {}), "text": drug.label},
    }


def bundle(resources: Iterable[Resource], kind: str = "collection") -> Resource:
    """A Bundle of resources."""
    return {"resourceType": "Bundle", "type": kind, "entry": [{"resource": one} for one in resources]}


def prefetch(resources: Iterable[Resource], patient: str, needs: Iterable[Need]) -> dict[str, Any]:
    """The prefetch of a client that honours every template by type and by category; null for a patient not there."""
    listed = list(resources)
    return {need.key: _answer(need, listed, patient) for need in needs}


def _answer(need: Need, listed: list[Resource], patient: str) -> Resource | None:
    found = [one for one in listed if one.get("resourceType") == need.type]
    if "?" not in need.template:
        return next((one for one in found if one.get("id") == patient), None)
    category = need.template.partition("category=")[2]
    if category:
        found = [one for one in found if category in _categories(one)]
    medications = [one for one in listed if one.get("resourceType") == "Medication" and "Medication" in need.type]
    return bundle([*found, *medications], "searchset")


def _categories(resource: Resource) -> set[str]:
    return {coding.get("code", "") for one in resource.get("category", ()) for coding in one.get("coding", ())}
