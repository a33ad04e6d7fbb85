"""The calls of the benchmark: one clinical story, told by as many patients and in as many resources as are asked for.

A woman after menopause with breast cancer and bone metastases, ER-positive, PR-negative, HER2-negative, treated before;
around it what every chart holds: blood counts, chemistry, other complaints, other medicines. The shapes are those of
mCODE and US Core. Every key of the service's prefetch is answered, as an EHR does, so the receptors stand under both
keys that ask for them. Another number is another patient: other ids, dates and values, the same story. A call has no
line break.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle, islice
from random import Random
from typing import Any

import orjson

Resource = dict[str, Any]

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
RXNORM, ICD10 = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/icd-10-cm"
HL7 = "http://terminology.hl7.org/CodeSystem"
MCODE = "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-"
#: what the story's receptors are; a chart without a result has None in its place
RECEPTORS: dict[str, str | None] = {"ER": "positive", "PR": "negative", "HER2": "negative"}
NEVER_BROUGHT = ("medication-statements", "medication-administrations", "procedures", "allergies")

_RECEPTOR_TESTS = (
    ("ER", "85337-4", "Estrogen receptor Ag [Presence] in Breast cancer specimen by Immune stain", "10828004"),
    ("PR", "85339-0", "Progesterone receptor Ag [Presence] in Breast cancer specimen by Immune stain", "260385009"),
    ("HER2", "48676-1", "HER2 [Interpretation] in Tissue", "260385009"),
)
#: code, name, unit, and the range in which most values lie
_LABORATORY = (
    ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 12.0, 15.5),
    ("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", 4.0, 10.5),
    ("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL", 150.0, 400.0),
    ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", 0.5, 1.1),
    ("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L", 3.5, 5.1),
    ("2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L", 135.0, 145.0),
    ("1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "U/L", 7.0, 35.0),
    ("6768-6", "Alkaline phosphatase [Enzymatic activity/volume] in Serum or Plasma", "U/L", 35.0, 105.0),
    ("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma", "mg/dL", 0.2, 1.2),
    ("2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL", 70.0, 99.0),
)
_COMPLAINTS = (
    ("I10", "38341003", "Essential hypertension"),
    ("E78.5", "55822004", "Hyperlipidemia"),
    ("K21.9", "235595009", "Gastroesophageal reflux disease"),
)
_MEDICINES = (
    ("29046", "lisinopril 10 MG Oral Tablet", "active"),
    ("83367", "atorvastatin 20 MG Oral Tablet", "active"),
    ("7646", "omeprazole 20 MG Delayed Release Oral Capsule", "completed"),
    ("161", "acetaminophen 500 MG Oral Tablet", "active"),
    ("5640", "ibuprofen 600 MG Oral Tablet", "stopped"),
    ("26225", "ondansetron 8 MG Oral Tablet", "completed"),
    ("723", "amoxicillin 500 MG Oral Capsule", "completed"),
    ("25480", "gabapentin 300 MG Oral Capsule", "completed"),
    ("10582", "levothyroxine 0.05 MG Oral Tablet", "active"),
)
#: what 32 more resources are: with the story's ten they make a chart of 42 as EHRs prefetch it
_MORE = (
    "laboratory",
    "laboratory",
    "complaint",
    "complaint",
    "complaint",
    *("laboratory", "laboratory", "medicine") * 9,
)


@dataclass(frozen=True)
class Chart:
    """Which chart a call brings: the patient's number, how many resources, and what is missing or said otherwise."""

    number: int = 0
    size: int = 42
    without: str = ""
    refuted: bool = False


