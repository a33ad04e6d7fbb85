"""Where the time of a call goes, in one process: each stage of patient-view, every call another patient.

    python tests/bench/stages.py [--size 42] [--calls 900]

The calls are those of `run.py --kinds cold`. Each stage is timed by itself; the figures are medians over the calls
after the first third, and their shares of the sum. What stands around a call (the server, Flask, the guard, the log) is
not in it: `run.py` measures the whole.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any, TypeVar

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calls import Chart, patient_view

from cds_service.decision.advise import Adviser
from cds_service.edge.cycles import settle
from cds_service.hooks.cards import Writer
from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.memory import Memory
from cds_service.hooks.request import parse
from cds_service.knowledge.load import home, load
from cds_service.patient.establish import Reader
from cds_service.patient.project import warm_up
from cds_service.patient.queries import queries
from cds_service.patient.record import gather

T = TypeVar("T")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=42)
    parser.add_argument("--calls", type=int, default=900)
    chosen = parser.parse_args()
    knowledge, schemas = load(), home()[1]
    needs, reader, adviser, memory = queries(knowledge), Reader(knowledge), Adviser(knowledge), Memory(256)
    writer = Writer(knowledge, adviser)
    warm_up()
    bodies = [patient_view(Chart(number=number, size=chosen.size)) for number in range(chosen.calls)]
    settle()
    spent: dict[str, list[int]] = defaultdict(list)

    def timed(stage: str, work: Callable[..., T], *given: Any) -> T:
        begun = perf_counter_ns()
        done = work(*given)
        spent[stage].append(perf_counter_ns() - begun)
        return done

    for body in bodies:
        call = timed("the call: JSON and schemas", parse, body, HOOKS[0], schemas)
        told = (call.patient, "", call.prefetch, call.written)
        memory.recall(timed("is the record remembered?", memory.key, *told))
        record = timed("the record: whose, which, in which shape", gather, call.patient, call.prefetch, needs)
        facts = timed("the facts: contents, codes, words, dates", reader.establish_as_needed, record)
        answers = timed("the answers to the questions", reader.truths, facts)
        timed("the verdicts on all options", adviser.advise, answers)
        cards = timed("the cards", writer.cards, call, facts, answers)
        if len(cards) != 3:
            sys.exit("a patient without three cards: the answers are wrong, so there is nothing to measure")
        timed("the answer: JSON", orjson.dumps, {"cards": cards})
    medians = {stage: median(times[len(times) // 3 :]) for stage, times in spent.items()}
    for stage, time in medians.items():
        print(f"{100 * time / sum(medians.values()):4.0f} %  {stage}")


if __name__ == "__main__":
    main()
