"""Do the citations point at what they claim, and is every line of every source accounted for?

The documents are not part of the project: whoever has them can verify the passages by digest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cds_service.knowledge.digest import digest
from cds_service.knowledge.knowledge import Knowledge
from cds_service.model import Source


@dataclass(frozen=True)
class Coverage:
    """How the passages of a source are accounted for; `left_over` are passages that nothing accounts for."""

    source: str
    cited: int
    not_formalised: int
    furniture_lines: int
    left_over: tuple[str, ...]


def coverage(knowledge: Knowledge) -> list[Coverage]:
    """The count for each source, from the knowledge alone."""
    cited = {
        (statement.source, statement.passage)
        for option in knowledge.options.values()
        for statement in option.statements
    } | {(effect.source, effect.passage) for effect in knowledge.effects}
    return [_of_source(source, cited, knowledge) for source in knowledge.sources.values()]


def _of_source(source: Source, cited: set[tuple[str, str]], knowledge: Knowledge) -> Coverage:
    own = {passage for name, passage in cited if name == source.id}
    unformalised = {passage for name, passage in knowledge.not_formalised if name == source.id} - own
    lines = sum(last - first + 1 for first, last, _ in source.furniture)
    left = sorted(set(source.passages) - own - unformalised, key=lambda passage: int(passage[1:]))
    return Coverage(source.id, len(own), len(unformalised), lines, tuple(left))


@dataclass(frozen=True)
class Verification:
    """One source against its document: passages whose digest fits, those that fail, lines nothing accounts for."""

    source: str
    document: str
    found: int
    failing: tuple[str, ...]
    unaccounted: tuple[int, ...]


def verify(knowledge: Knowledge, documents: Mapping[str, str]) -> list[Verification]:
    """Check every source against texts by file name. A document is recognised by the digest of its whole text, else by
    most of its passages; `document` is '' where none of the files is it.
    """
    return [_verify_source(source, documents) for source in knowledge.sources.values()]


def _verify_source(source: Source, documents: Mapping[str, str]) -> Verification:
    name = _recognise(source, documents)
    if not name:
        return Verification(source.id, "", 0, tuple(source.passages), ())
    lines = documents[name].splitlines()
    failing = tuple(
        passage.id for passage in source.passages.values() if digest(_line(lines, passage.line)) != passage.digest
    )
    known = {passage.line for passage in source.passages.values()} | set(_furniture(source))
    left = tuple(n for n, line in enumerate(lines, 1) if line.strip() and n not in known)
    return Verification(source.id, name, len(source.passages) - len(failing), failing, left)


def _recognise(source: Source, documents: Mapping[str, str]) -> str:
    for name, text in documents.items():
        if digest(text) == source.digest:
            return name
    wanted = {passage.digest for passage in source.passages.values()}
    fitting = {name: sum(digest(line) in wanted for line in text.splitlines()) for name, text in documents.items()}
    best = max(fitting, key=lambda name: fitting[name], default="")
    return best if best and fitting[best] * 2 > len(wanted) else ""


def _furniture(source: Source) -> Iterable[int]:
    for first, last, _ in source.furniture:
        yield from range(first, last + 1)


def _line(lines: list[str], number: int) -> str:
    return lines[number - 1] if 0 < number <= len(lines) else ""
