"""Records as files: NDJSON by resource type, in the layout of FHIR Bulk Data, or one Bundle for each patient.

The folder appears whole or not at all: it is written beside its place and moved there when the last line is out.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from cds_service.synthetic.record import bundle
from cds_service.synthetic.sheet import Resource


def write_ndjson(records: Iterable[list[Resource]], folder: Path) -> Counter[str]:
    """`Patient.ndjson`, `Condition.ndjson`, …: one resource a line, the patients in order. Returns the lines by type.

    Raises FileExistsError when the folder holds anything already. Records are taken one by one and none is kept.
    """
    counts: Counter[str] = Counter()
    with _appearing(folder) as place, ExitStack() as opened:
        files: dict[str, BinaryIO] = {}
        for record in records:
            for resource in record:
                kind = resource["resourceType"]
                if kind not in files:
                    files[kind] = opened.enter_context((place / f"{kind}.ndjson").open("wb"))
                files[kind].write(orjson.dumps(resource) + b"\n")
                counts[kind] += 1
    return counts


def write_stream(records: Iterable[list[Resource]], file: BinaryIO) -> Counter[str]:
    """The same resources to a stream, those of each patient together. Returns the lines by type."""
    counts: Counter[str] = Counter()
    for record in records:
        file.write(b"".join(orjson.dumps(resource, option=orjson.OPT_APPEND_NEWLINE) for resource in record))
        counts.update(resource["resourceType"] for resource in record)
    file.flush()
    return counts


def write_bundles(records: Iterable[list[Resource]], folder: Path) -> Counter[str]:
    """`<patient>.json`: one Bundle of type collection for each patient. Returns the resources by type."""
    counts: Counter[str] = Counter()
    with _appearing(folder) as place:
        for record in records:
            whole: dict[str, Any] = bundle(record)
            (place / f"{whole['id']}.json").write_bytes(orjson.dumps(whole) + b"\n")
            counts.update(resource["resourceType"] for resource in record)
    return counts


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A place to write in that becomes the folder at the end; where something fails, nothing is left of it."""
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield place
        place.chmod(0o755)
        place.rename(folder)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
