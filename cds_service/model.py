"""The frozen words of the project: what the rooms hand to each other. No behaviour beyond looking things up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from cds_service.kleene import FALSE, UNKNOWN, Truth

# KNOWLEDGE: what the reviewed files say


@dataclass(frozen=True)
class Passage:
    """One line of a source: where it stands, the digest of its text, and what it says in our own words."""

    id: str
    line: int
    digest: str
    says: str


@dataclass(frozen=True)
class Source:
    """One of the documents. `short` is how a card cites it; `digest` is the sha256 of the whole text."""

    id: str
    title: str
    publisher: str
    short: str
    dated: str
    url: str
    digest: str
    passages: Mapping[str, Passage]
    furniture: tuple[tuple[int, int, str], ...]
    retrieved: str = ""
    note: str = ""


@dataclass(frozen=True)
class Code:
    """A code of a terminology, with the words it is shown with."""

    system: str
    code: str
    display: str


@dataclass(frozen=True)
class Drug:
    """A medicine: how records name it, which classes it belongs to (narrowest first), which sources name it.

    `form_of` are the drugs that its ingredient code and many labels name, though it is a drug of its own (conjugates,
    liposomes, fixed doses).
    """

    id: str
    label: str
    classes: tuple[str, ...]
    contains: tuple[str, ...]
    rxnorm: tuple[Code, ...]
    named_in: tuple[str, ...] = ()
    form_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Atom:
    """One question to one fact: does the fact have this answer? `says` and `denies` are its words on a card."""

    fact: str
    answer: str
    says: str = field(default="", compare=False)
    denies: str = field(default="", compare=False)


@dataclass(frozen=True)
class All:
    """True when every member is true."""

    members: tuple["Condition", ...]


@dataclass(frozen=True)
class Any_:
    """True when at least one member is true."""

    members: tuple["Condition", ...]


@dataclass(frozen=True)
class Not:
    """True when the member is false."""

    member: "Condition"


@dataclass(frozen=True)
class Open:
    """True when a fact is unknown: the condition of an option that would settle it."""

    fact: str


Condition = Atom | All | Any_ | Not | Open


class Position(Enum):
    """What a statement does: `supports` and `against` decide, `background` is cited and never decides."""

    SUPPORTS = "supports"
    AGAINST = "against"
    BACKGROUND = "background"


@dataclass(frozen=True)
class Statement:
    """The atom of knowledge: one source, at one passage, says something about one option under some conditions.

    `strength` keeps the source's own word ("may", "one study"); `note` says what the source adds, and stands among the
    remarks of a card where the statement holds and `on_card` is set (an `against` note is always shown).
    """

    source: str
    passage: str
    position: Position
    when: Condition
    strength: str = ""
    note: str = ""
    on_card: bool = False


@dataclass(frozen=True)
class Currency:
    """A dated, cited note that something in a source is known to have changed since. Shown, never applied."""

    on: str
    says: str
    cites: str
    url: str = ""


@dataclass(frozen=True)
class Erratum:
    """A mistake or an aged claim in a source, shown where it matters: neither mended nor followed."""

    source: str
    passage: str
    says: str
    on_card: bool


@dataclass(frozen=True)
class Effect:
    """What a source says on watching a drug or class (`monitoring`) or on what it brings (`side-effect`)."""

    of: str
    kind: str
    source: str
    passage: str
    says: str


@dataclass(frozen=True)
class Option:
    """A drug, combination or step that a source names. `parts` are the drugs and classes it is made of."""

    id: str
    label: str
    parts: tuple[str, ...]
    drugs: tuple[str, ...]
    statements: tuple[Statement, ...]
    requires: Condition
    removed_by: Condition
    errata: tuple[Erratum, ...] = ()
    currency: tuple[Currency, ...] = ()


@dataclass(frozen=True)
class Review:
    """A clinician read a section against the sources."""

    by: str
    on: str
    compared: str


@dataclass(frozen=True)
class Unformalised:
    """A passage of which no statement was made, and why."""

    source: str
    passage: str
    why: str


@dataclass(frozen=True)
class Section:
    """One file of a card: options that belong together. An empty `reviewed` means: no clinician has reviewed it."""

    id: str
    card: str
    title: str
    options: tuple[Option, ...]
    reviewed: tuple[Review, ...]
    not_formalised: tuple[Unformalised, ...] = ()


@dataclass(frozen=True)
class CardPlan:
    """A card as the knowledge describes it: its title and its sections in order."""

    id: str
    title: str
    summary_facts: tuple[str, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Wording:
    """A named condition of a fact: the answer it asks for (`*` is its subject), and how a card says or denies it."""

    answer: str
    says: str
    denies: str


@dataclass(frozen=True)
class FactDefinition:
    """One question: its kind says which function answers it, `asks` are the codes that pose it in a record, `builds_on`
    the facts that the answer uses.
    """

    id: str
    label: str
    short: str
    question: str
    kind: str
    answers: tuple[str, ...]
    conditions: Mapping[str, Wording]
    reads: tuple[str, ...]
    builds_on: tuple[str, ...]
    asks: tuple[Code, ...]
    more: Mapping[str, Any]


# FACTS: what a record says


class Reading(NamedTuple):
    """How one resource answered a question: what was recognised, by which code or words."""

    reference: str
    answer: str
    recognised: str
    date: str = ""


class Answer(NamedTuple):
    """The truth of one answer, with the resources it was read from."""

    truth: Truth
    references: tuple[str, ...] = ()


class Fact(NamedTuple):
    """A named answer with the references it was read from. What is not among `answers` is `default`."""

    name: str
    value: str
    answers: Mapping[str, Answer] = MappingProxyType({})
    default: Truth = UNKNOWN
    references: tuple[str, ...] = ()
    note: str = ""
    readings: tuple[Reading, ...] = ()
    set_aside: tuple[tuple[str, str], ...] = ()

    @property
    def applies(self) -> bool:
        """Whether the question can have any answer for this patient: menopause has none for a man."""
        return (
            self.value != "unknown"
            or self.default is not FALSE
            or not self.answers
            or any(one.truth is not FALSE for one in self.answers.values())
        )

    def answer(self, answer: str) -> Answer:
        """The truth of one answer of this fact; unheard answers have the fact's default."""
        return self.answers.get(answer) or Answer(self.default, self.references if self.default is FALSE else ())


# ADVICE: what the statements add up to


class Status(Enum):
    """What the statements about an option add up to for this patient."""

    SUPPORTED = "supported"
    DIFFERS = "differs"
    NEEDS_DATA = "needs-data"
    NOT_SUPPORTED = "not-supported"

    __hash__ = object.__hash__  # by identity, as of a Truth


@dataclass(frozen=True, eq=False)
class Verdict:
    """The status of an option, and why: truth of each statement, deciding atoms, and the facts still missing. `truths`
    are those it was judged by. A verdict is remembered, and so is what is made of it: it equals itself only.
    """

    option: str
    status: Status
    statements: tuple[tuple[Statement, Truth], ...]
    because: tuple[Atom, ...]
    missing: tuple[str, ...]
    truths: Mapping[Atom | Open, Truth]
