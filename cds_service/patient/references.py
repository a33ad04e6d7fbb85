"""Where a reference of a record leads: relative, absolute, of a version, a `fullUrl` of a Bundle, or contained.

FHIR R4, "Resource References" (https://hl7.org/fhir/R4/references.html) and "Resolving references in Bundles"
(https://hl7.org/fhir/R4/bundle.html#references). A resource goes by one name, `Type/id`; without an id by its type and
its `fullUrl`. A `fullUrl` that two different resources claim leads nowhere. Nothing is looked up outside of the record.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cds_service.patient.elements import identifier, objects, word

#: the name of nothing
_CLAIMED_TWICE = "?"


def name_of(resource: Mapping[str, Any], url: Any = None) -> str:
    """What a resource goes by: `Type/id`, or its type and `fullUrl` where it has no id; '' without a type."""
    kind, ident = word(resource.get("resourceType")), identifier(resource)
    if not kind:
        return ""
    return f"{kind}/{ident}" if ident else f"{kind} {word(url) or 'without id'}"


def local(reference: str) -> str:
    """`Type/id` of a relative, absolute or versioned reference; '' where there is none."""
    path = reference.partition("/_history/")[0].split("/")
    return f"{path[-2]}/{path[-1]}" if len(path) >= 2 and path[-2] and path[-1] else ""


class References:
    """The names behind the references of some Bundles; their `fullUrl`s are read when one is first asked for."""

    def __init__(self, entries: Callable[[], Iterable[dict[str, Any]]]):
        self._entries = entries
        self._names: dict[str, str] | None = None

    def name(self, reference: Any) -> str:
        """The name of what a reference points to; '' where it points to nothing that could be in the record.

        Takes a Reference element or its text. What is contained has no name: see `contained`.
        """
        text = reference.get("reference") if isinstance(reference, dict) else reference
        if not isinstance(text, str) or text.startswith("#"):
            return ""
        if ":" in text:
            if self._names is None:
                self._names = self._read()
            known = self._names.get(text)
            if known is not None:
                return known
        return local(text)

    def _read(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for entry in self._entries():
            url, resource = entry.get("fullUrl"), entry.get("resource")
            if isinstance(url, str) and isinstance(resource, dict):
                name = name_of(resource, url)
                names[url] = name if names.get(url, name) == name else _CLAIMED_TWICE
        return names


def contained(reference: Any, container: Mapping[str, Any]) -> dict[str, Any] | None:
    """The resource that a reference such as `#m1` finds inside the resource that makes it; None where there is none."""
    text = reference.get("reference") if isinstance(reference, dict) else reference
    if not isinstance(text, str) or not text.startswith("#"):
        return None
    found = [one for one in objects(container.get("contained")) if f"#{identifier(one).removeprefix('#')}" == text]
    return found[0] if len(found) == 1 and text != "#" else None
