"""DSTU2 and STU3 shapes of the resource types that are read, put into the shape of R4 where the reading is unambiguous.

A call does not say which version of FHIR it holds (CDS Hooks 2.0, "FHIR resources in context"), so each resource is
recognised by what only an older version writes. A resource in the shape of R4 is passed on as it is. Where an older
version says less than R4 would, the R4 shape says no more: it gets a status that leaves facts open. What cannot be read
at all is refused with its reason; medicines in the shape of R5 are.

Sources: the resource pages of http://hl7.org/fhir/DSTU2, http://hl7.org/fhir/STU3 and http://hl7.org/fhir/R4.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from cds_service.patient.elements import objects, one_or_more, word

Resource = dict[str, Any]

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_OVER = {"inactive", "remission", "resolved"}
_R5 = "it is written in the shape of FHIR R5, which this service does not read"


class Shape(NamedTuple):
    """How another shape of one type is recognised and translated.

    `signs` are elements that R4 does not have, `other` elements that R4 has, but never as this JSON type, `also` looks
    deeper. `translate` changes a copy into the shape of R4 and gives '' or the reason why it cannot be read.
    """

    signs: frozenset[str]
    other: tuple[tuple[str, type], ...]
    translate: Callable[[Resource], str]
    also: Callable[[Resource], bool] | None = None


def as_r4(resource: Resource, kind: str) -> tuple[Resource, str]:
    """A resource of a type in the shape of R4, and '' or the reason why it cannot be read. Changes nothing in place."""
    shape = _SHAPES.get(kind)
    if shape is None or not _differs(resource, shape):
        return resource, ""
    translated = dict(resource)
    return translated, shape.translate(translated)


def is_r4(resource: Resource, kind: str) -> bool:
    """Whether a resource of a type that is read is in the shape of R4 already."""
    shape = _SHAPES.get(kind)
    return shape is not None and not _differs(resource, shape)


def _differs(resource: Resource, shape: Shape) -> bool:
    if not resource.keys().isdisjoint(shape.signs):
        return True
    for name, other in shape.other:
        if isinstance(resource.get(name), other):
            return True
    return shape.also is not None and shape.also(resource)


# THE TYPES


def _patient(resource: Resource) -> str:
    """http://hl7.org/fhir/STU3/patient.html: `animal` is a modifier."""
    return "it is the record of an animal"


def _condition(resource: Resource) -> str:
    """http://hl7.org/fhir/DSTU2/condition.html, http://hl7.org/fhir/STU3/condition.html"""
    _rename(resource, patient="subject", dateRecorded="recordedDate", assertedDate="recordedDate")
    if resource.get("abatementBoolean") is True:
        # R4 has no such element; inactive is the parent of remission and resolved, and nothing says which of them it is
        resource.setdefault("clinicalStatus", "inactive")
    _coded(resource, "clinicalStatus", "condition-clinical")
    _coded(resource, "verificationStatus", "condition-ver-status")
    codes = _bare(resource.get("clinicalStatus"))
    if resource.pop("abatementBoolean", False) is True and not (codes and codes <= _OVER):
        return "it says both that the condition is there and that it is over"
    _as_list(resource, "stage")
    return ""


def _bare(concept: Any) -> set[str]:
    """The codes of a status."""
    codings = objects(concept.get("coding")) if isinstance(concept, dict) else []
    return {word(coding.get("code")) for coding in codings}


def _observation(resource: Resource) -> str:
    """http://hl7.org/fhir/DSTU2/observation.html, http://hl7.org/fhir/STU3/observation.html"""
    _rename(resource, patient="subject")
    related = objects(resource.pop("related", None))
    for relation, name in (("has-member", "hasMember"), ("derived-from", "derivedFrom")):
        targets = [one["target"] for one in related if one.get("type") == relation and "target" in one]
        if targets:
            resource.setdefault(name, targets)
    if isinstance(resource.get("component"), list):
        resource["component"] = [dict(one) if isinstance(one, dict) else one for one in resource["component"]]
    for element in (resource, *objects(resource.get("component"))):
        _as_list(element, "interpretation")
        if isinstance(element.get("referenceRange"), list):
            element["referenceRange"] = [_range(one) for one in element["referenceRange"]]
    return ""


def _range(row: Any) -> Any:
    """DSTU2 calls `meaning` what R4 calls the type of a reference range."""
    if not isinstance(row, dict) or "meaning" not in row:
        return row
    changed = dict(row)
    _rename(changed, meaning="type")
    return changed


