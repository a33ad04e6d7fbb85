"""Medicines through the front door where no row of a table can show it: addresses of a Bundle, traces, cards."""

from typing import Any

import pytest
from support import URL, Resource, options, patient_view, put_in_prefetch, searchset, statuses
from test_shapes import BONE, BREAST, PATIENT, resource

from cds_service.edge.explain import explain
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder, Trace
from cds_service.kleene import TRUE, UNKNOWN, Truth
from cds_service.knowledge.load import home

UUID = "urn:uuid:8d7f0f3c-3f2b-4c1e-9a51-0c9a5d6f7e10"


def record(*entries: dict[str, Any]) -> list[Resource]:
    return [resource(entry, position) for position, entry in enumerate([PATIENT, BREAST, BONE, *entries])]


def order(**elements: Any) -> dict[str, Any]:
    return {"MedicationRequest": {"status": "completed", **elements}}


@pytest.fixture
def traced(responder: Responder, services: list[dict[str, Any]]) -> Any:
    def trace(entries: list[dict[str, Any]], medications: Resource | None = None) -> Trace:
        prefetch = put_in_prefetch(record(*entries), "p", services)
        if medications is not None:
            key = next(key for key in prefetch if key == "medications")
            prefetch[key]["entry"] += medications["entry"]
        return responder.trace(read(patient_view("p", prefetch), HOOKS[0], home()[1]))

    return trace


def included(url: str, ident: str | None, name: str) -> Resource:
    """A Bundle with one Medication under an address."""
    medication = {"resourceType": "Medication", "code": {"text": name}, **({"id": ident} if ident else {})}
    bundle = searchset([], [medication])
    bundle["entry"][0]["fullUrl"] = url
    return bundle


@pytest.mark.parametrize(
    ("reference", "url", "ident", "truth"),
    [
        (UUID, UUID, None, TRUE),
        (UUID, UUID, "m", TRUE),
        ("https://ehr.example/fhir/Medication/m", "https://ehr.example/fhir/Medication/m", "m", TRUE),
        ("https://ehr.example/fhir/Medication/m/_history/2", "https://ehr.example/fhir/Medication/m", "m", TRUE),
        ("Medication/m", "https://ehr.example/fhir/Medication/m", "m", TRUE),
        ("Medication/other", "https://ehr.example/fhir/Medication/m", "m", UNKNOWN),
        ("urn:uuid:00000000-0000-4000-8000-000000000000", UUID, None, UNKNOWN),
    ],
)
def test_a_reference_finds_its_medication_by_the_address_it_was_sent_under(
    traced: Any, reference: str, url: str, ident: str | None, truth: Truth
) -> None:
    trace = traced([order(medicationReference={"reference": reference})], included(url, ident, "Letrozole"))

    assert trace.facts["prior-medications"].answer("letrozole").truth is truth


def test_the_trace_shows_for_each_fact_of_history_how_it_was_read_and_what_was_set_aside(
    traced: Any, responder: Responder
) -> None:
    trace = traced(
        [
            order(id="a", medicationCodeableConcept="Letrozole", status="stopped", statusReason="Progressive disease",
                  authoredOn="2024-02-01"),
            order(id="b", medicationCodeableConcept="Fluorouracil cream"),
        ]
    )  # fmt: skip

    for name in ("prior-medications", "progressed-on", "lines"):
        fact = trace.facts[name]
        assert [reading.reference for reading in fact.readings] == ["MedicationRequest/a"], name
        assert "MedicationRequest/b" in dict(fact.set_aside), name
    assert "letrozole: ended, progression, setting metastatic" in explain(trace, responder)


RECEPTORS = ("85337-4", "85339-0", "48676-1")
POSTMENOPAUSAL_HR_POSITIVE = [
    {"Observation": {"code": "loinc 85337-4", "valueCodeableConcept": "sct 10828004"}},
    {"Observation": {"code": "loinc 48676-1", "valueCodeableConcept": "sct 260385009"}},
    {"Condition": {"code": "Postmenopausal"}},
]


def answer_of(client: Any, services: list[dict[str, Any]], *entries: dict[str, Any]) -> dict[str, Any]:
    prefetch = put_in_prefetch(record(*entries), "p", services)
    answer = client.post(URL, json=patient_view("p", prefetch))
    assert answer.status_code == 200
    return answer.get_json()


def test_tamoxifen_for_prevention_supports_nothing_that_asks_for_earlier_hormone_therapy(
    client: Any, services: list[dict[str, Any]]
) -> None:
    treated = order(medicationCodeableConcept="Tamoxifen", authoredOn="2013-06")
    prevented = order(medicationCodeableConcept="Tamoxifen", authoredOn="2013-06", reasonCode="Chemoprevention")

    after_treatment = statuses(answer_of(client, services, *POSTMENOPAUSAL_HR_POSITIVE, treated))
    after_prevention = statuses(answer_of(client, services, *POSTMENOPAUSAL_HR_POSITIVE, prevented))

    lost = {option for option, status in after_treatment.items() if status == "supported"} - {
        option for option, status in after_prevention.items() if status == "supported"
    }
    assert lost
    assert {after_prevention[option] for option in lost} == {"needs-data"}
    assert not {option for option, status in after_prevention.items() if status == "supported"} - set(after_treatment)


def test_an_allergy_to_paclitaxel_removes_it_and_leaves_the_albumin_bound_form_open(
    client: Any, services: list[dict[str, Any]]
) -> None:
    negative = [
        {"Observation": {"code": f"loinc {code}", "valueCodeableConcept": "sct 260385009"}} for code in RECEPTORS
    ]
    allergy = {"AllergyIntolerance": {"code": "Paclitaxel"}}
    without, having = (options(answer_of(client, services, *negative, *allergies)) for allergies in ([], [allergy]))

    assert without["paclitaxel"]["status"] == without["nab-paclitaxel"]["status"] == "supported"
    assert "paclitaxel" not in having
    assert having["nab-paclitaxel"]["status"] == "needs-data"
    assert having["nab-paclitaxel"]["missing"] == ["contraindications"]
