"""What a resource says, apart from whose it is, when it was so and who wrote it down.

Most of what records hold has been seen before: the same diagnosis, order or answer, of another patient or from another
day. So each content is read once and remembered by its bytes, for the latest of them, in memory only. It is made of
those bytes and of nothing else: whatever tells patients apart is not in it and cannot leak from one to the next.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import orjson

from cds_service.patient.elements import objects, word
from cds_service.patient.project import fault, with_one_number
from cds_service.patient.recognise import Recognised, Recogniser, phrases_of, plain_codes, text_of

Resource = dict[str, Any]
_T = TypeVar("_T")

#: the elements that say whose a resource is, when it was so, how and by whom it is kept: see `chart.Entry`
_APART = frozenset({
    "id", "meta", "text", "identifier", "language", "encounter", "context", "performer",
    "recorder", "asserter", "requester", "informationSource", "author", "issued", "effectiveDateTime",
    "effectiveInstant", "effectivePeriod", "occurrencePeriod", "recordedDate", "onsetDateTime", "onsetPeriod",
    "onsetAge", "abatementDateTime", "abatementPeriod", "performedDateTime", "performedPeriod", "authoredOn",
    "dateAsserted", "birthDate", "name", "address", "telecom", "deceasedDateTime", "dispenseRequest",
    "dosageInstruction", "dosage", "note",
})  # fmt: skip
#: elements that lead to other resources; where they lead is read in the record
_LEADING = ("subject", "patient", "medicationReference", "reasonReference", "focus", "specimen", "basedOn")
#: lists of which each part may lead to others, and by which of its members
_PARTS_LEADING = {"extension": "valueReference", "stage": "assessment"}
_REFERENCE = re.compile(r"[A-Z][A-Za-z]{1,40}/[A-Za-z0-9.-]{1,64}")
_SOMETHING = {"reference": "Resource/0"}
#: how many contents are remembered: as many as charts of some 8,000 resources hold; forty megabytes at most
REMEMBERED = 5000

#: statuses of the R4 value sets that make a resource evidence of what it says
_EVIDENCE = {
    "Observation": {"final", "amended", "corrected"},
    "Procedure": {"completed", "in-progress"},
    "MedicationRequest": {"active", "on-hold", "completed", "stopped"},
    "MedicationStatement": {"active", "on-hold", "completed", "stopped"},
    "MedicationAdministration": {"in-progress", "on-hold", "completed", "stopped"},
}
_OTHER_STATUSES = {
    "registered", "preliminary", "cancelled", "entered-in-error", "unknown", "draft", "not-done", "not-taken",
    "intended", "preparation", "stopped", "on-hold",
}  # fmt: skip
_ORDERED = {"order", "original-order", "reflex-order", "filler-order", "instance-order"}
_UNCONFIRMED = {"unconfirmed", "provisional", "differential"}
#: how sure a German diagnosis is (simplifier.net/basisprofil-de-r4, extension icd-10-gm-diagnosesicherheit)
_CERTAINTY = "icd-10-gm-diagnosesicherheit"
_SUSPECTED, _EXCLUDED, STATE_AFTER = "V", "A", "Z"


class Question(NamedTuple):
    """An Observation or component that asks a question: how that was recognised, where the value is, and which of the
    content's questions it is.
    """

    asked: Recognised
    element: Resource
    place: int


class Content:
    """One content, read: what its codes and words stand for. `raw` is the resource without what sets it apart."""

    __slots__ = (
        "codes", "kind", "known", "misnamed", "no_evidence", "questions", "raw", "says", "speaks", "status", "text",
    )  # fmt: skip

    def __init__(self, raw: Resource, recogniser: Recogniser):
        concept = raw.get("code")
        self.raw = raw
        self.kind = word(raw.get("resourceType"))
        #: the codes and the text of what it is about
        self.codes = recogniser.codes(concept)
        self.text = text_of(concept)
        self.status = word(raw.get("status"))
        #: why it is no evidence of what it says, whenever it was so; '' when it is
        self.no_evidence = _no_evidence(self.kind, raw)
        #: what its codes, or those of an Observation's value, say
        self.says = [one for one in self.codes if one.sense.role == "says"]
        self.questions: list[Question] = []
        #: coded questions whose words name others: the facts asked by code, the facts named
        self.misnamed: list[tuple[frozenset[str], frozenset[str]]] = []
        #: what was found of it before, by what found it
        self.known: dict[Hashable, Any] = {}
        if self.kind == "Observation":
            self._read_questions(recogniser)
        #: whether any code or question of it is one of ours
        self.speaks = bool(self.says or self.questions or self.misnamed)

    @property
    def coded(self) -> bool:
        """Whether it has any coding at all, known or not."""
        concept = self.raw.get("code")
        return isinstance(concept, dict) and bool(objects(concept.get("coding")))

    @property
    def whole_text(self) -> str:
        """What the resource is about and what it says of it, in words: 'code: value', lower case."""
        return self.remember("whole text", self._whole_text)

    @property
    def unreadable(self) -> str:
        """Why it cannot be read; '' when it can."""
        return self.remember("unreadable", lambda: fault(self.raw))

    @property
    def clinical(self) -> frozenset[str]:
        """The clinicalStatus of a Condition, lower case."""
        return self.remember("clinical", self._clinical)

    @property
    def certainties(self) -> frozenset[str]:
        """The certainties that a German Condition states, beside its codes or as a whole."""
        return self.remember("certainties", lambda: frozenset(_certainties(self.raw)))

    def asks(self, fact: str) -> bool:
        """Whether it asks a fact's question."""
        return any(one.asked.sense.subject == fact for one in self.questions)

    def remember(self, name: Hashable, find: Callable[[], _T]) -> _T:
        """What was found under this name, or is found now."""
        known = self.known
        if name not in known:
            known[name] = find()
        found: _T = known[name]
        return found

    def _whole_text(self) -> str:
        value = self.raw.get("valueString") or self.raw.get("valueCodeableConcept")
        if isinstance(self.raw.get("valueBoolean"), bool):
            value = "yes" if self.raw["valueBoolean"] else "no"
        return f"{self.text}: {text_of(value)}" if value else self.text

    def _clinical(self) -> frozenset[str]:
        return frozenset(code.lower() for code in plain_codes(self.raw.get("clinicalStatus")))

    # QUESTIONS

    def _read_questions(self, recogniser: Recogniser) -> None:
        self._read_question(self.codes, self.text, self.raw, recogniser)
        for component in objects(self.raw.get("component")):
            concept = component.get("code")
            self._read_question(recogniser.codes(concept), text_of(concept), component, recogniser)

    def _read_question(
        self, codes: tuple[Recognised, ...], text: str, element: Resource, recogniser: Recogniser
    ) -> None:
        asked = [one for one in codes if one.sense.role == "asks"]
        if not codes:
            asked = list(recogniser.spoken("question", text))
            asked += _named_by_value(asked, text, element, recogniser)
        elif asked:
            if recogniser.spoken("question", text):
                self.misnamed += _misnamed(text, asked, element, recogniser)
            asked += _named_by_value(asked, text, element, recogniser)
        for one in dict.fromkeys(asked):
            self.questions.append(Question(one, element, len(self.questions)))
        value = recogniser.codes(element.get("valueCodeableConcept"))
        self.says += [one for one in value if one.sense.role == "says"]


