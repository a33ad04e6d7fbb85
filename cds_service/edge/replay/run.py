"""The folder of a run: what it was made of and with, how far it is, and what is left to find.

`run.json` describes the run, `patients.ndjson` has a line for each patient by id (line.py), `problems.ndjson` says how
many lines of which file were not used and why. The folder can be read by its owner only; while the run is made it holds
records, and afterwards the ids of patients with what is said of them.
"""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cds_service.edge.replay.line import written
from cds_service.edge.replay.parts import Parts, taken_apart, write
from cds_service.edge.replay.sources import SourceError
from cds_service.errors import CdsError, Problem

_DESCRIPTION = "run.json"
_INDENTED = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
#: what a run is known by: it goes on only where these are the same
_SAME = ("version", "knowledge", "engine", "input", "complete", "lacking")
#: how long the processes of a run that was killed are waited for, in seconds
_PATIENCE = 10


class RunError(CdsError):
    """The folder cannot be used for this run."""


@dataclass(frozen=True)
class Run:
    """A run in its folder."""

    folder: Path

    @property
    def spill(self) -> Path:
        """Where records lie while the run is made."""
        return self.folder / "spill"

    @property
    def parts(self) -> Parts:
        """The lines as far as they are made."""
        return Parts(self.folder / "parts")

    @property
    def patients(self) -> Path:
        """The lines, once the run is finished."""
        return self.folder / "patients.ndjson"

    def forget_parts(self) -> None:
        """Begin with no lines."""
        shutil.rmtree(self.folder / "parts", ignore_errors=True)
        (self.folder / "parts").mkdir()

    def described(self) -> dict[str, Any]:
        """The description of the run as it is."""
        described: dict[str, Any] = orjson.loads((self.folder / _DESCRIPTION).read_bytes())
        return described

    def describe(self, description: Mapping[str, Any]) -> None:
        """Write the description."""
        write(self.folder / _DESCRIPTION, [orjson.dumps(description, option=_INDENTED)])

    def finish(self, lines: int, problems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Bring the parts together, and leave nothing of the records. Of the `lines` that were read, the `problems` say
        how many were not used. Returns the description.
        """
        answers = Counter[str]()
        write(self.patients, _counted(self.parts.merged(), answers))
        write(self.folder / "problems.ndjson", [written(one) for one in problems])
        description = finished(self.described(), answers, lines, problems)
        self.describe(description)
        for one in (self.spill, self.folder / "parts"):
            shutil.rmtree(one, ignore_errors=True)
        return description


def finished(
    description: Mapping[str, Any], answers: Mapping[str, int], lines: int, problems: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The description of a run that is finished, with what was counted."""
    unused = Counter[str]()
    for problem in problems:
        unused[problem["reason"]] += problem["count"]
    counts = {"patients": sum(answers.values()), "answers": answers, "lines": lines, "unused": unused}
    return {**description, "finished": True, "counts": counts}


def answer_of(line: bytes) -> str:
    """The answer in a line: members are sorted, so it stands first."""
    return line.split(b'"', 4)[3].decode()


@contextmanager
def opened(folder: Path, description: Mapping[str, Any], today: str, restart: bool) -> Iterator[Run]:
    """The run that a description tells of, begun now or to be gone on with; nobody else works on it meanwhile.

    `today` is the day that was asked for, or '' for that of the run. Raises RunError where the folder holds another
    run or something else, or is at work.
    """
    run = Run(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder):
        held = {one.name for one in folder.iterdir()}
        if held and (_DESCRIPTION not in held or "knowledge" not in run.described()):
            raise RunError([Problem(str(folder), "other files", "a folder that is new or empty, or of a run")])
        folder.chmod(0o700)
        if restart:
            for one in folder.iterdir():
                shutil.rmtree(one) if one.is_dir() else one.unlink()
        elif held:
            _check(run.described(), description, today, folder)
        if not held or restart:
            run.forget_parts()
            run.describe({**description, "finished": False})
        yield run


def _check(found: Mapping[str, Any], wanted: Mapping[str, Any], today: str, folder: Path) -> None:
    """Raise RunError where the run of a folder is another one."""
    differs = [name for name in _SAME if found.get(name) != wanted[name]]
    if today and found.get("today") != today:
        differs.append("today")
    if differs:
        raise RunError(
            [Problem(str(folder), f"a run of other {', '.join(differs)}", "another folder, or --restart to begin anew")]
        )


def _counted(rows: Iterable[bytes], answers: Counter[str]) -> Iterator[bytes]:
    """The lines, counted by their answer. Raises SourceError where a patient comes twice."""
    before = b""
    for one in rows:
        key, line = taken_apart(one)
        if key == before:
            raise SourceError([TWICE])
        before = key
        answers[answer_of(line)] += 1
        yield line


TWICE = Problem(
    "standard input",
    "resources of a patient after those of another, and of the first one before",
    "all resources of a patient together; or the same as files in a folder, in any order",
)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder. The processes of a killed run hold it too until they notice, so a moment is waited."""
    if sys.platform == "win32":
        yield
        return
    import fcntl
    import os

    handle = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise RunError([Problem(str(folder), "a replay at work on it", "one at a time")]) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)
