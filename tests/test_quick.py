"""The quick check of calls against jsonschema: it never calls sound what a schema refuses, and knows sound calls."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.quick import check
from cds_service.knowledge.load import home

SCHEMAS = {path.name.split(".")[0]: json.loads(path.read_text()) for path in (home()[1] / "hooks").glob("*.json")}
#: of these the quick check must not only be right but complete: they are what every call is checked against
COMPLETE = ["request", HOOKS[0].schema, "context-encounter-start", "context-order-sign", "context-medication-refill"]
TEXTS = st.sampled_from(["", "x", "x" * 200, "x" * 201, "http://ehr.example.org", "ftp://ehr.example.org", "\n"])
VALUES = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.just({}), st.just([]), st.just([{}]))


def names(schema: Any) -> set[str]:
    """The members that a schema speaks of, at any depth."""
    if isinstance(schema, list):
        return {name for one in schema for name in names(one)}
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})) | {name for one in schema.values() for name in names(one)}


def values(schema: dict[str, Any]) -> Any:
    """Anything, and objects that are often sound: sound members, some of them left out or of any other kind."""
    sound = {"string": st.just("http://x"), "object": st.just({}), "array": st.just([]), "boolean": st.just(True)}
    members = {
        name: st.one_of(sound.get(str(schema.get("properties", {}).get(name, {}).get("type")), VALUES), VALUES)
        for name in [*sorted(names(schema)), "another"]
    }
    return st.one_of(VALUES, st.fixed_dictionaries({}, optional=members), st.fixed_dictionaries(members))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@given(data=st.data())
def test_what_the_quick_check_calls_sound_the_schema_allows(name: str, data: Any) -> None:
    schema = SCHEMAS[name]
    value = data.draw(values(schema))
    quick, allowed = check(schema)(value), Draft202012Validator(schema).is_valid(value)

    assert not quick or allowed
    if name in COMPLETE:
        assert quick == allowed


@pytest.mark.parametrize(
    "keyword", ["enum", "const", "not", "items", "additionalProperties", "format", "$ref", "anyOf"]
)
def test_a_keyword_that_it_does_not_know_is_left_to_the_schema(keyword: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}

    assert check(schema)({"a": "x"})
    assert not check({**schema, keyword: {}})({"a": "x"})
    assert not check({**schema, "properties": {"a": {"type": "string", keyword: []}}})({"a": "x"})


def test_a_sound_call_is_known_without_the_schema() -> None:
    call = {"hook": "patient-view", "hookInstance": "x", "fhirServer": "https://ehr.example.org", "prefetch": {}}
    context = {"userId": "Practitioner/1", "patientId": "1"}

    assert check(SCHEMAS["request"])({**call, "context": context, "fhirAuthorization": {}})
    assert check(SCHEMAS[HOOKS[0].schema])({**context, "encounterId": "1"})
