"""Does a worker grow? Many calls to one worker, every call another patient, and its memory on the way.

    python tests/bench/soak.py [--calls 100000] [--json FILE]

Four connections send calls about charts of 42 resources, four charts in a hundred larger. Every answer must be 200 with
three cards that refer to the patient of its call and to no other. Prints the resident memory of the worker at the end,
and its slope over the calls after the first fifth, which fill the caches.
"""

import argparse
import http.client
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import linear_regression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calls import Chart, patient_view
from processes import Failure, Server, gunicorn, running
from support import URL

_HERE = Path(__file__).resolve().parent
_CONNECTIONS = 4
_PATIENT = re.compile(rb"Patient/(pt-[0-9a-f]+)")
#: so much at the end, and so much more for every 10,000 calls, at most
MEGABYTES, SLOPE = 120, 1.0


def chart(number: int) -> Chart:
    """The chart of a call: one of another size now and then."""
    return Chart(number, {25: 10, 50: 100, 75: 300, 99: 100}.get(number % 100, 42))


def send(server: Server, numbers: Sequence[int]) -> None:
    """Send these calls over one connection. Raises Failure where an answer is not about the patient of its call."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        for number in numbers:
            body = patient_view(chart(number))
            connection.request("POST", URL, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            whose = json.loads(body)["context"]["patientId"].encode()
            if answer.status != 200 or text.count(b'"indicator"') != 3 or set(_PATIENT.findall(text)) != {whose}:
                raise Failure(f"call {number}, answered with {answer.status}, got not three cards on its patient alone")


def soaked(server: Server, calls: int) -> list[tuple[int, float]]:
    """Calls so far and MB of the worker, a hundred times."""
    step = max(calls // 100, _CONNECTIONS)
    found = []
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for start in range(0, calls, step):
            numbers = range(start, min(start + step, calls))
            list(pool.map(lambda share, all_of=numbers: send(server, all_of[share::_CONNECTIONS]), range(_CONNECTIONS)))
            found.append((numbers.stop, server.memory()))
    return found


def main() -> None:
    """Send, sample, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--service", default="cds_service.edge.wsgi:app", help="the WSGI application to measure")
    parser.add_argument("--json", type=Path, metavar="FILE")
    chosen = parser.parse_args()
    if chosen.calls < 100:
        parser.error("a slope needs 100 calls at least")
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            environment = {"CDS_OPEN": "true", "CDS_DATABASE": f"sqlite:///{folder}/store.db"}
            with running("service", gunicorn(chosen.service, 1, _HERE), folder, environment) as server:
                begun = server.memory()
                found = soaked(server, chosen.calls)
    except Failure as failure:
        sys.exit(f"Nothing to report. {failure}")
    later = [(calls / 10_000, memory) for calls, memory in found if calls > chosen.calls / 5]
    slope = linear_regression(*zip(*later, strict=True)).slope
    end = found[-1][1]
    print(f"{chosen.calls} calls, one worker: {begun:.1f} MB before the first, {end:.1f} MB after the last")
    print(f"{'kept  ' if end < MEGABYTES else 'MISSED'} less than {MEGABYTES} MB: {end:.1f}")
    print(f"{'kept  ' if slope < SLOPE else 'MISSED'} less than {SLOPE} MB more for 10,000 calls: {slope:.2f}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"calls": chosen.calls, "slope": slope, "memory": found}, indent=1))


if __name__ == "__main__":
    main()
