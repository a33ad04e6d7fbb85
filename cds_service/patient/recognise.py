"""Which of our words a code or a text of the record stands for. Codes first; text is the last resort, and says so."""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

from cds_service.knowledge.lexicon import Lexicon, Sense
from cds_service.patient.elements import objects

_CLAUSE_END = re.compile(r"[.;:,()]")
_ALNUM = re.compile(r"[a-z0-9]")
#: how many words may stand between a denial and what it denies
_DENIAL_REACH = 3
#: systems whose longer codes are kinds of what their beginnings mean (M84.58XA is an M84.58), from three characters on
_HIERARCHIC = ("icd-10-cm", "icd-10")
_CATEGORY = 3
_DENIABLE = {"site", "secondary", "diagnosis", "invasive", "carcinoma"}
#: where doubt may stand behind the words too; elsewhere a question mark ends a question ("postmenopausal?")
_DOUBTABLE = _DENIABLE | {"says:stage"}
#: how many questions to texts are remembered: a chart of thousands of resources asks some 15,000, and with less room
#: than that would find none of them again; ten megabytes at most
_ASKED = 32_768
#: what ends a thought within a text: "bone metastases | chronic kidney disease", "breast cancer | CKD stage 4"
_THOUGHT_END = re.compile(r"[.;:,()&]| with | and | and/or ")


class Recognised(NamedTuple):
    """A sense, and how it was recognised: the code, or the words."""

    sense: Sense
    how: str


class Answer(NamedTuple):
    """A word for an answer in a text, and whether the words before it deny it."""

    meaning: str
    word: str
    denied: bool


class Name(NamedTuple):
    """Where a text names facts."""

    start: int
    end: int
    subjects: frozenset[str]


