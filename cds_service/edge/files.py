"""Records on disk as hook calls: a hook request as it is, or a FHIR Bundle, a resource or a folder of them.

A bare record is taken for all there is: every query is answered by the same Bundle of everything.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from cds_service.errors import BadRequest, Problem
from cds_service.hooks.catalogue import HOOKS, Hook
from cds_service.hooks.request import HookCall, parse, read
from cds_service.patient.elements import identifier, objects, word
from cds_service.patient.record import Need

_INSTANCE = "explain"


def call_of(path: Path, patient: str, needs: tuple[Need, ...], schemas: Path) -> HookCall:
    """The hook call in a file, or the one that a bare record amounts to. Raises BadRequest.

    `patient` is the id of whose record it is; '' where there is one Patient, or for a hook request, which says so.
    """
    body = b"" if path.is_dir() else path.read_bytes()
    raw = [_parsed(one.read_bytes(), one.name) for one in _files(path)] if path.is_dir() else _parsed(body, path.name)
    if isinstance(raw, dict) and "resourceType" not in raw:
        hook = hook_of(raw)
        call = parse(body, hook, schemas)
        if patient not in ("", call.patient):
            raise BadRequest([Problem("--patient", "another patient", "the one of the hook request, or no --patient")])
        return call
    bundle = as_bundle(raw)
    whose = patient or only_patient(bundle)
    return read(
        {
            "hook": HOOKS[0].name,
            "hookInstance": _INSTANCE,
            "context": {"userId": "Practitioner/unknown", "patientId": whose},
            "prefetch": dict.fromkeys((need.key for need in needs), bundle),
        },
        HOOKS[0],
        schemas,
    )


def _files(folder: Path) -> list[Path]:
    found = sorted(one for one in folder.rglob("*") if one.suffix in (".json", ".ndjson") and one.is_file())
    if not found:
        raise BadRequest([Problem("the folder", "no file *.json or *.ndjson", "FHIR resources")])
    return found


def _parsed(body: bytes, name: str) -> Any:
    """JSON, or resources line by line (NDJSON)."""
    try:
        if name.endswith(".ndjson"):
            return [orjson.loads(line) for line in body.splitlines() if line.strip()]
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"{name}, line {error.lineno}, column {error.colno}"
        raise BadRequest([Problem(where, "text that is not JSON", "JSON in UTF-8")]) from None


def as_bundle(raw: Any) -> dict[str, Any]:
    """What was read as one Bundle. Raises BadRequest where it is no FHIR resource and no list of them."""
    if isinstance(raw, dict):
        return raw if raw["resourceType"] == "Bundle" else as_bundle([raw])
    if not isinstance(raw, list):
        raise BadRequest([Problem("the file", "neither an object nor a list", "a hook request or FHIR resources")])
    flat = [one for member in raw for one in (member if isinstance(member, list) else [member])]
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in flat]}


def only_patient(bundle: dict[str, Any]) -> str:
    """The id of the one patient of a record: its own, or else the one that its entry's fullUrl ends with.

    Raises BadRequest where there is none, or more than one.
    """
    ids = sorted(set(_patients(bundle)))
    if len(ids) != 1 or not ids[0]:
        listed = f"{len(ids)} patients ({', '.join(one or 'without id' for one in ids[:20])})" if ids else "no Patient"
        raise BadRequest([Problem("the record", listed, "one Patient, or --patient ID, which says whose record it is")])
    return ids[0]


def _patients(bundle: dict[str, Any]) -> Iterator[str]:
    for entry in objects(bundle.get("entry")):
        resource = entry.get("resource")
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if isinstance(resource, dict) and kind == "Bundle":
            yield from _patients(resource)
        elif isinstance(resource, dict) and kind == "Patient":
            yield identifier(resource) or re.split("[/:]", word(entry.get("fullUrl")))[-1]


def hook_of(raw: dict[str, Any]) -> Hook:
    """The catalogue entry of the hook that a request names; the first one where it names none."""
    named = raw.get("hook")
    known = [hook for hook in HOOKS if hook.name == named]
    if not known and isinstance(named, str):
        raise BadRequest([Problem("$.hook", "a hook that no service answers", " or ".join(one.name for one in HOOKS))])
    return known[0] if known else HOOKS[0]
