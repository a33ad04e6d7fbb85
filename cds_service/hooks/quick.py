"""Does a value surely keep to a JSON Schema? A quick yes for calls that are sound, which is nearly all of them.

It knows the few keywords below and says no wherever a schema uses another: jsonschema then has the last word, and names
the faults. The schema stays the definition; a test holds the two against each other.
"""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

#: true only of what a schema allows
Check = Callable[[Any], bool]

#: keywords that allow or forbid nothing
_SAYS_NOTHING = {"$schema", "$id", "$comment", "title", "description"}
_OF_STRINGS = {"type", "minLength", "maxLength", "pattern"}
_OF_OBJECTS = {"type", "properties", "required", "dependentRequired", "if", "then"}


def check(schema: Mapping[str, Any]) -> Check:
    """The check of a schema of strings by length and pattern, of objects by their members, either or null. The check of
    any other schema always says no.
    """
    if not _is_known(schema):
        return lambda value: False
    kind, nullable = _kind(schema)
    sound = _string(schema) if kind == "string" else _object(schema)
    return (lambda value: value is None or sound(value)) if nullable else sound


def _kind(schema: Mapping[str, Any]) -> tuple[str, bool]:
    """The type that a schema asks for, and whether null will do as well."""
    kinds = schema.get("type")
    listed = kinds if isinstance(kinds, list) else [kinds]
    others = [kind for kind in listed if kind != "null"]
    return (str(others[0]) if len(others) == 1 else "", len(others) < len(listed))


def _is_known(schema: Mapping[str, Any]) -> bool:
    """Whether this module knows every keyword of a schema itself; its members see to themselves."""
    keywords, (kind, nullable) = schema.keys() - _SAYS_NOTHING, _kind(schema)
    if kind == "string":
        return keywords <= _OF_STRINGS
    conditional = {"if", "then"} & keywords
    exact = all(_is_exact(_about_objects(schema.get(one))) for one in conditional)
    return (
        kind == "object"
        and keywords <= _OF_OBJECTS
        and exact
        and len(conditional) != 1
        and not (conditional and nullable)
    )


def _is_exact(schema: Mapping[str, Any]) -> bool:
    """Whether a no of its check is as sure as a yes: every keyword at every depth is known."""
    return _is_known(schema) and all(_is_exact(member) for member in schema.get("properties", {}).values())


def _about_objects(condition: Any) -> Mapping[str, Any]:
    """A condition of a schema of objects speaks of objects, also where it does not say so."""
    return {"type": "object", **condition} if isinstance(condition, dict) else {}


def _string(schema: Mapping[str, Any]) -> Check:
    least, most = schema.get("minLength", 0), schema.get("maxLength", inf)
    search = re.compile(schema.get("pattern", "")).search
    return lambda value: isinstance(value, str) and least <= len(value) <= most and search(value) is not None


def _object(schema: Mapping[str, Any]) -> Check:
    members = {name: check(member) for name, member in schema.get("properties", {}).items()}
    required: list[str] = schema.get("required", [])
    dependent: Mapping[str, list[str]] = schema.get("dependentRequired", {})
    holds, then = (check(_about_objects(schema[one])) if one in schema else None for one in ("if", "then"))

    def sound(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value for name in required)
            and all(member(value[name]) for name, member in members.items() if name in value)
            and all(needed in value for name in dependent if name in value for needed in dependent[name])
            and (holds is None or then is None or not holds(value) or then(value))
        )

    return sound