class Recogniser:
    """The lexicon, ready to be asked. Holds bounded caches of codes and texts in memory, nothing else."""

    def __init__(self, lexicon: Lexicon):
        self._lexicon = lexicon
        answers = lexicon.words["value"]
        self._patterns = {domain: _pattern(words, answers) for domain, words in lexicon.words.items()}
        self._telling = _pattern(
            {word for domain, words in lexicon.words.items() if domain.startswith("says:") for word in words}, answers
        )
        self._doubted = _doubts(lexicon.words["denial-after"])
        self._pairs: dict[tuple[str, str, str], re.Pattern[str]] = {}
        self._facts = [domain.removeprefix("says:") for domain in lexicon.words if domain.startswith("says:")]
        self.tells = lru_cache(maxsize=8192)(self._tells)
        self.said = lru_cache(maxsize=8192)(self._said)
        self.spoken = lru_cache(maxsize=_ASKED)(self._spoken)
        self.placed = lru_cache(maxsize=8192)(self._placed)
        self.paired = lru_cache(maxsize=8192)(self._paired)
        self.coded = lru_cache(maxsize=8192)(self._coded)
        self.answers = lru_cache(maxsize=8192)(self._answers)
        self.names = lru_cache(maxsize=8192)(self._names)

    def codes(self, concept: Any) -> tuple[Recognised, ...]:
        """What the codes of a CodeableConcept stand for; nothing where none is known."""
        if not isinstance(concept, dict):
            return ()
        found: tuple[Recognised, ...] = ()
        for coding in objects(concept.get("coding")):
            system, code = coding.get("system"), coding.get("code")
            if isinstance(code, str) and isinstance(system, str):
                found += self.coded(system, code)
        return found

    def is_something_else(self, concept: Any) -> bool:
        """Whether a CodeableConcept has codes of systems that are read, and none that stands for anything of ours."""
        if not isinstance(concept, dict):
            return False
        systems, read = self._lexicon.systems, False
        for coding in objects(concept.get("coding")):
            system, code = coding.get("system"), coding.get("code")
            if isinstance(system, str) and system in systems:
                if isinstance(code, str) and self.coded(system, code):
                    return False
                read = True
        return read

    def _coded(self, system: str, code: str) -> tuple[Recognised, ...]:
        name = self._lexicon.systems.get(system)
        if name is None:
            return ()
        written = code.strip()
        known = self._lexicon.codes.get((system, written), ())
        if name in _HIERARCHIC and not known:
            shorter = written = dotted(written)
            known = self._lexicon.codes.get((system, written), ())
            while not known and len(shorter) > _CATEGORY:
                shorter = shorter[:-1]
                known = self._lexicon.codes.get((system, shorter), ())
        return tuple(Recognised(sense, f"{name} {written} ({sense.display})") for sense in known)

    def _spoken(self, domain: str, text: str) -> tuple[Recognised, ...]:
        """What the words of a lower-case text stand for within a domain, in the order of the text."""
        return tuple(one for _, one in self._placed(domain, text))

    def _placed(self, domain: str, text: str) -> tuple[tuple[int, Recognised], ...]:
        """The same, with the place of each in the text."""
        pattern = self._patterns.get(domain)
        if pattern is None or not text:
            return ()
        words = self._lexicon.words[domain]
        deniable = domain in _DENIABLE or domain.startswith("says:")
        return tuple(
            (match.start(), Recognised(sense, f"the words “{match.group(0)}”"))
            for match in pattern.finditer(text)
            if not (deniable and self._denied(domain, text, match))
            for sense in words[match.group(0)]
        )

    def _answers(self, text: str) -> tuple[Answer, ...]:
        """The words for laboratory answers in a lower-case text, in its order."""
        words = self._lexicon.words["value"]
        return tuple(
            Answer(words[match.group(0)][0].meaning, match.group(0), self.denies(text[: match.start()]))
            for match in self._patterns["value"].finditer(text)
        )

    def _names(self, text: str) -> tuple[Name, ...]:
        """Where a lower-case text names facts, in its order."""
        words = self._lexicon.words["question"]
        return tuple(
            Name(match.start(), match.end(), frozenset(sense.subject for sense in words[match.group(0)]))
            for match in self._patterns["question"].finditer(text)
        )

    def _paired(self, first: str, between: str, second: str, text: str) -> str:
        """How a text says a word of one domain and then one of another with nothing but words of a third between them
        ('malignant neoplasm of upper-outer quadrant of left breast'); '' where it does not, or denies it.
        """
        pattern = self._pairs.get((first, between, second))
        if pattern is None:
            filler, words = _any(self._lexicon.words[between]), self._lexicon.words
            start, end = _any(words[first]), _any(words[second])
            gap = rf"(?:[ ,/-]+(?:{filler})(?![a-z0-9]))*[ ,/-]+"
            pattern = re.compile(rf"(?<![a-z0-9])(?:{start})(?![a-z0-9]){gap}(?:{end})(?![a-z0-9])")
            self._pairs[first, between, second] = pattern
        found = (match for match in pattern.finditer(text) if not self._denied("diagnosis", text, match))
        return next((f"the words “{match.group(0)}”" for match in found), "")

    def only(self, text: str, *domains: str) -> bool:
        """Whether a text holds nothing but words of these domains."""
        for domain in domains:
            text = self._patterns[domain].sub(" ", text)
        return not _ALNUM.search(text)

    def _tells(self, text: str) -> bool:
        """Whether a text has any of the words that say an answer of some fact."""
        return self._telling.search(text) is not None

    def _said(self, text: str) -> tuple[tuple[str, tuple[Recognised, ...]], ...]:
        """The facts whose answers the words of a text say, with what they say."""
        spoken = ((fact, self._spoken(f"says:{fact}", text)) for fact in self._facts)
        return tuple((fact, said) for fact, said in spoken if said)

    def _denied(self, domain: str, text: str, match: re.Match[str]) -> bool:
        """Whether the words just before deny or doubt what stands there ('no evidence of', 'without', 'suspected'), or
        those just behind ('ruled out', '?'). `denial:<domain>` are words that deny in one domain only.
        """
        before = text[: match.start()]
        if self.denies(before) or (domain in _DOUBTABLE and self._doubted.match(text, match.end())):
            return True
        own = f"denial:{domain}"
        return own in self._patterns and self._denied_by(own, before)

    def denies(self, before: str) -> bool:
        """Whether the words just before deny or doubt what follows: 'no evidence of', 'without', 'suspected'."""
        return self._denied_by("denial", before)

    def _denied_by(self, words: str, before: str) -> bool:
        found = self._patterns[words].findall(before)
        if not found:
            return False
        rest = before[before.rindex(found[-1]) + len(found[-1]) :]
        return len(rest.split()) <= _DENIAL_REACH and not _CLAUSE_END.search(rest)


