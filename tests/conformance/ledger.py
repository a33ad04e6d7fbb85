"""The ledger of what CDS Hooks asks, the tests that stand for its rows, and the table of how they went.

A test stands for the rows that its name begins with: `test_ch_041_…`, or `test_ch_002_003_004_…` for several.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
_NAME = re.compile(r"test_ch((?:_[0-9]{3})+)_[a-z]")
_TESTS = re.compile(r"^def (test_ch_\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A requirement. `not_applicable` is why it cannot be failed here; '' where it can."""

    id: str
    level: str
    who: str
    rule: str
    section: str
    not_applicable: str = ""


def rows() -> list[Row]:
    """The whole ledger, in its order."""
    sections = yaml.safe_load((HERE / "ledger.yaml").read_text(encoding="utf-8"))
    return [Row(section=section["section"], **row) for section in sections for row in section["rows"]]


def ids_of(test: str) -> list[str]:
    """The rows that a test stands for, by its name."""
    found = _NAME.match(test)
    return [f"CH-{number}" for number in found[1].strip("_").split("_")] if found else []


def written_tests() -> list[str]:
    """The names of the tests of this folder that stand for a row."""
    return [name for path in sorted(HERE.glob("test_*.py")) for name in _TESTS.findall(path.read_text("utf-8"))]


def result(row: Row, outcomes: Iterable[str]) -> str:
    """How a row went: pass, fail, not applicable, not tested. One failure fails it, a reason against it or not."""
    seen = set(outcomes)
    if "failed" in seen:
        return "fail"
    if row.not_applicable:
        return f"not applicable ({row.not_applicable}{'; tested' if 'passed' in seen else ''})"
    return "pass" if seen == {"passed"} else "not tested"


def table(listed: Iterable[Row], results: Mapping[str, str]) -> Iterable[str]:
    """The ledger as lines of text, one section under the other."""
    section = ""
    for row in listed:
        if row.section != section:
            section = row.section
            yield from ("", section)
        word, _, reason = results[row.id].partition(" (")
        yield f"  {row.id}  {row.level:<18} {row.who:<3}  {word:<14}  {row.rule}{f' ({reason}' if reason else ''}"


def summary(results: Mapping[str, str]) -> str:
    """The counts in one line."""
    kinds = [text.partition(" (")[0] for text in results.values()]
    said = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("pass", "not applicable", "fail", "not tested"))
    return f"{len(kinds)} rows: {said}"


def unsound(results: Mapping[str, str]) -> list[str]:
    """The rows that failed or have neither test nor reason."""
    return [ident for ident, text in results.items() if text in ("fail", "not tested")]


def outcome_of(report: Any) -> str:
    """What a report of pytest says of its test; '' where it says nothing yet."""
    if report.failed:
        return "failed"
    return report.outcome if report.when == "call" or report.skipped else ""
