"""Receive, claim, run, report. A request is acknowledged once its claim or its result is safe (design, rule 5)."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from gregale import metrics
from gregale.actions import ActionContext, Registry, Result
from gregale.bus import ActionFinished, Bus, Delivery, RunActionMessage, Unreadable, decode, encode
from gregale.bus.messages import ACTIONS, ENGINE, actions_queue
from gregale.executor.run import Actions, run
from gregale.store import Database, claims

log = logging.getLogger("gregale.executor")

_REMEMBERED = 50_000


class ExecutorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`concurrency`: actions at a time. In seconds: `heartbeat_every`; `grace` for running actions when stopping; `settled`, how
    long after its end a request for an action counts as a repetition and not as the sweep's word that its result was lost."""

    concurrency: Annotated[int, Meta(ge=1)] = 256
    heartbeat_every: Annotated[float, Meta(gt=0)] = 5.0
    grace: Annotated[float, Meta(ge=0)] = 30.0
    settled: Annotated[float, Meta(ge=0)] = 5.0
    batch: Annotated[int, Meta(ge=1)] = 256


class Executor:
    """`member_id` holds the claims; `name` is what a task's `target` says."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        registry: Registry,
        clock: Callable[[], float],
        member_id: str,
        name: str,
        settings: ExecutorSettings | None = None,
    ):
        self.database = database
        self.bus = bus
        self.actions = Actions(registry, database)
        self.member_id = member_id
        self.name = name
        self.settings = settings or ExecutorSettings()
        self.started = 0
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}
        self._seen: OrderedDict[tuple[str, int], float | None] = OrderedDict()
        self._slots = asyncio.Semaphore(self.settings.concurrency)
        self._tasks: list[asyncio.Task[None]] = []
        self._cancelled: set[str] = set()
        self._results: list[tuple[ActionFinished, Delivery | None]] = []
        self._flush: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take requests for any executor, and those for this one by name."""
        self._consumers = [
            await self.bus.consume(queue, self.settings.concurrency * 2)
            for queue in (ACTIONS, actions_queue(self.name))
        ]
        for consumer in self._consumers:
            self._tasks.append(asyncio.create_task(self._receive(consumer), name="executor-receive"))
        self._tasks.append(asyncio.create_task(self._heartbeat(), name="executor-heartbeat"))

    async def stop(self) -> None:
        """Take nothing more; let running actions finish within the grace period, report, let go of the rest."""
        for consumer in self._consumers:
            await consumer.close()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=self.settings.grace)
        for task in [*self._running.values(), *self._tasks]:
            task.cancel()
        await asyncio.gather(*self._running.values(), *self._tasks, return_exceptions=True)
        if self._flush is not None:
            await self._flush

    async def _receive(self, consumer: object) -> None:
        while deliveries := await consumer.take(self.settings.batch):  # type: ignore[attr-defined]
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
        needs = [(m.action_id, m.attempt) for m, _ in wanted if not m.safe_rerun or not m.is_sync]
        claimed: set[str] = set()
        if needs:
            try:
                claimed = await self.database.writing(claims.claim, needs, self.member_id, self._clock())
            except Exception:
                log.exception("claims could not be committed; the requests go back")
                for message, delivery in wanted:
                    self._seen.pop((message.action_id, message.attempt), None)
                    delivery.requeue()
                await asyncio.sleep(0.2)
                return
        for message, delivery in wanted:
            if not message.safe_rerun or not message.is_sync:
                delivery.ack()
                if message.action_id in claimed:
                    await self._launch(message, None)
                else:
                    self._remember(message, self._clock())
            else:
                await self._launch(message, delivery)

    async def _launch(self, message: RunActionMessage, delivery: Delivery | None) -> None:
        await self._slots.acquire()
        self.started += 1
        task = asyncio.create_task(self._run(message, delivery))
        self._running[message.action_id] = task
        metrics.RUNNING.inc()
        task.add_done_callback(lambda _: self._ended(message))

    def _ended(self, message: RunActionMessage) -> None:
        self._running.pop(message.action_id, None)
        metrics.RUNNING.dec()
        self._remember(message, self._clock())
        self._slots.release()

    async def _run(self, message: RunActionMessage, delivery: Delivery | None) -> None:
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
            result = await run(self.actions, message.action, message.input, context, message.timeout)
        except asyncio.CancelledError:
            if message.action_id not in self._cancelled:
                raise
            self._cancelled.discard(message.action_id)
            result = Result(cancel=True)
        if result is None:
            if delivery is not None:
                delivery.ack()
            return
        self._report(
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

    def _report(self, finished: ActionFinished, delivery: Delivery | None) -> None:
        """Results that come together are published together."""
        outcome = "cancelled" if finished.cancel else "success" if finished.error is None else "error"
        metrics.ACTIONS.labels(outcome).inc()
        self._results.append((finished, delivery))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._publish_results())

    async def _publish_results(self) -> None:
        while self._results:
            batch, self._results = self._results, []
            await self.bus.publish(ENGINE, [encode(finished) for finished, _ in batch])
            for _, delivery in batch:
                if delivery is not None:
                    delivery.ack()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_every)
            try:
                await self.database.writing(claims.heartbeat, list(self._running), self.member_id, self._clock())
            except Exception:
                log.exception(
                    "a heartbeat could not be written; the next one is due in %s s", self.settings.heartbeat_every
                )

    def cancel(self, action_id: str | None = None) -> None:
        """Stop a running action, or all of them; what is reported of it is a cancellation."""
        for running in [action_id] if action_id is not None else list(self._running):
            task = self._running.get(running)
            if task is not None:
                self._cancelled.add(running)
                task.cancel()