class _Writer:
    """Writes the resources of one patient: names and dates out of the patient's number."""

    def __init__(self, chart: Chart, patient: str = "", today: date | None = None):
        self._chart = chart
        self._chance = Random(f"patient {chart.number}")
        own = f"pt-{self._chance.getrandbits(60):015x}"
        self.patient = patient or own
        self._last_visit = (today or date.today()) - timedelta(days=3 + self._chance.randrange(40))
        self._seen_by = {"reference": f"Practitioner/{self._chance.getrandbits(40):010x}"}

    def day(self, months: float) -> str:
        """A day so many months, and up to two weeks, before the last visit."""
        days = int(months * 30.4) + self._chance.randrange(14)
        return (self._last_visit - timedelta(days=days)).isoformat()

    def visit(self, months: float) -> str:
        """A moment of such a day."""
        hour, minute = 8 + self._chance.randrange(9), self._chance.randrange(60)
        return f"{self.day(months)}T{hour:02}:{minute:02}:00Z"

    def number(self, low: float, high: float) -> float:
        """A value, most often within these bounds."""
        width = high - low
        return round(low - 0.1 * width + 1.2 * width * self._chance.random(), 1 if width > 2 else 2)

    def resource(self, kind: str, profile: str, changed: str, **elements: Any) -> Resource:
        """A resource with an id of its own that belongs to the patient; `profile` is one of mCODE, or ''."""
        meta = {"lastUpdated": changed, **({"profile": [f"{MCODE}{profile}"]} if profile else {})}
        head = {"resourceType": kind, "id": f"{kind[:3].lower()}-{self._chance.getrandbits(60):015x}", "meta": meta}
        return {**head, "subject": {"reference": f"Patient/{self.patient}"}, **elements}

    def encounter(self) -> Resource:
        """A reference to an encounter."""
        return {"reference": f"Encounter/{self._chance.getrandbits(48):012x}"}

    def person(self) -> Resource:
        """The patient."""
        record_number = {"use": "usual", "system": "https://ehr.example.org/mrn", "value": self.patient[-8:].upper()}
        return {
            "resourceType": "Patient",
            "id": self.patient,
            "meta": {"lastUpdated": self.visit(1), "profile": [f"{MCODE}cancer-patient"]},
            "identifier": [record_number],
            "active": True,
            "name": [{"use": "official", "family": f"Larch-{self._chance.randrange(10_000)}", "given": ["Dora"]}],
            "gender": "female",
            "birthDate": f"{1950 + self._chance.randrange(12)}-{1 + self._chance.randrange(12):02}-14",
        }

    def condition(self, profile: str, months: float, codes: Iterable[Resource], text: str, **elements: Any) -> Resource:
        """An entry of the problem list."""
        day = self.visit(months)
        stated = {"clinicalStatus": _status("condition-clinical", "active")}
        stated |= {"verificationStatus": _status("condition-ver-status", "confirmed")}
        return self.resource(
            "Condition",
            profile,
            day,
            **stated,
            category=[_status("condition-category", "problem-list-item")],
            code={"coding": list(codes), "text": text},
            recordedDate=day[:10],
            **elements,
        )

    def observation(self, profile: str, category: str, months: float, code: Resource, **elements: Any) -> Resource:
        """A final result."""
        day = self.visit(months)
        return self.resource(
            "Observation",
            profile,
            day,
            status="final",
            category=[_status("observation-category", category)],
            code={"coding": [code]},
            encounter=self.encounter(),
            effectiveDateTime=day,
            **elements,
        )

    def order(
        self, code: str, text: str, months: float, status: str, reason: str, because: Resource | None = None
    ) -> Resource:
        """An order of a medicine, in words why, and where the reason is on record."""
        day = self.visit(months)
        return self.resource(
            "MedicationRequest",
            "",
            day,
            status=status,
            intent="order",
            medicationCodeableConcept={"coding": [_coding(RXNORM, code, text)], "text": text},
            authoredOn=day,
            requester=self._seen_by,
            reasonCode=[{"text": reason}],
            **({"reasonReference": [{"reference": f"Condition/{because['id']}"}]} if because else {}),
        )

    def story(self) -> Iterable[Resource]:
        """The ten resources that the cards come from, the patient first."""
        yield self.person()
        primary = self.condition(
            "primary-cancer-condition",
            96,
            (
                _coding(SNOMED, "254837009", "Malignant neoplasm of breast (disorder)"),
                _coding(ICD10, "C50.912", "Malignant neoplasm of unspecified site of left female breast"),
            ),
            "Breast cancer, left",
        )
        yield primary
        spread = self.condition(
            "secondary-cancer-condition",
            14,
            (
                _coding(SNOMED, "94222008", "Secondary malignant neoplasm of bone"),
                _coding(ICD10, "C79.51", "Secondary malignant neoplasm of bone"),
            ),
            "Bone metastases",
        )
        refuted = {"verificationStatus": _status("condition-ver-status", "refuted")} if self._chart.refuted else {}
        yield {**spread, **refuted}
        for receptor, code, name, answer in _RECEPTOR_TESTS:
            said = _coding(SNOMED, answer, "Positive" if answer == "10828004" else "Negative")
            result = self.observation(
                "tumor-marker-test",
                "laboratory",
                13,
                _coding(LOINC, code, name),
                focus=[{"reference": f"Condition/{primary['id']}"}],
                specimen={"reference": f"Specimen/{self._chance.getrandbits(60):015x}"},
                valueCodeableConcept={"coding": [said]},
            )
            if receptor != self._chart.without:
                yield result
        yield self.observation(
            "",
            "social-history",
            13,
            _coding(SNOMED, "161712005", "Menopause, function (observable entity)"),
            valueCodeableConcept={"coding": [_coding(SNOMED, "76498008", "Postmenopausal state")]},
        )
        yield self.order("10324", "tamoxifen 20 MG Oral Tablet", 90, "completed", "Breast cancer, adjuvant", primary)
        yield self.order("72965", "letrozole 2.5 MG Oral Tablet", 12, "active", "Metastatic breast cancer", spread)
        yield self.order("77655", "zoledronic acid 4 MG Injection", 12, "active", "Bone metastases", spread)

    def more(self) -> Iterable[Resource]:
        """What every chart holds besides, without end: the kinds in turn, from the newest to the oldest."""
        results, complaints, medicines = cycle(_LABORATORY), cycle(_COMPLAINTS), cycle(_MEDICINES)
        for place, kind in enumerate(cycle(_MORE)):
            months = place // len(_MORE) * 0.4 + self._chance.random()
            if kind == "laboratory":
                yield self._measured(*next(results), months)
            elif kind == "complaint":
                icd, snomed, name = next(complaints)
                codes = _coding(SNOMED, snomed, name), _coding(ICD10, icd, name)
                yield self.condition("", 100 + months, codes, name)
            else:
                code, name, status = next(medicines)
                yield self.order(code, name, 2 + months, status, "Other complaint")

    def _measured(self, code: str, name: str, unit: str, low: float, high: float, months: float) -> Resource:
        value = self.number(low, high)
        flag = "L" if value < low else "H" if value > high else "N"
        return self.observation(
            "",
            "laboratory",
            months,
            _coding(LOINC, code, name),
            valueQuantity=_quantity(value, unit),
            interpretation=[_status("v3-ObservationInterpretation", flag)],
        )


