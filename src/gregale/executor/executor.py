"""Receive, claim, run, report. A request is acknowledged once its claim or its result is safe (design, rule 5)."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import Meta

from gregale import faults, logs, metrics
from gregale.actions import ActionContext, Registry, Result
from gregale.bus import ActionFinished, Bus, Consumer, Delivery, RunActionMessage, Unreadable, decode
from gregale.bus.messages import ACTIONS, actions_queue
from gregale.executor.report import Reports
from gregale.executor.run import Actions, run
from gregale.store import Database, Unavailable, claims, sweep

log = logging.getLogger("gregale.executor")

_REMEMBERED = 50_000
_CLAIM_LASTS = 2.0
"""Seconds from asking for a claim, in which nobody can have given this member up."""


class ExecutorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`concurrency`: actions at a time. In seconds: `heartbeat_every`; `grace` for running actions when stopping; `settled`, how
    long after its end a request for an action counts as a repetition and not as the sweep's word that its result was lost."""

    concurrency: Annotated[int, Meta(ge=1)] = 256
    heartbeat_every: Annotated[float, Meta(gt=0)] = 5.0
    grace: Annotated[float, Meta(ge=0)] = 30.0
    settled: Annotated[float, Meta(ge=0)] = 5.0
    batch: Annotated[int, Meta(ge=1)] = 256
    max_result: Annotated[int, Meta(ge=1024)] = 16 * 1024 * 1024


