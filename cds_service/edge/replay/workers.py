"""Several processes for pieces of work that need nothing of each other."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from cds_service.edge.cycles import SELDOM
from cds_service.errors import CdsError, Problem

T = TypeVar("T")
R = TypeVar("R")


class WorkerDied(CdsError):
    """A process ended in the middle of its work."""


def processors() -> int:
    """How many processors this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worked(work: Callable[[T], R], pieces: Iterable[T], processes: int) -> Iterator[R]:
    """The results of the pieces as they come, in any order; few pieces are taken ahead of the results.

    Where it is left early, what is at work is finished and what waits is not begun. Raises WorkerDied.
    """
    with _settled():
        yield from map(work, pieces) if processes == 1 else _pooled(work, pieces, processes)


def _pooled(work: Callable[[T], R], pieces: Iterable[T], processes: int) -> Iterator[R]:
    pool = ProcessPoolExecutor(processes, _context(), _start, (os.getpid(),))
    waiting: set[Future[R]] = set()
    try:
        for piece in pieces:
            waiting.add(pool.submit(work, piece))
            if len(waiting) >= 2 * processes:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (one.result() for one in done)
    except BrokenProcessPool:
        found = "a process that ended in the middle of its work, perhaps for want of memory"
        raise WorkerDied(
            [Problem("the replay", found, "the same command again goes on; fewer --processes may help")]
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _settled() -> Iterator[None]:
    """What is there is not walked again by the collector, which looks for cycles that nobody makes (edge/cycles.py)."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def _context() -> multiprocessing.context.BaseContext:
    """Processes that share the knowledge that is loaded already, where the platform has them."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _start(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started the work decides
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    gc.freeze()
    gc.set_threshold(*SELDOM)


def _end_with(parent: int) -> None:
    """A process whose parent was killed ends, whatever it waits for."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
