"""A story: one invented patient in plain words and in the words of the facts. Told here, written in `record`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.errors import KnowledgeError, Problem
from cds_service.knowledge.knowledge import Knowledge
from cds_service.synthetic.vocabulary import nameable

#: how a record is written: with the codes and profiles of mCODE, with those of US Core, or in words only
SHAPES = ("mcode", "us-core", "words")


@dataclass(frozen=True)
class Story:
    """One invented patient. `facts` are in the words of the fact files; what they do not say is not on record.

    er pr her2 brca menopause fitness calcium extent    one answer; `conflict` (receptors) for two results that disagree
    organ-symptoms sex stage breast-cancer deceased     one answer; unless told: female, stage-4, active, alive
    sites symptoms contraindicated refused              lists
    given                                               regimens by time: `drugs`, `setting`, `ended`
    withdrawn                                           results entered in error, by fact
    age besides                                         years; other complaints of writing.yaml: no fact reads them
    """

    id: str
    says: str
    shape: str
    facts: Mapping[str, Any]


def told(raw: Mapping[str, Any], knowledge: Knowledge) -> tuple[Story, ...]:
    """The stories of a file that its schema has passed. Raises KnowledgeError where a word is not one of the facts."""
    stories = tuple(Story(row["story"], row["says"], row["shape"], row["facts"]) for row in raw["stories"])
    problems = [
        problem for story in stories for problem in unheard(f"stories.yaml:/{story.id}", story.facts, knowledge)
    ]
    ids = [story.id for story in stories]
    problems += [
        Problem(f"stories.yaml:/{one}", "a story told twice", "each id once") for one in set(ids) if ids.count(one) > 1
    ]
    if problems:
        raise KnowledgeError(problems)
    return stories


def unheard(where: str, facts: Mapping[str, Any], knowledge: Knowledge) -> Iterator[Problem]:
    """The words of facts that are not words of the knowledge."""
    known = {
        "sites": {one.meaning for senses in knowledge.lexicon.words["site"].values() for one in senses},
        "symptoms": set(knowledge.facts["symptoms"].answers),
        "contraindicated": nameable(knowledge),
        "refused": nameable(knowledge),
        "given": nameable(knowledge) & set(knowledge.drugs),
    }
    for name, allowed in known.items():
        named = facts.get(name, ())
        words = [drug for regimen in named for drug in regimen["drugs"]] if name == "given" else named
        for word in words:
            if word not in allowed:
                yield Problem(f"{where}/{name}", repr(word), "a word of the knowledge")
