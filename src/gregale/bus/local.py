"""The bus of a single process: queues in memory, the same contract as a broker's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from gregale.bus.contract import DeadLetter

DELIVERY_LIMIT = 20
_DEAD_LETTERS_KEPT = 10_000


class _Letter:
    __slots__ = ("body", "deliveries")

    def __init__(self, body: bytes):
        self.body = body
        self.deliveries = 0


class _Queue:
    def __init__(self) -> None:
        self.letters: deque[_Letter] = deque()
        self.waiting: deque[asyncio.Future[None]] = deque()

    def put(self, letter: _Letter, front: bool = False) -> None:
        if front:
            self.letters.appendleft(letter)
        else:
            self.letters.append(letter)
        self.wake()

    def wake(self) -> None:
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class LocalDelivery:
    def __init__(self, consumer: LocalConsumer, letter: _Letter):
        self._consumer = consumer
        self._letter = letter
        self.body = letter.body
        self.redelivered = letter.deliveries > 1

    def ack(self) -> None:
        self._consumer.settle(self)

    def reject(self, reason: str) -> None:
        if self._consumer.settle(self):
            self._consumer.bury(self._letter, reason)

    def requeue(self) -> None:
        if self._consumer.settle(self):
            self._consumer.give_back(self._letter)


class LocalConsumer:
    def __init__(self, bus: LocalBus, queue: str, prefetch: int):
        self._bus = bus
        self._name = queue
        self._queue = bus.queue(queue)
        self._prefetch = prefetch
        self._unsettled: dict[LocalDelivery, _Letter] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    async def take(self, most: int) -> Sequence[LocalDelivery]:
        while not self._closed:
            if len(self._unsettled) >= self._prefetch:
                self._room.clear()
                await self._room.wait()
                continue
            if self._queue.letters:
                return self._grab(min(most, self._prefetch - len(self._unsettled)))
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.waiting.append(waiter)
            await waiter
        return ()

    def _grab(self, most: int) -> list[LocalDelivery]:
        taken: list[LocalDelivery] = []
        while self._queue.letters and len(taken) < most:
            letter = self._queue.letters.popleft()
            letter.deliveries += 1
            delivery = LocalDelivery(self, letter)
            self._unsettled[delivery] = letter
            taken.append(delivery)
        if self._queue.letters:
            self._queue.wake()
        return taken

    def settle(self, delivery: LocalDelivery) -> bool:
        settled = self._unsettled.pop(delivery, None) is not None
        self._room.set()
        return settled

    def bury(self, letter: _Letter, reason: str) -> None:
        self._bus.bury(self._name, letter.body, reason)

    def give_back(self, letter: _Letter) -> None:
        if letter.deliveries >= DELIVERY_LIMIT:
            self.bury(letter, f"delivered {letter.deliveries} times without success")
        else:
            self._queue.put(letter, front=True)

    async def close(self) -> None:
        self._closed = True
        self._room.set()
        for letter in self._unsettled.values():
            self._queue.put(letter, front=True)
        self._unsettled.clear()
        for waiter in self._queue.waiting:
            if not waiter.done():
                waiter.set_result(None)


class LocalBus:
    """Queues by name. `tap` sees every published message; `clock` dates dead letters."""

    def __init__(self, clock: Callable[[], float], tap: Callable[[str, bytes], None] | None = None):
        self._queues: dict[str, _Queue] = {}
        self._dead: deque[DeadLetter] = deque(maxlen=_DEAD_LETTERS_KEPT)
        self._clock = clock
        self._tap = tap

    def queue(self, name: str) -> _Queue:
        return self._queues.setdefault(name, _Queue())

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        target = self.queue(queue)
        for body in bodies:
            if self._tap is not None:
                self._tap(queue, body)
            target.put(_Letter(body))

    async def consume(self, queue: str, prefetch: int) -> LocalConsumer:
        return LocalConsumer(self, queue, prefetch)

    def depth(self, queue: str) -> int:
        """Messages that wait for a consumer."""
        return len(self.queue(queue).letters)

    def bury(self, queue: str, body: bytes, reason: str) -> None:
        self._dead.append(DeadLetter(queue, body, reason, self._clock()))

    def dead_letters(self, queue: str | None = None) -> Sequence[DeadLetter]:
        return [d for d in self._dead if queue is None or d.queue == queue]
