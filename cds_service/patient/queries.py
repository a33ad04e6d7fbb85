"""The FHIR queries that the facts need, derived from the fact files: what discovery asks EHRs to prefetch.

Only what common servers answer: a read by id, type-level searches by patient, `category`, `intent` and lists of codes;
no modifiers and no parameter twice (CDS Hooks 2.0, "Prefetch query restrictions"). Observations are asked for by code,
the only portable way to stages and menopausal status, and by the laboratory category for results without known codes.
The codes stand without their systems, which keeps the query short enough for every server.
"""

from cds_service.knowledge.knowledge import Knowledge
from cds_service.patient.record import PATIENT, Need

_BY_TYPE = {
    "Patient": ("patient", f"Patient/{PATIENT}"),
    "Condition": ("conditions", f"Condition?patient={PATIENT}"),
    "MedicationRequest": ("medications", f"MedicationRequest?patient={PATIENT}&intent=order"),
    "MedicationStatement": ("medication-statements", f"MedicationStatement?patient={PATIENT}"),
    "MedicationAdministration": ("medication-administrations", f"MedicationAdministration?patient={PATIENT}"),
    "Procedure": ("procedures", f"Procedure?patient={PATIENT}"),
    "AllergyIntolerance": ("allergies", f"AllergyIntolerance?patient={PATIENT}"),
}
#: without these nothing can be said at all: whose record it is, and whether there is breast cancer
_REQUIRED = {"Patient", "Condition"}


def queries(knowledge: Knowledge) -> tuple[Need, ...]:
    """One need for each resource type that the asked facts read; two for Observations, by code and by category."""
    asked = [knowledge.facts[name] for name in knowledge.facts_asked]
    types = {kind for fact in asked for kind in fact.reads} | {"Patient"}
    needs = [
        Need(key, template, kind, kind in _REQUIRED) for kind, (key, template) in _BY_TYPE.items() if kind in types
    ]
    codes = sorted({code.code for fact in asked for code in fact.asks})
    if codes:
        template = f"Observation?patient={PATIENT}&code={','.join(codes)}"
        needs.append(Need("observations", template, "Observation", False))
        needs.append(Need("laboratory", f"Observation?patient={PATIENT}&category=laboratory", "Observation", False))
    return tuple(needs)
