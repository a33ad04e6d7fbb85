"""What a call does not bring: asked of the FHIR server that it names, through the one door outside; else said to be
lacking (CDS Hooks 2.0, "Prefetch Template").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cds_service.errors import Problem
from cds_service.hooks.request import HookCall
from cds_service.patient.pages import joined, next_link
from cds_service.patient.record import Delivery, Need, NotHad


@dataclass(frozen=True)
class Wanted:
    """What a call lacks: the answer to a query or, where the answer ends with the link `onward`, what follows it."""

    need: Need
    onward: str = ""


#: the pages of one answer, or why they are not to be had
Found = tuple[Any, ...] | NotHad
#: asks the FHIR server that a call names for what the call lacks, by prefetch key
Fetch = Callable[[HookCall, Sequence[Wanted]], Mapping[str, Found]]


def closed(call: HookCall, wanted: Sequence[Wanted]) -> Mapping[str, Found]:
    """The door that stays shut: nothing is fetched."""
    return {}


def filled(
    call: HookCall, needs: Sequence[Need], fetch: Fetch
) -> tuple[Mapping[str, Any | NotHad], list[tuple[str, str]]]:
    """The prefetch with what could be fetched, and the answers in it whose further pages could not. Where nothing was
    fetched, it is the call's own.
    """
    wanted = [
        Wanted(need, onward)
        for need in needs
        if (onward := next_link(call.prefetch.get(need.key))) or need.key not in call.prefetch
    ]
    found = fetch(call, wanted) if wanted and call.fhir_server else {}
    if not found:
        return call.prefetch, []
    prefetch, cut_short = dict(call.prefetch), list[tuple[str, str]]()
    for one in wanted:
        key, answer = one.need.key, found.get(one.need.key)
        if isinstance(answer, tuple):
            prefetch[key] = joined((prefetch[key], *answer) if one.onward else answer)
        elif answer is not None and one.onward:
            cut_short.append((f"prefetch.{key}", answer.reason))
        elif answer is not None:
            prefetch[key] = answer
    return prefetch, cut_short


def problem(need: Need, state: Delivery, value: Any) -> Problem:
    """A required query that was neither sent nor is to be had."""
    found = f"not delivered; {value.reason}" if isinstance(value, NotHad) else state.value
    return Problem(f"$.prefetch.{need.key}", found, f"the result of {need.template}, or null where there is none")
