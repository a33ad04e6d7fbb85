"""A finished replay on disk: what is said of the run, and its lines one by one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cds_service.edge.replay.aggregate import Line
from cds_service.errors import Problem, RunError

LINES = "patients.ndjson"
_WANTED = "a folder that `cds-service replay` has finished"


@dataclass(frozen=True)
class Run:
    """A folder, and its run.json."""

    folder: Path
    about: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The digest of the knowledge it was made with."""
        return str(self.about["knowledge"]["digest"])


def finished(folder: Path) -> Run:
    """The run in a folder. Raises RunError where there is none, or none that is finished."""
    try:
        about = orjson.loads((folder / "run.json").read_bytes())
    except OSError:
        raise RunError([Problem(str(folder), "no run.json that can be read", _WANTED)]) from None
    except orjson.JSONDecodeError:
        raise RunError([Problem(f"{folder}/run.json", "text that is not JSON", _WANTED)]) from None
    known = about.get("knowledge") if isinstance(about, dict) else None
    if not isinstance(known, dict) or not {"version", "digest"} <= known.keys():
        raise RunError([Problem(f"{folder}/run.json", "no version and digest of a knowledge", _WANTED)])
    if not about.get("finished") or not (folder / LINES).is_file():
        raise RunError([Problem(str(folder), "a run that is not finished", _WANTED)])
    return Run(folder, about)


def raw_lines(run: Run) -> Iterator[bytes]:
    """The lines as they stand in the file, one at a time."""
    with (run.folder / LINES).open("rb") as file:
        yield from file


def parsed(raw: bytes, where: str, number: int) -> Line:
    """One line. Raises RunError where it is none."""
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("patient"), str):
        raise RunError([Problem(f"{where}, line {number}", "no line of a replay", _WANTED)])
    return line


def lines(run: Run) -> Iterator[Line]:
    """All lines of a run, in their order. Raises RunError at one that is none."""
    for number, raw in enumerate(raw_lines(run), start=1):
        yield parsed(raw, str(run.folder / LINES), number)
