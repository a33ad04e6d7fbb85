"""The record, indexed once: every resource with what its codes and words stand for, and whether it counts as evidence.

A resource counts when it is sound FHIR (`project.fault`) and its status says that it is a fact: not entered in error,
refuted, cancelled, planned or preliminary. What does not count keeps its reason.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from typing import Any, Optional, TypeVar

from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Drug
from cds_service.patient.dates import certainly_before, day
from cds_service.patient.elements import objects, word
from cds_service.patient.project import READ, fault
from cds_service.patient.recognise import Recognised, Recogniser, phrases_of, plain_codes, text_of
from cds_service.patient.record import Record

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
#: clinicalStatus of what is no longer so
_OVER = {"inactive", "remission", "resolved"}
_ENDS = ("abatementDateTime", "abatementPeriod", "abatementAge", "abatementRange", "abatementString")
_UNCONFIRMED = {"unconfirmed", "provisional", "differential"}
#: how sure a German diagnosis is (simplifier.net/basisprofil-de-r4, extension icd-10-gm-diagnosesicherheit)
_CERTAINTY = "icd-10-gm-diagnosesicherheit"
_SUSPECTED, _EXCLUDED, _STATE_AFTER = "V", "A", "Z"
_DATED = {
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Observation": ("effectiveDateTime", "effectiveInstant", "effectivePeriod", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "AllergyIntolerance": ("onsetDateTime", "recordedDate"),
}
_T = TypeVar("_T")
#: why a result that is dated after the day of the call is no evidence
FUTURE = "it is dated in the future"


@dataclass
class Entry:
    """One resource of the record: `codes` and `text` are those of what it is about."""

    reference: str
    kind: str
    raw: dict[str, Any]
    codes: tuple[Recognised, ...]
    text: str
    today: str = ""

    def __post_init__(self) -> None:
        self._known: dict[str, str] = {}

    @property
    def status(self) -> str:
        """Its status element."""
        return word(self.raw.get("status"))

    @property
    def coded(self) -> bool:
        """Whether it has any coding at all, known or not."""
        concept = self.raw.get("code")
        return isinstance(concept, dict) and bool(objects(concept.get("coding")))

    @property
    def date(self) -> str:
        """When it was so, as far as the resource says."""
        return self._remember("date", _date)

    @property
    def course(self) -> str:
        """Of a Condition: 'active'; 'over' by its clinicalStatus, or by an end without one; 'unclear' where it is
        marked as active and yet has an end (FHIR R4 Condition, con-4).
        """
        return self._remember("course", _course)

    @property
    def whole_text(self) -> str:
        """What the resource is about and what it says of it, in words: 'code: value', lower case."""
        return self._remember("whole_text", _whole_text)

    @property
    def unreadable(self) -> str:
        """Why the resource cannot be read; '' when it can."""
        return self._remember("unreadable", lambda entry: fault(entry.raw))

    @property
    def no_evidence(self) -> str:
        """Why the resource, though readable, is no evidence; '' when it is."""
        return self._remember("no_evidence", lambda entry: _no_evidence(entry.kind, entry.raw) or _not_yet(entry))

    def _remember(self, name: str, find: Callable[["Entry"], str]) -> str:
        # functools.cached_property takes a lock at each first reading, which costs more than most of these do
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = find(self)
        return found


def _not_yet(entry: Entry) -> str:
    return FUTURE if entry.kind == "Observation" and certainly_before(entry.today, entry.date) else ""


def _date(entry: Entry) -> str:
    for name in _DATED.get(entry.kind, ()):
        value = entry.raw.get(name)
        found = day(value.get("start") or value.get("end")) if isinstance(value, dict) else day(value)
        if found:
            return found
    return ""


def _course(entry: Entry) -> str:
    status = {code.lower() for code in plain_codes(entry.raw.get("clinicalStatus"))}
    if status & _OVER:
        return "over"
    if not any(entry.raw.get(name) for name in _ENDS) and _STATE_AFTER not in _certainties(entry.raw):
        return "active"
    return "unclear" if status else "over"


def _whole_text(entry: Entry) -> str:
    value = entry.raw.get("valueString") or entry.raw.get("valueCodeableConcept")
    if isinstance(entry.raw.get("valueBoolean"), bool):
        value = "yes" if entry.raw["valueBoolean"] else "no"
    return f"{entry.text}: {text_of(value)}" if value else entry.text


@dataclass(eq=False)
class Chart:
    """A record through the eyes of the lexicon. `lens` are the same eyes on an empty record: see `by_text`."""

    record: Record
    recogniser: Recogniser
    knowledge: Knowledge
    #: coded questions whose words name others: the resource, the facts asked by code, the facts named
    misnamed: list[tuple[Entry, frozenset[str], frozenset[str]]] = field(default_factory=list)
    shelf: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    named: dict[str, Entry] = field(default_factory=dict)
    lens: Optional["Chart"] = None
    _asking: dict[str, list[tuple[Entry, Recognised, dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _saying: dict[str, list[tuple[Entry, Recognised]]] = field(default_factory=lambda: defaultdict(list))

    def of(self, *kinds: str) -> Iterator[Entry]:
        """Every resource of these types, by reference."""
        for kind in kinds:
            yield from self.entries.get(kind, ())

    def asking(self, fact: str) -> list[tuple[Entry, Recognised, dict[str, Any]]]:
        """Observations (or their components) that ask a fact's question: entry, how recognised, where the value is."""
        return self._asking.get(fact, [])

    def saying(self, fact: str) -> list[tuple[Entry, Recognised]]:
        """Resources whose own code, or an Observation's value, carries a fact's answer."""
        return self._saying.get(fact, [])

    @cached_property
    def telling(self) -> list[Entry]:
        """Conditions, Observations and Procedures whose words say an answer of some fact: the few to look at."""
        return [
            entry
            for entry in self.of("Condition", "Observation", "Procedure")
            if not _only_a_number(entry.raw) and self.recogniser.tells(entry.whole_text)
        ]

    def told(self, fact: str, *kinds: str) -> Iterator[tuple[Entry, tuple[Recognised, ...]]]:
        """Resources of these types whose words say answers of a fact."""
        return ((entry, said) for entry, said in self._told.get(fact, ()) if entry.kind in kinds)

    @cached_property
    def _told(self) -> dict[str, list[tuple[Entry, tuple[Recognised, ...]]]]:
        told: dict[str, list[tuple[Entry, tuple[Recognised, ...]]]] = {}
        for entry in self.telling:
            for fact, said in self.recogniser.said(entry.whole_text):
                told.setdefault(fact, []).append((entry, said))
        return told

    @property
    def drugs(self) -> Mapping[str, Drug]:
        """The drugs of the knowledge."""
        return self.knowledge.drugs

    def classes_of(self, subject: str) -> frozenset[str]:
        """The classes of a drug, or a class and the classes that hold it."""
        return self.knowledge.classes_of.get(subject, frozenset())

    @property
    def metastases(self) -> dict[str, str]:
        """The resources that are evidence of stage IV, with their dates, as `stage.py` found them."""
        found: dict[str, str] = self.shelf.setdefault("metastases", {})
        return found


