"""Does something say by itself which query it answers? A resource by its id, a search result by its own link.

FHIR R4: the `self` link of a searchset states the parameters that the server applied
(https://hl7.org/fhir/R4/search.html#conformance).
"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cds_service.patient.elements import identifier, objects
from cds_service.patient.references import local

#: parameters of a search that choose no resources (http://hl7.org/fhir/R4/search.html#return)
_FREE = {"_count", "_format", "_pretty", "_sort", "_total", "_include", "_revinclude"}


def answers(value: Any, query: str) -> bool:
    """Whether something is, by its own word, what a query such as `Condition?patient=1` or `Patient/1` asks for."""
    if not isinstance(value, dict):
        return False
    if "?" not in query:
        return f"{value.get('resourceType')}/{identifier(value)}" == query
    links = [link.get("url") for link in objects(value.get("link")) if link.get("relation") == "self"]
    return any(isinstance(url, str) and _brings(url, query) for url in links)


def _brings(url: str, query: str) -> bool:
    """Whether a search brings at least what a query asks for: the same type and patient, and no narrower parameter."""
    asked_kind, asked = _taken_apart(query)
    kind, given = _taken_apart(url)
    patient, whose = asked.pop("patient", ""), given.pop("patient", "") or given.pop("subject", "")
    if kind != asked_kind or not patient or (local(whose) or f"Patient/{whose}") != f"Patient/{patient}":
        return False
    return all(
        set(asked.get(name, "").split(",")) <= set(text.split(",")) for name, text in given.items() if name not in _FREE
    )


def _taken_apart(url: str) -> tuple[str, dict[str, str]]:
    """The type and the parameters of a search; nothing where a parameter stands twice or cannot be read."""
    try:
        parts = urlsplit(url)
        listed = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return "", {}
    parameters = dict(listed)
    return (parts.path.rpartition("/")[2], parameters) if len(parameters) == len(listed) else ("", {})
