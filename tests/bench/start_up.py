"""How long from the start of the process to the first answer: the service beside a bare Flask echo, in turns.

    python tests/bench/start_up.py [--rounds 7]

Both under gunicorn with one worker; the first answer is 200 to `GET /cds-services`. Every start finds a new database.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from processes import Failure, gunicorn, running

_HERE = Path(__file__).resolve().parent
_APPS = {"service": "cds_service.edge.wsgi:app", "floor": "floor:app"}
#: seconds, at most
LIMIT = 2.0


def started(name: str) -> tuple[float, float]:
    """Seconds until the first answer, and CPU seconds until then."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environment = {"CDS_OPEN": "true", "CDS_DATABASE": f"sqlite:///{folder}/store.db"}
        begun = monotonic()
        with running(name, gunicorn(_APPS[name], 1, _HERE), folder, environment) as server:
            took, spent = monotonic() - begun, server.cpu()
            if server.ask("GET", "/cds-services")[0] != 200:
                raise Failure(f"{name} answers, but not with 200")
    return took, spent


def main() -> None:
    """Start, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    try:
        rows = [{name: started(name) for name in _APPS} for _ in range(chosen.rounds)]
    except Failure as failure:
        sys.exit(f"Nothing to report. {failure}")
    found = {name: [median(column) for column in zip(*(row[name] for row in rows), strict=True)] for name in _APPS}
    for name, (took, spent) in found.items():
        print(f"{name:<8} {took:5.2f} s to the first answer, {spent:5.2f} s of CPU (median of {chosen.rounds})")
    took = found["service"][0]
    print(f"{'kept  ' if took < LIMIT else 'MISSED'} the service answers within {LIMIT} s: {took:.2f}")


if __name__ == "__main__":
    main()
