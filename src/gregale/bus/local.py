"""The bus of a single process: queues in memory, the same contract as a broker's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gregale.bus.contract import DEAD, DELIVERY_LIMIT, DeadLetter, encode_letter


class _Letter:
    __slots__ = ("body", "deliveries")

    def __init__(self, body: bytes):
        self.body = body
        self.deliveries = 0


class _Queue:
    def __init__(self, name: str) -> None:
        self.name = name
        self.letters: deque[_Letter] = deque()
        self.consumers: deque[LocalConsumer] = deque()

    def put(self, letter: _Letter, front: bool = False) -> None:
        if front:
            self.letters.appendleft(letter)
        else:
            self.letters.append(letter)
        self.wake()

    def wake(self, but: LocalConsumer | None = None) -> None:
        """Tell one consumer that waits, each in its turn."""
        for _ in range(len(self.consumers)):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer is not but and not consumer.wake.is_set():
                consumer.wake.set()
                return


class LocalDelivery:
    __slots__ = ("_consumer", "_letter", "_source", "body", "queue", "redelivered")

    def __init__(self, consumer: LocalConsumer, source: _Queue, letter: _Letter):
        self._consumer = consumer
        self._source = source
        self._letter = letter
        self.queue = source.name
        self.body = letter.body
        self.redelivered = letter.deliveries > 1

    def ack(self) -> None:
        self._consumer.settle(self)

    def reject(self, reason: str) -> None:
        if self._consumer.settle(self):
            self._consumer.bus.bury(self.queue, self.body, reason)

    def requeue(self) -> None:
        if self._consumer.settle(self):
            self.give_back()

    def give_back(self) -> None:
        if self._letter.deliveries >= DELIVERY_LIMIT:
            reason = f"delivered {self._letter.deliveries} times without success"
            self._consumer.bus.bury(self.queue, self.body, reason)
        else:
            self._source.put(self._letter, front=True)


class LocalConsumer:
    def __init__(self, bus: LocalBus, prefetch: int):
        self.bus = bus
        self.wake = asyncio.Event()
        self._prefetch = prefetch
        self._queues: dict[str, _Queue] = {}
        self._unsettled: dict[str, dict[LocalDelivery, None]] = {}
        self._closed = False

    @property
    def queues(self) -> list[str]:
        return list(self._queues)

    async def add(self, queue: str) -> None:
        if queue not in self._queues:
            self._queues[queue] = found = self.bus.queue(queue)
            self._unsettled.setdefault(queue, {})
            found.consumers.append(self)
            self.wake.set()

    async def drop(self, queue: str) -> None:
        found = self._queues.pop(queue, None)
        if found is not None:
            found.consumers.remove(self)
            if found.letters:
                found.wake()

    async def take(self, most: int) -> Sequence[LocalDelivery]:
        while not self._closed:
            self.wake.clear()
            taken = self._grab(most)
            if taken:
                return taken
            await self.wake.wait()
        return ()

    def _grab(self, most: int) -> list[LocalDelivery]:
        taken: list[LocalDelivery] = []
        for queue in self._queues.values():
            unsettled = self._unsettled[queue.name]
            while queue.letters and len(taken) < most and len(unsettled) < self._prefetch:
                letter = queue.letters.popleft()
                letter.deliveries += 1
                delivery = LocalDelivery(self, queue, letter)
                unsettled[delivery] = None
                taken.append(delivery)
            if queue.letters and taken:
                queue.wake(but=self)  # others may have room
        return taken

    def settle(self, delivery: LocalDelivery) -> bool:
        if delivery not in self._unsettled.get(delivery.queue, ()):
            return False
        del self._unsettled[delivery.queue][delivery]
        self.wake.set()
        return True

    async def close(self) -> None:
        self._closed = True
        for queue in list(self._queues):
            await self.drop(queue)
        self.wake.set()

    async def abandon(self) -> None:
        self._closed = True
        for queue in self._queues.values():
            queue.consumers.remove(self)
        self._queues.clear()
        for unsettled in self._unsettled.values():
            for delivery in reversed(unsettled):
                delivery.give_back()
        self._unsettled.clear()
        self.wake.set()


class LocalBus:
    """Queues by name. `clock` dates dead letters."""

    durable = False

    def __init__(self, clock: Callable[[], float]):
        self._queues: dict[str, _Queue] = {}
        self._clock = clock

    def queue(self, name: str) -> _Queue:
        found = self._queues.get(name)
        if found is None:
            found = self._queues[name] = _Queue(name)
        return found

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        target = self.queue(queue)
        for body in bodies:
            target.put(_Letter(body))

    async def consume(self, queues: Iterable[str], prefetch: int) -> LocalConsumer:
        consumer = LocalConsumer(self, prefetch)
        for queue in queues:
            await consumer.add(queue)
        return consumer

    async def depth(self, queue: str) -> int:
        """Messages that wait for a consumer."""
        return len(self.queue(queue).letters)

    def bury(self, queue: str, body: bytes, reason: str) -> None:
        self.queue(DEAD).put(_Letter(encode_letter(DeadLetter(queue, body, reason, self._clock()))))

    async def close(self) -> None:
        self._queues.clear()
