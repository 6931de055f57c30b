"""Messages as jobs: what comes on the queues of owned partitions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gregale.bus import ActionFinished, Consumer, Delivery, StartMessage, Unreadable, WakeMessage, decode
from gregale.bus.messages import engine_queue
from gregale.core import ActionDone, Start, Timer
from gregale.engine import standalone
from gregale.engine.inbox import Job
from gregale.store import Unavailable, results, rows, sweep

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine")


class Intake:
    def __init__(self, engine: Engine):
        self._engine = engine
        self._consumer: Consumer | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def open(self, prefetch: int) -> None:
        self._consumer = await self._engine.bus.consume((), prefetch)

    async def add(self, partitions: Sequence[int]) -> None:
        assert self._consumer is not None
        for number in partitions:
            await self._consumer.add(engine_queue(number))

    async def drop(self, partitions: Sequence[int]) -> None:
        assert self._consumer is not None
        for number in partitions:
            await self._consumer.drop(engine_queue(number))

    async def close(self) -> None:
        """Take nothing more, and finish what is being read."""
        if self._consumer is not None:
            await self._consumer.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=5)

    async def run(self) -> None:
        assert self._consumer is not None
        while deliveries := await self._consumer.take(self._engine.settings.batch):
            for delivery in deliveries:
                try:
                    message = decode(delivery.body)
                except Unreadable as e:
                    delivery.reject(str(e))
                    continue
                self._accept(message, delivery)

    def _accept(self, message: object, delivery: Delivery) -> None:
        if isinstance(message, StartMessage):
            self._engine.submit(Job(message.root_id, message.execution_id, Start(), delivery=delivery, row=message.row))
        elif isinstance(message, WakeMessage):
            self._spawn(self._woken(message, delivery))
        elif not isinstance(message, ActionFinished):
            delivery.reject(f"not a message for an engine: {type(message).__name__}")
        elif message.stored:
            self._spawn(self._fetched(message, delivery))
        else:
            self.finished(message, delivery)

    def finished(self, message: ActionFinished, delivery: Delivery | None) -> None:
        """The result of an action, whichever way it came."""
        if message.execution_id is None or message.root_id is None:
            self._spawn(standalone.finished(self._engine, message, delivery))
            return
        event = ActionDone(
            message.action_id, message.data, message.error, message.cancel, message.attempt, message.force_fail
        )
        self._engine.submit(Job(message.root_id, message.execution_id, event, delivery=delivery))

    async def _woken(self, message: WakeMessage, delivery: Delivery) -> None:
        """Another process has changed this tree: what is known of it is old, and it may have new timers."""
        engine = self._engine
        try:
            found = await engine.database.reading(sweep.timers_of, message.execution_id)
        except Unavailable:
            delivery.ack()  # the sweep reads the timers once the database is back
            return
        if message.root_id not in engine.busy:
            engine.cache.forget_tree(message.root_id)
        for row in found:
            engine.timers.add(message.root_id, Timer(row.execution_id, row.task_id, row.kind, row.stamp, row.due))
        delivery.ack()

    async def _fetched(self, message: ActionFinished, delivery: Delivery) -> None:
        """A result that was too large for its message."""
        while True:
            try:
                body = await self._engine.database.reading(results.body, message.action_id, message.attempt)
                break
            except Unavailable:
                await asyncio.sleep(0.5)
        if body is None:
            delivery.ack()  # taken already, from the sweep's hands
        else:
            self.finished(restored(message, body), delivery)

    def _spawn(self, run: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(run)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


def restored(message: ActionFinished, body: str) -> ActionFinished:
    return msgspec.structs.replace(message, stored=False, **rows.decode(body))