def resources(chart: Chart) -> list[Resource]:
    """The resources of a chart, the patient first."""
    writer = _Writer(chart)
    told = list(writer.story())
    return told + list(islice(writer.more(), max(0, chart.size - 10)))


def besides(patient: str, number: int, today: date) -> Iterable[Resource]:
    """What every chart holds besides, without end, for a patient of another story; `number` tells patients apart."""
    return _Writer(Chart(number), patient, today).more()


def patient_view(chart: Chart) -> bytes:
    """The body of a patient-view call."""
    told = resources(chart)
    return orjson.dumps(_call("patient-view", told[0]["id"], chart, told))


def order_select(chart: Chart) -> bytes:
    """The body of an order-select call: exemestane is being ordered and selected."""
    told = resources(chart)
    patient = told[0]["id"]
    draft = {
        "resourceType": "MedicationRequest",
        "id": "draft",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": f"Patient/{patient}"},
        "medicationCodeableConcept": {"coding": [_coding(RXNORM, "258494", "exemestane")], "text": "exemestane"},
    }
    context = {
        "selections": ["MedicationRequest/draft"],
        "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": draft}]},
    }
    return orjson.dumps(_call("order-select", patient, chart, told, context))


def feedback(number: int) -> bytes:
    """The body of a feedback call about one card that nobody spoke of before."""
    entry = {
        "card": str(uuid.uuid4()),
        "outcome": "overridden",
        "overrideReason": {"reason": {"code": "not-this-patient", "system": "https://ehr.example.org/reasons"}},
        "outcomeTimestamp": f"2026-03-04T05:06:{number % 60:02}Z",
    }
    return orjson.dumps({"feedback": [entry]})


def _call(hook: str, patient: str, chart: Chart, told: Sequence[Resource], context: Resource | None = None) -> Resource:
    by_type: dict[str, list[Resource]] = {}
    for one in told:
        by_type.setdefault(one["resourceType"], []).append(one)
    results = by_type.get("Observation", [])
    laboratory = [one for one in results if one["category"][0]["coding"][0]["code"] == "laboratory"]
    asked = {code for _, code, _, _ in _RECEPTOR_TESTS} | {"161712005"}
    prefetch = {
        "patient": told[0],
        "conditions": _searchset(by_type.get("Condition", [])),
        "medications": _searchset(by_type.get("MedicationRequest", [])),
        "observations": _searchset([one for one in results if one["code"]["coding"][0]["code"] in asked]),
        "laboratory": _searchset(laboratory),
        **{key: _searchset([]) for key in NEVER_BROUGHT},
    }
    return {
        "hook": hook,
        "hookInstance": str(uuid.UUID(int=Random(f"{hook} {chart.number}").getrandbits(128), version=4)),
        "context": {"userId": "Practitioner/7", "patientId": patient, **(context or {})},
        "prefetch": prefetch,
    }


def _searchset(found: Sequence[Resource]) -> Resource:
    entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries}


def _coding(system: str, code: str, display: str) -> Resource:
    return {"system": system, "code": code, "display": display}


def _status(system: str, code: str) -> Resource:
    return {"coding": [{"system": f"{HL7}/{system}", "code": code}]}


def _quantity(value: float, unit: str) -> Resource:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}
