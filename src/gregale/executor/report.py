"""Results on their way to the engines: those that come together are published together, and none is lost on the way."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from gregale import metrics
from gregale.bus import ActionFinished, Bus, BusUnavailable, Delivery, encode
from gregale.bus.messages import INLINE, engine_queue
from gregale.core.partition import partition_of
from gregale.store import Database, Unavailable, claims, results, rows

log = logging.getLogger("gregale.executor")

_REMEMBERED = 20_000


class Reports:
    """A result goes by the bus; into the database where it is too large, or where the broker does not take it."""

    def __init__(self, database: Database, bus: Bus, clock: Callable[[], float], max_result: int):
        self._database = database
        self._bus = bus
        self._clock = clock
        self._max_result = max_result
        self._waiting: list[tuple[ActionFinished, Delivery | None]] = []
        self._flush: asyncio.Task[None] | None = None
        self._told: OrderedDict[tuple[str, int], tuple[float, ActionFinished]] = OrderedDict()

    def add(self, finished: ActionFinished, delivery: Delivery | None) -> None:
        """`delivery` is acknowledged when the result is safe."""
        outcome = "cancelled" if finished.cancel else "success" if finished.error is None else "error"
        metrics.ACTIONS.labels(outcome).inc()
        self._waiting.append((finished, delivery))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._send())

    async def flushed(self, seconds: float) -> None:
        """Wait until everything is reported, for so long at most."""
        if self._flush is not None:
            await asyncio.wait([self._flush], timeout=seconds)
            self._flush.cancel()

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            encoded = [self._encoded(finished) for finished, _ in batch]
            large = [finished for finished, body in encoded if finished.stored]
            while large and not await self._stored(large):
                await asyncio.sleep(0.3)
            while not await self._published(encoded) and not await self._stored([f for f, _ in encoded]):
                await asyncio.sleep(0.3)
            for finished, delivery in batch:
                if delivery is not None:
                    delivery.ack()
                else:  # it was claimed: nobody may run it again, so that its result must not be lost
                    self._told[finished.action_id, finished.attempt] = (self._clock(), finished)
                    while len(self._told) > _REMEMBERED:
                        self._told.popitem(last=False)

    async def confirm(self, after: float) -> None:
        """See whether results that were told more than `after` seconds ago have arrived; those that have not are stored, where the
        sweep finds them. Raises Unavailable."""
        before = self._clock() - after
        due = [key for key, (at, _) in self._told.items() if at <= before]
        if not due:
            return
        missing = await self._database.reading(claims.unfinished, due)
        found = [self._told[key][1] for key in due if key in missing]
        if found and not await self._stored(found):
            return
        for key in due:
            del self._told[key]

    def _encoded(self, finished: ActionFinished) -> tuple[ActionFinished, bytes]:
        """The result, marked when it has to be stored, and its message."""
        body = encode(finished)
        if len(body) > self._max_result:
            mb = len(body) / 2**20
            error = f"The result has {mb:.1f} MB; executors report {self._max_result / 2**20:.1f} MB at most (executor.max_result)"
            finished = msgspec.structs.replace(finished, data=None, error=error)
            body = encode(finished)
        if len(body) <= INLINE:
            return finished, body
        finished = msgspec.structs.replace(finished, stored=True)
        return finished, encode(msgspec.structs.replace(finished, data=None, error=None))

    async def _published(self, encoded: list[tuple[ActionFinished, bytes]]) -> bool:
        by_queue: dict[str, list[bytes]] = {}
        for finished, body in encoded:
            by_queue.setdefault(engine_queue(partition_of(finished.root_id)), []).append(body)
        try:
            await asyncio.gather(*(self._bus.publish(queue, bodies) for queue, bodies in by_queue.items()))
        except BusUnavailable as e:
            log.warning("%d results are stored, the broker does not take them: %s", len(encoded), e)
            return False
        return True

    async def _stored(self, found: list[ActionFinished]) -> bool:
        kept = [
            (f.action_id, f.attempt, rows.encode({"data": f.data, "error": f.error, "cancel": f.cancel})) for f in found
        ]
        try:
            await self._database.writing(results.keep, kept, self._clock())
        except Unavailable as e:
            log.warning("%d results wait for the database: %s", len(found), e)
            return False
        return True