class Contents:
    """The contents of resources, with what is remembered of them."""

    def __init__(self, recogniser: Recogniser):
        self._recogniser = recogniser
        self._read = lru_cache(maxsize=REMEMBERED)(self._from_bytes)
        self._is_silent = lru_cache(maxsize=REMEMBERED)(self._says_nothing)
        self.cache_info = self._read.cache_info

    def of(self, resource: Resource) -> Content:
        """The content of a resource in the shape of R4. Where nothing is asked or said, numbers say nothing: they are
        left out, so that one blood pressure is the same as another.
        """
        said = {name: value for name, value in resource.items() if name not in _APART}
        for name in _LEADING:
            if name in said:
                said[name] = _nameless(said[name])
        for name, member in _PARTS_LEADING.items():
            if name in said:
                said[name] = _with_nameless(said[name], member)
        try:
            if "valueQuantity" in said or "component" in said:
                numberless = orjson.dumps(_numberless(said))
                if self._is_silent(numberless):
                    return self._read(numberless)
            return self._read(orjson.dumps(said))
        except orjson.JSONEncodeError:  # nested deeper than is written: unreadable, and nothing to remember
            return Content(said, self._recogniser)

    def _from_bytes(self, said: bytes) -> Content:
        return Content(orjson.loads(said), self._recogniser)

    def _says_nothing(self, said: bytes) -> bool:
        content = self._from_bytes(said)
        return not content.speaks and not self._recogniser.tells(content.whole_text)


