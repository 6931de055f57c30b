"""Two engines that both believe to own an execution, in every order of what they ask the database: the outcome is right in all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import combinations
from typing import Any

import pytest

from gregale.core import (
    ActionDone,
    Event,
    Execution,
    NotFound,
    Pause,
    Rejected,
    Rerun,
    Resume,
    State,
    Stop,
    TimerFired,
    invariants,
)
from gregale.core.partition import PARTITIONS
from gregale.engine.inbox import Job
from gregale.lab.simulation.database import Template
from gregale.lab.simulation.loop import VirtualLoop
from gregale.lab.simulation.world import Process, World
from gregale.store import load

QUESTIONS = 3
"""What each side asks of the database before the other one may go on, at the most: the change number, the rows, the commit."""
WORKFLOWS = """
version: '2.0'
joined:
  tasks:
    x: {action: sim.safe key='x', on-success: meet}
    y: {action: sim.safe key='y', on-success: meet}
    meet: {join: all, action: sim.safe key='meet'}
items:
  tasks:
    t: {with-items: "i in <% [1, 2, 3, 4] %>", concurrency: 2, action: sim.safe key='t'}
timed:
  tasks:
    x: {action: sim.safe key='x', timeout: 3600, on-success: after, on-error: handled}
    after: {action: sim.safe key='after'}
    handled: {action: sim.safe key='handled'}
nested:
  tasks:
    s: {workflow: timed}
plain:
  tasks:
    x: {action: sim.safe key='x'}
"""


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(WORKFLOWS)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def orders() -> list[str]:
    """All ways in which two sides take turns."""
    places = combinations(range(2 * QUESTIONS), QUESTIONS)
    return ["".join("a" if i in mine else "b" for i in range(2 * QUESTIONS)) for mine in places]


class Stage:
    """Two engines over one execution; `act` lets one of them do something, `play` in which order they get their answers."""

    def __init__(self, world: World, a: Process, b: Process, root: str):
        self.world = world
        self.a, self.b = a, b
        self.root = root
        self.gates: dict[Process, asyncio.Semaphore] = {}

    def execution(self, key: str | None = None) -> Execution:
        [found] = self.world.shared.read(load, [key or self.root])
        return found

    def action(self, task: str, item: int = 0, key: str | None = None) -> tuple[str, int]:
        execution = self.execution(key)
        [found] = [t for t in execution.tasks.values() if t.name == task]
        child = execution.children[found.children[item]]
        return child.id, child.attempt

    def done(self, task: str, item: int = 0, key: str | None = None, error: Any = None) -> ActionDone:
        action_id, attempt = self.action(task, item, key)
        return ActionDone(action_id, data=1, error=error, attempt=attempt)

    async def decided(self, process: Process, event: Event, key: str | None = None) -> None:
        """As an api decides: with an answer."""

        async def run() -> None:
            with suppress(Rejected, NotFound):  # a refusal is an answer
                await process.engine.apply(key or self.root, event)

        await self.world.within(process, run())

    async def heard(self, process: Process, event: Event, key: str | None = None) -> None:
        """As an engine hears of it, by a message."""
        process.engine.submit(Job(self.root, key or self.root, event))
        while process.engine.inbox or process.engine.busy:
            await asyncio.sleep(0.01)

    async def play(self, order: str, one: Awaitable[None], other: Awaitable[None]) -> None:
        for process in (self.a, self.b):
            self.gates[process] = asyncio.Semaphore(0)
        both = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
        for turn in order:
            self.gates[self.a if turn == "a" else self.b].release()
            await asyncio.sleep(0.05)
        for gate in self.gates.values():
            for _ in range(1000):
                gate.release()
        await asyncio.wait_for(asyncio.gather(*both), 30)
        await asyncio.sleep(0.5)


def staged(template: Template, workflow: str, order: str, act: Callable[[Stage], Awaitable[None]]) -> None:
    """Run `act` on a stage where the workflow has begun and nobody runs its actions."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(1, template.reset(), {})

    async def run() -> None:
        a, b = await world.launch("engine"), await world.launch("engine")
        await asyncio.sleep(3.0)
        for process in (a, b):
            await world.within(process, process.engine.gain(range(PARTITIONS)))
            process.engine.parts[2].skipped |= {"timers", "results", "abandoned", "unheld", "unstarted", "idle"}
        await world.within(a, a.engine.create(workflow, "", {}, {}, "", "<default-project>", "e1"))
        await asyncio.sleep(1.0)
        stage = Stage(world, a, b, "e1")
        for process in (a, b):
            original = process.pause

            async def gated(process: Process = process, original: Any = original) -> None:
                await original()
                if (gate := stage.gates.get(process)) is not None:
                    await gate.acquire()

            process.pause = gated  # type: ignore[method-assign]
        await act(stage)
        found = stage.execution()
        assert world.violations == [], order
        assert invariants.broken(found) == [], order

    try:
        loop.run_until_complete(run())
    finally:
        loop.set_exception_handler(lambda *_: None)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()


