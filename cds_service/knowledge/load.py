"""From the folder of files to the knowledge: compiled once at start, every problem of every file reported at once."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cds_service.errors import KnowledgeError, Problem
from cds_service.knowledge.conditions import parse
from cds_service.knowledge.drugs import read_drugs
from cds_service.knowledge.effects import read_effects
from cds_service.knowledge.facts import read_facts
from cds_service.knowledge.files import Files, read_files
from cds_service.knowledge.knowledge import Knowledge
from cds_service.knowledge.passages import not_formalised, sources
from cds_service.knowledge.sections import Sections
from cds_service.knowledge.words import lexicon
from cds_service.model import Code

_PACKAGE = Path(__file__).resolve().parent.parent


def home() -> tuple[Path, Path]:
    """Where `cards` and `schemas` stand: inside the installed package, else beside it in a checkout."""
    base = _PACKAGE if (_PACKAGE / "cards").is_dir() else _PACKAGE.parent
    return base / "cards", base / "schemas"


def load(cards: Path | None = None, schemas: Path | None = None) -> Knowledge:
    """Read, check and compile the knowledge. Raises KnowledgeError with every problem found."""
    default_cards, default_schemas = home()
    files, problems = read_files(cards or default_cards, schemas or default_schemas)
    if problems:
        raise KnowledgeError(problems)
    knowledge = _compile(files, problems)
    if problems:
        raise KnowledgeError(list(dict.fromkeys(problems)))
    return knowledge


def _compile(files: Files, problems: list[Problem]) -> Knowledge:
    top, gate, reasons = files.one("knowledge"), files.one("reading")["gate"], files.one("override-reasons")
    systems = {raw["id"]: (raw["uri"], *raw.get("also", ())) for raw in files.one("systems")["systems"]}
    known = sources(files, problems)
    drugs = read_drugs(files, known, problems)
    facts, words = read_facts(files, drugs, problems)
    knowledge = Knowledge(
        version=top["version"],
        title=top["title"],
        notice=top["notice"],
        notices=tuple(
            (parse(row["when"], words, "cards/knowledge.yaml:/notices", problems), row["says"])
            for row in top["notices"]
        ),
        digest=files.digest,
        sources=known,
        drugs=drugs.drugs,
        classes=drugs.classes,
        members=drugs.members,
        within=drugs.within,
        broad=drugs.broad,
        facts=facts,
        gate=parse(gate["active"], words, "cards/reading.yaml:/gate/active", problems),
        gate_inactive=parse(gate["inactive"], words, "cards/reading.yaml:/gate/inactive", problems),
        cards=Sections(files, known, drugs, words, problems).cards(),
        effects=tuple(read_effects(files, known, drugs, problems)),
        effects_reviewed=bool(files.one("effects")["reviewed"]),
        override_reasons=tuple(Code(reasons["system"], row["code"], row["display"]) for row in reasons["reasons"]),
        not_formalised=not_formalised(files, known, problems),
        lexicon=lexicon(files, systems),
    )
    problems += _across(files, systems, knowledge)
    return knowledge


def _across(files: Files, systems: Mapping[str, Any], knowledge: Knowledge) -> Iterator[Problem]:
    """What no file can know by itself: systems of codes, options that stand twice."""
    for kind in ("fact", "drug", "values", "classes"):
        for key, raw in files.data.get(kind, {}).items():
            for row in _coded(raw):
                if row["system"] not in systems:
                    yield Problem(f"cards/…/{key}.yaml", f"the system {row['system']!r}", "one of systems.yaml")
    counts = Counter(option.id for section in knowledge.sections for option in section.options)
    for option, count in counts.items():
        if count > 1:
            yield Problem(f"cards: option {option}", f"it stands {count} times", "each option once")


def _coded(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    lists = [value for value in raw.values() if isinstance(value, list)]
    rows = [row for rows in lists for row in rows if isinstance(row, dict)]
    return [row for row in rows if "system" in row] + [code for row in rows for code in row.get("codes", [])]
