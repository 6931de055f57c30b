"""One seed from its beginning to rest."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

from gregale.core.partition import PARTITIONS
from gregale.lab import checks
from gregale.lab.simulation.clients import Client
from gregale.lab.simulation.database import Template
from gregale.lab.simulation.load import SHAPES, WORKFLOWS, wrong
from gregale.lab.simulation.loop import Standstill, VirtualLoop
from gregale.lab.simulation.world import Kind, World
from gregale.store import load

_FAULTS_END = 5.0
_REST = 150.0
"""Virtual seconds: until when things go wrong, and until when everything must be at rest."""

_RATES = {
    "drop": (0.02, 0.3),
    "repeat": (0.02, 0.3),
    "delay": (0.02, 0.3),
    "unheard": (0.01, 0.1),
}
_EVENTS = ("crash", "hang", "leave", "join", "split", "database away", "broker away", "broker wiped")


class Outcome(msgspec.Struct, frozen=True):
    seed: int
    faults: dict[str, int]
    executions: int
    commits: int
    messages: int
    seconds: float


class Failure(Exception):
    """A seed that did not hold: why, and what happened in its order."""

    def __init__(self, seed: int, reasons: list[str], trace: list[str]):
        self.seed = seed
        self.reasons = reasons
        self.trace = trace
        super().__init__(
            f"seed {seed}: {reasons[0]}\nreplay: PYTHONHASHSEED=0 gregale lab simulate --seeds 1 --start {seed} --trace"
        )


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template(WORKFLOWS)


def simulate(
    seed: int,
    lose: int | None = None,
    prepare: Callable[[World], None] | None = None,
    quiet: bool = False,
) -> Outcome:
    """Run a seed. Raises Failure. `quiet`: without any fault but the message number `lose`."""
    random.seed(seed)  # jitter of the real code
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    drawn = random.Random(seed * 7919)  # noqa: S311 - a seed that can be replayed
    rates = {} if quiet else {k: drawn.uniform(*r) for k, r in _RATES.items() if drawn.random() < 0.5}
    world = World(seed, _template().reset(), rates, lose)
    if prepare is not None:
        prepare(world)
    run = _Run(world, drawn, quiet)
    try:
        loop.run_until_complete(run.whole())
    except Standstill:
        world.broken("everything stands still, and nothing waits for a time")
    finally:
        _end(loop)
    if world.violations:
        raise Failure(seed, world.violations, world.lines)
    return Outcome(seed, dict(world.faults), len(run.clients), world.commits, world.messages, round(loop.time(), 2))


def _end(loop: VirtualLoop) -> None:
    """Throw away what still runs, without a word about it."""
    loop.set_exception_handler(lambda *_: None)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    try:
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
    except Standstill:
        pass
    asyncio.set_event_loop(None)
    loop.close()


class _Run:
    def __init__(self, world: World, drawn: random.Random, quiet: bool):
        self._world = world
        self._drawn = drawn
        self._quiet = quiet
        self._topology: dict[Kind, int] = {"api": 1, "engine": drawn.randint(1, 3), "executor": drawn.randint(1, 2)}
        number = drawn.randint(1, 3)
        self.clients = [Client(world, f"{shape}-{n}", shape) for n, shape in enumerate(drawn.choices(SHAPES, k=number))]
        swarm = [] if quiet else [e for e in _EVENTS if drawn.random() < 0.5]
        self._events: Counter[str] = Counter(drawn.choices(swarm, k=drawn.randint(1, 5)) if swarm else [])

    async def whole(self) -> None:
        world = self._world
        for kind, number in self._topology.items():
            for _ in range(number):
                await world.launch(kind)
        await asyncio.sleep(0.5)
        asking = [asyncio.create_task(c.run(self._drawn.uniform(0.0, 2.0))) for c in self.clients]
        faults = [asyncio.create_task(self._fault(e)) for e in self._events.elements()]
        await asyncio.gather(*faults, asyncio.sleep(0 if self._quiet else _FAULTS_END))
        await self._mend()
        while asyncio.get_running_loop().time() < _REST and not world.violations:
            if all(task.done() for task in asking) and self._at_rest():
                break
            await asyncio.sleep(1.0)
        for task in asking:
            task.cancel()
        self._judge()

    async def _mend(self) -> None:
        world = self._world
        world.trace("faults stop")
        world.rates.clear()
        world.database_away = world.broker_away = False
        for process in world.processes:
            process.go_on()
        for process in world.living("engine"):
            others = process.engine.owned - process.leases.owned
            world.within(process, process.engine.lose(sorted(others)))
        for kind in ("api", "engine", "executor"):
            if not world.living(kind):
                await world.launch(kind)

    def _executions(self) -> list[Any]:
        ids = [c.execution_id for c in self.clients]
        return self._world.shared.read(load, ids)

    def _at_rest(self) -> bool:
        return not self._world.shared.read(checks.unfinished)

    def _judge(self) -> None:
        world = self._world
        found = {e.id: e for e in self._executions()}
        may_lose = bool(world.faults["crash"] + world.faults["hang"])
        for client in self.clients:
            execution = found.get(client.execution_id)
            if execution is None:
                if client.confirmed or not client.gave_up:
                    world.broken(f"I15: {client.execution_id} is not there")
            elif not execution.state.completed:
                tasks = {t.name: t.state.value for t in execution.tasks.values()}
                world.broken(f"I17: {execution.id} is still {execution.state.value}: {tasks}")
            elif (fault := wrong(client.shape, execution, may_lose)) is not None:
                world.broken(fault)

    # What goes wrong --------------------------------------------------------------------------------------------------

    async def _fault(self, event: str) -> None:
        world, drawn = self._world, self._drawn
        await asyncio.sleep(drawn.uniform(0.3, _FAULTS_END - 1))
        living = [p for p in world.processes if p.alive]
        # executors hold what may not run twice: they are hit more often
        victim = drawn.choice(living + 2 * world.living("executor")) if living else None
        world.faults[event] += 1
        if event == "database away" or event == "broker away":
            await self._outage("database_away" if event == "database away" else "broker_away")
        elif event == "broker wiped":
            world.trace("the broker loses everything")
            for process in living:
                for consumer in process.bus.consumers:
                    for queue in consumer.queues:
                        world.broker.queue(queue).letters.clear()
        elif event == "split":
            world.trace("every engine believes to own everything")
            for engine in world.living("engine"):
                world.within(engine, engine.engine.gain(range(PARTITIONS)))
        elif event == "join":
            await world.launch(drawn.choice(("api", "engine", "executor")))
        elif victim is not None:
            await self._hit(event, victim)

    async def _outage(self, what: str) -> None:
        world = self._world
        world.trace(f"{what}")
        setattr(world, what, True)
        await asyncio.sleep(self._drawn.choice((0.1, 1.0, 4.0)))
        setattr(world, what, False)
        world.trace(f"{what} no more")

    async def _hit(self, event: str, victim: Any) -> None:
        world, drawn = self._world, self._drawn
        world.trace(f"{victim.name}: {event}")
        if event == "crash":
            await victim.crash()
            await asyncio.sleep(drawn.uniform(0.1, 3.0))
            await world.launch(victim.kind)
        elif event == "hang":
            victim.hang()
            await asyncio.sleep(drawn.choice((1.0, 4.0, 8.0)))
            victim.go_on()
        else:
            await world.launch(victim.kind)
            stopping = world.within(victim, victim.stop())
            await asyncio.wait([stopping], timeout=15)


class Campaign(msgspec.Struct, frozen=True):
    """What many seeds did together."""

    seeds: int
    faults: dict[str, int]
    executions: int
    commits: int
    messages: int


def campaign(seeds: Iterable[int], step: Callable[[], None] = lambda: None) -> Campaign:
    """Run seeds one after another. Raises Failure."""
    logging.disable(logging.CRITICAL)  # what the code has to say about its faults is in the trace
    gc.disable()  # loops and their tasks refer to each other; looking for that all the time takes a third of it
    faults: Counter[str] = Counter()
    done = executions = commits = messages = 0
    try:
        for seed in seeds:
            outcome = simulate(seed)
            faults.update(outcome.faults)
            done += 1
            executions += outcome.executions
            commits += outcome.commits
            messages += outcome.messages
            if done % 25 == 0:
                gc.collect()
            step()
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
    if done >= 50 and not (faults and commits):
        raise AssertionError("nothing went wrong and nothing was committed: this has shown nothing")
    return Campaign(done, dict(faults), executions, commits, messages)
