"""Reaching into raw JSON: whatever stands where a list or an object is expected, these give one. Nothing raises."""

from typing import Any


def listed(value: Any) -> list[Any]:
    """A list as it is; anything else is none."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def word(value: Any) -> str:
    """A string as it is; anything else is the empty one."""
    return value if isinstance(value, str) else ""


def one_or_more(value: Any) -> list[Any]:
    """A list as it is; a single value, as other versions of FHIR write it, as a list of one; nothing as none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def identifier(resource: Any) -> str:
    """The id of a resource. A number, which FHIR does not allow and some clients send, is taken by its digits."""
    ident = resource.get("id")
    if isinstance(ident, int) and not isinstance(ident, bool):
        return str(ident)
    return ident if isinstance(ident, str) else ""
