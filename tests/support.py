"""What a CDS client does: fill the prefetch, write the call, read the answer. Knows no code of the service."""

import copy
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]

HERE = Path(__file__).parent
PATIENTS = HERE / "patients"
STYLES = ("mcode", "uscore", "text")
SERVICE_ID = "stage-4-breast-cancer-options"
URL = f"/cds-services/{SERVICE_ID}"
EXTENSION = "org.cds-service"
INSTANCE = "7d9c1a44-5b1f-4f0e-9f5e-3a1f0c2b4d6e"
LISTED = ("supported", "differs")
#: types under the name that R4 gives them
BEFORE_R4 = {"MedicationOrder": "MedicationRequest"}


def templates(services: list[dict[str, Any]]) -> dict[str, str]:
    """The prefetch templates of the first patient-view service that discovery offers."""
    return next(service["prefetch"] for service in services if service["hook"] == "patient-view")


def type_of(template: str) -> str:
    """The resource type that a template asks for: its first path segment."""
    return template.split("?")[0].split("/")[0]


def put_in_prefetch(resources: Iterable[Resource], patient_id: str, services: list[dict[str, Any]]) -> dict[str, Any]:
    """The prefetch of a client that honours every template.

    Searches give searchset Bundles of all resources of the type; Medications come included beside the resources that
    may refer to them; the read of the patient gives the Patient resource, or null.
    """
    listed = list(resources)
    medications = [one for one in listed if one.get("resourceType") == "Medication"]
    prefetch: dict[str, Any] = {}
    for key, template in templates(services).items():
        kind = type_of(template)
        found = [
            one for one in listed if kind in (one.get("resourceType"), BEFORE_R4.get(str(one.get("resourceType"))))
        ]
        if "?" not in template:
            prefetch[key] = next((one for one in found if one.get("id") == patient_id), None)
        else:
            prefetch[key] = searchset(found, medications if kind.startswith("Medication") else ())
    return prefetch


def to_the_letter(prefetch: dict[str, Any], services: list[dict[str, Any]]) -> dict[str, Any]:
    """The same prefetch of a client that also honours every search parameter: category, intent and list of codes."""
    return {
        key: searchset(
            (entry["resource"] for entry in prefetch[key]["entry"] if _is_found(entry, template)),
            (entry["resource"] for entry in prefetch[key]["entry"] if entry["search"]["mode"] == "include"),
        )
        if "?" in template
        else prefetch[key]
        for key, template in templates(services).items()
    }


def _is_found(entry: dict[str, Any], template: str) -> bool:
    resource, wanted = entry["resource"], dict(part.split("=", 1) for part in template.split("?")[1].split("&"))
    if entry["search"]["mode"] != "match" or wanted.get("intent") not in (None, resource.get("intent")):
        return False
    if "code" in wanted:
        codings = resource.get("code", {}).get("coding", ())
        tokens = {token for one in codings for token in (one.get("code"), f"{one.get('system')}|{one.get('code')}")}
        return bool(tokens & set(wanted["code"].split(",")))
    if "category" in wanted:
        categories = resource.get("category", ())
        return wanted["category"] in {coding.get("code") for one in categories for coding in one.get("coding", ())}
    return True


def searchset(matches: Iterable[Resource], included: Iterable[Resource] = ()) -> Resource:
    """A searchset Bundle."""
    entries = [{"resource": one, "search": {"mode": "match"}} for one in matches]
    total = len(entries)
    entries += [{"resource": one, "search": {"mode": "include"}} for one in included]
    return {"resourceType": "Bundle", "type": "searchset", "total": total, "entry": entries}


def patient_view(patient_id: str, prefetch: dict[str, Any] | None) -> dict[str, Any]:
    """The body of a patient-view call; no prefetch at all for None."""
    body: dict[str, Any] = {
        "hook": "patient-view",
        "hookInstance": INSTANCE,
        "context": {"userId": "Practitioner/of-the-tests", "patientId": patient_id},
    }
    return body if prefetch is None else {**body, "prefetch": prefetch}


def draft_of_letrozole(patient_id: str) -> Resource:
    """An order that is being written."""
    return {
        "resourceType": "MedicationRequest",
        "id": "draft",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": f"Patient/{patient_id}"},
        "medicationCodeableConcept": {"text": "letrozole"},
    }


def extensions(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The machine-readable part of every card, and of an answer without cards."""
    for holder in (*answer["cards"], answer):
        if EXTENSION in holder.get("extension", {}):
            yield holder["extension"][EXTENSION]


def options(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every option that an answer lists, with its entry. An option that stands twice is an error."""
    entries = [entry for extension in extensions(answer) for entry in extension.get("options", ())]
    found = {entry["option"]: entry for entry in entries}
    assert len(found) == len(entries), "an option stands twice in one answer"
    return found


def statuses(answer: dict[str, Any]) -> dict[str, str]:
    """Every option that an answer lists, with its status."""
    return {option: entry["status"] for option, entry in options(answer).items()}


def facts(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The facts that an answer reports, by name."""
    return {fact["fact"]: fact for extension in extensions(answer) for fact in extension.get("facts", ())}


def references(answer: Any) -> Iterator[str]:
    """Every reference to a resource that an answer names anywhere."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name == "references":
                yield from value
            else:
                yield from references(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from references(value)


def is_outcome(body: Any) -> bool:
    """Whether a body is an OperationOutcome that says something."""
    return (
        isinstance(body, dict)
        and body.get("resourceType") == "OperationOutcome"
        and bool(body.get("issue"))
        and all({"severity", "code", "diagnostics"} <= issue.keys() for issue in body["issue"])
    )


# THE EXAMPLE PATIENTS


def expected_patients() -> dict[str, dict[str, Any]]:
    """What is expected of the example patients, by id."""
    return json.loads((PATIENTS / "expected.json").read_text(encoding="utf-8"))


def example(patient: str, style: str) -> tuple[str, list[Resource]]:
    """The id and the resources of an example patient in one style; a copy that may be changed."""
    bundle = json.loads((PATIENTS / f"{patient}.{style}.json").read_text(encoding="utf-8"))
    resources = [entry["resource"] for entry in bundle["entry"]]
    return next(one["id"] for one in resources if one["resourceType"] == "Patient"), resources


def data(name: str) -> Any:
    """A YAML file of tests/data."""
    return yaml.safe_load((HERE / "data" / name).read_text(encoding="utf-8"))


# CHANGING RESOURCES


def renamed(resource: Resource, ident: str) -> Resource:
    """A copy under another id."""
    return {**copy.deepcopy(resource), "id": ident}


def of_somebody_else(resource: Resource, somebody: str = "somebody-else") -> Resource:
    """A copy that belongs to another patient."""
    changed = copy.deepcopy(resource)
    if changed.get("resourceType") == "Patient":
        changed["id"] = somebody
    for name in ("subject", "patient"):
        if name in changed:
            changed[name] = {"reference": f"Patient/{somebody}"}
    return changed