def by_text(read: Callable[[str, Chart], Iterator[_T]]) -> Callable[[str, Chart], tuple[_T, ...]]:
    """Remember what a text says, for the latest texts. It is read through the lens: with no record in hand, it can
    depend on nothing but the text and the knowledge.
    """

    @lru_cache(maxsize=8192)
    def known(text: str, lens: Chart) -> tuple[_T, ...]:
        return tuple(read(text, lens))

    @wraps(read)
    def remembered(text: str, opened: Chart) -> tuple[_T, ...]:
        return known(text, opened.lens or opened)

    return remembered


def chart(record: Record, lens: Chart) -> Chart:
    """Index a record: one pass over its resources."""
    recogniser = lens.recogniser
    result = Chart(record, recogniser, lens.knowledge, lens=lens)
    for kind in sorted(READ & record.resources.keys()):
        listed = []
        for reference, raw in record.of(kind):
            concept = raw.get("code")
            codes = recogniser.codes(concept)
            if not codes and _only_a_number(raw) and recogniser.in_known_system(concept):
                continue  # a standard code that is none of ours is something else, whatever its words
            entry = Entry(reference, kind, raw, codes, text_of(concept), record.today)
            listed.append(entry)
            result.named[reference] = entry
            for recognised in entry.codes:
                if recognised.sense.role == "says":
                    result._saying[recognised.sense.subject].append((entry, recognised))
            if kind == "Observation":
                _index_observation(result, entry)
        result.entries[kind] = listed
    return result


def _only_a_number(raw: dict[str, Any]) -> bool:
    """A coded measurement says nothing in words beyond what its code says."""
    code = raw.get("code")
    coded = isinstance(code, dict) and bool(code.get("coding"))
    return "valueQuantity" in raw and coded and "component" not in raw


def _index_observation(result: Chart, entry: Entry) -> None:
    questions = [(entry.codes, entry.text, entry.raw)]
    for component in objects(entry.raw.get("component")):
        concept = component.get("code")
        questions.append((result.recogniser.codes(concept), text_of(concept), component))
    for codes, text, element in questions:
        asked = [one for one in codes if one.sense.role == "asks"]
        if not codes:
            asked = list(result.recogniser.spoken("question", text))
            asked += _named_by_value(asked, text, element, result.recogniser)
        elif asked:
            if result.recogniser.spoken("question", text):
                _note_misnamed(result, entry, text, asked, element)
            asked += _named_by_value(asked, text, element, result.recogniser)
        for one in dict.fromkeys(asked):
            result._asking[one.sense.subject].append((entry, one, element))
        for one in result.recogniser.codes(element.get("valueCodeableConcept")):
            if one.sense.role == "says":
                result._saying[one.sense.subject].append((entry, one))


def _named_by_value(
    asked: list[Recognised], text: str, element: dict[str, Any], recogniser: Recogniser
) -> list[Recognised]:
    """Facts that only the value names ('receptor status: ER+/PR-'), where the question is one of them or a panel."""
    value = element.get("valueString") or element.get("valueCodeableConcept")
    if not value or recogniser.codes(value) or not (asked or recogniser.spoken("panel", text)):
        return []
    known = {one.sense.subject for one in asked}
    return [one for one in recogniser.spoken("question", text_of(value)) if one.sense.subject not in known]


def _note_misnamed(result: Chart, entry: Entry, words: str, asked: list[Recognised], element: dict[str, Any]) -> None:
    """Keep a coded question whose text or display names other facts and not its own."""
    concept = element["code"]
    subjects = frozenset(one.sense.subject for one in asked)
    if {one.sense.subject for one in result.recogniser.spoken("question", words)} <= subjects:
        return
    for text in phrases_of(concept):
        named = frozenset(one.sense.subject for one in result.recogniser.spoken("question", text))
        if named and not named & subjects:
            result.misnamed.append((entry, subjects, named))


def _certainties(raw: dict[str, Any]) -> set[str]:
    """The certainties that a German Condition states, beside its codes or as a whole."""
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


def _no_evidence(kind: str, raw: dict[str, Any]) -> str:
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
