"""The seven reference shapes straight through the core: time and data per task as executions grow."""

from __future__ import annotations

import gc
import json
import time
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gregale.actions import ActionSettings, Registry
from gregale.bench.shapes import SHAPES, Reference, about
from gregale.core import ActionDone, Definition, RunAction
from gregale.language import WorkflowSpec, workflow_from_body
from gregale.rehearsal.world import World

SIZES = (10, 100, 1000, 10_000)
GOAL_RATIO = 1.3
GOAL_US = 60.0


def _done(command: RunAction) -> ActionDone:
    return ActionDone(command.action_id, None, attempt=command.attempt)


def spec(reference: Reference) -> WorkflowSpec:
    # many variables from the start, so that copying them would show
    seeds = {**reference.body.get("vars", {}), **{f"base{i}": i for i in range(20)}}
    return workflow_from_body("bench", {**reference.body, "vars": seeds})


def once(body: WorkflowSpec, reference: Reference, registry: Registry) -> tuple[float, int]:
    """Seconds, and bytes of stored contexts, of one execution."""
    world = World(registry.info, _done)
    world.define(Definition("d", "bench", "", body, "h"))
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    execution_id = world.create("bench", reference.input)
    world.run()
    spent = time.perf_counter() - start
    gc.enable()
    execution = world.executions_by_id[execution_id]
    if execution.state.value != "SUCCESS" or execution.output != reference.output:
        raise AssertionError(
            f"the execution ended in {execution.state.value}: {execution.state_info or execution.output}"
        )
    stored = sum(len(msgspec.json.encode((c.parents, c.own))) for c in execution.contexts.values())
    return spent, stored


def measure(sizes: tuple[int, ...] = SIZES, progress: bool = True) -> list[dict[str, Any]]:
    registry = Registry(ActionSettings(plugins=False))
    plan = [(name, n) for name in SHAPES for n in sizes]
    result = []
    for name, n in track(plan, "core", disable=not progress, console=Console(stderr=True)):
        reference = about(name, n)
        definition = spec(reference)
        repeats = max(2, min(30, 20_000 // n))
        runs = [once(definition, reference, registry) for _ in range(repeats)]
        (seconds, stored), units = min(runs), reference.units
        result.append(
            {
                "shape": name,
                "n": n,
                "tasks": units,
                "us_per_task": seconds / units * 1e6,
                "context_bytes_per_task": stored / units,
            }
        )
    return result


def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    sizes: Annotated[str, typer.Option(help="Numbers of tasks, with commas.")] = ",".join(map(str, SIZES)),
) -> None:
    """The seven reference shapes straight through the core."""
    wanted = tuple(int(s) for s in sizes.split(","))
    found = measure(wanted)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table(title="Core: µs per task (bytes of stored context per task)")
    table.add_column("shape")
    for n in wanted:
        table.add_column(f"n = {n}", justify="right")
    table.add_column("largest / 100", justify="right")
    for name in SHAPES:
        mine = {row["n"]: row for row in found if row["shape"] == name}
        base = mine.get(100, mine[wanted[0]])["us_per_task"]
        cells = [f"{mine[n]['us_per_task']:.1f} ({mine[n]['context_bytes_per_task']:.0f})" for n in wanted]
        table.add_row(name, *cells, f"{mine[wanted[-1]]['us_per_task'] / base:.2f}")
    Console(width=120).print(table)
