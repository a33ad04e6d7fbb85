"""Is a server right about the patient? Only then it is measured: a wrong answer may be had at any speed."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from calls import RECEPTORS, Chart
from processes import Failure
from support import facts, statuses

Answer = dict[str, Any]
#: asks the server about a chart
Ask = Callable[[Chart], Answer]
#: raises Failure where a server is wrong: its name, how to ask it, the numbers of patients, the size of their charts
Check = Callable[[str, Ask, Iterable[int], int], None]
#: what an answer says of the receptors: as in RECEPTORS
Reads = Callable[[Answer], dict[str, str | None]]


def right_about_receptors(reads: Reads, name: str, ask: Ask, numbers: Iterable[int], size: int) -> None:
    """Right about the receptors of each patient, and of the same chart without the result of ER, in turns."""
    for number in numbers:
        for without in ("", "ER"):
            found = reads(ask(Chart(number, size, without)))
            expected = {**RECEPTORS, **({without: None} if without else {})}
            if found != expected:
                told = f"without a result of {without}" if without else "as it is"
                raise Failure(f"{name} is wrong about the patient: the chart {told} says {expected}, it says {found}")


def right_about(option: str, name: str, ask: Ask, numbers: Iterable[int], size: int) -> None:
    """The option is supported, needs data without the result of ER, and there are no cards without metastasis."""
    expected = ["supported", "needs-data", None]
    for number in numbers:
        charts = [Chart(number, size, **changed) for changed in ({}, {"without": "ER"}, {"refuted": True})]
        answers = [ask(chart) for chart in charts]
        found = [statuses(answer).get(option) for answer in answers]
        if found != expected or answers[-1]["cards"]:
            raise Failure(
                f"{name} is wrong about the patient: {option} has to be {expected[0]}, without a result of ER "
                f"{expected[1]} and without metastasis on no card; it was {found}"
            )


def echoes(name: str, ask: Ask, numbers: Iterable[int], size: int) -> None:
    """The floor has read each call: its cards name the patient of that call."""
    named = [{card["selectionBehavior"] for card in ask(Chart(number, size))["cards"]} for number in numbers]
    if any(len(one) != 1 for one in named) or len(set.union(*named)) != len(named):
        raise Failure(f"{name} is wrong: its cards do not name the patient of the call")


def our_receptors(answer: Answer) -> dict[str, str | None]:
    """What the service's cards say of the receptors."""
    said = facts(answer)
    values = {name: said.get(name.lower(), {}).get("value", "not told") for name in RECEPTORS}
    return {name: None if value == "unknown" else value for name, value in values.items()}


def a_peers_receptors(answer: Answer) -> dict[str, str | None]:
    """What the summary of a peer's one card says of the receptors."""
    summaries = [card["summary"] for card in answer["cards"]]
    told = dict(re.findall(r"(\w+) (positive|negative|missing)", " ".join(summaries)))
    return {name: None if told.get(name) == "missing" else told.get(name, "not told") for name in RECEPTORS}
