"""Calls as clients make them, of every hook, and everything that this service answers. Knows no code of the service."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fhir_server import TOKEN
from support import INSTANCE, URL, example, expected_patients, patient_view, put_in_prefetch, to_the_letter

CLIENTS = Path(__file__).parent.parent / "data" / "clients"
PATIENT, RECORD = example("VA-01", "mcode")
EMPTY = {"resourceType": "Bundle", "type": "searchset", "total": 0}
OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
FEEDBACK = f"{URL}/feedback"
CARD = "4fcb6d35-9c1d-4a8e-8b52-0d7b35a1a1f2"
TIME = "2026-03-04T05:06:07.891Z"


def order(ident: str = "draft-1", text: str = "Letrozole", **more: Any) -> dict[str, Any]:
    """A draft order of a medicine, by words."""
    subject = {"reference": f"Patient/{PATIENT}"}
    medicine = {"resourceType": "MedicationRequest", "id": ident, "status": "draft", "intent": "order"}
    return {**medicine, "subject": subject, "medicationCodeableConcept": {"text": text}, **more}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    """A Bundle of a context."""
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}


_WHO = {"userId": "Practitioner/1", "patientId": PATIENT}
_PROBLEM = {"resourceType": "Condition", "id": "new", "subject": {"reference": f"Patient/{PATIENT}"}}
#: the smallest context of every hook that is answered (CDS Hooks Library 1.0.1)
CONTEXTS: dict[str, dict[str, Any]] = {
    "patient-view": _WHO,
    "encounter-start": {**_WHO, "encounterId": "e1"},
    "encounter-discharge": {**_WHO, "encounterId": "e1"},
    "appointment-book": {**_WHO, "appointments": bundle()},
    "problem-list-item-create": {**_WHO, "conditions": bundle({**_PROBLEM, "code": {"text": "Cough"}})},
    "order-select": {**_WHO, "selections": ["MedicationRequest/draft-1"], "draftOrders": bundle(order())},
    "order-sign": {**_WHO, "draftOrders": bundle(order())},
    "order-dispatch": {
        "patientId": PATIENT, "dispatchedOrders": ["MedicationRequest/draft-1"], "performer": "Organization/1",
    },
    "medication-refill": {"patientId": PATIENT, "medications": bundle(order())},
}  # fmt: skip


def request(hook: str = "patient-view", prefetch: Any = None, **more: Any) -> dict[str, Any]:
    """The body of a call of a hook; no prefetch at all for None. `more` are members of the envelope."""
    body = {"hook": hook, "hookInstance": INSTANCE, "context": copy.deepcopy(CONTEXTS[hook]), **more}
    return body if prefetch is None else {**body, "prefetch": prefetch}


def fetching(base: str, prefetch: Any = None, token: Any = TOKEN, **more: Any) -> dict[str, Any]:
    """A patient-view call that names a FHIR server, with a token unless it is None."""
    granted = {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.read"}
    brought = {} if token is None else {"fhirAuthorization": {**granted, "subject": "cds-service", **more}}
    return {**request(prefetch=prefetch), "fhirServer": base, **brought}


def overridden(**more: Any) -> dict[str, Any]:
    """An entry of feedback: a card that was overridden."""
    return {"card": CARD, "outcome": "overridden", "outcomeTimestamp": TIME, **more}


def accepted(**more: Any) -> dict[str, Any]:
    """An entry of feedback: a suggestion that was accepted."""
    return {
        "card": CARD,
        "outcome": "accepted",
        "outcomeTimestamp": TIME,
        "acceptedSuggestions": [{"id": CARD}],
        **more,
    }


def without(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    """A mapping without some of its members."""
    return {name: value for name, value in mapping.items() if name not in names}


def walk(value: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """Every element below a value of JSON, with its path; the value itself is none."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in members:
        where = f"{path}[]" if isinstance(value, list) else f"{path}.{name}"
        yield where, one
        yield from walk(one, where)


# EVERYTHING THAT IS ANSWERED


class Answer(NamedTuple):
    """What came back to one request."""

    asked: str
    status: int
    kind: str
    body: Any


def every_answer(client: Any, services: list[dict[str, Any]]) -> Iterator[Answer]:
    """Discovery, every example patient, every hook with and without a drug in hand, feedback, and every refusal."""
    own = prefetched(RECORD, PATIENT, services)
    yield _got("discovery", client.get("/cds-services"))
    styles = ("mcode", "uscore", "text")
    for place, name in enumerate(sorted(expected_patients())):
        ident, resources = example(name, styles[place % 3])
        prefetch = prefetched(resources, ident, services)
        yield _got(name, client.post(URL, json=patient_view(ident, prefetch)))
    for service in services:
        hook = service["hook"]
        prefetch = copy.deepcopy(own)
        if hook == "order-dispatch":
            prefetch["medications"] = bundle(order(status="active"))
        yield _got(hook, client.post(f"/cds-services/{service['id']}", json=request(hook, prefetch)))
    nothing = {**CONTEXTS["order-sign"], "draftOrders": bundle(order(text="metformin"))}
    sign = next(service["id"] for service in services if service["hook"] == "order-sign")
    yield _got("no drug", client.post(f"/cds-services/{sign}", json={**request("order-sign"), "context": nothing}))
    yield _got("no cancer", client.post(URL, json=patient_view("p1", {"patient": None, "conditions": None})))
    yield _got("feedback", client.post(FEEDBACK, json={"feedback": [overridden()]}))
    for asked, method, path, sent in refusals():
        yield _got(asked, client.open(path, method=method, **sent))


def refusals() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Requests that are refused: name that begins with the status, method, path, what is sent."""
    return [
        ("400 no JSON", "POST", URL, {"data": b"{", "content_type": "application/json"}),
        ("400 an empty call", "POST", URL, {"json": {}}),
        ("400 an empty feedback", "POST", FEEDBACK, {"json": {}}),
        ("400 another hook", "POST", URL, {"json": request("order-sign")}),
        ("404 another path", "GET", "/nowhere", {}),
        ("404 another service", "POST", "/cds-services/nobody", {"json": request()}),
        ("405 another method", "GET", URL, {}),
        ("412 nothing prefetched", "POST", URL, {"json": request()}),
        ("413 too many entries", "POST", FEEDBACK, {"json": {"feedback": [overridden()] * 101}}),
        ("415 another media type", "POST", URL, {"data": b"{}", "content_type": "text/plain"}),
    ]


def prefetched(resources: list[dict[str, Any]], patient: str, services: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client sends that honours every template to the letter."""
    return to_the_letter(put_in_prefetch(resources, patient, services), services)


def _got(asked: str, answer: Any) -> Answer:
    return Answer(asked, answer.status_code, answer.headers["Content-Type"], json.loads(answer.data))
