"""Records that look like stage IV breast cancer, or like a receptor status, and are not: one line, one trap."""

from collections.abc import Callable
from typing import Any

import pytest
from support import patient_view, put_in_prefetch

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder, Trace
from cds_service.knowledge.load import home

ICD, SCT, LOINC = "http://hl7.org/fhir/sid/icd-10-cm", "http://snomed.info/sct", "http://loinc.org"
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female"}


def concept(said: str) -> dict[str, Any]:
    """'icd C50.911' or 'sct 254837009' or 'loinc 85337-4' as a code, anything else as text."""
    system, _, code = said.partition(" ")
    uri = {"icd": ICD, "sct": SCT, "loinc": LOINC}.get(system)
    return {"coding": [{"system": uri, "code": code}]} if uri else {"text": said}


def condition(said: str, verified: str = "confirmed", clinical: str = "active") -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "code": concept(said),
        "verificationStatus": {"coding": [{"code": verified}]},
        "clinicalStatus": {"coding": [{"code": clinical}]},
    }


def result(asked: str, answer: str | dict[str, Any], date: str = "2026-02-03") -> dict[str, Any]:
    value = {"valueString": answer} if isinstance(answer, str) else answer
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": concept(asked),
        "effectiveDateTime": date,
        **value,
    }


@pytest.fixture
def traced(responder: Responder, services: list[dict[str, Any]]) -> Callable[..., Trace]:
    """The trace of a call with these resources, numbered and made the patient's."""

    def trace(*resources: dict[str, Any]) -> Trace:
        own = [{**one, "id": f"r{i}", "subject": {"reference": "Patient/p"}} for i, one in enumerate(resources)]
        body = patient_view("p", put_in_prefetch([PATIENT, *own], "p", services))
        return responder.trace(read(body, HOOKS[0], home()[1]))

    return trace


BREAST, BONE = condition("icd C50.911"), condition("icd C79.51")

NO_OPTIONS = {
    "chronic kidney disease of stage 4": [BREAST, condition("Chronic kidney disease stage 4")],
    "a pressure ulcer of stage IV": [condition("Breast cancer stage III"), condition("Stage IV pressure ulcer")],
    "said not to be metastatic": [condition("Non-metastatic breast cancer")],
    "said to show no metastasis": [condition("Breast cancer, no evidence of metastatic disease")],
    "metastasis to the breast": [condition("icd C79.81"), condition("icd C43.9")],
    "axillary nodes, coded": [BREAST, condition("icd C77.3")],
    "axillary nodes, in words": [condition("Breast cancer with axillary lymph node metastases")],
    "carcinoma in situ": [condition("icd D05.10"), BONE],
    "personal history only": [condition("icd Z85.3"), BONE],
    "history in words": [condition("History of breast cancer"), BONE],
    "family history in words": [condition("Family history of breast cancer"), BONE],
    "provisional diagnosis": [condition("icd C50.911", verified="provisional"), BONE],
    "refuted metastasis": [BREAST, condition("icd C79.51", verified="refuted")],
    "metastasis entered in error": [BREAST, condition("icd C79.51", verified="entered-in-error")],
    "metastasis to be ruled out": [BREAST, condition("Rule out bone metastases")],
    "remission": [condition("icd C50.911", clinical="remission"), BONE],
    "two cancers and one metastasis": [BREAST, condition("icd C34.11"), BONE],
    "metastasis of a melanoma": [BREAST, condition("Brain metastases from melanoma")],
    "another cancer of stage IV": [condition("Ovarian cancer stage IV with liver metastases")],
    "stage IV and M0 of one day": [
        BREAST,
        result("loinc 21908-9", "IV"),
        result("sct 399387003", {"valueCodeableConcept": concept("sct 1229901006")}),
    ],
}


@pytest.mark.parametrize("resources", NO_OPTIONS.values(), ids=NO_OPTIONS)
def test_the_gate_stays_closed(traced: Callable[..., Trace], resources: list[dict[str, Any]]) -> None:
    assert traced(*resources).gate


PASSES = {
    "a later stage IV": [
        BREAST,
        result("loinc 21908-9", "Stage II", "2018-05-01"),
        result("loinc 21908-9", "Stage IV", "2025-05-01"),
    ],
    "in words, without metastasis elsewhere": [condition("Metastatic breast cancer to bone, no brain metastases")],
    "no site named": [BREAST, condition("sct 315004001")],
    "pain from the cancer beside it": [BREAST, BONE, condition("Cancer pain")],
}


@pytest.mark.parametrize("resources", PASSES.values(), ids=PASSES)
def test_the_gate_opens(traced: Callable[..., Trace], resources: list[dict[str, Any]]) -> None:
    assert traced(*resources).gate == ""