def _pattern(words: Collection[str], answers: Collection[str]) -> re.Pattern[str]:
    """Any of the words as a whole word, the longest first. A hyphen at the end of a word is a minus ("HER2- tumour"),
    unless an answer or a number follows that it parts from the word ("HER2- positive", "HER2- status: pending").
    """
    parted = rf"(?<=-)[ (:]*(?:(?:status|result)[ (:]*)?(?:[0-9]|(?:{_any(answers)})(?![a-z0-9]))"
    return re.compile(rf"(?<![a-z0-9])(?:{_any(words)})(?![a-z0-9])(?!{parted})")


def dotted(code: str) -> str:
    """An ICD-10 code as the classification writes it: C7981, as bills do, is C79.81."""
    bare = code.upper().replace(".", "")
    return f"{bare[:_CATEGORY]}.{bare[_CATEGORY:]}" if len(bare) > _CATEGORY else bare


def _doubts(words: Collection[str]) -> re.Pattern[str]:
    """Doubt that stands behind what it doubts: 'liver metastases?', '… ruled out', '… (suspected)', '…: none'."""
    listed = _any(words)
    return re.compile(rf" ?\?|[ -]+(?:{listed})(?![a-z0-9])|[ ]?[(:,-] ?(?:{listed}|no|none)[ ]?(?:[.;,)]|$)")


@lru_cache(maxsize=8192)
def thoughts(text: str) -> tuple[tuple[int, int], ...]:
    """The parts of a text that stand for themselves, by where they start and end."""
    ends = list(_THOUGHT_END.finditer(text))
    return tuple(zip([0, *(one.end() for one in ends)], [*(one.start() for one in ends), len(text)], strict=True))


def _any(words: Collection[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


def text_of(concept: Any) -> str:
    """The words of a CodeableConcept or a string: text and displays, lower case, one space between words."""
    parts: list[Any] = []
    if isinstance(concept, str):
        parts = [concept]
    elif isinstance(concept, dict):
        parts = [concept.get("text")]
        parts += [coding.get("display") for coding in objects(concept.get("coding"))]
    words = [part for part in parts if isinstance(part, str) and part]
    if not words:
        return ""
    return " ".join(" ; ".join(words).lower().split())


def phrases_of(concept: Any) -> list[str]:
    """The text and each display of a CodeableConcept, each for itself: they come from different hands."""
    if not isinstance(concept, dict):
        return []
    said = (concept.get("text"), *(coding.get("display") for coding in objects(concept.get("coding"))))
    return [phrase for phrase in map(text_of, said) if phrase]


def plain_codes(concept: Any) -> set[str]:
    """The bare codes of a status element, as R4 writes it (CodeableConcept) or older versions do (a word)."""
    if isinstance(concept, str):
        return {concept}
    if not isinstance(concept, dict):
        return set()
    codes = {one["code"] for one in objects(concept.get("coding")) if isinstance(one.get("code"), str)}
    return codes or ({text_of(concept)} - {""})


def senses_of(recognised: tuple[Recognised, ...], role: str) -> list[Sense]:
    """The senses of one role."""
    return [one.sense for one in recognised if one.sense.role == role]
