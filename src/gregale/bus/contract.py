"""What every bus promises.

A published message is delivered at least once to one consumer of its queue. A delivery is settled once: `ack` when its effect
is committed, `reject` with a reason when it can never have one (it becomes a dead letter), `requeue` to have it delivered
again. Deliveries that are not settled when their consumer goes away are delivered again, marked as redelivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class DeadLetter(msgspec.Struct, frozen=True):
    queue: str
    body: bytes
    reason: str
    at: float


class Delivery(Protocol):
    @property
    def body(self) -> bytes: ...
    @property
    def redelivered(self) -> bool: ...
    def ack(self) -> None: ...
    def reject(self, reason: str) -> None: ...
    def requeue(self) -> None: ...


class Consumer(Protocol):
    async def take(self, most: int) -> Sequence[Delivery]:
        """Wait for a message; give it and what else is at hand, up to `most`. Empty when the consumer was closed."""
        ...

    async def close(self) -> None:
        """Stop; unsettled deliveries go back to the queue."""
        ...


class Bus(Protocol):
    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Returns when the bus has taken responsibility for all of them."""
        ...

    async def consume(self, queue: str, prefetch: int) -> Consumer: ...
    def dead_letters(self, queue: str | None = None) -> Sequence[DeadLetter]: ...
