"""Whose a resource is that comes without a call, as in a Bulk Data export: the patient whom it names, or nobody's.

https://hl7.org/fhir/uv/bulkdata/export.html: every resource of a Patient export names its patient, save those that
several patients may share. Whether it may be used is decided later, with the record in hand (record.py).
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from cds_service.patient.elements import identifier, objects
from cds_service.patient.references import local

#: the types that name no patient and are shared by those who refer to them
SHARED = frozenset({"Medication"})
_OWNERS = ("subject", "patient")
_URN = "urn:uuid:"
#: how many references are remembered: what comes next is most often the same patient's
_REMEMBERED = 1024


def whose(resource: Mapping[str, Any]) -> str:
    """The id of the patient whom a resource names: `Patient/x`, `https://…/Patient/x` or `urn:uuid:x`; its own id where
    it is a Patient. '' where it names none, or one by an id with blanks or control characters, which FHIR never allows.
    """
    if resource.get("resourceType") == "Patient":
        return _sound(identifier(resource))
    for name in _OWNERS:
        owner = resource.get(name)
        reference = owner.get("reference") if isinstance(owner, dict) else None
        found = _patient(reference) if isinstance(reference, str) else None
        if found is not None:
            return found
    return ""


def shared_by(resource: Mapping[str, Any]) -> Iterator[str]:
    """The ids of the Medications that a resource refers to: what was given, or what a Medication is made of."""
    yield from _medication(resource.get("medicationReference"))
    for name in ("ingredient", "product") if resource.get("resourceType") == "Medication" else ():
        within = resource.get(name)
        listed = within.get("ingredient") if isinstance(within, dict) else within  # DSTU2 has a product around them
        for ingredient in objects(listed):
            yield from _medication(ingredient.get("itemReference") or ingredient.get("item"))


def _medication(element: Any) -> Iterator[str]:
    reference = element.get("reference") if isinstance(element, dict) else None
    if not isinstance(reference, str):
        return
    kind, _, ident = local(reference).partition("/")
    if kind == "Medication":
        yield ident
    elif reference.startswith(_URN):
        yield reference.removeprefix(_URN)


@lru_cache(maxsize=_REMEMBERED)
def _patient(reference: str) -> str | None:
    """The id of the patient to whom a reference leads, '' where it is none that FHIR allows; None where it leads to
    nobody.
    """
    if reference.startswith(_URN):
        ident = reference.removeprefix(_URN)
    else:
        kind, _, ident = local(reference).partition("/")
        ident = ident if kind == "Patient" else ""
    return _sound(ident) if ident else None


def _sound(ident: str) -> str:
    return ident if ident.isprintable() and " " not in ident else ""
