"""The lexicon turned round: which code, or which words, a record may use for a meaning."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Code

#: a CodeableConcept, or any other part of a resource
Element = dict[str, Any]


class Vocabulary:
    """Codes by meaning, the most fitting first, and words for what has none; `phrases` are those of writing.yaml."""

    def __init__(self, knowledge: Knowledge, writing: Mapping[str, Any]):
        self.knowledge = knowledge
        self.phrases: Mapping[str, Any] = writing
        lexicon = knowledge.lexicon
        self._uris = {system: lexicon.uri(system) for system in set(lexicon.systems.values())}
        self._codes: dict[tuple[str, str, str], list[Code]] = defaultdict(list)
        ambiguous = set()
        for (uri, code), senses in lexicon.codes.items():
            if uri == self._uris[lexicon.systems[uri]]:
                if len({(sense.role, sense.subject, sense.meaning) for sense in senses}) > 1:
                    ambiguous.add(code)
                for sense in senses:
                    self._codes[sense.role, sense.subject, sense.meaning].append(Code(uri, code, sense.display))
        for codes in self._codes.values():
            codes.sort(key=self._rank(codes, ambiguous))

    def _rank(self, codes: list[Code], ambiguous: set[str]) -> Any:
        """Codes that writing.yaml prefers, then those that stand for this meaning alone (not two drugs in a tablet) and
        that no longer code divides further (ICD-10-CM).
        """
        preferred = self.phrases["preferred"]
        heads = {one.code for one in codes if any(o.code != one.code and o.code.startswith(one.code) for o in codes)}
        return lambda one: (one.code not in preferred, one.code in ambiguous, one.code in heads)

    def code(self, role: str, subject: str, meaning: str, systems: tuple[str, ...]) -> Code | None:
        """The code of a meaning in the first of these systems that has one."""
        found = self._codes.get((role, subject, meaning), ())
        for system in systems:
            for one in found:
                if one.system == self._uris[system]:
                    return one
        return None

    def any_code(self, role: str, subject: str, meaning: str) -> Code | None:
        """The code of a meaning, whatever its system."""
        return next(iter(self._codes.get((role, subject, meaning), ())), None)

    def displayed(self, role: str, subject: str, meaning: str, display: str) -> Code:
        """The code of a meaning that is shown with these words."""
        return next(one for one in self._codes[role, subject, meaning] if one.display == display)

    def said(self, fact: str, answer: str) -> str:
        """Words that a fact file reads as this answer."""
        by_word = self.knowledge.lexicon.words.get(f"says:{fact}", {})
        return next(word for word, senses in by_word.items() if {one.meaning for one in senses} == {answer})

    def setting(self, setting: str) -> str:
        """Words for a setting of treatment."""
        by_word = self.knowledge.lexicon.words["setting"]
        return next(word for word, senses in by_word.items() if {one.meaning for one in senses} == {setting})

    def named(self, subject: str) -> str:
        """Words that stand for a drug or class and for nothing else."""
        by_word = self.knowledge.lexicon.words["drug"]
        return next(word for word, senses in by_word.items() if {one.subject for one in senses} == {subject})

    def site(self, site: str) -> str:
        """Words for a place of metastasis."""
        by_word = self.knowledge.lexicon.words["site"]
        return next(word for word, senses in by_word.items() if {one.meaning for one in senses} == {site})


def nameable(knowledge: Knowledge) -> set[str]:
    """The drugs and classes that some words stand for and for nothing else: those that a record can tell of."""
    by_word = knowledge.lexicon.words["drug"].values()
    known = knowledge.drugs.keys() | knowledge.classes.keys()
    return known & {senses[0].subject for senses in by_word if len({one.subject for one in senses}) == 1}


def coded(code: Code) -> Element:
    """A CodeableConcept of one code."""
    return {"coding": [{"system": code.system, "code": code.code, "display": code.display}]}


def worded(text: str) -> Element:
    """A CodeableConcept of words only."""
    return {"text": text}
