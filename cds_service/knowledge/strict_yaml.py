"""YAML without surprises: what a reviewer reads is what the program gets.

Plain words are text (`on` and `no` too), `true` and `false` are truth values, whole numbers of at most three digits
are numbers. What YAML 1.1 would quietly turn into something else (nothing, dates, long numbers, fractions) is a
problem that asks for quotes; so are duplicate keys, anchors, aliases and tags.
"""

import re
from typing import Any

import yaml

from cds_service.errors import Problem

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SMALL_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")
_TEXT = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:bool"}
_SURPRISES = {
    "tag:yaml.org,2002:null": "an empty value",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:merge": "a merge key",
    "tag:yaml.org,2002:value": "a value key",
}
_STANDARD_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq")} | _TEXT | set(_SURPRISES)


def read_yaml(text: str, name: str) -> tuple[Any, list[Problem]]:
    """Parse one document; `name` is the file's name for problems. With problems the value is not to be used."""
    try:
        if "*" in text and any(  # without one there is no alias
            isinstance(event, yaml.events.AliasEvent) for event in yaml.parse(text, Loader=_Loader)
        ):
            return None, [Problem(name, "an alias", "the value written out in full")]
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        return None, [Problem(f"{name}{line}", str(getattr(error, "problem", error)), "well-formed YAML")]
    if root is None:
        return None, [Problem(name, "an empty file", "a mapping")]
    problems: list[Problem] = []
    return _value(root, name, problems), problems


def _value(node: yaml.Node, name: str, problems: list[Problem]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, name, problems)
    if isinstance(node, yaml.SequenceNode):
        return [_value(member, name, problems) for member in node.value]
    return _scalar(node, name, problems)


def _mapping(node: yaml.MappingNode, name: str, problems: list[Problem]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _value(key_node, name, problems)
        where = f"{name}:{key_node.start_mark.line + 1}"
        if not isinstance(key, str):
            problems.append(Problem(where, f"the key {key!r}", "a word as key"))
        elif key in result:
            problems.append(Problem(where, f"the key {key!r} twice", "each key once"))
        else:
            result[key] = _value(value_node, name, problems)
    return result


def _scalar(node: Any, name: str, problems: list[Problem]) -> Any:
    where = f"{name}:{node.start_mark.line + 1}"
    if node.tag not in _STANDARD_TAGS:
        problems.append(Problem(where, f"the tag {node.tag}", "no tag"))
        return None
    if node.tag in _TEXT:
        plain_truth = not node.style and node.value in ("true", "false")
        return node.value == "true" if plain_truth else node.value
    if _SMALL_NUMBER.fullmatch(node.value):
        return int(node.value)
    problems.append(Problem(where, f"{node.value!r}, {_SURPRISES[node.tag]}", "quotes around it"))
    return None
