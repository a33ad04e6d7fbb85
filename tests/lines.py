"""Lines of a replay, made by really answering for invented patients: what `cds-service replay` writes of each."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
from support import INSTANCE, Resource

from cds_service.edge.invented import Invented
from cds_service.edge.replay.line import Answers, written
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder
from cds_service.hooks.try_out import hook_request
from cds_service.knowledge.load import home
from cds_service.patient.draft import prefetch
from cds_service.synthetic.record import record

Line = dict[str, Any]


def records(told: Invented, patients: int, seed: int = 1, stories: bool = True) -> Iterator[tuple[str, list[Resource]]]:
    """The id and the resources of invented patients: the stories, and so many by chance."""
    for story in told.stories if stories else ():
        yield story.id, record(story, told.vocabulary)
    for story, visits in told.population.stories(patients, seed):
        yield story.id, record(story, told.vocabulary, visits)


def line(patient: str, resources: list[Resource], responder: Responder) -> Line:
    """The line of one patient whose record is delivered whole."""
    delivered = prefetch(resources, patient, responder.needs)
    call = read(hook_request(HOOKS[0], INSTANCE, patient, delivered, None), HOOKS[0], home()[1])
    set_aside = len(responder.trace(call).record.set_aside)
    told = Answers(responder.knowledge).line(patient, responder.respond(call), len(resources), set_aside)
    read_back: Line = orjson.loads(written(told))
    return read_back


def raw(one: Line) -> bytes:
    """A line as it stands in the file."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def write(lines: Iterable[Line], run: Path, **about: Any) -> Path:
    """A finished run: the lines sorted, and what is said of the run."""
    run.mkdir()
    rows = sorted(lines, key=lambda one: str(one["patient"]).encode())
    (run / "patients.ndjson").write_bytes(b"".join(raw(one) for one in rows))
    told = {
        "version": "0.1.0",
        "today": "2026-03-10",
        "engine": "local",
        "input": {"given": "export", "files": [{"name": "Patient.ndjson", "bytes": 1, "modified": 1}]},
        "complete": False,
        "lacking": [],
        "partitions": 1,
        "finished": True,
        **about,
    }
    (run / "run.json").write_bytes(raw(told))
    return run
