"""Records on a shelf, searched as FHIR R4 says (https://hl7.org/fhir/R4/search.html), as far as EHRs are asked by us.

Tokens and references only, without modifiers. Commas are 'or', a repeated parameter is 'and', an empty one is nothing.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from cds_service.errors import BadRequest, Problem
from cds_service.synthetic.sheet import Resource

Pairs = Sequence[tuple[str, str]]

_OWNERS = ("patient", "subject")
#: the parameters of each type, beside _id; what each looks at is in _ELEMENTS
SEARCHED: dict[str, tuple[str, ...]] = {
    "Patient": (),
    "Condition": (*_OWNERS, "code", "category", "clinical-status"),
    "Observation": (*_OWNERS, "code", "category", "status"),
    "MedicationRequest": (*_OWNERS, "intent", "status"),
    "MedicationStatement": (*_OWNERS, "status"),
    "MedicationAdministration": (*_OWNERS, "status"),
    "Medication": ("code",),
    "Procedure": (*_OWNERS, "code", "status"),
    "AllergyIntolerance": ("patient", "clinical-status"),
    "Encounter": (*_OWNERS, "status"),
}
_ELEMENTS = {"clinical-status": "clinicalStatus"}
#: the types whose medicine may come along (`_include=MedicationRequest:medication`)
INCLUDING = ("MedicationRequest", "MedicationStatement", "MedicationAdministration")
#: most resources of one page; more than one patient has, because many clients read the first page only
PAGE = 500
_OUR_OWN_PAGING = "_page"
_COMMA = re.compile(r"(?<!\\),")


@dataclass(frozen=True)
class Search:
    """A search as it is carried out: `filters` name by name, and what was asked for and is not done."""

    kind: str
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    include: bool
    count: int
    page: int
    ignored: tuple[str, ...]


def understand(kind: str, pairs: Pairs) -> Search:
    """Read the parameters of a search. Raises BadRequest for a modifier and for a value that is none: a server must not
    answer another question than the one that was asked. An unknown parameter is ignored and named ("Handling Errors").
    """
    filters: list[tuple[str, tuple[str, ...]]] = []
    count, page, include, ignored = PAGE, 1, False, []
    for name, value in pairs:
        if not value:
            continue
        if name in ("_id", *SEARCHED[kind]):
            filters.append((name, tuple(part.replace("\\,", ",") for part in _COMMA.split(value))))
        elif name == "_count":
            count = min(_number(name, value), PAGE)
        elif name == _OUR_OWN_PAGING:
            page = max(_number(name, value), 1)
        elif (name, value) == ("_include", f"{kind}:medication") and kind in INCLUDING:
            include = True
        elif ":" in name:
            raise BadRequest([Problem("a search parameter", "a modifier or chain", f"one of {_known(kind)}")])
        elif name != "_format":
            ignored.append(name)
    return Search(kind, tuple(filters), include, count, page, tuple(ignored))


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise BadRequest([Problem(f"the parameter {name}", "no whole number", "a whole number")])
    return int(value)


def _known(kind: str) -> str:
    return ", ".join(("_id", *SEARCHED[kind], "_count"))


class Shelf:
    """Records to be read and searched. Nothing on it is ever changed."""

    def __init__(self, records: Iterable[list[Resource]]):
        self._one: dict[tuple[str, str], Resource] = {}
        self._of: dict[tuple[str, str], list[Resource]] = defaultdict(list)
        for record in records:
            patient = record[0]["id"]
            for resource in record:
                kind = resource["resourceType"]
                self._one[kind, resource["id"]] = resource
                self._of[kind, ""].append(resource)
                self._of[kind, patient].append(resource)

    def read(self, kind: str, ident: str) -> Resource | None:
        """One resource by its id."""
        return self._one.get((kind, ident))

    def search(self, search: Search, base: str) -> Resource:
        """The searchset of a search: a page of what matches, its medicines if asked for, the links to this and the next
        page. `base` is the URL of the server, without a slash at its end.
        """
        found = [one for one in self._candidates(search, base) if _matches(one, search, base)]
        start = (search.page - 1) * search.count
        page = found[start : start + search.count]
        entries = [_entry(one, base, "match") for one in page]
        entries += [_entry(one, base, "include") for one in self._medicines(page if search.include else ())]
        entries += [{"resource": _remark(search.ignored), "search": {"mode": "outcome"}}] if search.ignored else []
        links = [{"relation": "self", "url": _url(search, base, search.page)}]
        if search.count and start + search.count < len(found):
            links.append({"relation": "next", "url": _url(search, base, search.page + 1)})
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links}
        return {**bundle, "entry": entries} if entries else bundle

    def _candidates(self, search: Search, base: str) -> list[Resource]:
        """Those of one patient where the search names one; else all of the type."""
        for name, values in search.filters:
            if name in _OWNERS and len(values) == 1:
                return self._of.get((search.kind, _ident(values[0], base)), [])
        return self._of.get((search.kind, ""), [])

    def _medicines(self, page: Iterable[Resource]) -> Iterator[Resource]:
        """The Medications that a page refers to, each once."""
        wanted = {one["medicationReference"]["reference"]: None for one in page if "medicationReference" in one}
        for reference in wanted:
            found = self._one.get(("Medication", reference.removeprefix("Medication/")))
            if found is not None:
                yield found


def _ident(value: str, base: str) -> str:
    """The id in `p1`, `Patient/p1` or this server's URL of it; what names something else has none."""
    ident = value.removeprefix(f"{base}/").removeprefix("Patient/")
    return "" if "/" in ident else ident