class Executor:
    """`holder` gives the member that claims are made for; `name` is what a task's `target` says."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        registry: Registry,
        clock: Callable[[], float],
        holder: Callable[[], str],
        name: str,
        settings: ExecutorSettings | None = None,
    ):
        self.database = database
        self.bus = bus
        self.actions = Actions(registry, database)
        self.holder = holder
        self.name = name
        self.settings = settings or ExecutorSettings()
        self.started = 0
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}
        self._unacknowledged: dict[str, Delivery] = {}
        self._seen: OrderedDict[tuple[str, int], float | None] = OrderedDict()
        self._slots = asyncio.Semaphore(self.settings.concurrency)
        self._tasks: list[asyncio.Task[None]] = []
        self._cancelled: set[str] = set()
        self._consumer: Consumer | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._unstarted: set[str] = set()
        self._reports = Reports(database, bus, clock, self.settings.max_result)

    async def start(self) -> None:
        """Take requests for any executor, and those for this one by name."""
        queues = (ACTIONS, actions_queue(self.name))
        self._consumer = await self.bus.consume(queues, self.settings.concurrency * 2)
        self._receiver = asyncio.create_task(self._receive(self._consumer), name="executor-receive")
        self._tasks.append(asyncio.create_task(self._heartbeat(), name="executor-heartbeat"))

    async def drain(self) -> None:
        """Take nothing more; what runs goes on."""
        if self._consumer is not None:
            await self._consumer.close()

    async def stop(self) -> None:
        """Take nothing more; let running actions finish within the grace period, report, let go of the rest."""
        await self.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.grace):
                if self._receiver is not None:
                    await asyncio.wait([self._receiver])
                while self._running:
                    await asyncio.wait(list(self._running.values()))
        tasks = [t for t in (self._receiver, *self._running.values(), *self._tasks) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reports.flushed(self.settings.grace)
        with suppress(Unavailable):
            await self._reports.confirm(0.0)
        if self._unstarted:  # claimed, and certainly not started: others may
            await self.database.writing(sweep.free, sorted(self._unstarted))

    async def _receive(self, consumer: Consumer) -> None:
        while deliveries := await consumer.take(self.settings.batch):
            wanted: list[tuple[RunActionMessage, Delivery]] = []
            for delivery in deliveries:
                try:
                    message = decode(delivery.body)
                except Unreadable as e:
                    delivery.reject(str(e))
                    continue
                if not isinstance(message, RunActionMessage):
                    delivery.reject(f"not a message for an executor: {type(message).__name__}")
                elif self._is_repetition(message):
                    delivery.ack()
                else:
                    self._remember(message)
                    wanted.append((message, delivery))
            await self._admit(wanted)

    def _is_repetition(self, message: RunActionMessage) -> bool:
        """The sweep may send a request again while the first one still waits here, or its result is on its way."""
        key = (message.action_id, message.attempt)
        if key not in self._seen:
            return False
        ended = self._seen[key]
        return ended is None or self._clock() - ended < self.settings.settled

    def _remember(self, message: RunActionMessage, ended: float | None = None) -> None:
        self._seen[message.action_id, message.attempt] = ended
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    async def _admit(self, wanted: list[tuple[RunActionMessage, Delivery]]) -> None:
        """Claim, in one transaction, everything that must not run twice; then start what may run."""
        needs = [(m.action_id, m.attempt) for m, d in wanted if needs_claim(m, d)]
        claimed: set[str] = set()
        asked = asyncio.get_running_loop().time()
        if needs:
            claimed = await self._claim(needs)
            faults.point("after_claim")
            self._unstarted |= claimed
        for message, delivery in wanted:
            if not needs_claim(message, delivery):
                await self._launch(message, delivery, None)
                continue
            delivery.ack()
            if message.action_id in claimed:
                await self._launch(message, None, asked)
            else:
                self._remember(message, self._clock())

    async def _claim(self, needs: list[tuple[str, int]]) -> set[str]:
        """Holds what it was given while the database is away."""
        now = self._clock()
        while True:
            try:
                return await self.database.writing(claims.claim, needs, self.holder(), now)
            except Unavailable as e:
                log.warning("%d claims wait for the database: %s", len(needs), e)
                await asyncio.sleep(0.3)

    async def _launch(self, message: RunActionMessage, delivery: Delivery | None, claimed_at: float | None) -> None:
        await self._slots.acquire()
        if delivery is not None:
            self._unacknowledged[message.action_id] = delivery
        task = asyncio.create_task(self._run(message, claimed_at))
        self._running[message.action_id] = task
        metrics.RUNNING.inc()
        task.add_done_callback(lambda _: self._ended(message))

    def _ended(self, message: RunActionMessage) -> None:
        self._running.pop(message.action_id, None)
        metrics.RUNNING.dec()
        self._remember(message, self._clock())
        self._slots.release()

    async def _run(self, message: RunActionMessage, claimed_at: float | None) -> None:
        context = ActionContext(
            message.action_id,
            message.execution_id or "",
            message.workflow_name,
            message.task_id or "",
            message.attempt,
            self.name,
            self.actions.registry.settings,
            message.root_id or "",
        )
        try:
            if claimed_at is not None and not await self._may_start(message, claimed_at):
                return
            given = await self._input(message)
            if given is None:
                if (gone := self._unacknowledged.pop(message.action_id, None)) is not None:
                    gone.ack()
                return
            self._unstarted.discard(message.action_id)
            self.started += 1
            with logs.context(execution=message.execution_id, task=message.task_id, action=message.action_id):
                log.debug("%s begins", message.action)
                result = await run(self.actions, message.action, given, context, message.timeout)
            faults.point("after_body")
        except asyncio.CancelledError:
            if message.action_id not in self._cancelled:
                raise
            self._cancelled.discard(message.action_id)
            result = Result(cancel=True)
        delivery = self._unacknowledged.pop(message.action_id, None)
        if result is None:
            if delivery is not None:
                delivery.ack()
            return
        self._reports.add(
            ActionFinished(
                message.action_id,
                message.execution_id,
                message.root_id,
                message.attempt,
                result.data,
                result.error,
                result.cancel,
            ),
            delivery,
        )

    async def _may_start(self, message: RunActionMessage, claimed_at: float) -> bool:
        """A claim from a while ago, before a hang, may have been given up by others."""
        while asyncio.get_running_loop().time() - claimed_at > _CLAIM_LASTS:
            asked = asyncio.get_running_loop().time()
            try:
                held = await self.database.reading(claims.still_held, message.action_id, message.attempt, self.holder())
            except Unavailable:
                await asyncio.sleep(0.3)
                continue
            if not held:
                log.warning("action %s is not started: its claim does not stand any more", message.action_id)
                self._unstarted.discard(message.action_id)
                return False
            claimed_at = asked
        return True

    async def _input(self, message: RunActionMessage) -> dict[str, object] | None:
        """None when the action is gone."""
        while message.stored:
            try:
                return await self.database.reading(claims.request, message.action_id)
            except Unavailable:
                await asyncio.sleep(0.3)
        return message.input

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_every)
            try:
                await self._name_running()
                await self._reports.confirm(self.settings.heartbeat_every)
            except Unavailable as e:
                log.warning("running actions could not be named: %s", e)
            except Exception:
                log.exception(
                    "a heartbeat could not be written; the next one is due in %s s", self.settings.heartbeat_every
                )

    async def _name_running(self) -> None:
        """Rows say who runs what. Then no message has to: brokers close the channel of who sits on one for half an hour."""
        running = list(self._running)
        await self.database.writing(claims.heartbeat, running, self.holder(), self._clock())
        for action_id in running:
            if (delivery := self._unacknowledged.pop(action_id, None)) is not None:
                delivery.ack()

    def cancel(self, action_id: str | None = None) -> None:
        """Stop a running action, or all of them; what is reported of it is a cancellation."""
        for running in [action_id] if action_id is not None else list(self._running):
            task = self._running.get(running)
            if task is not None:
                self._cancelled.add(running)
                task.cancel()


def needs_claim(message: RunActionMessage, delivery: Delivery) -> bool:
    """Whether the rows must say who runs this before it starts: what may not run twice, and what has come before, which may have
    ended whoever ran it."""
    if faults.without("claim"):
        return False
    return not message.safe_rerun or not message.is_sync or message.again or delivery.redelivered
