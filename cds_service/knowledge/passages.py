"""Sources and their passages: compiled, and checked wherever another file cites one."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from cds_service.errors import Problem
from cds_service.knowledge.files import Files
from cds_service.model import Passage, Source

#: a passage says at most this much: enough to know it, too little to copy it
_WORDS = 25


def sources(files: Files, problems: list[Problem]) -> dict[str, Source]:
    """Every source by its id."""
    return {key: _source(key, raw, problems) for key, raw in files.all("source", problems)}


def _source(key: str, raw: Mapping[str, Any], problems: list[Problem]) -> Source:
    where = f"cards/sources/{key}.yaml:/passages"
    for passage, count in Counter(row["passage"] for row in raw["passages"]).items():
        if count > 1:
            problems.append(Problem(where, f"{passage} {count} times", "each passage once"))
    for row in raw["passages"]:
        if len(row["says"].split()) > _WORDS:
            problems.append(Problem(f"{where}/{row['passage']}/says", f"over {_WORDS} words", f"at most {_WORDS}"))
    return Source(
        id=key,
        title=raw["title"],
        publisher=raw["publisher"],
        short=raw["short"],
        dated=raw["dated"],
        url=raw.get("url", ""),
        digest=raw["digest"],
        passages={
            row["passage"]: Passage(row["passage"], int(row["passage"][1:]), row["digest"], row["says"])
            for row in raw["passages"]
        },
        furniture=tuple((*_lines(row["lines"]), row["why"]) for row in raw["furniture"]),
        retrieved=raw.get("retrieved", ""),
        note=raw.get("note", ""),
    )


def _lines(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def check_passage(
    known: Mapping[str, Source], row: Mapping[str, Any], where: str, problems: list[Problem], source: str = ""
) -> None:
    """A citation names a source that exists and a passage of it."""
    source = source or row["source"]
    if source not in known:
        problems.append(Problem(f"{where}/source", repr(source), "a source of cards/sources"))
    elif row["passage"] not in known[source].passages:
        expected = f"a passage of cards/sources/{source}.yaml"
        problems.append(Problem(f"{where}/passage", repr(row["passage"]), expected))


def not_formalised(files: Files, known: Mapping[str, Source], problems: list[Problem]) -> dict[tuple[str, str], str]:
    """What was read and made no statement of, with the reason, by source and passage."""
    rows = {}
    for key, raw in files.all("source", problems):
        for row in raw["not_formalised"]:
            check_passage(known, row, f"cards/sources/{key}.yaml:/not_formalised", problems, source=key)
            rows[key, row["passage"]] = row["why"]
    for key, raw in files.all("section", problems):
        for row in raw.get("not_formalised", []):
            check_passage(known, row, f"cards/{key}.yaml:/not_formalised", problems)
            rows[row["source"], row["passage"]] = row["why"]
    return rows
