"""The record, indexed once: every resource with what its codes and words stand for, and whether it counts as evidence.

A resource counts when it is sound FHIR (`project.fault`) and its status says that it is a fact: not entered in error,
refuted, cancelled, planned or preliminary. What does not count keeps its reason.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from typing import Any, Optional, TypeVar

from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Drug
from cds_service.patient.content import STATE_AFTER, Content, Contents, Question, only_a_number
from cds_service.patient.dates import certainly_before, day
from cds_service.patient.project import READ
from cds_service.patient.recognise import Recognised, Recogniser
from cds_service.patient.record import Record

#: clinicalStatus of what is no longer so
_OVER = {"inactive", "remission", "resolved"}
_ENDS = ("abatementDateTime", "abatementPeriod", "abatementAge", "abatementRange", "abatementString")
_DATED = {
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Observation": ("effectiveDateTime", "effectiveInstant", "effectivePeriod", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "AllergyIntolerance": ("onsetDateTime", "recordedDate"),
}
_T = TypeVar("_T")
#: why a result that is dated after the day of the call is no evidence
FUTURE = "it is dated in the future"


class Entry:
    """One resource of the record: its content, and what sets it apart from others of the same content. `raw` is all of
    it, in the shape of R4; `kind`, `status`, `codes` and `text` (of what it is about) are those of its content.
    """

    __slots__ = ("_course", "_date", "codes", "content", "kind", "raw", "reference", "status", "text", "today")

    def __init__(self, reference: str, raw: dict[str, Any], content: Content, today: str = ""):
        self.reference = reference
        self.raw = raw
        self.content = content
        self.today = today
        self.kind, self.status, self.codes, self.text = content.kind, content.status, content.codes, content.text
        self._date: str | None = None
        self._course: str | None = None

    @property
    def coded(self) -> bool:
        """Whether it has any coding at all, known or not."""
        return self.content.coded

    @property
    def date(self) -> str:
        """When it was so, as far as the resource says."""
        if self._date is None:
            self._date = _date(self.kind, self.raw)
        return self._date

    @property
    def course(self) -> str:
        """Of a Condition: 'active'; 'over' by its clinicalStatus, or by an end without one; 'unclear' where it is
        marked as active and yet has an end (FHIR R4 Condition, con-4).
        """
        if self._course is None:
            self._course = _course(self)
        return self._course

    @property
    def whole_text(self) -> str:
        """What the resource is about and what it says of it, in words: 'code: value', lower case."""
        return self.content.whole_text

    @property
    def unreadable(self) -> str:
        """Why the resource cannot be read; '' when it can."""
        return self.content.unreadable

    @property
    def no_evidence(self) -> str:
        """Why the resource, though readable, is no evidence; '' when it is."""
        return self.content.no_evidence or _not_yet(self)


def _not_yet(entry: Entry) -> str:
    return FUTURE if entry.kind == "Observation" and certainly_before(entry.today, entry.date) else ""


def _date(kind: str, raw: dict[str, Any]) -> str:
    for name in _DATED.get(kind, ()):
        value = raw.get(name)
        found = day(value.get("start") or value.get("end")) if isinstance(value, dict) else day(value)
        if found:
            return found
    return ""


def _course(entry: Entry) -> str:
    status = entry.content.clinical
    if status & _OVER:
        return "over"
    if not any(map(entry.raw.get, _ENDS)) and STATE_AFTER not in entry.content.certainties:
        return "active"
    return "unclear" if status else "over"


@dataclass(eq=False)
class Chart:
    """A record through the eyes of the lexicon. `lens` are the same eyes on an empty record: see `by_text`."""

    record: Record
    recogniser: Recogniser
    knowledge: Knowledge
    contents: Contents
    #: coded questions whose words name others: the resource, the facts asked by code, the facts named
    misnamed: list[tuple[Entry, frozenset[str], frozenset[str]]] = field(default_factory=list)
    shelf: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    named: dict[str, Entry] = field(default_factory=dict)
    lens: Optional["Chart"] = None
    _asking: dict[str, list[tuple[Entry, Question]]] = field(default_factory=lambda: defaultdict(list))
    _saying: dict[str, list[tuple[Entry, Recognised]]] = field(default_factory=lambda: defaultdict(list))

    def of(self, *kinds: str) -> Sequence[Entry]:
        """Every resource of these types, by reference."""
        if len(kinds) == 1:
            return self.entries.get(kinds[0], ())
        return [entry for kind in kinds for entry in self.entries.get(kind, ())]

    def asking(self, fact: str) -> list[tuple[Entry, Recognised, dict[str, Any]]]:
        """Observations (or their components) that ask a fact's question: entry, how recognised, where the value is."""
        found = self._asking.get(fact)
        return [(entry, one.asked, one.element) for entry, one in found] if found else []

    def questions(self, fact: str) -> list[tuple[Entry, Question]]:
        """The same, as the contents hold them."""
        return self._asking.get(fact, [])

    def saying(self, fact: str) -> list[tuple[Entry, Recognised]]:
        """Resources whose own code, or an Observation's value, carries a fact's answer."""
        return self._saying.get(fact, [])

    @cached_property
    def telling(self) -> list[Entry]:
        """Conditions, Observations and Procedures whose words say an answer of some fact: the few to look at."""
        return [entry for entry in self.of("Condition", "Observation", "Procedure") if _tells(entry, self)]

    def told(self, fact: str, *kinds: str) -> Sequence[tuple[Entry, tuple[Recognised, ...]]]:
        """Resources of these types whose words say answers of a fact."""
        found = self._told.get(fact)
        return [(entry, said) for entry, said in found if entry.kind in kinds] if found else ()

    @cached_property
    def _told(self) -> dict[str, list[tuple[Entry, tuple[Recognised, ...]]]]:
        told: dict[str, list[tuple[Entry, tuple[Recognised, ...]]]] = {}
        for entry in self.telling:
            for fact, said in self.recogniser.said(entry.whole_text):
                told.setdefault(fact, []).append((entry, said))
        return told

    def silent(self, fact: str) -> bool:
        """Whether nothing on record asks a fact's question or says an answer of it, by code or in words."""
        return not (fact in self._asking or fact in self._saying or fact in self._told)

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