def _matches(resource: Resource, search: Search, base: str) -> bool:
    return all(any(_is(resource, name, value, base) for value in values) for name, values in search.filters)


def _is(resource: Resource, name: str, value: str, base: str) -> bool:
    if name == "_id":
        return bool(resource["id"] == value)
    if name in _OWNERS:
        owner = resource.get("subject") or resource.get("patient") or {}
        return bool(_ident(value, base)) and owner.get("reference") == f"Patient/{_ident(value, base)}"
    element = resource.get(_ELEMENTS.get(name, name))
    return any(_is_token(system, code, value) for system, code in _codings(element))


def _codings(element: Any) -> Iterator[tuple[str | None, str]]:
    """System and code of everything coded in an element; a plain code has no system of its own (None)."""
    if isinstance(element, str):
        yield None, element
    elif isinstance(element, list):
        for one in element:
            yield from _codings(one)
    elif isinstance(element, dict):
        for coding in element.get("coding", ()):
            yield coding.get("system", ""), coding.get("code", "")


def _is_token(system: str | None, code: str, value: str) -> bool:
    """`code`, `system|code`, `|code` (no system), `system|` (any code of it)."""
    wanted, bar, rest = value.rpartition("|")
    if not bar:
        return code == value
    if system is None:  # the system of a plain code is the one that FHIR gives the element
        return code == rest and wanted.startswith("http://hl7.org/fhir/")
    return system == wanted and rest in ("", code)


# WHAT IS SENT


def _entry(resource: Resource, base: str, mode: str) -> Resource:
    url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "resource": resource, "search": {"mode": mode}}


def _url(search: Search, base: str, page: int) -> str:
    """The search as it was carried out, so that a client sees what was ignored."""
    pairs = [(name, ",".join(value.replace(",", "\\,") for value in values)) for name, values in search.filters]
    pairs += [("_include", f"{search.kind}:medication")] if search.include else []
    pairs += [("_count", str(search.count))] if search.count != PAGE else []
    pairs += [(_OUR_OWN_PAGING, str(page))] if page > 1 else []
    query = urlencode(pairs, safe=",:/")
    return f"{base}/{search.kind}{f'?{query}' if query else ''}"


def _remark(ignored: Iterable[str]) -> Resource:
    """What was ignored; names of parameters are ours to repeat only where they are plain words."""
    named = sorted({name if re.fullmatch(r"_?[A-Za-z-]{1,40}", name) else "a parameter" for name in ignored})
    text = f"Ignored, because this server does not know it: {', '.join(named)}."
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "warning", "code": "not-supported", "diagnostics": text}],
    }


def capabilities(base: str, version: str, month: str) -> Resource:
    """What this server can do (CapabilityStatement)."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": month,
        "kind": "instance",
        "software": {"name": "cds-service", "version": version},
        "implementation": {"description": "Invented patients, read-only: nobody here is real", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{"mode": "server", "security": {"cors": True}, "resource": [_capability(kind) for kind in SEARCHED]}],
    }


def _capability(kind: str) -> Resource:
    names = ("_id", *SEARCHED[kind])
    types = {"patient": "reference", "subject": "reference"}
    return {
        "type": kind,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        **({"searchInclude": [f"{kind}:medication"]} if kind in INCLUDING else {}),
        "searchParam": [{"name": name, "type": types.get(name, "token")} for name in names],
    }