def _older_in_depth(resource: Resource) -> bool:
    """Whether the components or ranges of an Observation are written as before R4."""
    if "component" not in resource and "referenceRange" not in resource:
        return isinstance(resource.get("interpretation"), dict)
    for element in (resource, *objects(resource.get("component"))):
        if isinstance(element.get("interpretation"), dict):
            return True
        if "referenceRange" in element and any("meaning" in row for row in objects(element["referenceRange"])):
            return True
    return False


def _order(resource: Resource) -> str:
    """http://hl7.org/fhir/DSTU2/medicationorder.html, http://hl7.org/fhir/STU3/medicationrequest.html"""
    if "medication" in resource:
        return _R5
    if resource.get("resourceType") == "MedicationOrder":
        resource["resourceType"] = "MedicationRequest"
        resource["intent"] = "order"
    if {"dateEnded", "reasonEnded"} & resource.keys() and resource.get("status") in ("active", "on-hold"):
        resource["status"] = "unknown"  # it cannot have ended and go on
    _rename(resource, patient="subject", dateWritten="authoredOn", reasonEnded="statusReason")
    _rename(resource, reasonCodeableConcept="reasonCode")
    _as_list(resource, "category", "reasonCode", "reasonReference")
    ended = resource.pop("dateEnded", None)
    if ended is not None:
        dispense = resource.get("dispenseRequest")
        resource["dispenseRequest"] = {
            **(dispense if isinstance(dispense, dict) else {}),
            "validityPeriod": {"end": ended},
        }
    return ""


_DSTU2_STATEMENT = {"patient", "wasNotTaken", "reasonForUseCodeableConcept", "reasonForUseReference"}


def _statement(resource: Resource) -> str:
    """http://hl7.org/fhir/DSTU2/medicationstatement.html, http://hl7.org/fhir/STU3/medicationstatement.html"""
    if "medication" in resource:
        return _R5
    if _DSTU2_STATEMENT & resource.keys() and resource.get("status") == "completed":
        resource["status"] = "stopped"  # DSTU2 has one word for what is no longer taken, whatever ended it
    if "taken" in resource:
        taken = resource.pop("taken")
        # “no” to a course that has ended may mean “not any more”
        sure = taken == "n" and resource.get("status") in ("active", "intended", "on-hold")
        _set_status(resource, "" if taken == "y" else "not-taken" if sure else "unknown")
    _deny(resource, "wasNotTaken", "not-taken")
    _rename(resource, patient="subject", reasonNotTaken="statusReason")
    _rename(resource, reasonForUseCodeableConcept="reasonCode", reasonForUseReference="reasonReference")
    _as_list(resource, "statusReason", "reasonCode", "reasonReference")
    return ""


def _administration(resource: Resource) -> str:
    """http://hl7.org/fhir/DSTU2/medicationadministration.html, http://hl7.org/fhir/STU3/medicationadministration.html"""
    if "medication" in resource:
        return _R5
    _deny(resource, "wasNotGiven", "not-done")
    _deny(resource, "notGiven", "not-done")
    _rename(resource, patient="subject", reasonNotGiven="statusReason", reasonGiven="reasonCode")
    _rename(resource, effectiveTimeDateTime="effectiveDateTime", effectiveTimePeriod="effectivePeriod")
    _as_list(resource, "statusReason", "reasonCode", "reasonReference")
    return ""


def _procedure(resource: Resource) -> str:
    """http://hl7.org/fhir/DSTU2/procedure.html, http://hl7.org/fhir/STU3/procedure.html"""
    for before, now in _ENDED_EARLY.items():
        if resource.get("status") == before:
            resource["status"] = now
    _deny(resource, "notPerformed", "not-done")
    _deny(resource, "notDone", "not-done")
    _rename(resource, patient="subject", reasonNotPerformed="statusReason", notDoneReason="statusReason")
    _rename(resource, reasonCodeableConcept="reasonCode")
    _as_list(resource, "bodySite", "reasonCode", "reasonReference")
    if isinstance(resource.get("statusReason"), list):
        resource["statusReason"] = _one_concept(resource["statusReason"])
    return ""


#: DSTU2 and STU3 statuses of a procedure under the names of R4
_ENDED_EARLY = {"aborted": "stopped", "suspended": "on-hold"}


def _ended_early(resource: Resource) -> bool:
    status = resource.get("status")
    return isinstance(status, str) and status in _ENDED_EARLY


def _one_concept(reasons: list[Any]) -> Resource:
    """Several reasons, of which R4 has room for one, as one concept with all their codings and words."""
    codings = [coding for reason in objects(reasons) for coding in objects(reason.get("coding"))]
    words = [reason["text"] for reason in objects(reasons) if isinstance(reason.get("text"), str)]
    return {**({"coding": codings} if codings else {}), **({"text": "; ".join(words)} if words else {})}


