"""One patient's resources out of a call's prefetch. What cannot be read or belongs to somebody else is set aside with
its reason, never dropped in silence and never used.

The four states of a prefetched query stay apart, as CDS Hooks 2.0 ("Prefetch Template") means them: the key is absent
(nobody looked), null or an empty Bundle (somebody looked, nothing is there), an OperationOutcome (the look failed).
What comes under a key of another name is evidence too; what it is the answer to is not known, unless it says so itself.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from typing import Any

import orjson

from cds_service.patient.answers import answers
from cds_service.patient.elements import identifier, objects, one_or_more, word
from cds_service.patient.references import References, contained, local, name_of
from cds_service.patient.versions import TYPES, as_r4, is_r4

#: what stands in a template for the patient's id
PATIENT = "{patient}"
_SHARED = {"Medication"}
#: types whose own way of being the patient's is looked at
_APART = {"Patient", *_SHARED}
_OWNERS = ("subject", "patient")
_NOBODY = "names no patient"
#: how deep Bundles may lie in Bundles
_DEPTH = 4
#: issues of a search (http://hl7.org/fhir/R4/valueset-issue-type.html) that say nothing of results being left out
_HARMLESS = {"informational", "not-found", "not-supported", "processing"}
_NUMBER = re.compile(r"[0-9]{1,18}")
#: types that went by another name before R4
CALLED = {"MedicationOrder": "MedicationRequest"}


@dataclass(frozen=True)
class NotHad:
    """Stands for the answer to a query that is not to be had. `reason` is a fixed phrase; `tried` tells a look that
    failed from one that nobody could take.
    """

    reason: str
    tried: bool = True


class Delivery(Enum):
    """What became of a query."""

    WHOLE = "delivered"
    PARTIAL = "delivered in part"
    FAILED = "not delivered: an error, or no FHIR resource, was sent in its place"
    ABSENT = "not delivered"


_UNANSWERED = (Delivery.ABSENT, Delivery.FAILED)


@dataclass(frozen=True)
class Need:
    """A query that the facts need: its prefetch key, its template, the resource type it brings."""

    key: str
    template: str
    type: str
    required: bool

    def query(self, patient: str) -> str:
        """The query for one patient."""
        return self.template.replace(PATIENT, patient)


@dataclass
class Record:
    """One patient's FHIR resources by type, in the shape of R4 and sorted by reference; what was set aside.

    `named` holds the same by reference, `medications` what is nobody's; `delivery` is by resource type, `keys`
    by prefetch key. `references` knows the names of what resources point to.
    """

    patient: str
    resources: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    named: dict[str, dict[str, Any]] = field(default_factory=dict)
    medications: dict[str, dict[str, Any]] = field(default_factory=dict)
    delivery: dict[str, Delivery] = field(default_factory=dict)
    keys: dict[str, Delivery] = field(default_factory=dict)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    references: References = field(default_factory=lambda: References(tuple))
    #: the day of the call where on earth it is latest; '' where nobody told, and then no date is in the future
    today: str = ""

    def of(self, *types: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Reference and raw JSON of every resource of these types."""
        for kind in types:
            yield from self.resources.get(kind, ())

    def delivered(self, *types: str) -> bool:
        """Whether every one of these types was delivered whole, so that silence may count as 'none'."""
        return all(self.delivery.get(kind) is Delivery.WHOLE for kind in types)

    def target(self, reference: Any, container: Mapping[str, Any]) -> dict[str, Any] | None:
        """The resource that a reference of `container` leads to, in the shape of R4: contained, or of this record.

        None where it leads nowhere, to a resource of another patient or to one that cannot be read.
        """
        inside = contained(reference, container)
        if inside is not None:
            resource, fault = as_r4(inside, word(inside.get("resourceType")))
            return None if fault else resource
        name = self.references.name(reference)
        return self.medications.get(name) or self.named.get(name)


