"""When the collector looks for cycles of objects that nobody uses: seldom, from when this module is imported.

A request, or a patient of a replay, makes some ten thousand objects and no cycles worth looking for; knowledge and
models make many more, and stay. So whoever runs a process imports this before what it loads.
"""

import atexit
import gc

#: the youngest generation about once a request, not every 700 objects; the others less often in the same way
SELDOM = (20_000, 20, 20)

gc.set_threshold(*SELDOM)


def settle() -> None:
    """What is there lives as long as the process: no collection need walk it again, and workers forked from it share
    it.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)


def keep() -> None:
    """What is there stays to the end, and no collection walks it once more then."""
    atexit.register(gc.freeze)