def _allergy(resource: Resource) -> str:
    """http://hl7.org/fhir/DSTU2/allergyintolerance.html, http://hl7.org/fhir/STU3/allergyintolerance.html"""
    _rename(resource, substance="code", onset="onsetDateTime", assertedDate="recordedDate")
    status = resource.pop("status", None)  # what DSTU2 says in one status, R4 says in two
    if status in ("unconfirmed", "confirmed", "refuted", "entered-in-error"):
        resource.setdefault("verificationStatus", status)
    elif status in ("active", "inactive", "resolved"):
        resource.setdefault("clinicalStatus", status)
    elif status is not None:
        return "its status is not one of FHIR's"
    _coded(resource, "clinicalStatus", "allergyintolerance-clinical")
    _coded(resource, "verificationStatus", "allergyintolerance-verification")
    if isinstance(resource.get("reaction"), list):
        resource["reaction"] = [_without(one, "certainty") for one in resource["reaction"]]
    return ""


def _medication(resource: Resource) -> str:
    """http://hl7.org/fhir/DSTU2/medication.html"""
    product = resource.pop("product")
    listed = objects(product.get("ingredient")) if isinstance(product, dict) else []
    ingredients = [{"itemReference": one["item"]} for one in listed if "item" in one]
    if ingredients:
        resource.setdefault("ingredient", ingredients)
    return ""


# STEPS


def _rename(resource: Resource, **names: str) -> None:
    """Older names of elements to those of R4, which win where both are there."""
    for before, now in names.items():
        if before in resource:
            resource.setdefault(now, resource.pop(before))


def _as_list(resource: Resource, *names: str) -> None:
    for name in names:
        if name in resource:
            resource[name] = one_or_more(resource[name])


def _coded(resource: Resource, name: str, system: str) -> None:
    """A status that older versions write as a bare code; a code that R4 does not have is found invalid later."""
    if isinstance(resource.get(name), str):
        resource[name] = {"coding": [{"system": f"{_TERMINOLOGY}/{system}", "code": resource[name]}]}


def _deny(resource: Resource, flag: str, status: str) -> None:
    """A flag by which older versions deny what the resource is about; anything but true or false leaves it open."""
    if flag in resource:
        denied = resource.pop(flag)
        _set_status(resource, status if denied is True else "" if denied is False else "unknown")


def _set_status(resource: Resource, status: str) -> None:
    if status and resource.get("status") != "entered-in-error":
        resource["status"] = status


def _without(value: Any, name: str) -> Any:
    return {key: one for key, one in value.items() if key != name} if isinstance(value, dict) else value


_STATUSES = (("clinicalStatus", str), ("verificationStatus", str))
_REASONS = (("reasonCode", dict), ("reasonReference", dict))
_SHAPES = {
    "Patient": Shape(frozenset({"animal"}), (), _patient),
    "Condition": Shape(
        frozenset({"patient", "dateRecorded", "assertedDate", "abatementBoolean"}),
        (*_STATUSES, ("stage", dict)),
        _condition,
    ),
    "Observation": Shape(frozenset({"patient", "related"}), (), _observation, _older_in_depth),
    "MedicationOrder": Shape(frozenset({"resourceType"}), (), _order),
    "MedicationRequest": Shape(
        frozenset({"patient", "dateWritten", "dateEnded", "reasonEnded", "reasonCodeableConcept", "medication"}),
        (*_REASONS, ("category", dict)),
        _order,
    ),
    "MedicationStatement": Shape(
        frozenset({
            "patient", "wasNotTaken", "taken", "reasonNotTaken", "reasonForUseCodeableConcept",
            "reasonForUseReference", "medication",
        }),
        _REASONS,
        _statement,
    ),
    "MedicationAdministration": Shape(
        frozenset({
            "patient", "wasNotGiven", "notGiven", "reasonNotGiven", "reasonGiven", "effectiveTimeDateTime",
            "effectiveTimePeriod", "medication",
        }),
        (*_REASONS, ("statusReason", dict)),
        _administration,
    ),
    "Procedure": Shape(
        frozenset({
            "patient", "notPerformed", "notDone", "reasonNotPerformed", "notDoneReason", "reasonCodeableConcept",
        }),
        (*_REASONS, ("bodySite", dict), ("statusReason", list)),
        _procedure,
        _ended_early,
    ),
    "AllergyIntolerance": Shape(
        frozenset({"substance", "status", "onset", "assertedDate"}), _STATUSES, _allergy,
    ),
    "Medication": Shape(frozenset({"product"}), (), _medication),
}  # fmt: skip
#: the types that are read, under the names that any version gives them
TYPES = frozenset(_SHAPES)