def gather(patient: str, prefetch: Mapping[str, Any], needs: tuple[Need, ...], today: str = "") -> Record:
    """Sort a call's prefetch into a record of one patient."""
    record = Record(patient, today=today, references=References(lambda: _entries(prefetch.values())))
    gathering = _Gathering(record)
    for need in needs:
        asked = need.key in prefetch
        record.keys[need.key] = gathering.take_asked(prefetch[need.key], need) if asked else Delivery.ABSENT
    for key in sorted(prefetch.keys() - record.keys.keys()):
        gathering.take_unasked(prefetch[key], key, needs)
    states = defaultdict[str, list[Delivery]](list)
    for need in needs:
        states[need.type].append(record.keys[need.key])
    for kind, told in states.items():
        record.delivery[kind] = _together(told, kind in gathering.kinds)
    gathering.finish()
    return record


def _together(states: list[Delivery], seen: bool) -> Delivery:
    """Several queries for one type: whole only when each that was answered is whole and at least one was; in part when
    none was answered and there are resources all the same.
    """
    if seen and all(state in _UNANSWERED for state in states):
        return Delivery.PARTIAL
    answered = [state for state in states if state is not Delivery.ABSENT]
    if not answered:
        return Delivery.ABSENT
    return next((state for state in (Delivery.FAILED, Delivery.PARTIAL) if state in answered), Delivery.WHOLE)


def _kind(resource: Any) -> str:
    """The type of a resource under the name that R4 gives it."""
    kind = word(resource.get("resourceType")) if isinstance(resource, dict) else ""
    return CALLED.get(kind, kind)


def _of_other_types(bundle: Any, kind: str) -> bool:
    """Whether a searchset has matches, and none of this type."""
    if not isinstance(bundle, dict) or bundle.get("type") != "searchset":
        return False
    other = False
    for entry in objects(bundle.get("entry")):
        found, search = _kind(entry.get("resource")), entry.get("search")
        if found == kind:
            return False
        aside = isinstance(search, dict) and search.get("mode") in ("include", "outcome")
        other = other or not (aside or found in ("OperationOutcome", "Bundle"))
    return other


