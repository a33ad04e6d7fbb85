"""A finished replay on disk: what is said of the run, and its lines one by one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cds_service.edge.replay.aggregate import Line
from cds_service.errors import CdsError, Problem

LINES = "patients.ndjson"
_WANTED = "a folder that `cds-service replay` has finished"


class NotFinished(CdsError):
    """A folder is not the finished run that it is taken for. No message holds an id, or anything of a line."""

    def __reduce__(self) -> tuple[Any, ...]:
        """So that it comes whole from another process."""
        return type(self), (self.problems,)


@dataclass(frozen=True)
class FinishedRun:
    """A folder, and its run.json."""

    folder: Path
    about: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The digest of the knowledge it was made with."""
        return str(self.about["knowledge"]["digest"])


def finished(folder: Path) -> FinishedRun:
    """The run in a folder. Raises NotFinished."""
    try:
        about = orjson.loads((folder / "run.json").read_bytes())
    except OSError:
        raise NotFinished([Problem(str(folder), "no run.json that can be read", _WANTED)]) from None
    except orjson.JSONDecodeError:
        about = None
    if not _describes(about):
        raise NotFinished([Problem(f"{folder}/run.json", "no description of a run", _WANTED)])
    if not about.get("finished") or not (folder / LINES).is_file():
        raise NotFinished([Problem(str(folder), "a run that is not finished", _WANTED)])
    return FinishedRun(folder, about)


def _describes(about: Any) -> bool:
    parts = [about.get(name) if isinstance(about, dict) else None for name in ("knowledge", "input")]
    wanted = [{"version", "digest"}, {"files"}]
    return all(isinstance(part, dict) and names <= part.keys() for part, names in zip(parts, wanted, strict=True))


def raw_lines(run: FinishedRun) -> Iterator[bytes]:
    """The lines as they stand in the file, one at a time."""
    with (run.folder / LINES).open("rb") as file:
        yield from file


def parsed(raw: bytes, where: str, number: int) -> Line:
    """One line. Raises NotFinished where it is none."""
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("patient"), str):
        raise NotFinished([Problem(f"{where}, line {number}", "no line of a replay", _WANTED)])
    return line
