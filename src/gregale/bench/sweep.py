"""Every workflow, at every size, on every number of nodes that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gregale.bench import results
from gregale.bench.arrivals import closed, opened
from gregale.bench.places import Place, cpu, memory
from gregale.bench.results import Cell, Results
from gregale.bench.shapes import SHAPES, WIDE, Reference
from gregale.bench.target import Target

_UNITS = 4_000
_MOST, _FEWEST = 200, 3


class Plan(msgspec.Struct, frozen=True):
    """What to measure. `executions`: of each cell, 0 for as many as make some thousand tasks. `rate`: executions a second; without
    one, `at_once` are under way at any time, or so many for each engine. `warm_up`: executions before, which do not count."""

    workflows: tuple[str, ...] = tuple(SHAPES)
    n: tuple[int, ...] = (10, 100, 1000)
    x: tuple[int, ...] = (10,)
    engines: tuple[int, ...] = (1,)
    executors: tuple[int, ...] = (1,)
    executions: int = 0
    at_once: int = 8
    per_engine: bool = False
    rate: float | None = None
    warm_up: int = 2
    action: str = "std.noop"

    def sizes(self) -> list[tuple[str, int, int]]:
        """Workflow, n and x; shapes without sequences have one x."""
        return [(w, n, x) for w in self.workflows for n in self.n for x in (self.x if w in WIDE else self.x[:1])]

    def cells(self) -> int:
        return len(self.sizes()) * len(self.engines) * len(self.executors)


def run(place: Place, plan: Plan, settings: dict[str, Any], tell: Callable[[str, float], None]) -> Results:
    """`tell` hears what is measured, and the part of it that is done. Raises TargetError, LabError."""
    found: list[Cell] = []
    for engines in plan.engines:
        for executors in plan.executors:
            place.scale(engines, executors)
            found += asyncio.run(_nodes(place, plan, (engines, executors), tell))
    return Results(results.hardware(), settings, found)


async def _nodes(
    place: Place, plan: Plan, nodes: tuple[int, int], tell: Callable[[str, float], None]
) -> Sequence[Cell]:
    async with Target(place.url) as target:
        return [
            await _cell(target, place, plan, SHAPES[w](n, x, {"action": plan.action}), (n, x), nodes, tell)
            for w, n, x in plan.sizes()
        ]


async def _cell(
    target: Target,
    place: Place,
    plan: Plan,
    reference: Reference,
    size: tuple[int, int],
    nodes: tuple[int, int],
    tell: Callable[[str, float], None],
) -> Cell:
    times = nodes[0] if plan.per_engine else 1
    number = (plan.executions or min(_MOST, max(_FEWEST, _UNITS // reference.units))) * times
    at_once = plan.at_once * times
    label = f"{reference.name} n={size[0]:,} on {nodes[0]}+{nodes[1]}"
    done = 0

    def one() -> None:
        nonlocal done
        done += 1
        tell(label, done / number)

    tell(label, 0.0)
    name = await target.define(reference)
    if plan.warm_up:
        await closed(target, reference, name, plan.warm_up, at_once, lambda: None)
    before = cpu(place.processes())
    if plan.rate is None:
        runs = await closed(target, reference, name, number, at_once, one)
        load = f"{min(number, at_once)} at once"
    else:
        runs = await opened(target, reference, name, number, plan.rate, one)
        load = f"{plan.rate:g}/s"
    processes = place.processes()
    used = {who: seconds - before.get(who, 0.0) for who, seconds in cpu(processes).items()}
    await target.remove(name)
    return results.cell(reference, size, nodes, load, runs, used, memory(processes))
