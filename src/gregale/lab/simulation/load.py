"""What simulated clients ask for, and how it must end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gregale.actions import ActionContext, Registry, action
from gregale.actions.contract import from_function
from gregale.lab.simulation.loop import PROCESS

if TYPE_CHECKING:
    from gregale.core import Execution

WORKFLOWS = """
version: '2.0'
chain:
  output: {last: <% $.c %>}
  tasks:
    a: {action: sim.safe key='a', on-success: b}
    b: {action: sim.unsafe key='b', on-success: c}
    c: {action: sim.safe key='c', publish: {c: <% task().result %>}}
joined:
  output: {sum: <% $.x + $.y %>}
  tasks:
    x: {action: sim.value value=1, publish: {x: <% task().result %>}, on-success: meet}
    y: {action: sim.value value=2, publish: {y: <% task().result %>}, on-success: meet}
    z: {action: sim.unsafe key='z', on-complete: meet}
    meet: {join: all, action: sim.safe key='meet'}
items:
  output: {all: <% task(t).result %>}
  tasks:
    t: {with-items: "i in <% [1, 2, 3, 4] %>", concurrency: 2, action: sim.value value=<% $.i %>}
nested:
  output: {v: <% task(s).result.v %>}
  tasks:
    s: {workflow: inner, on-success: e}
    e: {action: sim.safe key='e'}
inner:
  output: {v: 7}
  tasks:
    i: {action: sim.safe key='i', wait-before: 1, on-success: j}
    j: {action: sim.safe key='j'}
empty:
  tasks:
    k: {with-items: "i in <% [] %>", action: sim.safe key='k', on-success: l}
    l: {with-items: "i in <% [] %>", action: sim.safe key='l', on-success: m}
    m: {with-items: "i in <% [] %>", action: sim.safe key='m', on-success: o}
    o: {with-items: "i in <% [] %>", action: sim.safe key='o', on-success: p}
    p: {action: sim.safe key='p'}
waits:
  tasks:
    r: {action: sim.fails key='r', retry: {count: 2, delay: 1}, on-error: after}
    after: {action: sim.safe key='after', wait-after: 1}
"""
SHAPES = ("chain", "joined", "items", "nested", "waits", "empty")


@action("sim.safe", idempotent=True)
async def safe(context: ActionContext, key: str) -> str:
    await _body(context, key, False)
    return key


@action("sim.value", idempotent=True)
async def value(context: ActionContext, value: Any) -> Any:
    await _body(context, str(value), False)
    return value


@action("sim.unsafe")
async def unsafe(context: ActionContext, key: str) -> str:
    await _body(context, key, True)
    return key


@action("sim.fails", idempotent=True)
async def fails(context: ActionContext, key: str) -> None:
    await _body(context, key, False)
    raise RuntimeError("as it should")


async def _body(context: ActionContext, key: str, is_unsafe: bool) -> None:
    process = PROCESS.get()
    world = process.world
    if is_unsafe:
        world.body_started(context.action_execution_id, context.attempt, key)
    await asyncio.sleep(world.random.choice((0.0, 0.05, 0.5, 2.0)))
    await process.pause()


def registry() -> Registry:
    return Registry(None, tuple(from_function(f) for f in (safe, value, unsafe, fails)))


def wrong(shape: str, execution: Execution, may_lose: bool) -> str | None:
    """How an execution at rest differs from how it must end. `may_lose`: executors have crashed, or were given up."""
    state, output = execution.state.value, execution.output
    info = execution.state_info or ""
    if shape in ("chain", "joined") and state == "ERROR" and "Lost: the executor" in info:
        return None if may_lose else f"{execution.id}: {info[:300]}"
    expected: dict[str, Any] = {
        "chain": {"last": "c"},
        "joined": {"sum": 3},
        "items": {"all": [1, 2, 3, 4]},
        "nested": {"v": 7},
        "waits": None,
        "empty": None,
    }
    if state != "SUCCESS":
        return f"{execution.id} ended in {state}: {info[:300]}"
    if expected[shape] is not None and output != expected[shape]:
        return f"{execution.id} has the output {output}, not {expected[shape]}"
    names = sorted(t.name for t in execution.tasks.values())
    if len(names) != len(set(names)):
        return f"{execution.id} has tasks {names}"
    return None
