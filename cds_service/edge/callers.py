"""The callers that a site trusts: its file, checked against its schema and itself, every problem at once."""

import json
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from cds_service.edge.keys import FetchedKeys, KeySet, PublicKey, UnsoundKeys, fetch, key_set, read_keys
from cds_service.errors import ConfigurationError, Problem

_EXPECTED = {
    "anyOf": "one of jwks, jwks_file and jku",
    "not": "one of jwks and jwks_file",
    "additionalProperties": "the keys of schemas/site/callers.schema.json",
}


@dataclass(frozen=True)
class Trusted:
    """A caller that may call. Keys given by the site come first; only without them are `fetched` ones asked.

    No `tenants` means that any tenant will do.
    """

    issuer: str
    algorithms: frozenset[str]
    jku: tuple[str, ...]
    tenants: frozenset[str]
    given: KeySet
    fetched: Mapping[str, FetchedKeys]

    def key(self, kid: str, jku: str) -> PublicKey | None:
        """The key of a token that names `kid`, and `jku` where it is not ''. `jku` must be one of this caller's."""
        if self.given:
            return self.given.get(kid)
        asked: Iterable[str] = (jku,) if jku else self.jku
        return next((key for url in asked if (key := self.fetched[url].find(kid))), None)


Callers = Mapping[str, Trusted]


def read_callers(
    path: Path,
    schemas: Path,
    algorithms: Iterable[str],
    get: Callable[[str, bool], bytes] = fetch,
    clock: Callable[[], float] = time.monotonic,
) -> Callers:
    """The trusted callers by issuer. `get` fetches a URL, from a private network too where its second argument says so.

    Nothing is fetched before the first token asks. Raises ConfigurationError with every problem of the file.
    """
    raw = _read(path)
    problems = _against_schema(raw, schemas, path.name)
    if problems:
        raise ConfigurationError(problems)
    found: dict[str, Trusted] = {}
    for place, one in enumerate(raw["callers"]):
        where = f"{path.name}:/callers/{place}"
        if one["issuer"] in found:
            problems.append(Problem(f"{where}/issuer", "an issuer that stands above already", "each issuer once"))
        given = _given(one, where, path.parent, problems)
        found[one["issuer"]] = _trusted(one, given, frozenset(algorithms), get, clock)
    if problems:
        raise ConfigurationError(problems)
    return found


def _trusted(
    one: Mapping[str, Any],
    given: KeySet,
    algorithms: frozenset[str],
    get: Callable[[str, bool], bytes],
    clock: Callable[[], float],
) -> Trusted:
    jku, private = tuple(one.get("jku", ())), one.get("private", False)
    return Trusted(
        issuer=one["issuer"],
        algorithms=frozenset(one.get("algorithms", algorithms)),
        jku=jku,
        tenants=frozenset(one.get("tenants", ())),
        given=given,
        fetched={url: FetchedKeys(url, lambda url: get(url, private), clock) for url in jku},
    )


def _given(one: Mapping[str, Any], where: str, folder: Path, problems: list[Problem]) -> KeySet:
    """The keys that stand in the file or beside it; none where they are to be fetched."""
    kind = next((kind for kind in ("jwks", "jwks_file") if kind in one), "")
    try:
        if kind == "jwks":
            return read_keys(one["jwks"])
        if kind == "jwks_file":
            return key_set((folder / one["jwks_file"]).read_bytes())
    except UnsoundKeys as fault:
        problems.append(Problem(f"{where}/{kind}", str(fault), "a JWK Set of public keys, each with its own kid"))
    except OSError:
        problems.append(Problem(f"{where}/{kind}", "no file that can be read", "the path of a JWK Set"))
    return {}


def _read(path: Path) -> Any:
    """The file as data: TOML where its name ends so, else JSON."""
    try:
        content = path.read_text(encoding="utf-8")
        return tomllib.loads(content) if path.suffix == ".toml" else json.loads(content)
    except OSError:
        raise ConfigurationError([Problem(str(path), "no file that can be read", "the file of callers")]) from None
    except (ValueError, RecursionError):
        raise ConfigurationError([Problem(path.name, "text that is not JSON or TOML", "valid JSON or TOML")]) from None


def _against_schema(raw: Any, schemas: Path, name: str) -> list[Problem]:
    schema = json.loads((schemas / "site" / "callers.schema.json").read_text(encoding="utf-8"))
    errors = Draft202012Validator(schema).iter_errors(raw)
    return [
        Problem(
            f"{name}:/{'/'.join(str(step) for step in error.absolute_path)}",
            f"what {error.validator} refuses",
            _EXPECTED.get(str(error.validator), f"{error.validator} {error.validator_value}"),
        )
        for error in sorted(errors, key=lambda error: [str(step) for step in error.absolute_path])
    ]
