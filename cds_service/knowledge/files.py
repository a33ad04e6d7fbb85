"""Reading the folder of knowledge files: text to data, each file against the JSON Schema of its kind."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from cds_service.errors import Problem
from cds_service.knowledge.strict_yaml import read_yaml

_FOLDERS = {"sources": "source", "facts": "fact", "drugs": "drug"}
_SINGLE = (
    "knowledge", "systems", "classes", "regimens", "values", "conditions", "reading", "effects", "override-reasons",
)  # fmt: skip


@dataclass(frozen=True)
class Files:
    """Every file's data by kind and name (its stem; sections: card/stem), and one digest over all bytes."""

    data: Mapping[str, Mapping[str, Any]]
    digest: str

    def all(self, kind: str, problems: list[Problem]) -> list[tuple[str, Any]]:
        """Every file of a kind by name; an id that is not the file's name is a problem."""
        rows = sorted(self.data.get(kind, {}).items())
        for key, raw in rows:
            stem = key.rpartition("/")[2]
            if raw.get(kind, stem) != stem:
                problems.append(Problem(f"cards/…/{key}.yaml:/{kind}", repr(raw[kind]), f"{stem!r}, the file's name"))
        return rows

    def one(self, kind: str) -> Any:
        """The data of a kind that has a single file."""
        return self.data.get(kind, {}).get(kind, {})


def read_files(cards: Path, schemas: Path) -> tuple[Files, list[Problem]]:
    """Read and check every `*.yaml` below `cards`. With problems the data is not to be used."""
    data: dict[str, dict[str, Any]] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    for path in sorted(cards.rglob("*.yaml")):
        name = path.relative_to(cards).as_posix()
        kind, key = _kind(name)
        content = path.read_bytes()
        digest.update(name.encode() + b"\0" + content + b"\0")
        if not kind:
            problems.append(Problem(f"cards/{name}", "a file that is not of a known kind", "a file as the README maps"))
            continue
        value, faults = _read(content, f"cards/{name}")
        faults = faults or _against_schema(value, kind, schemas, f"cards/{name}")
        problems += faults
        if not faults:
            data.setdefault(kind, {})[key] = value
    for kind in _SINGLE:
        if kind not in data and not problems:
            problems.append(Problem(f"cards/{kind}.yaml", "no such file", "the file"))
    return Files(data, f"sha256:{digest.hexdigest()}"), problems


def _kind(name: str) -> tuple[str, str]:
    folder, _, stem = name.removesuffix(".yaml").rpartition("/")
    if not folder:
        return (stem, stem) if stem in _SINGLE else ("", "")
    if "/" in folder:
        return "", ""
    if folder in _FOLDERS:
        return _FOLDERS[folder], stem
    return ("card", folder) if stem == "card" else ("section", f"{folder}/{stem}")


def _read(content: bytes, name: str) -> tuple[Any, list[Problem]]:
    try:
        return read_yaml(content.decode("utf-8"), name)
    except UnicodeDecodeError:
        return None, [Problem(name, "bytes that are not UTF-8", "UTF-8 text")]


@cache
def _validator(path: Path) -> Draft202012Validator:
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


def _against_schema(value: Any, kind: str, schemas: Path, name: str) -> list[Problem]:
    validator = _validator(schemas / "knowledge" / f"{kind}.schema.json")
    return [
        Problem(f"{name}:/{'/'.join(str(step) for step in error.absolute_path)}", _found(error), _expected(error))
        for error in sorted(validator.iter_errors(value), key=lambda error: [str(step) for step in error.absolute_path])
    ]


def _found(error: Any) -> str:
    if error.validator in ("required", "additionalProperties"):
        return str(error.message)
    shown = repr(error.instance)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def _expected(error: Any) -> str:
    if error.validator in ("required", "additionalProperties"):
        return "the keys of its schema"
    if error.validator in ("pattern", "enum", "type"):
        return f"{error.validator} {error.validator_value}"
    return str(error.message)
