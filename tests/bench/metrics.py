"""What counting costs a call: CPU time of one application that counts and does not, in turns, in medians.

`python tests/bench/metrics.py` prints microseconds and their share of a call and, as a measure of noise, the same for
not counting twice. The counting thread works within the measured time. With PROMETHEUS_MULTIPROC_DIR set to an empty
folder the instruments are files, as under several workers.
"""

import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from cds_service.edge.settings import Settings
from cds_service.edge.web import create_app

BODY = (Path(__file__).parent.parent / "data" / "example-request.json").read_bytes()
URL = "/cds-services/stage-4-breast-cancer-options"
ROUNDS, CALLS = 400, 40


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(site=Settings(database=f"sqlite:///{folder}/store.db"))
        watch, client = app.extensions["watch"], app.test_client()
        metrics, spent = watch.metrics, {"counted": [], "not counted": [], "not counted either": []}
        cost(client)
        for _ in range(ROUNDS):
            for kind in random.sample(list(spent), len(spent)):
                watch.metrics = metrics if kind == "counted" else None
                spent[kind].append(cost(client))
    without = spent["not counted"]
    print("files shared by workers:" if "PROMETHEUS_MULTIPROC_DIR" in os.environ else "numbers of one process:")
    for kind in ("counted", "not counted either"):
        more = statistics.median(one - other for one, other in zip(spent[kind], without, strict=True))
        print(f"  {kind}: {more:+.1f} us, {more / statistics.median(without):+.1%} of a call")


def cost(client) -> float:
    """Microseconds of CPU time of one call, over some."""
    start = time.process_time()
    for _ in range(CALLS):
        assert client.post(URL, data=BODY, content_type="application/json").status_code == 200
    return (time.process_time() - start) / CALLS * 1e6


if __name__ == "__main__":
    main()
