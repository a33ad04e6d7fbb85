"""Collecting what resources say about one fact, and settling it: newest wins, a day that disagrees is unknown."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth
from cds_service.model import Answer, Fact, FactDefinition, Reading
from cds_service.patient.chart import FUTURE, Entry
from cds_service.patient.dates import certainly_before, newest

#: how many older results that differ a note names
_OLDER_SHOWN = 3
_IN_ORDER = attrgetter("reference", "answer", "recognised")


class Told(NamedTuple):
    """What the answer to a question comes to: an `answer`, how it was recognised, and why it is in `doubt`, if it is;
    or why it is set `aside`. Nothing of these: it says nothing.
    """

    answer: str = ""
    how: str = ""
    doubt: str = ""
    aside: str = ""


@dataclass(slots=True)
class Evidence:
    """The readings for one fact. `unreadable` are references of resources that ask it and cannot be read."""

    fact: FactDefinition
    readings: list[Reading] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doubts: dict[str, str] = field(default_factory=dict)

    def admit(self, entry: Entry) -> bool:
        """Whether a resource counts as evidence; if not, it is set aside with its reason."""
        reason = entry.unreadable or entry.no_evidence
        if not reason:
            return True
        if entry.unreadable:
            self.unreadable.append(entry.reference)
        if reason == FUTURE:
            self.note("a result dated in the future was set aside")
        self.set_aside.append((entry.reference, reason))
        return False

    def take(self, entry: Entry, told: Told) -> None:
        """Read what an answer comes to, or set it aside."""
        if told.aside:
            self.ignore(entry, told.aside)
        elif told.answer:
            self.read(entry, told.answer, told.how)
            if told.doubt:
                self.doubt(entry, told.doubt)

    def read(self, entry: Entry, answer: str, how: str, date: str | None = None) -> Reading:
        """Note one reading."""
        reading = Reading(entry.reference, answer, how, entry.date if date is None else date)
        self.readings.append(reading)
        return reading

    def ignore(self, entry: Entry, reason: str) -> None:
        """Set a resource aside."""
        self.set_aside.append((entry.reference, reason))

    def doubt(self, entry: Entry, reason: str) -> None:
        """Keep why a reading is unclear, for the note: 'a result that …'."""
        self.doubts[entry.reference] = reason

    def note(self, text: str) -> None:
        """Say something about the fact on the card."""
        if text not in self.notes:
            self.notes.append(text)

    # SETTLING

    def latest(self) -> list[Reading]:
        """The readings that no other reading is certainly newer than."""
        if len(self.readings) < 2:
            return list(self.readings)
        positions = newest(reading.date for reading in self.readings)
        return [reading for i, reading in enumerate(self.readings) if i in positions]

    def single(self, open_answers: Iterable[str] = ()) -> Fact:
        """A fact with one answer. `open_answers` (equivocal, perimenopausal) are readings that leave it unknown."""
        return self.settle(self.latest(), open_answers)

    def settle(self, latest: list[Reading], open_answers: Iterable[str] = (), older: bool = False) -> Fact:
        """The one answer of the readings that count; with `older`, the note names older ones that differ."""
        if not self.readings and not self.set_aside and not self.notes:
            return nothing(self.fact)
        if self.unreadable:
            self.note("a resource that asks this cannot be read")
            return self.fact_of("unknown", ())
        values = sorted({reading.answer for reading in latest})
        if not values:
            return self.fact_of("unknown", ())
        references = references_of(latest)
        doubted = self.doubts.keys() & references
        for reference in sorted(doubted):
            self.note(f"a result that {self.doubts[reference]} ({reference})")
        if older:
            self._note_older(latest)
        if len(values) > 1:
            self.note(f"results that disagree and neither is known to be newer: {' and '.join(values)}")
            return self.fact_of("unknown", references)
        if values[0] in open_answers:
            if not doubted:
                self.note(f"{values[0]} on record")
            return self.fact_of("unknown", references)
        return self.fact_of(values[0], references)

    def _note_older(self, latest: list[Reading]) -> None:
        known = {reading.answer for reading in latest}
        differing = {
            (one.date, one.answer, one.reference)
            for one in self.readings
            if one.answer in self.fact.answers and one.answer not in known
            if any(certainly_before(one.date, new.date) for new in latest)
        }
        for date, answer, reference in sorted(differing, reverse=True)[:_OLDER_SHOWN]:
            self.note(f"an older result differs: {answer} {date} ({reference})")

    def fact_of(self, value: str, references: tuple[str, ...]) -> Fact:
        """The fact with one value: that answer is true, the fact's other answers are false; unknown leaves all open."""
        answers: dict[str, Answer] = {}
        if value in self.fact.answers:
            answers = dict.fromkeys(self.fact.answers, Answer(FALSE, references))
            answers[value] = Answer(TRUE, references)
        return self.build(value, answers, UNKNOWN, references)

    def build(self, value: str, answers: dict[str, Answer], default: Truth, references: tuple[str, ...]) -> Fact:
        """The finished fact."""
        readings = self.readings if len(self.readings) < 2 else sorted(set(self.readings), key=_IN_ORDER)
        aside = tuple(sorted(set(self.set_aside))) if self.set_aside else ()
        return Fact(self.fact.id, value, answers, default, references, "; ".join(self.notes), tuple(readings), aside)


def nothing(definition: FactDefinition) -> Fact:
    """The fact of which nothing is on record."""
    return Fact(definition.id, "unknown")


def references_of(readings: Iterable[Reading]) -> tuple[str, ...]:
    """The resources behind readings, each once, in order."""
    return tuple(sorted({reading.reference for reading in readings}))
