"""The bars that the service sets itself, and what was found of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
#: CPU of a usual chart to that of the floor, at most
_RATIOS = {"warm 42": 2.0, "cold 42": 3.0, "es384 42": 4.5}
_P99 = 100.0
_THROUGHPUT = 50.0
_LOOPS = 3.0


def bars(lines: Sequence[Row], loops: Mapping[int, float]) -> list[Row]:
    """Each bar that could be read off: what it says, what was found, whether it is kept.

    `loops` is CPU in milliseconds to parse a call and to loop over its resources, by size.
    """
    line = {(one["case"], one["connections"]): one for one in lines}
    return [*_ratios(line), *_latencies(line), *_throughput(line), *_growth(line, loops)]


def _ratios(line: Mapping[tuple[str, int], Row]) -> Iterator[Row]:
    for case, limit in _RATIOS.items():
        if (case, 1) in line:
            yield _at_most(f"{case}, CPU to the floor, at most {limit}", line[case, 1]["ratio"], limit)


def _latencies(line: Mapping[tuple[str, int], Row]) -> Iterator[Row]:
    for case in _RATIOS:
        if (case, 8) in line:
            found = line[case, 8]["p99"]
            yield _at_most(f"{case}, p99 at 8 connections in ms, below {_P99:.0f}", found, _P99)


def _throughput(line: Mapping[tuple[str, int], Row]) -> Iterator[Row]:
    """Against the reference implementation of CQL as documented, which keeps nothing of a patient: the same patient
    again costs it as much as another.
    """
    for connections in (1, 8):
        for case, said in (("warm 42", "the same patient"), ("cold 42", "every call another patient")):
            ours, theirs = line.get((case, connections)), line.get(("cql-execution-stock", connections))
            if ours and theirs:
                found = ours["per_second"] / theirs["per_second"]
                bar = f"calls a second at {connections} connections to cql-execution, {said}, at least"
                yield {"bar": f"{bar} {_THROUGHPUT:.0f}", "found": found, "kept": found >= _THROUGHPUT}


def _growth(line: Mapping[tuple[str, int], Row], loops: Mapping[int, float]) -> Iterator[Row]:
    """A large chart costs the floor of a usual one and so many times what parsing and looping over it costs. Whether
    there is a step is told beside them too: what does not fit into a processor's caches is dearer for everybody.
    """
    floor = line.get(("floor 42", 1))
    costs = {size: line[f"warm {size}", 1]["cpu"] for size in loops if size >= 1000 and (f"warm {size}", 1) in line}
    for size, cost in costs.items():
        if floor:
            found = (cost - floor["cpu"]) / loops[size]
            yield _at_most(f"{size} resources, CPU above floor 42 to parse and loop, at most {_LOOPS}", found, _LOOPS)
        same = line[f"floor {size}", 1]["cpu"]
        yield _at_most(
            f"{size} resources, CPU above the floor of the same call to parse and loop, at most {_LOOPS}",
            (cost - same) / loops[size],
            _LOOPS,
        )
    for smaller, larger in zip(costs, list(costs)[1:], strict=False):
        found = costs[larger] / loops[larger] / (costs[smaller] / loops[smaller])
        bar = f"CPU per resource at {larger} to that at {smaller}, beside parse and loop, at most 1.25: no step"
        yield _at_most(bar, found, 1.25)


def _at_most(bar: str, found: float, limit: float) -> Row:
    return {"bar": bar, "found": found, "kept": found <= limit}
