"""What a FHIR server answers to one query, page by page (FHIR R4, "Paging"): what is wrong with a page, where the next
one is, and all of them as one Bundle.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cds_service.patient.elements import objects, one_or_more, word
from cds_service.patient.record import Need

_PATIENT = re.compile(r"(?:.*/)?Patient/([^/]+)(?:/_history/.*)?")


def next_link(page: Any) -> str:
    """The link of a Bundle to its next page, as it is written; '' where there is none."""
    links = objects(page.get("link")) if isinstance(page, dict) and page.get("resourceType") == "Bundle" else []
    return next((word(link.get("url")) for link in links if link.get("relation") == "next"), "")


def joined(pages: Sequence[Any]) -> Any:
    """The pages of one answer as one Bundle, without a link to further ones. An answer of one page is that page."""
    first, *others = pages
    if not others:
        return first
    links = [link for link in objects(first.get("link")) if link.get("relation") != "next"]
    entries = [entry for page in pages for entry in one_or_more(page.get("entry"))]
    return {**first, "link": links, "entry": entries}


def fault(page: Any, need: Need, patient: str) -> str:
    """Why a page is no answer to the query that was asked; '' when it is one.

    A server that answers with another patient's resources did not answer the query: what it leaves out is unknown too.
    """
    kind = page.get("resourceType") if isinstance(page, dict) else None
    if not isinstance(kind, str):
        return "its answer is no FHIR resource"
    if kind == "OperationOutcome":
        return "its answer is an OperationOutcome"
    if "?" not in need.template:
        same = kind == need.type and page.get("id") == patient
        return "" if same else "its answer is another resource than the one asked for"
    if kind != "Bundle":
        return "its answer is no Bundle"
    if any(owner != patient for entry in objects(page.get("entry")) for owner in _owners(entry.get("resource"))):
        return "its answer holds resources of another patient"
    return ""


def _owners(resource: Any) -> Iterator[str]:
    """The ids of the patients whom a resource names as its own."""
    for name in ("subject", "patient") if isinstance(resource, dict) else ():
        reference = resource[name].get("reference") if isinstance(resource.get(name), dict) else None
        found = _PATIENT.fullmatch(reference) if isinstance(reference, str) else None
        if found:
            yield found[1]
