"""From the bytes of a call to a hook call: parsed once, checked against the schemas, every fault reported at once.

The messages name where a fault stands and what was expected, never a value of the call.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from jsonschema import Draft202012Validator

from cds_service.errors import BadRequest, Problem
from cds_service.hooks.catalogue import Hook
from cds_service.hooks.quick import Check, check

#: members of a call and its context that stand once
_ONCE = ("hook", "hookInstance", "context", "patientId", "userId", "prefetch", "fhirServer", "fhirAuthorization")
_PREFETCH = re.compile(rb'"prefetch"\s*:')
#: what a body without repetition holds at most so often; a second `context` brings a second patientId
_AT_MOST = {b'"hook': 2, b'"patientId"': 1, b'"prefetch"': 1, b'"fhirServer"': 1}


@dataclass(frozen=True)
class HookCall:
    """The validated request. `prefetch` is as it came, `written` as it was sent, where that is at hand; `token` and
    `fhir_server` are for fetching only. `today` is the day of the call where on earth it is latest, from whoever has a
    clock; '' where nobody looked.
    """

    hook: Hook
    instance: str
    patient: str
    context: dict[str, Any]
    prefetch: dict[str, Any]
    fhir_server: str = ""
    token: str = field(default="", repr=False)
    today: str = ""
    written: bytes = field(default=b"", repr=False)


def parse(body: bytes, hook: Hook, schemas: Path, today: str = "") -> HookCall:
    """Read a call of a service, made `today`. Raises BadRequest with every fault of the envelope and its context."""
    raw, envelope, written = _parted(body) or (decoded(body), body, b"")
    twice = _twice(body, envelope)
    if twice:
        raise BadRequest(twice)
    return read(raw, hook, schemas, written, today)


def _parted(body: bytes) -> tuple[dict[str, Any], bytes, bytes] | None:
    """A body that ends with its prefetch, as most do: what it says, its envelope, and the prefetch as it was sent. None
    for any other body.

    With null in place of its end, what stands before is JSON only if the end is the value of the last member.
    """
    found = _PREFETCH.search(body)
    if found is None or not body.endswith(b"}"):
        return None
    envelope, written = body[: found.end()] + b"null}", body[found.end() : -1]
    try:
        raw, prefetch = orjson.loads(envelope), orjson.loads(written)
    except orjson.JSONDecodeError:
        return None
    if "prefetch" not in raw:  # the quotation mark before it was escaped
        return None
    return {**raw, "prefetch": prefetch}, envelope, written


def decoded(body: bytes) -> Any:
    """The JSON of a body. Raises BadRequest where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"the body, line {error.lineno}, column {error.colno}"
        raise BadRequest([Problem(where, "text that is not JSON", "a JSON object in UTF-8")]) from None


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object as they were written."""


def _twice(body: bytes, envelope: bytes) -> list[Problem]:
    """Members of the envelope or its context that stand twice: a parser keeps one of them, and nobody knows which one
    was meant. Only a body in whose envelope such a name occurs too often is looked at again.
    """
    if all(envelope.count(name) <= most for name, most in _AT_MOST.items()):
        return []
    try:
        members = json.loads(body, object_pairs_hook=_Pairs)
    except RecursionError:
        return [Problem("the body", "JSON that is nested too deeply", "a request of CDS Hooks")]
    contexts = [value for name, value in members if name == "context"] if isinstance(members, _Pairs) else []
    return _repeated(members, "$") + [problem for one in contexts for problem in _repeated(one, "$.context")]


def _repeated(members: Any, where: str) -> list[Problem]:
    names = [name for name, _ in members] if isinstance(members, _Pairs) else []
    return [
        Problem(f"{where}.{name}", "a member that stands twice", "the member once")
        for name in _ONCE
        if names.count(name) > 1
    ]


def read(raw: Any, hook: Hook, schemas: Path, written: bytes = b"", today: str = "") -> HookCall:
    """Check parsed JSON and make it a hook call; `written` is its prefetch as it was sent, where that is at hand."""
    problems = faults(raw, "request", schemas, "$")
    if isinstance(raw, dict):
        if isinstance(raw.get("hook"), str) and raw["hook"] != hook.name:
            problems.append(Problem("$.hook", "another hook", f"{hook.name!r}, the hook of {hook.service}"))
        if isinstance(raw.get("context"), dict):
            problems += faults(raw["context"], hook.schema, schemas, "$.context")
    if problems:
        raise BadRequest(problems)
    return HookCall(
        hook=hook,
        instance=raw["hookInstance"],
        patient=raw["context"]["patientId"].removeprefix("Patient/"),  # the bare id; some clients send the reference
        context=raw["context"],
        prefetch=raw.get("prefetch") or {},  # null where a client has nothing
        fhir_server=raw.get("fhirServer") or "",
        token=_token(raw.get("fhirAuthorization")),
        today=today,
        written=written,
    )


def _token(authorization: Any) -> str:
    """The access token of a call; '' where there is none, or one that has expired already."""
    if not isinstance(authorization, dict):
        return ""
    token, lives = authorization.get("access_token"), authorization.get("expires_in")
    expired = isinstance(lives, int | float) and lives <= 0
    return token.strip() if isinstance(token, str) and not expired else ""


@cache
def _rules(schema: str, schemas: Path) -> tuple[Check, Draft202012Validator]:
    """A schema of hook calls, as the check that knows what is sound, and as the validator that names every fault."""
    rules = json.loads((schemas / "hooks" / f"{schema}.schema.json").read_text(encoding="utf-8"))
    return check(rules), Draft202012Validator(rules)


def faults(value: Any, schema: str, schemas: Path, root: str) -> list[Problem]:
    """Every fault of a value by one of the schemas of hook calls, each with its JSON path under `root`."""
    sound, validator = _rules(schema, schemas)
    if sound(value):
        return []
    problems = []
    for error in validator.iter_errors(value):
        where = root + "".join(f".{step}" for step in error.absolute_path)
        problems.append(Problem(where, *_words(error)))
    return sorted(problems, key=str)


def _words(error: Any) -> tuple[str, str]:
    """Found and expected, without the value that was sent."""
    kind = {dict: "an object", list: "an array", str: "a string", bool: "a truth value", type(None): "null"}
    found = kind.get(type(error.instance), "a number")
    match error.validator:
        case "required":
            absent = error.message.split("'")[1]
            return f"no `{absent}`", f"`{absent}`"
        case "anyOf":
            return "none of the fields that say it", error.schema["description"]
        case "type":
            kinds = error.validator_value
            return found, f"type {' or '.join(kinds) if isinstance(kinds, list) else kinds}"
        case "minLength":
            return "an empty string", "some text"
        case "maxLength":
            return "a very long string", f"at most {error.validator_value} characters"
        case "pattern":
            return f"{found} of another form", f"the form {error.validator_value}"
        case "enum":
            return "another value", f"one of {', '.join(map(str, error.validator_value))}"
        case "minItems":
            return "an empty array", f"at least {error.validator_value} entry"
    return found, str(error.validator)
