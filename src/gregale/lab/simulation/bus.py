"""The bus as each simulated process sees it: one broker in memory, and messages that get lost, come twice, or late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gregale.bus import BusUnavailable, LocalBus
from gregale.bus.local import LocalConsumer

if TYPE_CHECKING:
    from gregale.lab.simulation.world import Process, World


class ProcessBus:
    durable = True

    def __init__(self, world: World, process: Process):
        self._world = world
        self._process = process
        self.consumers: list[LocalConsumer] = []

    @property
    def _broker(self) -> LocalBus:
        return self._world.broker

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        await self._process.pause()
        if self._world.broker_away:
            await asyncio.sleep(3.0)
            if self._world.broker_away:
                raise BusUnavailable("the simulated broker is away")
        for body in bodies:
            self._world.published(self._process, queue, body)
        await self._process.pause()

    async def consume(self, queues: Iterable[str], prefetch: int) -> LocalConsumer:
        consumer = await self._broker.consume(queues, prefetch)
        self.consumers.append(consumer)
        return consumer

    async def depth(self, queue: str) -> int:
        return await self._broker.depth(queue)

    async def close(self) -> None:
        for consumer in self.consumers:
            await consumer.abandon()
