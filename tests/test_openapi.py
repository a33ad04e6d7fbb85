"""The OpenAPI document: valid, derived, true of the service; and the service stands whatever the document allows."""

import re

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from support import STYLES, URL, example, patient_view, put_in_prefetch
from tokens import EC, PUBLIC_URL, jwks

from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app
from cds_service.hooks.catalogue import HOOKS

CALLS = [f"/cds-services/{hook.service}" for hook in HOOKS]
FEEDBACK = [f"{path}/feedback" for path in CALLS]
PROBES = ("/healthz", "/readyz", "/metrics")
EXPECTED = {
    # a call of the right form may lack FHIR data
    "checks": {"positive_data_acceptance": {"expected-statuses": ["200", "412"]}},
    # a time of the right form may be in no calendar
    "operations": [
        {
            "include-path-regex": "/feedback$",
            "checks": {"positive_data_acceptance": {"expected-statuses": ["200", "400"]}},
        }
    ],
}
BOUNDED = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").get_json()


@pytest.fixture(scope="module")
def described():
    """The service as its document describes it."""
    app = create_app(site=Settings(open=True, metrics="open"))
    return schemathesis.openapi.from_wsgi("/openapi.json", app, config=SchemathesisConfig.from_dict(EXPECTED))


def test_it_is_valid_openapi(document):
    assert document["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_it_describes_every_route_and_every_refusal(document):
    routes = {str(rule) for rule in create_app().url_map.iter_rules()}
    services = "|".join(hook.service for hook in HOOKS)
    patterns = {re.sub(f"/({services})(?=/|$)", "/<service>", path) for path in document["paths"]}

    assert patterns == routes
    assert set(document["paths"]) == {"/cds-services", "/openapi.json", *PROBES, *CALLS, *FEEDBACK}
    for path in CALLS:
        answers = document["paths"][path]["post"]["responses"]
        assert set(answers) == {"200", "400", "401", "403", "404", "412", "413", "415", "503"}
        for status, answer in answers.items():
            name = "response" if status == "200" else "outcome"
            assert answer["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{name}"}


def test_it_says_whether_callers_must_be_known(document, tmp_path):
    path = tmp_path / "callers.toml"
    fields = ", ".join(f'{name} = "{value}"' for name, value in jwks(EC)["keys"][0].items())
    path.write_text(f'[[callers]]\nissuer = "https://a.example"\njwks = {{keys = [{{{fields}}}]}}\n', encoding="utf-8")
    site = Settings(callers=path, public_url=PUBLIC_URL, discovery_open=True)
    known = create_app(site=site).test_client().get("/openapi.json").get_json()

    assert document["security"] == [{}]
    assert known["security"] == [{"token": []}]
    assert known["servers"] == [{"url": PUBLIC_URL}]


@pytest.mark.parametrize(
    ("mode", "method", "path"),
    [
        (GenerationMode.POSITIVE, "GET", "/cds-services"),
        (GenerationMode.POSITIVE, "GET", "/openapi.json"),
        *((GenerationMode.POSITIVE, "GET", path) for path in PROBES),
        # feedback has one schema for every service, calls have one for each hook
        *((mode, "POST", path) for mode in GenerationMode for path in (*CALLS, FEEDBACK[0])),
    ],
)
def test_the_service_does_what_its_document_says(described, mode, method, path):
    operation = described[path][method]

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def obeys(case):
        case.call_and_validate()

    obeys()


@pytest.mark.parametrize("style", STYLES)
def test_answers_with_cards_are_as_the_document_says(described, services, style):
    body = patient_view("va-01", put_in_prefetch(example("VA-01", style)[1], "va-01", services))

    answer = described[URL]["POST"].Case(body=body, media_type="application/json").call_and_validate()

    assert answer.json()["cards"]
