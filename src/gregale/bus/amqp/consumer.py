"""Taking messages from RabbitMQ: a channel for each consumer, opened again whenever the broker has closed it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pika.exceptions import AMQPError

from gregale import metrics
from gregale.bus.contract import DEAD, DELIVERY_LIMIT, BusUnavailable, DeadLetter, encode_letter

if TYPE_CHECKING:
    from gregale.bus.amqp.bus import AmqpBus

log = logging.getLogger("gregale.bus")


class AmqpDelivery:
    __slots__ = ("_channel", "_tag", "body", "queue", "redelivered")

    def __init__(self, channel: Any, tag: int, queue: str, body: bytes, redelivered: bool):
        self._channel = channel
        self._tag = tag
        self.queue = queue
        self.body = body
        self.redelivered = redelivered

    def ack(self) -> None:
        """Does nothing when the connection is gone: the message comes again, to somebody."""
        if (channel := self._settled()) is not None:
            channel.basic_ack(self._tag)

    def reject(self, reason: str) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.gregale_bus.bury(self, reason)

    def requeue(self) -> None:
        if (channel := self._settled()) is not None:
            channel.basic_nack(self._tag, requeue=True)

    def _settled(self) -> Any:
        channel, self._channel = self._channel, None
        return channel if channel is not None and channel.is_open else None


class AmqpConsumer:
    def __init__(self, bus: AmqpBus, prefetch: int):
        self._bus = bus
        self._prefetch = prefetch
        self._queues: dict[str, str | None] = {}
        self._channel: Any = None
        self._waiting: deque[AmqpDelivery] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._work: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def add(self, queue: str) -> None:
        self._queues.setdefault(queue, None)
        self._changed.set()

    async def drop(self, queue: str) -> None:
        tag = self._queues.pop(queue, None)
        if tag is not None and self._channel is not None and self._channel.is_open:
            self._channel.basic_cancel(tag)
        back = [d for d in self._waiting if d.queue == queue]
        self._waiting = deque(d for d in self._waiting if d.queue != queue)
        for delivery in back:
            delivery.requeue()

    def connect(self) -> None:
        """The bus has a connection: take from every queue again."""
        if self._work is not None:
            self._work.cancel()
        if not self._closed:
            self._work = asyncio.create_task(self._subscribe(), name="bus-subscribe")

    def disconnected(self) -> None:
        self._channel = None
        self._waiting.clear()
        for queue in self._queues:
            self._queues[queue] = None

    async def _subscribe(self) -> None:
        """Keeps a channel open and every wanted queue consumed, whatever the broker closes."""
        while not self._closed:
            try:
                if self._channel is None:
                    self.disconnected()
                    channel = await self._bus.open_channel(self._channel_closed)
                    channel.gregale_bus = self._bus
                    channel.basic_qos(prefetch_count=self._prefetch)
                    channel.add_on_cancel_callback(self._cancelled)
                    self._channel = channel
                self._changed.clear()
                for queue in [q for q, tag in self._queues.items() if tag is None]:
                    await self._bus.declare(self._channel, queue)
                    if queue in self._queues and self._queues[queue] is None:
                        self._queues[queue] = self._channel.basic_consume(
                            self._bus.name(queue), partial(self._arrived, queue)
                        )
                await self._changed.wait()
            except (BusUnavailable, AMQPError) as e:
                if not self._bus.connected:
                    return
                log.warning("a queue cannot be consumed: %s", e)
                self._drop_channel()
                await asyncio.sleep(0.5)

    def _drop_channel(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and channel.is_open:
            channel.close()

    def _channel_closed(self, channel: Any, reason: Any) -> None:
        if channel is self._channel:
            log.warning("the broker closed a channel: %s", reason)
            self.disconnected()
            self._changed.set()

    def _cancelled(self, frame: Any) -> None:
        """The broker has deleted a queue, or moved it."""
        for queue, tag in self._queues.items():
            if tag == frame.method.consumer_tag:
                self._bus.undeclared(queue)
                self._queues[queue] = None
        self._changed.set()

    def _arrived(self, queue: str, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        if method.redelivered:
            metrics.REDELIVERED.labels(queue.partition(".")[0]).inc()
        if queue == DEAD and properties.headers and "x-death" in properties.headers:
            body = self._buried_by_broker(properties.headers["x-death"][0], body)
        self._waiting.append(AmqpDelivery(channel, method.delivery_tag, queue, body, method.redelivered))
        self._wake.set()

    def _buried_by_broker(self, death: dict[str, Any], body: bytes) -> bytes:
        queue = str(death.get("queue", "")).removeprefix(self._bus.name(""))
        reason = str(death.get("reason", "dead-lettered"))
        if reason == "delivery_limit":
            reason = f"delivered {DELIVERY_LIMIT} times without success"
        at = death.get("time")
        return encode_letter(DeadLetter(queue, body, reason, at.timestamp() if at is not None else 0.0))

    async def take(self, most: int) -> Sequence[AmqpDelivery]:
        while not self._closed:
            if self._waiting:
                return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._wake.clear()
            await self._wake.wait()
        return ()

    async def close(self) -> None:
        self._closed = True
        for queue in list(self._queues):
            await self.drop(queue)
        self._wake.set()
        self._bus.forget(self)
        if self._work is not None:
            self._work.cancel()

    async def abandon(self) -> None:
        await self.close()
        self._drop_channel()
