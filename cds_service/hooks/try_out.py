"""What a client would send: hook requests and feedback, written for whoever tries the service out."""

from collections.abc import Mapping
from typing import Any

from cds_service.hooks.catalogue import Hook
from cds_service.model import Code, Drug
from cds_service.patient.draft import DRAFT, bundle, draft_order

_USER, _PERFORMER, _ENCOUNTER = "Practitioner/sandbox", "Organization/sandbox", "sandbox"
_ORDER = f"MedicationRequest/{DRAFT}"


def hook_request(
    hook: Hook, instance: str, patient: str, prefetch: Mapping[str, Any], drug: Drug | None
) -> dict[str, Any]:
    """The request of any hook of the catalogue for a patient, with a draft order of `drug` where it is on orders."""
    known = dict(prefetch)
    if drug and hook.points_to:  # the order is on record by then
        held = known["medications"] or bundle(())
        known["medications"] = {**held, "entry": [*held["entry"], {"resource": draft_order(drug, patient, "active")}]}
    return {
        "hook": hook.name,
        "hookInstance": instance,
        "context": {"userId": _USER, "patientId": patient, **_context(hook, patient, drug)},
        "prefetch": known,
    }


def _context(hook: Hook, patient: str, drug: Drug | None) -> dict[str, Any]:
    """What the hooks ask for beside the patient."""
    context: dict[str, Any] = {"encounterId": _ENCOUNTER}
    if hook.schema == "context-appointment-book":
        context["appointments"] = bundle(())
    if hook.holds:
        context[hook.holds] = bundle([draft_order(drug, patient)] if drug else [])
    if hook.chosen:
        context[hook.chosen] = [_ORDER]
    if hook.points_to:
        context |= {hook.points_to[0]: [_ORDER], "performer": _PERFORMER}
    return context


def feedback_request(card: str, reason: Code, when: str) -> dict[str, Any]:
    """The feedback that a card was overridden, and why (CDS Hooks 2.0, "Feedback")."""
    coded = {"code": reason.code, "system": reason.system, "display": reason.display}
    entry = {"card": card, "outcome": "overridden", "overrideReason": {"reason": coded}, "outcomeTimestamp": when}
    return {"feedback": [entry]}
