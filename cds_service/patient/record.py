"""One patient's resources out of a call's prefetch. What cannot be read or belongs to somebody else is set aside with
its reason, never dropped in silence and never used.

The four states of a prefetched query stay apart, as CDS Hooks 2.0 ("Prefetch Template") means them: the key is absent
(nobody looked), null or an empty Bundle (somebody looked, nothing is there), an OperationOutcome (the look failed).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson

from cds_service.patient.elements import objects, one_or_more, word

#: the element that says whose resource it is
_OWNER = {"AllergyIntolerance": ("patient",), "Patient": ()}
_SHARED = {"Medication"}
_NOBODY = "names no patient"


class Delivery(Enum):
    """What became of a query."""

    WHOLE = "delivered"
    PARTIAL = "delivered in part"
    FAILED = "not delivered: an error, or no FHIR resource, was sent in its place"
    ABSENT = "not delivered"


@dataclass(frozen=True)
class Need:
    """A query that the facts need: its prefetch key, its template, the resource type it brings."""

    key: str
    template: str
    type: str
    required: bool


@dataclass
class Record:
    """One patient's FHIR resources by type, sorted by reference; `delivery` by resource type; what was set aside."""

    patient: str
    resources: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    medications: dict[str, dict[str, Any]] = field(default_factory=dict)
    delivery: dict[str, Delivery] = field(default_factory=dict)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    #: the day of the call where on earth it is latest; '' where nobody told, and then no date is in the future
    today: str = ""

    def of(self, *types: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Reference and raw JSON of every resource of these types."""
        for kind in types:
            yield from self.resources.get(kind, ())

    def delivered(self, *types: str) -> bool:
        """Whether every one of these types was delivered whole, so that silence may count as 'none'."""
        return all(self.delivery.get(kind) is Delivery.WHOLE for kind in types)


def gather(patient: str, prefetch: Mapping[str, Any], needs: tuple[Need, ...], today: str = "") -> Record:
    """Sort a call's prefetch into a record of one patient."""
    record = Record(patient, today=today)
    found: dict[str, dict[str, Any]] = {}
    states: dict[str, list[Delivery]] = {}
    for need in needs:
        state = Delivery.ABSENT
        if need.key in prefetch:
            state = _take(prefetch[need.key], record, found, need.key)
        states.setdefault(need.type, []).append(state)
    for kind, listed in states.items():
        record.delivery[kind] = _together(listed)
    for reference in sorted(found):
        resource = found[reference]
        record.resources.setdefault(resource["resourceType"], []).append((reference, resource))
    record.set_aside = sorted(set(record.set_aside))
    return record


def _together(states: list[Delivery]) -> Delivery:
    """Several queries for one type: whole only when each that was answered is whole and at least one was."""
    answered = [state for state in states if state is not Delivery.ABSENT]
    if not answered:
        return Delivery.ABSENT
    return next((state for state in (Delivery.FAILED, Delivery.PARTIAL) if state in answered), Delivery.WHOLE)


def _take(value: Any, record: Record, found: dict[str, dict[str, Any]], key: str) -> Delivery:
    if value is None:
        return Delivery.WHOLE
    kind = value.get("resourceType") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        record.set_aside.append((f"prefetch.{key}", "neither a resource nor a Bundle nor null"))
        return Delivery.FAILED
    if kind == "OperationOutcome":
        record.set_aside.append((f"prefetch.{key}", "the client sent an OperationOutcome"))
        return Delivery.FAILED
    if kind == "Bundle":
        return _take_bundle(value, record, found, key)
    taken = _keep(value, "", {}, record, found, key)
    return Delivery.WHOLE if taken and kind == "Patient" else Delivery.PARTIAL


def _take_bundle(bundle: dict[str, Any], record: Record, found: dict[str, dict[str, Any]], key: str) -> Delivery:
    """Take in a search result: whole only when every entry could be placed and nothing says that there is more."""
    entries = objects(bundle.get("entry"))
    urls = {entry["fullUrl"]: entry.get("resource") for entry in entries if isinstance(entry.get("fullUrl"), str)}
    lacking = "" if len(entries) == len(one_or_more(bundle.get("entry"))) else "the Bundle has entries that are none"
    matches = 0
    for entry in entries:
        resource = entry.get("resource")
        if not isinstance(resource, dict):
            lacking = "the Bundle has entries without a resource"
            continue
        if resource.get("resourceType") == "OperationOutcome":
            lacking = "the Bundle holds an OperationOutcome"
            continue
        search = entry.get("search")
        matches += not (isinstance(search, dict) and search.get("mode") == "include")
        if not _keep(resource, entry.get("fullUrl"), urls, record, found, key):
            lacking = "the Bundle has an entry that cannot be placed"
    total = bundle.get("total")
    if any(link.get("relation") == "next" for link in objects(bundle.get("link"))):
        lacking = "the Bundle has further pages that were not sent"
    elif isinstance(total, int) and total > matches:
        lacking = "the Bundle holds fewer entries than its total"
    if lacking:
        record.set_aside.append((f"prefetch.{key}", lacking))
    return Delivery.PARTIAL if lacking else Delivery.WHOLE


def _keep(
    resource: dict[str, Any],
    url: Any,
    urls: Mapping[str, Any],
    record: Record,
    found: dict[str, dict[str, Any]],
    key: str,
) -> bool:
    """Place one resource; False when it may be this patient's and cannot be used, so that something is lacking."""
    kind, ident, url = word(resource.get("resourceType")), word(resource.get("id")), word(url)
    if not kind:
        record.set_aside.append((f"prefetch.{key}", "an entry without resourceType"))
        return False
    reference = f"{kind}/{ident}" if ident else f"{kind} {url or 'without id'}"
    if kind in _SHARED:
        for name in (reference, url) if url else (reference,):
            _keep_newer(record.medications, name, resource)
        return True
    reason = _not_ours(resource, kind, record.patient, urls)
    if reason:
        record.set_aside.append((reference, reason))
        return reason != _NOBODY
    _keep_newer(found, reference, resource)
    return True


def _keep_newer(found: dict[str, dict[str, Any]], reference: str, resource: dict[str, Any]) -> None:
    """Of resources that go by the same name, the same one is kept in whatever order they come."""
    known = found.get(reference)
    if known is None or (known != resource and _version(known) < _version(resource)):
        found[reference] = resource


def _not_ours(resource: dict[str, Any], kind: str, patient: str, urls: Mapping[str, Any]) -> str:
    """Why a resource is not this patient's; '' when it is."""
    if kind == "Patient":
        return "" if resource.get("id") == patient else "another patient"
    subject = resource.get("subject")
    if isinstance(subject, dict) and subject.get("reference") == f"Patient/{patient}" and kind not in _OWNER:
        return ""  # the usual case, without the detours below
    named = [resource[name] for name in _OWNER.get(kind, ("subject", "patient")) if name in resource]
    references = [one.get("reference") for one in named if isinstance(one, dict)]
    texts = [one for one in references if isinstance(one, str) and one]
    if not texts:
        return _NOBODY
    if all(_is_patient(text, patient, urls) for text in texts):
        return ""
    return "belongs to another patient"


def _is_patient(reference: str, patient: str, urls: Mapping[str, Any]) -> bool:
    target = urls.get(reference)
    if isinstance(target, dict):
        return target.get("resourceType") == "Patient" and target.get("id") == patient
    if reference == f"urn:uuid:{patient}":
        return True
    path = reference.partition("/_history/")[0].split("/")
    return len(path) >= 2 and path[-2:] == ["Patient", patient]


def _version(resource: dict[str, Any]) -> tuple[str, bytes]:
    """Which of two resources with the same id is kept: the later by lastUpdated, else a fixed choice."""
    meta = resource.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    try:
        content = orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than orjson writes: unreadable later on, whichever is kept
        content = b""
    return (updated if isinstance(updated, str) else "", content)
