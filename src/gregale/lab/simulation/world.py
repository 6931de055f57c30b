"""The simulated cluster: processes of the real code, one database, one broker, and what goes wrong."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.bus import DEAD, LocalBus, RunActionMessage, StartMessage, Unreadable, decode
from gregale.cluster import Clock, ClusterSettings, Leases, Membership
from gregale.core import invariants
from gregale.core.state import COMPLETED, Execution
from gregale.engine import Engine, EngineSettings
from gregale.engine.batch import Batch
from gregale.engine.sweep import Sweeper
from gregale.executor import Executor, ExecutorSettings
from gregale.lab.simulation.bus import ProcessBus
from gregale.lab.simulation.database import ProcessDatabase
from gregale.lab.simulation.load import registry
from gregale.lab.simulation.loop import PROCESS, in_process
from gregale.store import Database, Unavailable, load
from gregale.store.schema import action_executions, executions

EPOCH = 1_700_000_000.0
Kind = Literal["api", "engine", "executor"]

_CLUSTER = ClusterSettings(heartbeat_every=2.5, lease=5.0, lost_after=7.0)
_ENGINE = EngineSettings(inline=False, sweep_every=3.0, stale_after=3.0, heartbeat_timeout=8.0, cron=False, grace=5.0)
_EXECUTOR = ExecutorSettings(concurrency=8, heartbeat_every=2.0, settled=2.0, grace=5.0)
_REGISTRY = registry()


class Violation(Exception):
    """Something does not hold that always must."""


class Process:
    """One member. `alive` until it crashes or leaves; while `hung`, nothing that it asks for is answered."""

    def __init__(self, world: World, kind: Kind, name: str):
        self.world = world
        self.kind = kind
        self.name = name
        self.alive = True
        self.tasks: set[asyncio.Task[Any]] = set()
        self._running = asyncio.Event()
        self._running.set()
        self.database: Any
        self.database = ProcessDatabase(world, self)
        self.bus: Any = ProcessBus(world, self)
        clock = Clock(world.clock)
        self.engine = Engine(self.database, self.bus, _REGISTRY.info, clock, world.new_id, _ENGINE)
        self.engine.parts = [p for p in self.engine.parts if type(p).__name__ in ("Intake", "Timers", "Sweeper")]
        for part in self.engine.parts:
            if isinstance(part, Sweeper):
                part.skipped = world.skipped_sweeps
        self.membership = Membership(self.database, kind, name, clock, world.new_id, _CLUSTER)
        self.leases = Leases(self.database, self.membership, clock, _CLUSTER, self.engine.gain, self.engine.lose)
        if kind != "engine":
            self.membership.on_beat.clear()
        self.executor = Executor(self.database, self.bus, _REGISTRY, clock, lambda: self.membership.id, name, _EXECUTOR)

    async def start(self) -> None:
        await self.membership.enter()
        await self.engine.start()
        if self.kind == "engine":
            await self.engine.own()
        elif self.kind == "executor":
            await self.executor.start()
        self.membership.start()

    async def stop(self) -> None:
        """As `Service` does it."""
        await self.membership.finish()
        if self.kind == "executor":
            await self.executor.stop()
        if self.kind == "engine":
            with suppress(Unavailable):
                await self.leases.give()
        await self.engine.stop()
        await self.membership.leave()
        await self.bus.close()
        self.alive = False

    async def crash(self) -> None:
        """Nothing of it runs on, nothing is said."""
        self.alive = False
        await self.bus.close()
        for task in list(self.tasks):
            task.cancel()

    def hang(self) -> None:
        self._running.clear()

    def go_on(self) -> None:
        self._running.set()

    async def pause(self) -> None:
        """The time that anything takes. Nothing comes back to who is gone, or hangs."""
        await asyncio.sleep(self.world.random.choice((0.0, 0.0, 0.001, 0.003, 0.01)))
        while not self._running.is_set():
            await self._running.wait()
        if not self.alive:
            await asyncio.Event().wait()


class World:
    """`rates`: of what goes wrong by chance. `lose`: the number of the one message to lose, for systematic runs.
    `reruns`: somebody reruns what has ended, so that it may leave its terminal state."""

    def __init__(self, seed: int, shared: Database, rates: dict[str, float], lose: int | None = None):
        self.random = random.Random(seed)  # noqa: S311 - a seed that can be replayed
        self.shared = shared
        self.rates = rates
        self.broker = LocalBus(self.clock)
        self.database_away = False
        self.broker_away = False
        self.processes: list[Process] = []
        self.faults: Counter[str] = Counter()
        self.lines: list[str] = []
        self.skipped_sweeps: set[str] = set()
        self.reruns = False
        self.messages = 0
        self.commits = 0
        self._lose = lose
        self._ids = random.Random(seed + 1)  # noqa: S311
        self._revisions: dict[str, int] = {}
        self._ended: dict[str, str] = {}
        self._bodies: Counter[tuple[str, int]] = Counter()
        self._numbers: Counter[str] = Counter()
        self._tags: set[tuple[str, str | None]] = set()
        self.violations: list[str] = []

    def clock(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def new_id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def trace(self, line: str) -> None:
        self.lines.append(f"{asyncio.get_running_loop().time():9.3f}  {line}")

    def chance(self, what: str) -> bool:
        happens = self.random.random() < self.rates.get(what, 0.0)
        if happens:
            self.faults[what] += 1
        return happens

    def broken(self, what: str) -> None:
        """Note what does not hold; the run ends with it."""
        self.violations.append(what)
        self.trace(f"VIOLATION: {what}")

    # Processes --------------------------------------------------------------------------------------------------------

    async def launch(self, kind: Kind) -> Process:
        self._numbers[kind] += 1
        process = Process(self, kind, f"{kind}-{self._numbers[kind]}")
        self.processes.append(process)
        self.trace(f"{process.name} starts")
        task = in_process(process, process.start)
        task.add_done_callback(_seen)
        return process

    def living(self, kind: str) -> list[Process]:
        return [p for p in self.processes if p.alive and p.kind == kind]

    def within(self, process: Process, run: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        async def running() -> Any:
            return await run

        return in_process(process, running)

    # What everything goes through -------------------------------------------------------------------------------------

    def published(self, process: Process, queue: str, body: bytes) -> None:
        """A message reaches the broker, or is lost on the way."""
        try:
            message = decode(body)
        except Unreadable:
            self.broken(f"{process.name} published something unreadable on {queue}")
            return
        kind = type(message).__name__
        self._explained(process, message)
        number, self.messages = self.messages, self.messages + 1
        if number == self._lose or self.chance("drop"):
            self.trace(f"{process.name}: {kind} on {queue} is lost")
            return
        copies = 2 if self.chance("repeat") else 1
        for _ in range(copies):
            if self.chance("delay"):
                asyncio.get_running_loop().call_later(self.random.uniform(0.1, 6.0), self._arrive, queue, body)
            else:
                self._arrive(queue, body)

    def _arrive(self, queue: str, body: bytes) -> None:
        asyncio.ensure_future(self.broker.publish(queue, [body]))  # noqa: RUF006 - done at once

    def _explained(self, process: Process, message: Any) -> None:
        """I11: what is published has rows that say so."""
        if isinstance(message, RunActionMessage):
            found = self.shared.read(
                lambda c: c.scalar(sa.select(action_executions.c.id).where(action_executions.c.id == message.action_id))
            )
        elif isinstance(message, StartMessage):
            found = self.shared.read(
                lambda c: c.scalar(sa.select(executions.c.id).where(executions.c.id == message.execution_id))
            )
        else:
            return
        if found is None:
            self.broken(f"{process.name} published {message}, and no committed row explains it")

    def committed(self, connection: Connection, process: Process, run: Any) -> None:
        """Checks within every transaction that changes executions, before it is committed."""
        if not isinstance(run, Batch):
            return
        self.commits += 1
        ids = [w.execution.id for w in run.works]
        rows = connection.execute(
            sa.select(executions.c.id, executions.c.revision, executions.c.state, executions.c.tag).where(
                executions.c.id.in_(ids)
            )
        ).all()
        for row in rows:
            seen = self._revisions.get(row.id, 0)
            if row.revision not in (seen + 1, seen):
                self.broken(f"I2: {row.id} went from revision {seen} to {row.revision}")
            if row.revision == seen and (row.id, row.tag) not in self._tags:
                self.broken(f"I2: two commits of {row.id} carry the revision {seen}")
            self._revisions[row.id] = row.revision
            self._tags.add((row.id, row.tag))
            if row.id in self._ended and not self.reruns and row.state != self._ended[row.id]:
                self.broken(f"I1: {row.id} had ended in {self._ended[row.id]} and is {row.state} now")
            if row.state in _ENDED:
                self._ended[row.id] = row.state
        for work in run.works:
            for fault in invariants.broken(work.execution):
                self.broken(f"{work.execution.id}: {fault}")
            changes = ", ".join(
                f"{work.execution.tasks[t.task_id].name if t.task_id else work.execution.workflow_name} {t.new.value}"
                for t in work.transitions
            )
            self.trace(f"{process.name} commits {work.execution.id[:20]}: {changes or 'details'}")
        if self.random.random() < 0.1:
            self._same(connection, [w.execution for w in run.works])

    def _same(self, connection: Connection, held: list[Execution]) -> None:
        """I7: what is read back is what was decided."""
        found = {e.id: e for e in load(connection, [e.id for e in held])}
        for execution in held:
            other = found.get(execution.id)
            if other is None:
                self.broken(f"I7: {execution.id} cannot be read back")
                continue
            mine = {t.id: (t.name, t.state, t.attempt, t.published) for t in execution.tasks.values()}
            theirs = {t.id: (t.name, t.state, t.attempt, t.published) for t in other.tasks.values()}
            if (execution.state, mine) != (other.state, theirs):
                self.broken(
                    f"I7: {execution.id} reads back as {other.state} {theirs}, decided was {execution.state} {mine}"
                )

    def body_started(self, action_id: str, attempt: int, key: str) -> None:
        """I9."""
        self._bodies[action_id, attempt] += 1
        self.trace(f"{PROCESS.get().name} runs unsafe {key} {action_id[:8]}/{attempt}")
        if self._bodies[action_id, attempt] > 1:
            self.broken(
                f"I9: the unsafe action {key} {action_id}/{attempt} was started {self._bodies[action_id, attempt]} times"
            )

    @property
    def dead_letters(self) -> int:
        return len(self.broker.queue(DEAD).letters)


_ENDED = frozenset(s.value for s in COMPLETED)


def _seen(task: asyncio.Task[Any]) -> None:
    """A process that crashed while it started is no error of the simulation."""
    if not task.cancelled():
        task.exception()