def by_content(read: Callable[[Content, Chart], _T]) -> Callable[[Entry, Chart], _T]:
    """Remember what a content says. It is read through the lens, as texts are: it can depend on nothing but the content
    and the knowledge.
    """

    @wraps(read)
    def remembered(entry: Entry, opened: Chart) -> _T:
        content = entry.content
        known = content.known
        if read not in known:
            known[read] = read(content, opened.lens or opened)
        found: _T = known[read]
        return found

    return remembered


def by_question(
    read: Callable[[Content, Question, Chart], _T],
) -> Callable[[Entry, Question, Chart], _T]:
    """Remember what a content says to one of its questions, in the same way."""

    @wraps(read)
    def remembered(entry: Entry, question: Question, opened: Chart) -> _T:
        content = entry.content
        return content.remember((read, question.place), lambda: read(content, question, opened.lens or opened))

    return remembered


@by_content
def _tells(content: Content, chart: Chart) -> bool:
    return not only_a_number(content.raw) and chart.recogniser.tells(content.whole_text)


def chart(record: Record, lens: Chart) -> Chart:
    """Index a record: one pass over its resources."""
    recogniser, contents = lens.recogniser, lens.contents
    result = Chart(record, recogniser, lens.knowledge, contents, lens=lens)
    for kind in sorted(READ & record.resources.keys()):
        listed = []
        for reference, raw in record.resources[kind]:
            if "valueQuantity" in raw and "component" not in raw and recogniser.is_something_else(raw.get("code")):
                continue  # a number under a standard code that is none of ours is something else, whatever its words
            content = contents.of(raw)
            entry = Entry(reference, raw, content, record.today)
            listed.append(entry)
            result.named[reference] = entry
            if content.speaks:
                _index(entry, result)
        result.entries[kind] = listed
    return result


def _index(entry: Entry, result: Chart) -> None:
    content = entry.content
    for said in content.says:
        result._saying[said.sense.subject].append((entry, said))
    for question in content.questions:
        result._asking[question.asked.sense.subject].append((entry, question))
    for subjects, named in content.misnamed:
        result.misnamed.append((entry, subjects, named))
