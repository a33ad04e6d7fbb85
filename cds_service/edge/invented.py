"""The invented patients as the package ships them: their files read, checked against schemas, ready to be written."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

import cds_service.synthetic
from cds_service.errors import KnowledgeError, Problem
from cds_service.knowledge.knowledge import Knowledge
from cds_service.knowledge.load import home
from cds_service.knowledge.strict_yaml import read_yaml
from cds_service.synthetic.population import Population, population
from cds_service.synthetic.story import Story, told
from cds_service.synthetic.vocabulary import Vocabulary

_FOLDER = Path(cds_service.synthetic.__file__).parent


@dataclass(frozen=True)
class Invented:
    """The hand-written stories, what writes them down, and what invents more."""

    stories: tuple[Story, ...]
    vocabulary: Vocabulary
    population: Population


def invented(knowledge: Knowledge) -> Invented:
    """Read the files of the synthetic room. Raises KnowledgeError where one is not sound."""
    vocabulary = Vocabulary(knowledge, _file("writing"))
    return Invented(told(_file("stories"), knowledge), vocabulary, population(_file("population"), knowledge))


@cache
def _file(name: str) -> Any:
    raw, problems = read_yaml((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
    schema = json.loads((home()[1] / "synthetic" / f"{name}.schema.json").read_text(encoding="utf-8"))
    for error in Draft202012Validator(schema).iter_errors(raw) if not problems else ():
        path = "/".join(str(step) for step in error.absolute_path)
        problems.append(Problem(f"{name}.yaml:/{path}", str(error.message)[:120], "what its schema says"))
    if problems:
        raise KnowledgeError(problems)
    return raw