def _entries(values: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The entries of these Bundles, and of the Bundles in them."""
    for value in values:
        if isinstance(value, dict) and value.get("resourceType") == "Bundle":
            for entry in objects(value.get("entry")):
                yield entry
                if depth < _DEPTH:
                    yield from _entries((entry.get("resource"),), depth + 1)


class _Gathering:
    """A record being gathered: its `owner` as references name it, what was `found` by name, the `kinds` among it, names
    that a Bundle says were `deleted`, and `others`, the types that nobody reads.
    """

    def __init__(self, record: Record):
        self.record = record
        self.owner = f"Patient/{record.patient}"
        self.found: dict[str, dict[str, Any]] = {}
        self.kinds: set[str] = set()
        self.deleted: set[str] = set()
        self.others: set[str] = set()

    def aside(self, what: str, reason: str) -> None:
        """Note what is not used, and why."""
        self.record.set_aside.append((what, reason))

    # KEYS

    def take_asked(self, value: Any, need: Need) -> Delivery:
        """Take in what stands under a key that was asked for. A search result of other types only answers something
        else, whatever its key.
        """
        state = self.take(value, need.key)
        if state is Delivery.WHOLE and _of_other_types(value, need.type):
            self.aside(f"prefetch.{need.key}", f"a search result without any {need.type}: it answers something else")
            return Delivery.PARTIAL
        return state

    def take(self, value: Any, key: str) -> Delivery:
        """Take in what stands under a key."""
        if value is None:
            return Delivery.WHOLE
        if isinstance(value, NotHad):
            self.aside(f"prefetch.{key}", value.reason)
            return Delivery.FAILED if value.tried else Delivery.ABSENT
        if isinstance(value, list) and any(name_of(one) for one in objects(value)):
            self.aside(f"prefetch.{key}", "a list where a Bundle is expected: not known to be all there is")
            self._take_bundle({"entry": [{"resource": one} for one in value]}, key, 0)
            return Delivery.PARTIAL
        kind = word(value.get("resourceType")) if isinstance(value, dict) else ""
        if not kind:
            self.aside(f"prefetch.{key}", "neither a resource nor a Bundle nor null")
            return Delivery.FAILED
        if kind == "OperationOutcome":
            self.aside(f"prefetch.{key}", "the client sent an OperationOutcome")
            return Delivery.FAILED
        if kind == "Bundle":
            return self._take_bundle(value, key, 0)
        return Delivery.WHOLE if self._keep(value, "", key) and kind == "Patient" else Delivery.PARTIAL

    def take_unasked(self, value: Any, key: str, needs: tuple[Need, ...]) -> None:
        """Take in what stands under another key as evidence of the types whose own keys are not all answered. It is the
        answer to a query only where it says so: the patient by id, or a searchset by its own link.
        """
        open_needs = [need for need in needs if self.record.keys[need.key] in _UNANSWERED]
        if not open_needs:
            return
        inside = [entry.get("resource") for entry in _entries((value,))]
        listed = [value, *inside, *(value if isinstance(value, list) else ())]
        answered = [need for need in open_needs if answers(value, need.query(self.record.patient))]
        if not answered and not {need.type for need in open_needs} & {_kind(one) for one in listed}:
            return
        state = self.take(value, key)
        for need in answered:
            self.record.keys[need.key] = state
        what = ", ".join(f"prefetch.{need.key}" for need in answered) or "evidence, not known to be all there is"
        self.aside(f"prefetch.{key}", f"a key that was not asked for: taken for {what}")

    # BUNDLES

    def _take_bundle(self, bundle: dict[str, Any], key: str, depth: int) -> Delivery:
        """Take in a Bundle: whole only when every entry could be placed and nothing says that there is more."""
        entries = objects(bundle.get("entry"))
        whole = len(entries) == len(one_or_more(bundle.get("entry")))
        lacking = set() if whole else {"the Bundle has entries that are none"}
        matches = 0
        for entry in entries:
            if not self._is_as_usual(entry.get("resource")):
                lacking.add(self._take_entry(entry, key, depth))
            search = entry.get("search")
            matches += not (isinstance(search, dict) and search.get("mode") in ("include", "outcome"))
        total = bundle.get("total")
        if any(link.get("relation") == "next" for link in objects(bundle.get("link"))):
            lacking.add("the Bundle has further pages that were not sent")
        elif isinstance(total, int) and total > matches:
            lacking.add("the Bundle holds fewer entries than its total")
        lacking.discard("")
        for reason in lacking:
            self.aside(f"prefetch.{key}", reason)
        return Delivery.PARTIAL if lacking else Delivery.WHOLE

    def _is_as_usual(self, resource: Any) -> bool:
        """Place a resource that is as nearly all are, and that has not come before: of a type that is read, in the
        shape of R4, with an id, and the patient's. Whatever is not goes the long way.
        """
        if not isinstance(resource, dict):
            return False
        kind, ident, subject = resource.get("resourceType"), resource.get("id"), resource.get("subject")
        if not (isinstance(kind, str) and isinstance(ident, str) and ident and isinstance(subject, dict)):
            return False
        name = f"{kind}/{ident}"
        if subject.get("reference") != self.owner or "patient" in resource or kind in _APART or name in self.found:
            return False
        if not is_r4(resource, kind):
            return False
        self.found[name] = resource
        self.kinds.add(kind)
        return True

    def _take_entry(self, entry: dict[str, Any], key: str, depth: int) -> str:
        """Place the resource of an entry; '' or why something is lacking."""
        resource = entry.get("resource")
        if not isinstance(resource, dict):
            return self._without_resource(entry)
        kind = resource.get("resourceType")
        if kind == "OperationOutcome":
            return self._outcome(resource, key)
        if kind == "Bundle":
            if depth == _DEPTH:
                return "the Bundle holds Bundles that lie too deep"
            state = self._take_bundle(resource, key, depth + 1)
            return "" if state is Delivery.WHOLE else "a Bundle in the Bundle is not whole"
        placed = self._keep(resource, entry.get("fullUrl"), key)
        return "" if placed else "the Bundle has an entry that cannot be placed"

    def _without_resource(self, entry: dict[str, Any]) -> str:
        request = entry.get("request")
        if isinstance(request, dict) and request.get("method") == "DELETE":
            self.deleted |= {self.record.references.name(where) for where in (request.get("url"), entry.get("fullUrl"))}
            return "the Bundle says that a resource was deleted"
        return "the Bundle has entries without a resource"

    def _outcome(self, outcome: dict[str, Any], key: str) -> str:
        """Remarks and warnings of a search leave it whole, unless they may mean that something was left out
        (http://hl7.org/fhir/R4/bundle.html#searchset, `search.mode` outcome).
        """
        issues = objects(outcome.get("issue"))
        for issue in issues or [{}]:
            if issue.get("severity") not in ("information", "warning") or word(issue.get("code")) not in _HARMLESS:
                return "the Bundle holds an OperationOutcome"
        self.aside(f"prefetch.{key}", "the server remarked on the search, which is whole")
        return ""

    # RESOURCES

    def _keep(self, sent: dict[str, Any], url: Any, key: str) -> bool:
        """Place one resource; False when it may be this patient's and cannot be used, so that something is lacking."""
        kind = word(sent.get("resourceType"))
        if not kind:
            self.aside(f"prefetch.{key}", "an entry without resourceType")
            return False
        if kind not in TYPES:
            self.others.add(kind)
            return True
        name = _named(sent, url)
        if self.found.get(name) == sent:
            return True  # it came under another key too
        resource, fault = as_r4(sent, kind)
        kind = resource["resourceType"]
        if kind in _SHARED:
            _keep_newer(self.record.medications, name, resource)
            return True
        reason = self._not_ours(sent, kind, url)
        if reason or fault:
            self.aside(name, reason or fault)
            return reason not in ("", _NOBODY)
        _keep_newer(self.found, name, resource)
        self.kinds.add(kind)
        return True

    def _not_ours(self, resource: dict[str, Any], kind: str, url: Any) -> str:
        """Why a resource is not this patient's; '' when it is."""
        patient = self.record.patient
        if kind == "Patient":
            ident = identifier(resource) or local(word(url)).rpartition("/")[2] or word(url).removeprefix("urn:uuid:")
            return "" if ident == patient else "another patient" if ident else _NOBODY
        named = [resource[name] for name in _OWNERS if name in resource]
        references = [one.get("reference") for one in named if isinstance(one, dict)]
        texts = [one for one in references if isinstance(one, str) and one and not one.startswith("#")]
        if any(not self._is_patient(text) for text in texts):
            return "belongs to another patient"
        return "" if texts and len(texts) == len(named) else _NOBODY

    def _is_patient(self, reference: str) -> bool:
        patient, name = self.record.patient, self.record.references.name(reference)
        return name == f"Patient/{patient}" or (
            reference == f"urn:uuid:{patient}" and name in ("", f"Patient {reference}")
        )

    def finish(self) -> None:
        """Sort what was found into the record."""
        record, resources = self.record, defaultdict[str, list[tuple[str, dict[str, Any]]]](list)
        for name, resource in sorted(self.found.items()):
            if name in self.deleted:
                self.aside(name, "deleted, as a Bundle says")
            else:
                record.named[name] = resource
                resources[resource["resourceType"]].append((name, resource))
        record.resources = dict(resources)
        for kind in self.others:
            self.aside(kind, "a type that is not read")
        record.set_aside = sorted(set(record.set_aside))


def _named(resource: dict[str, Any], url: Any) -> str:
    """What a resource goes by. Two without id and address are two, in whatever order they come."""
    nameless = not identifier(resource) and not word(url)
    return f"{name_of(resource, url)} ({_digest(resource)})" if nameless else name_of(resource, url)


def _keep_newer(found: dict[str, dict[str, Any]], reference: str, resource: dict[str, Any]) -> None:
    """Of resources that go by the same name, the same one is kept in whatever order they come."""
    known = found.get(reference)
    if known is None or (known != resource and _version(known) < _version(resource)):
        found[reference] = resource


def _version(resource: dict[str, Any]) -> tuple[str, int, bytes]:
    """Which of two resources with the same id is kept: the later by lastUpdated, the higher by a numeric versionId,
    else a fixed choice.
    """
    meta = resource.get("meta")
    updated, version = (meta.get("lastUpdated"), meta.get("versionId")) if isinstance(meta, dict) else (None, None)
    number = int(version) if isinstance(version, str) and _NUMBER.fullmatch(version) else -1
    return (updated if isinstance(updated, str) else "", number, _content(resource))


def _content(resource: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than orjson writes: unreadable later on, whichever is kept
        return b""


def _digest(resource: dict[str, Any]) -> str:
    """A short name for content that has no other."""
    return blake2b(_content(resource), digest_size=4).hexdigest()
