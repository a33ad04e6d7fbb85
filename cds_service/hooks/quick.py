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
_SAYS_NOTHING = {"$schema", "$id", "title", "description"}


def check(schema: Mapping[str, Any]) -> Check:
    """The check of a schema of strings by length and pattern, of objects by their members; of any other, always no."""
    keywords = schema.keys() - _SAYS_NOTHING
    if schema.get("type") == "string" and keywords <= {"type", "minLength", "maxLength", "pattern"}:
        return _string(schema.get("minLength", 0), schema.get("maxLength", inf), schema.get("pattern", ""))
    if schema.get("type") == "object" and keywords <= {"type", "properties", "required", "dependentRequired"}:
        members = {name: check(member) for name, member in schema.get("properties", {}).items()}
        return _object(members, schema.get("required", ()), schema.get("dependentRequired", {}))
    return lambda value: False


def _string(least: int, most: float, pattern: str) -> Check:
    search = re.compile(pattern).search
    return lambda value: isinstance(value, str) and least <= len(value) <= most and search(value) is not None


def _object(members: Mapping[str, Check], required: list[str], dependent: Mapping[str, list[str]]) -> Check:
    def sound(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value for name in required)
            and all(member(value[name]) for name, member in members.items() if name in value)
            and all(needed in value for name in dependent if name in value for needed in dependent[name])
        )

    return sound
