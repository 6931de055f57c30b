"""What every bus promises.

A published message is delivered at least once to one consumer of its queue. A delivery is settled once: `ack` when its effect
is committed, `reject` with a reason when it can never have one (it becomes a dead letter), `requeue` to have it delivered
again. Deliveries that are not settled when their consumer goes away are delivered again, marked as redelivered; one that has
been delivered `DELIVERY_LIMIT` times without being settled becomes a dead letter too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

DELIVERY_LIMIT = 20
DEAD = "dead"
"""The queue of dead letters; its messages are encoded DeadLetters."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that could not be handled: where it was, what it said, why, and when (seconds since the epoch)."""

    queue: str
    body: bytes
    reason: str
    at: float


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(DeadLetter)


def encode_letter(letter: DeadLetter) -> bytes:
    return _encoder.encode(letter)


def decode_letter(body: bytes) -> DeadLetter:
    """Raises msgspec.MsgspecError."""
    return _decoder.decode(body)


class BusUnavailable(Exception):
    """The broker did not take the messages in time; whether it has some of them is not known."""


class Delivery(Protocol):
    @property
    def queue(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def redelivered(self) -> bool: ...
    def ack(self) -> None: ...
    def reject(self, reason: str) -> None: ...
    def requeue(self) -> None: ...


class Consumer(Protocol):
    """Takes from some queues at once. It outlives the connection to a broker: deliveries from before settle nothing then."""

    async def add(self, queue: str) -> None:
        """Take from this queue too."""
        ...

    async def drop(self, queue: str) -> None:
        """Take no more from this queue; what was not taken goes back, what was taken may still be settled."""
        ...

    async def take(self, most: int) -> Sequence[Delivery]:
        """Wait for a message; give it and what else is at hand, up to `most`. Empty when the consumer was closed."""
        ...

    async def close(self) -> None:
        """Take no more; what was taken may still be settled."""
        ...

    async def abandon(self) -> None:
        """Take no more; what is not settled is delivered to others."""
        ...


class Bus(Protocol):
    durable: bool
    """Whether messages outlive the processes."""

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Returns when the bus has taken responsibility for all of them. Raises BusUnavailable."""
        ...

    async def consume(self, queues: Iterable[str], prefetch: int) -> Consumer:
        """`prefetch`: most unsettled deliveries of each queue."""
        ...

    async def depth(self, queue: str) -> int:
        """Messages that wait for a consumer. Raises BusUnavailable."""
        ...

    async def close(self) -> None: ...
