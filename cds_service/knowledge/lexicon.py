"""What a code or a word of a record stands for: the only dictionary between terminologies and our own words."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sense:
    """One thing that a code or word stands for.

    `role` is what it does in a record: it `asks` a question or `says` an answer of a fact, names a `drug` or a `class`,
    is a laboratory `value`, a `setting` of treatment, the `target` of a refusal; `ignored`, `not-this` and `ambiguous`
    are there so that nobody takes a code for more than it is. `subject` is the fact, drug or class; `meaning` the
    answer or the way of asking; `manner` how it is meant where a fact needs that ("current" use); `may_be` the drugs
    that an ambiguous code may stand for; `why` a reviewer's reason.
    """

    role: str
    subject: str
    meaning: str = ""
    display: str = ""
    may_be: tuple[str, ...] = ()
    why: str = ""
    manner: str = ""


@dataclass(frozen=True)
class Lexicon:
    """Senses by (system URI, code), and by lower-case words within a domain.

    Domains: `drug` (drugs and classes), `question` (fact names), `value` (laboratory answers), `site`, and
    `says:<fact>` for the answers of one fact.
    """

    codes: Mapping[tuple[str, str], tuple[Sense, ...]]
    words: Mapping[str, Mapping[str, tuple[Sense, ...]]]
    systems: Mapping[str, str]

    def uri(self, system: str) -> str:
        """The URI that FHIR uses for one of our systems: the first of those it goes by."""
        return next(uri for uri, name in self.systems.items() if name == system)