def _numberless(said: Resource) -> Resource:
    """An Observation with one number in place of each that it measured."""
    told, components = with_one_number(said), said.get("component")
    if not isinstance(components, list):
        return told
    return {**told, "component": [with_one_number(one) if isinstance(one, dict) else one for one in components]}


@lru_cache(maxsize=1024)
def _sound(reference: str) -> bool:
    return _REFERENCE.fullmatch(reference) is not None


def _nameless(value: Any) -> Any:
    """A reference without the id of what it leads to, where it is a sound one; a list with each of its own so."""
    if isinstance(value, list):
        return [_nameless(one) for one in value]
    reference = value.get("reference") if isinstance(value, dict) else None
    if not isinstance(reference, str) or not _sound(reference):
        return value
    if len(value) == 1:
        return _SOMETHING
    return {**value, **_SOMETHING} if len(value) == 2 and "display" in value else value


def _with_nameless(parts: Any, member: str) -> Any:
    """A list, each part of it without the ids of what it leads to by one of its members."""
    if not isinstance(parts, list):
        return parts
    return [
        {**part, member: _nameless(part[member])} if isinstance(part, dict) and member in part else part
        for part in parts
    ]


def only_a_number(raw: Resource) -> bool:
    """A coded measurement says nothing in words beyond what its code says."""
    code = raw.get("code")
    coded = isinstance(code, dict) and bool(code.get("coding"))
    return "valueQuantity" in raw and coded and "component" not in raw


def _named_by_value(asked: list[Recognised], text: str, element: Resource, recogniser: Recogniser) -> list[Recognised]:
    """Facts that only the value names ('receptor status: ER+/PR-'), where the question is one of them or a panel."""
    value = element.get("valueString") or element.get("valueCodeableConcept")
    if not value or recogniser.codes(value) or not (asked or recogniser.spoken("panel", text)):
        return []
    known = {one.sense.subject for one in asked}
    return [one for one in recogniser.spoken("question", text_of(value)) if one.sense.subject not in known]


def _misnamed(
    words: str, asked: Iterable[Recognised], element: Resource, recogniser: Recogniser
) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """The facts that a coded question asks, with others that its text or a display names in their place."""
    subjects = frozenset(one.sense.subject for one in asked)
    if {one.sense.subject for one in recogniser.spoken("question", words)} <= subjects:
        return
    for text in phrases_of(element["code"]):
        named = frozenset(one.sense.subject for one in recogniser.spoken("question", text))
        if named and not named & subjects:
            yield subjects, named


# IS IT EVIDENCE


def _certainties(raw: Resource) -> set[str]:
    concept = raw.get("code")
    holders = [raw, *(objects(concept.get("coding")) if isinstance(concept, dict) else ())]
    return {
        code
        for holder in holders
        for extension in objects(holder.get("extension"))
        if word(extension.get("url")).endswith(_CERTAINTY)
        for code in (_code_in(extension.get("valueCoding")), word(extension.get("valueCode")))
        if code
    }


def _code_in(coding: Any) -> str:
    return word(coding.get("code")) if isinstance(coding, dict) else ""


def _no_evidence(kind: str, raw: Resource) -> str:
    if kind == "Condition":
        certain = _certainties(raw)
        if certain & {_SUSPECTED, _EXCLUDED}:
            return "refuted" if _EXCLUDED in certain else "not confirmed"
    if kind in ("Condition", "AllergyIntolerance"):
        verification = plain_codes(raw.get("verificationStatus"))
        for denial in ("entered-in-error", "refuted"):
            if denial in verification:
                return denial.replace("-", " ")
        if kind == "Condition" and verification & _UNCONFIRMED:
            return "not confirmed"
        if kind == "AllergyIntolerance" and "resolved" in plain_codes(raw.get("clinicalStatus")):
            return "resolved"
        return ""
    allowed = _EVIDENCE.get(kind)
    status = word(raw.get("status"))
    if allowed is not None and status not in allowed:
        return f"its status is {status}" if status in _OTHER_STATUSES else "its status is not one of FHIR's"
    if kind == "MedicationRequest":
        if word(raw.get("intent")) not in _ORDERED:
            return "a plan or proposal, not an order"
        if raw.get("doNotPerform") is True:
            return "an instruction not to give"
    return ""
