"""What every resource of one invented record is written with: whose it is, in which shape, and when things were."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.model import Code
from cds_service.synthetic.vocabulary import Element, Vocabulary, coded, worded

Resource = dict[str, Any]

#: which terminologies a shape draws on, the first that has a code wins; words only draws on none
SYSTEMS: dict[str, tuple[str, ...]] = {
    "mcode": ("snomed", "loinc", "rxnorm", "hgnc", "icd-10-cm"),
    "us-core": ("icd-10-cm", "loinc", "rxnorm", "snomed"),
    "words": (),
}
MCODE = "http://hl7.org/fhir/us/mcode/StructureDefinition/"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
_HL7 = "http://terminology.hl7.org/CodeSystem/"
#: test data, as the security labels of FHIR mark it (https://hl7.org/fhir/R4/security-labels.html)
_TEST_DATA = {"system": f"{_HL7}v3-ActReason", "code": "HTEST", "display": "test health data"}
#: what a type calls the reference to its patient, where that is not `subject`
_OWNER = {"AllergyIntolerance": "patient"}
#: months between the start of one regimen and of the next, and how long one lasts
_APART, _LASTING = {"metastatic": 8, "before": 12}, {"metastatic": 7, "before": 10}


@dataclass(frozen=True)
class Timeline:
    """Months (counted from year 0): today, the first diagnosis, the first metastasis, and each regimen's start, end."""

    today: int
    diagnosis: int
    metastasis: int
    regimens: tuple[tuple[int, int], ...]


def timeline(given: list[Mapping[str, Any]], today: int) -> Timeline:
    """Dates from the order of the regimens: those before the metastasis, then those for it, up to today."""
    late = [one.get("setting") == "metastatic" for one in given]
    metastasis = today - 2 - _APART["metastatic"] * sum(late)
    early = len(late) - sum(late)
    diagnosis = metastasis - (24 + _APART["before"] * early if early else 0)
    regimens, counts = [], {"metastatic": 0, "before": 0}
    for is_late in late:
        kind = "metastatic" if is_late else "before"
        first = metastasis + 1 if is_late else diagnosis + 2
        start = first + _APART[kind] * counts[kind]
        counts[kind] += 1
        regimens.append((start, start + _LASTING[kind]))
    return Timeline(today, diagnosis, metastasis, tuple(regimens))


def date(month: int, day: int = 15) -> str:
    """A month as a FHIR date."""
    return f"{month // 12:04}-{month % 12 + 1:02}-{day:02}"


def months(year_month: str) -> int:
    """'2026-06' as a month."""
    year, month = year_month.split("-")
    return int(year) * 12 + int(month) - 1


@dataclass(frozen=True)
class Sheet:
    """The paper a record is written on."""

    patient: str
    shape: str
    vocabulary: Vocabulary
    times: Timeline

    @property
    def systems(self) -> tuple[str, ...]:
        """The terminologies of the shape."""
        return SYSTEMS[self.shape]

    @property
    def mcode(self) -> bool:
        """Whether resources carry the profiles of mCODE."""
        return self.shape == "mcode"

    def resource(self, kind: str, name: str, profile: str = "", **elements: Any) -> Resource:
        """A resource of this patient, marked as test data. `profile` is named in the mCODE shape only."""
        meta = self.meta(MCODE + profile if profile and self.mcode else "")
        owner = {} if kind in ("Patient", "Medication") else {_OWNER.get(kind, "subject"): self.subject}
        return {"resourceType": kind, "id": f"{self.patient}-{name}", "meta": meta, **owner, **elements}

    def meta(self, profile: str) -> Element:
        """The label of test data, and the profile where there is one."""
        return {**({"profile": [profile]} if profile else {}), "security": [_TEST_DATA]}

    @property
    def subject(self) -> Element:
        """The reference to the patient."""
        return {"reference": f"Patient/{self.patient}"}

    def reference(self, kind: str, name: str) -> Element:
        """The reference to a resource of this record."""
        return {"reference": f"{kind}/{self.patient}-{name}"}

    def find(self, role: str, subject: str, meaning: str) -> Code | None:
        """The code that this shape writes for a meaning; None where it has none, and always in words only."""
        return self.vocabulary.code(role, subject, meaning, self.systems)

    def concept(self, role: str, subject: str, meaning: str, words: str = "") -> Element:
        """A CodeableConcept: by code where the shape has one, else in words (the display of a code unless given)."""
        found = self.find(role, subject, meaning)
        if found:
            return coded(found)
        known = self.vocabulary.any_code(role, subject, meaning) if not words else None
        return worded(words or (known.display if known else meaning.replace("-", " ")))


def status(system: str, code: str) -> Element:
    """One of HL7's own small code lists: clinical status, verification status, category."""
    return {"coding": [{"system": f"{_HL7}{system}", "code": code}]}
