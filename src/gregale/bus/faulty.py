"""A bus that loses, repeats and delays messages, as the lab asks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence

from gregale import faults
from gregale.bus.contract import Bus, Consumer
from gregale.bus.messages import Unreadable, decode


def kind_of(body: bytes) -> str:
    """The tag of a message: start, wake, action_done, run_action; or other."""
    try:
        return str(type(decode(body)).__struct_config__.tag)
    except Unreadable:
        return "other"


class FaultyBus:
    def __init__(self, bus: Bus):
        self._bus = bus
        self.durable = bus.durable
        self._late: set[asyncio.Task[None]] = set()

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        now = faults.now()
        kept: list[bytes] = []
        for body in bodies:
            kind = kind_of(body)
            if random.random() < (now.rate(now.drop, kind) or 0.0):  # noqa: S311
                continue
            rate, seconds = now.rate(now.delay, kind) or (0.0, 0.0)
            if random.random() < rate:  # noqa: S311
                self._later(queue, body, seconds)
                continue
            kept.append(body)
            if random.random() < (now.rate(now.repeat, kind) or 0.0):  # noqa: S311
                kept.append(body)
        await self._bus.publish(queue, kept)

    def _later(self, queue: str, body: bytes, seconds: float) -> None:
        async def run() -> None:
            await asyncio.sleep(seconds)
            await self._bus.publish(queue, [body])

        task = asyncio.create_task(run())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def consume(self, queues: Iterable[str], prefetch: int) -> Consumer:
        return await self._bus.consume(queues, prefetch)

    async def depth(self, queue: str) -> int:
        return await self._bus.depth(queue)

    async def close(self) -> None:
        await self._bus.close()
