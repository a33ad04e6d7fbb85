"""Is a server right about the patient? Only then it is measured: a wrong answer may be had at any speed."""

from collections.abc import Callable, Iterable
from typing import Any

from calls import RECEPTORS, Chart
from servers import Failure
from support import facts, statuses

Answer = dict[str, Any]
#: asks the server about a chart
Ask = Callable[[Chart], Answer]
#: what an answer says of the receptors: as in RECEPTORS
Reads = Callable[[Answer], dict[str, str | None]]


def check(name: str, ask: Ask, reads: Reads, numbers: Iterable[int], size: int = 42) -> None:
    """Right about the receptors of each patient, and of the same chart without the result of ER, in turns."""
    for number in numbers:
        for without in ("", "ER"):
            found = reads(ask(Chart(number, size, without)))
            expected = {**RECEPTORS, **({without: None} if without else {})}
            if found != expected:
                told = f"without a result of {without}" if without else "as it is"
                raise Failure(f"{name} is wrong: the chart {told} has {expected}, it answered {found}")


def check_options(name: str, ask: Ask, numbers: Iterable[int], size: int = 42) -> None:
    """Options for the patient, others without the result of ER, none once the metastasis is refuted."""
    for number in numbers:
        whole, without, refuted = (
            statuses(ask(Chart(number, size, **changed))) for changed in ({}, {"without": "ER"}, {"refuted": True})
        )
        if whole.get("letrozole") != "supported" or without.get("letrozole") != "needs-data" or refuted:
            raise Failure(
                f"{name} is wrong about letrozole: {whole.get('letrozole')} for the patient, "
                f"{without.get('letrozole')} without a result of ER, {len(refuted)} options without metastasis"
            )


def check_echo(name: str, ask: Ask, numbers: Iterable[int]) -> None:
    """The floor has read each call: its cards name the call and the patient, and of another patient another."""
    named = [{card["selectionBehavior"] for card in ask(Chart(number))["cards"]} for number in numbers]
    if any(len(one) != 1 for one in named) or len({next(iter(one)) for one in named}) != len(named):
        raise Failure(f"{name} is wrong: its cards do not name the patient of the call")


def our_receptors(answer: Answer) -> dict[str, str | None]:
    """What the service's cards say of the receptors."""
    said = facts(answer)
    values = {name: said.get(name.lower(), {}).get("value", "not told") for name in RECEPTORS}
    return {name: None if value == "unknown" else value for name, value in values.items()}