def states(execution: Execution) -> dict[str, str]:
    return {t.name: t.state.value for t in execution.tasks.values()}


@pytest.mark.parametrize("order", orders())
def test_the_last_two_branches_of_a_join_start_it_once(template: Template, order: str) -> None:
    async def act(stage: Stage) -> None:
        await stage.play(order, stage.heard(stage.a, stage.done("x")), stage.heard(stage.b, stage.done("y")))
        found = stage.execution()
        assert states(found) == {"x": "SUCCESS", "y": "SUCCESS", "meet": "RUNNING"}, order
        assert [c.state for c in found.children.values()].count(State.RUNNING) == 1

    staged(template, "joined", order, act)


@pytest.mark.parametrize("order", orders())
def test_two_items_that_end_together_start_the_next_ones_once(template: Template, order: str) -> None:
    async def act(stage: Stage) -> None:
        await stage.play(order, stage.heard(stage.a, stage.done("t", 0)), stage.heard(stage.b, stage.done("t", 1)))
        found = stage.execution()
        assert [c.state.value for c in sorted(found.children.values(), key=lambda c: c.seq)] == [
            "SUCCESS",
            "SUCCESS",
            "RUNNING",
            "RUNNING",
        ], order

    staged(template, "items", order, act)


@pytest.mark.parametrize("order", orders())
def test_a_completion_and_a_pause_leave_it_paused_with_nothing_new_begun(template: Template, order: str) -> None:
    async def act(stage: Stage) -> None:
        await stage.play(order, stage.heard(stage.a, stage.done("x")), stage.decided(stage.b, Pause()))
        found = stage.execution()
        assert found.state is State.PAUSED, order
        assert states(found)["x"] == "SUCCESS"
        started = [t for t in found.tasks.values() if t.name == "after" and t.run > 0]
        assert len(found.children) == 1 + len(started)
        await stage.decided(stage.b, Resume())
        assert states(stage.execution()) == {"x": "SUCCESS", "after": "RUNNING"}, order

    staged(template, "timed", order, act)


@pytest.mark.parametrize("order", orders())
def test_a_completion_and_a_cancellation_leave_it_cancelled(template: Template, order: str) -> None:
    async def act(stage: Stage) -> None:
        stop = Stop("CANCELLED", "enough")
        await stage.play(order, stage.heard(stage.a, stage.done("x")), stage.decided(stage.b, stop))
        found = stage.execution()
        assert (found.state, found.state_info) == (State.CANCELLED, "enough"), order

    staged(template, "timed", order, act)


@pytest.mark.parametrize("order", orders())
def test_a_completion_and_its_timeout_have_one_winner(template: Template, order: str) -> None:
    async def act(stage: Stage) -> None:
        [task] = stage.execution().tasks.values()
        timeout = TimerFired(task.id, "timeout", task.run)
        await stage.play(order, stage.heard(stage.a, stage.done("x")), stage.heard(stage.b, timeout))
        assert states(stage.execution()) in (
            {"x": "SUCCESS", "after": "RUNNING"},
            {"x": "ERROR", "handled": "RUNNING"},
        ), order

    staged(template, "timed", order, act)


@pytest.mark.parametrize("order", orders())
def test_a_rerun_and_a_late_result_of_the_attempt_before_it(template: Template, order: str) -> None:
    """The result of the attempt that was given up is not taken for one of the new attempt."""

    async def act(stage: Stage) -> None:
        stage.world.reruns = True
        late = stage.done("x")
        await stage.heard(stage.a, stage.done("x", error="no"))
        [task] = stage.execution().tasks.values()
        assert stage.execution().state is State.ERROR
        await stage.play(order, stage.decided(stage.b, Rerun(task.id)), stage.heard(stage.a, late))
        found = stage.execution()
        assert (found.state, states(found)) == (State.RUNNING, {"x": "RUNNING"}), order
        first, second = sorted(found.children.values(), key=lambda c: c.seq)
        assert (first.state, second.state) == (State.ERROR, State.RUNNING), order

    staged(template, "plain", order, act)


@pytest.mark.parametrize("order", orders())
def test_the_end_of_a_sub_workflow_and_a_cancellation_of_its_parent(template: Template, order: str) -> None:
    async def act(stage: Stage) -> None:
        [task] = stage.execution().tasks.values()
        [below] = [c.id for c in stage.execution().children.values()]
        del task
        await stage.heard(stage.a, stage.done("x", key=below), below)
        await stage.play(
            order,
            stage.heard(stage.a, stage.done("after", key=below), below),
            stage.decided(stage.b, Stop("CANCELLED", "enough")),
        )
        parent, child = stage.execution(), stage.execution(below)
        assert parent.state.completed
        assert child.state.completed
        assert (parent.state, child.state) in (
            (State.CANCELLED, State.CANCELLED),
            (State.CANCELLED, State.SUCCESS),
            (State.SUCCESS, State.SUCCESS),
        ), order

    staged(template, "nested", order, act)
