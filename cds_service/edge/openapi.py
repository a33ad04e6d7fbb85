"""The service described in OpenAPI 3.1, put together from the schemas and the catalogue and never written twice."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cds_service.errors import (
    BadRequest,
    Forbidden,
    MissingData,
    NotJson,
    Refusal,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownService,
)
from cds_service.hooks.catalogue import HOOKS, Hook

_ANY_ROUTE = (Unauthenticated, Forbidden, Unavailable)
_ANY_BODY = (BadRequest, TooLarge, NotJson)
_CALL = (*_ANY_BODY, UnknownService, MissingData)
_KEPT = (*_ANY_BODY, UnknownService)
_EMPTY = {"type": "object", "maxProperties": 0}


def openapi(
    schemas: Path, version: str, public_url: str = "", authenticated: bool = False, metrics: bool = True
) -> dict[str, Any]:
    """The OpenAPI document. `schemas` is the folder of schemas, `public_url` may be '' (then paths are relative);
    `metrics` tells whether there are any.
    """
    parts: dict[str, Any] = {}
    discovery = _part("discovery", schemas, parts)
    _part("outcome", schemas, parts)
    paths: dict[str, Any] = {
        "/cds-services": {"get": _operation("discovery", "The services offered", discovery)},
        "/openapi.json": {"get": _operation("openapi", "This document", {"type": "object", "required": ["openapi"]})},
    }
    paths |= _probes(metrics)
    answer, sent = _part("response", schemas, parts), _part("feedback", schemas, parts)
    for hook in HOOKS:
        operation = _operation(hook.service, hook.title, answer, _CALL, _body(hook, schemas, parts))
        paths[f"/cds-services/{hook.service}"] = {"post": operation}
        feedback = _operation(f"{hook.service}-feedback", "Feedback on its cards", _EMPTY, _KEPT, sent)
        paths[f"/cds-services/{hook.service}/feedback"] = {"post": feedback}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "cds-service",
            "version": version,
            "summary": "CDS Hooks 2.0: informational cards on stage IV breast cancer",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url or "/"}],
        "security": [{"token": []}] if authenticated else [{}],
        "paths": paths,
        "components": {"schemas": parts, "securitySchemes": {"token": _TOKEN}},
    }


_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "CDS Hooks 2.0, Trusting CDS Clients: made out to the URL called, used once.",
}


def _body(hook: Hook, schemas: Path, parts: dict[str, Any]) -> dict[str, Any]:
    """The body of a call: the envelope, and what its hook says about the context."""
    envelope, context = _part("request", schemas, parts), _part(hook.schema, schemas, parts)
    return {"allOf": [envelope, {"properties": {"hook": {"const": hook.name}, "context": context}}]}


def _probes(metrics: bool) -> dict[str, Any]:
    """What probes and Prometheus ask, who bring no token."""
    ready = {"description": "It can serve", **_json(_READY)}
    paths: dict[str, Any] = {
        "/healthz": _probe("health", "Is the process alive", {"200": {"description": "It is", **_json(_STATUS)}}),
        "/readyz": _probe(
            "readiness", "Can it serve", {"200": ready, "503": {**ready, "description": "It cannot, and what it lacks"}}
        ),
    }
    if metrics:
        text = {"description": "Counts and times", "content": {"text/plain": {"schema": {"type": "string"}}}}
        answers = {"200": text, "403": _refused(Forbidden), "503": _refused(Unavailable)}
        paths["/metrics"] = _probe("metrics", "What was counted, for Prometheus", answers)
    return paths


def _probe(ident: str, summary: str, answers: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"operationId": ident, "summary": summary, "security": [{}], "responses": answers}}


def _words(**words: list[str]) -> dict[str, Any]:
    """A small object of fixed words."""
    properties = {name: {"enum": listed} for name, listed in words.items()}
    return {"type": "object", "required": list(words), "properties": properties, "additionalProperties": False}


_STATUS = _words(status=["alive"])
_READY = _words(status=["ready", "not ready"], knowledge=["loaded"], models=["warm"], store=["up", "down"])


def _operation(
    ident: str,
    summary: str,
    answer: Mapping[str, Any],
    refusals: tuple[type[Refusal], ...] = (),
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": summary, **_json(answer)}}
    for refusal in sorted((*_ANY_ROUTE, *refusals), key=_status):
        answers[str(_status(refusal))] = _refused(refusal)
    sent = {"requestBody": {"required": True, **_json(body)}} if body else {}
    return {"operationId": ident, "summary": summary, **sent, "responses": answers}


def _status(refusal: type[Refusal]) -> int:
    return refusal.status


def _refused(refusal: type[Refusal]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": (refusal.__doc__ or "").partition("\n")[0],
        **_json(_reference("outcome")),
    }
    if refusal is Unauthenticated:
        described["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}
    return described


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _part(name: str, schemas: Path, parts: dict[str, Any]) -> dict[str, Any]:
    """Take a schema file in among the components, its definitions beside it; the reference to it."""
    raw = json.loads((schemas / "hooks" / f"{name}.schema.json").read_text(encoding="utf-8"))
    definitions = raw.pop("$defs", {})
    for key, schema in {"": {k: v for k, v in raw.items() if k not in ("$id", "$schema")}, **definitions}.items():
        parts[f"{name}.{key}".rstrip(".")] = _moved(schema, name)
    return _reference(name)


def _moved(schema: Any, name: str) -> Any:
    """A schema whose references to the definitions of its file lead to the components."""
    if isinstance(schema, list):
        return [_moved(one, name) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.replace("#/$defs/", f"#/components/schemas/{name}.") if key == "$ref" else _moved(value, name)
        for key, value in schema.items()
    }
