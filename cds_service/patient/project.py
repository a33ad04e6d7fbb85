"""Is a resource what FHIR R4 says it is, as far as the rules read it?

A candidate is projected to the elements that the rules read and validated with the fhir.resources R4B class (R4 and R4B
are the same for these elements). The rest of the resource is left alone: narrative, contained resources and extensions
are neither read nor able to make the reading slow. Results are cached by content in a bounded cache in memory.
"""

from functools import lru_cache
from typing import Any

import orjson
from fhir.resources.R4B.allergyintolerance import AllergyIntolerance
from fhir.resources.R4B.condition import Condition
from fhir.resources.R4B.medication import Medication
from fhir.resources.R4B.medicationadministration import MedicationAdministration
from fhir.resources.R4B.medicationrequest import MedicationRequest
from fhir.resources.R4B.medicationstatement import MedicationStatement
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.procedure import Procedure
from pydantic import ValidationError

from cds_service.patient.elements import word

_ALWAYS = ("resourceType", "implicitRules", "modifierExtension", "status")
_MODELS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "Patient": (Patient, ("gender",)),
    "Condition": (Condition, ("code", "clinicalStatus", "verificationStatus", "subject", "bodySite", "stage")),
    "Observation": (
        Observation,
        ("code", "subject", "valueCodeableConcept", "valueString", "valueQuantity", "valueInteger", "valueBoolean",
         "valueRatio", "valueRange", "interpretation", "dataAbsentReason", "component", "referenceRange", "method",
         "focus", "bodySite", "specimen"),
    ),
    "MedicationRequest": (
        MedicationRequest,
        ("intent", "medicationCodeableConcept", "medicationReference", "subject", "statusReason", "reasonCode",
         "reasonReference", "category", "doNotPerform"),
    ),
    "MedicationStatement": (
        MedicationStatement,
        ("medicationCodeableConcept", "medicationReference", "subject", "statusReason", "reasonCode",
         "reasonReference", "category"),
    ),
    "MedicationAdministration": (
        MedicationAdministration,
        ("medicationCodeableConcept", "medicationReference", "subject", "statusReason", "reasonCode",
         "reasonReference", "category"),
    ),
    "Medication": (Medication, ("code", "ingredient")),
    "Procedure": (Procedure, ("code", "subject", "statusReason", "reasonCode", "bodySite")),
    "AllergyIntolerance": (AllergyIntolerance, ("code", "clinicalStatus", "verificationStatus", "patient", "reaction")),
}  # fmt: skip
#: elements that a class requires and the rules read elsewhere (dates are read leniently in dates.py)
_STAND_INS = {"MedicationAdministration": {"effectiveDateTime": "2000-01-01"}}
#: required bindings of R4 whose other codes (`unknown`, before R4) settle nothing
_CODES = {
    "clinicalStatus": (
        "condition-clinical", {"active", "recurrence", "relapse", "inactive", "remission", "resolved"}
    ),
    "verificationStatus": (
        "condition-ver-status",
        {"unconfirmed", "provisional", "differential", "confirmed", "refuted", "entered-in-error"},
    ),
}  # fmt: skip
#: the resource types that are read at all
READ = frozenset(_MODELS)
#: how many results are remembered
_REMEMBERED = 4096


def fault(resource: dict[str, Any]) -> str:
    """What is wrong with a resource as far as it is read; '' when it is sound.

    The text names elements, never their content.
    """
    kind = resource["resourceType"]
    projected = with_one_number({name: resource[name] for name in (*_ALWAYS, *_MODELS[kind][1]) if name in resource})
    try:
        return _fault(kind, orjson.dumps(projected))
    except orjson.JSONEncodeError:
        return "nested too deeply to be FHIR"


def with_one_number(element: dict[str, Any]) -> dict[str, Any]:
    """An element with one number in place of that which it measured: one is as sound as another."""
    quantity = element.get("valueQuantity")
    if isinstance(quantity, dict) and type(quantity.get("value")) in (int, float):
        return {**element, "valueQuantity": {**quantity, "value": 1}}
    return element


@lru_cache(maxsize=_REMEMBERED)
def _fault(kind: str, said: bytes) -> str:
    return _validate(_MODELS[kind][0], {**_STAND_INS.get(kind, {}), **orjson.loads(said)})


def _validate(model: Any, projected: dict[str, Any]) -> str:
    if "implicitRules" in projected:
        return "it is read under implicit rules that this service does not know"
    if projected.get("modifierExtension"):
        return "it carries a modifier extension that this service does not know"
    try:
        for alternative in _with_one_value(projected):
            model.model_validate(alternative)
    except ValidationError as error:
        paths = sorted({".".join(str(step) for step in row["loc"][:4]) for row in error.errors(include_input=False)})
        return f"not valid FHIR R4 at {', '.join(paths[:4])}"
    except (KeyError, RecursionError, ValueError, TypeError):
        return "not valid FHIR R4"
    return _unheard_status(projected)


def _unheard_status(projected: dict[str, Any]) -> str:
    """A status of a Condition that R4 does not have: it neither confirms nor denies."""
    for name, (system, codes) in _CODES.items() if projected["resourceType"] == "Condition" else ():
        concept = projected.get(name)
        for coding in concept.get("coding") or () if isinstance(concept, dict) else ():
            if word(coding.get("system")).endswith(system) and coding.get("code") not in codes:
                return f"not valid FHIR R4 at {name}: a code of no status"
    return ""


def _with_one_value(projected: dict[str, Any]) -> list[dict[str, Any]]:
    """An Observation once with each of its values: two are no valid FHIR, but each can be read, and compared."""
    values = [name for name in projected if name.startswith("value")]
    if len(values) < 2:
        return [projected]
    rest = {name: value for name, value in projected.items() if name not in values}
    return [{**(rest if name == values[0] else _bare(rest)), name: projected[name]} for name in values]


def _bare(observation: dict[str, Any]) -> dict[str, Any]:
    return {name: observation[name] for name in ("resourceType", "status", "code") if name in observation}


def warm_up() -> None:
    """Validate one small resource of each class, so that the first patient does not pay for building the models."""
    code = {"coding": [{"system": "http://loinc.org", "code": "0"}], "text": "warm-up"}
    whose = {"subject": {"reference": "Patient/0"}}
    drug = {**whose, "medicationCodeableConcept": code}
    for resource in (
        {"resourceType": "Patient", "gender": "female"},
        {"resourceType": "Condition", "code": code, "stage": [{"summary": code}], **whose},
        {"resourceType": "Observation", "status": "final", "code": code, "valueQuantity": {"value": 1}, **whose},
        {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "statusReason": code, **drug},
        {"resourceType": "MedicationStatement", "status": "active", **drug},
        {"resourceType": "MedicationAdministration", "status": "completed", **drug},
        {"resourceType": "Procedure", "status": "completed", "code": code, "statusReason": code, **whose},
        {"resourceType": "AllergyIntolerance", "patient": whose["subject"], "code": code},
        {"resourceType": "Medication", "code": code},
    ):
        fault(resource)
