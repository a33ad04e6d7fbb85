"""What a patient-view call costs by the size of the chart: CPU, and its ratio to the least that any service must do.

    python tests/bench/charts.py [--sizes 10,42,100,1000,7000] [--rounds 9]

Charts are the patient of tests/data/example-request.json (a diagnosis, a metastasis, receptors) among noise that no
fact asks for: vital signs, chemistry, other diagnoses, other medicines, procedures. The floor is `orjson` parsing the
body and one loop over its resources. Both are measured in turns, as CPU time of this process; the figures are medians.
Nothing is reported if an answer is wrong: each chart must give the options of the patient without noise (positive
control), and none once the metastasis is refuted (negative control).
"""

import argparse
import copy
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time_ns
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support import Resource, options, statuses

from cds_service.edge.cycles import settle
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import parse
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home, load
from cds_service.patient.project import warm_up

TESTS = Path(__file__).resolve().parent.parent
CALL = json.loads((TESTS / "data" / "example-request.json").read_text(encoding="utf-8"))
PATIENT = CALL["context"]["patientId"]
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
STATUS = "http://terminology.hl7.org/CodeSystem/condition-"
#: the key that brings each type of noise
KEYS = {
    "Observation": "laboratory",
    "Condition": "conditions",
    "MedicationRequest": "medications",
    "Procedure": "procedures",
}


def coded(system: str, code: str | int, text: str) -> Resource:
    """A CodeableConcept."""
    return {"coding": [{"system": system, "code": str(code), "display": text}], "text": text}


def measured(code: str, name: str, value: float, unit: str) -> Resource:
    """The part of an Observation or component that says what was measured."""
    ucum = {"unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    return {"code": coded(LOINC, code, name), "valueQuantity": {"value": value, **ucum}}


def noise(number: int) -> Resource:
    """The resource of a number: kinds in turn, as Synthea and laboratories write them."""
    day = f"20{10 + number % 15:02}-{1 + number % 12:02}-{1 + number % 28:02}"
    pressure = [
        measured("8480-6", "Systolic blood pressure", 120 + number % 30, "mm[Hg]"),
        measured("8462-4", "Diastolic blood pressure", 70 + number % 20, "mm[Hg]"),
    ]
    result = {"resourceType": "Observation", "status": "final", "effectiveDateTime": f"{day}T08:00:00Z"}
    kinds: list[Resource] = [
        {**result, **measured("2160-0", "Creatinine", 0.9 + number % 7 / 10, "mg/dL")},
        {**result, **measured("8302-2", "Body height", 160 + number % 20, "cm")},
        {**result, "code": coded(LOINC, "85354-9", "Blood pressure panel"), "component": pressure},
        {
            **result,
            "code": coded(LOINC, "72166-2", "Tobacco smoking status"),
            "valueCodeableConcept": coded(SNOMED, 266919005, f"Never smoked, visit {number}"),
        },
        {
            "resourceType": "Condition",
            "clinicalStatus": {"coding": [{"system": f"{STATUS}clinical", "code": "resolved"}]},
            "verificationStatus": {"coding": [{"system": f"{STATUS}ver-status", "code": "confirmed"}]},
            "code": coded(SNOMED, 444814009 + number, f"Viral sinusitis, episode {number}"),
            "onsetDateTime": day,
        },
        {
            "resourceType": "MedicationRequest",
            "status": "completed",
            "intent": "order",
            "medicationCodeableConcept": coded(RXNORM, 313782 + number, f"Acetaminophen 325 MG, order {number}"),
            "authoredOn": day,
        },
        {
            "resourceType": "Procedure",
            "status": "completed",
            "code": coded(SNOMED, 430193006 + number, f"Medication reconciliation {number}"),
            "performedDateTime": day,
        },
    ]
    whose = {"id": f"noise-{number}", "subject": {"reference": f"Patient/{PATIENT}"}}
    return {**kinds[number % len(kinds)], **whose, "meta": {"lastUpdated": f"{day}T08:00:00Z"}}


def body(size: int, refuted: bool = False) -> bytes:
    """The example call with noise up to this many resources."""
    call = copy.deepcopy(CALL)
    prefetch = call["prefetch"]
    own = 1 + sum(len(value["entry"]) for value in prefetch.values() if value and "entry" in value)
    for entry in prefetch["conditions"]["entry"] if refuted else ():
        entry["resource"]["verificationStatus"] = {"coding": [{"code": "refuted"}]}
    for number in range(size - own):
        resource = noise(number)
        key = KEYS[resource["resourceType"]]
        prefetch[key] = prefetch[key] or {"resourceType": "Bundle", "type": "searchset", "entry": []}
        prefetch[key]["entry"].append({"resource": resource})
    return orjson.dumps(call)


def floor(text: bytes) -> int:
    """The least: parse the body and look at the type of every resource."""
    seen = 0
    for value in orjson.loads(text)["prefetch"].values():
        for entry in (value or {}).get("entry", ()):
            seen += entry["resource"]["resourceType"] != ""
    return seen


def cpu(work: Callable[[], Any]) -> float:
    """CPU milliseconds of this process."""
    begun = process_time_ns()
    work()
    return (process_time_ns() - begun) / 1e6


def main() -> None:
    """Check the answers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,42,100,1000,7000")
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    knowledge, schemas = load(), home()[1]
    responder = Responder(knowledge)
    warm_up()
    settle()  # as a worker does

    def respond(text: bytes) -> dict[str, Any]:
        return responder.respond(parse(text, HOOKS[0], schemas))

    expected = statuses(respond(body(0)))
    print(f"{'resources':>9} {'KB':>7} {'CPU ms':>8} {'us/resource':>12} {'first ms':>9} {'floor ms':>9} {'ratio':>6}")
    for size in (int(one) for one in chosen.sizes.split(",")):
        text = body(size)
        count = floor(text) + 1
        first = cpu(partial(respond, text))
        if not expected or statuses(respond(text)) != expected or options(respond(body(size, refuted=True))):
            sys.exit(f"{size} resources: the answers are wrong, so there is nothing to measure")
        rows = [(cpu(partial(respond, text)), cpu(partial(floor, text))) for _ in range(chosen.rounds)]
        spent, least = (median(column) for column in zip(*rows, strict=True))
        print(
            f"{count:>9} {len(text) / 1000:>7.0f} {spent:>8.2f} {spent * 1000 / count:>12.1f} {first:>9.2f} "
            f"{least:>9.2f} {spent / least:>6.1f}"
        )


if __name__ == "__main__":
    main()
