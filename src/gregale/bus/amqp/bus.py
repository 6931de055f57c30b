"""The bus on RabbitMQ: durable quorum queues, confirms for each batch, acknowledgements by hand.

One connection, made again for ever, to the addresses in turn; a channel to publish, and one for each consumer. Publishing
raises BusUnavailable while there is none: what a caller then does is its own affair, since rows explain every message.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import AMQPError, ChannelWrongStateError, ConnectionWrongStateError

from gregale import metrics
from gregale.bus.amqp.addresses import addresses
from gregale.bus.amqp.consumer import AmqpConsumer, AmqpDelivery
from gregale.bus.contract import DEAD, DELIVERY_LIMIT, BusUnavailable, DeadLetter, encode_letter
from gregale.bus.messages import EVENTS
from gregale.bus.settings import BrokerSettings

log = logging.getLogger("gregale.bus")
logging.getLogger("pika").setLevel(logging.CRITICAL)  # it tells of every attempt to connect, in many lines

_SLOWEST_RETRY = 2.0
_DURABLE = pika.BasicProperties(delivery_mode=2)


def _answer(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


class _Batch:
    """Messages published together: done when each is confirmed."""

    __slots__ = ("done", "outstanding", "queue", "refused")

    def __init__(self, queue: str, number: int):
        self.queue = queue
        self.outstanding = number
        self.refused = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, accepted: bool) -> None:
        self.outstanding -= 1
        self.refused += not accepted
        if self.outstanding == 0 and not self.done.done():
            self.done.set_result(None)


class AmqpBus:
    durable = True

    def __init__(self, settings: BrokerSettings, clock: Callable[[], float]):
        """Raises ValueError for a URL that names no broker."""
        self._settings = settings
        self._addresses = addresses(settings.url, settings)
        self._clock = clock
        self._connection: AsyncioConnection | None = None
        self._channel: Any = None
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._consumers: set[AmqpConsumer] = set()
        self._declared: set[str] = set()
        self._declaring = asyncio.Lock()
        self._published = 0
        self._unconfirmed: dict[int, _Batch] = {}
        self._burials: set[asyncio.Task[None]] = set()

    # The connection ---------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    def _keep_connected(self) -> None:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="bus-connection")

    async def _keep(self) -> None:
        attempt = 0
        while True:
            address = self._addresses[attempt % len(self._addresses)]
            try:
                await asyncio.wait_for(self._connect(address), 10)
            except (AMQPError, OSError, TimeoutError) as e:
                if attempt % len(self._addresses) == 0:
                    log.warning("broker %s:%s: %s", address.host, address.port, str(e) or type(e).__name__)
                self._abandon()
                attempt += 1
                wait = min(_SLOWEST_RETRY, 0.05 * 2 ** min(attempt, 6))
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                continue
            log.info("connected to broker %s:%s", address.host, address.port)
            attempt += 1  # after a connection is lost, another address is the better guess
            await self._lost.wait()
            self._disconnected()

    async def _connect(self, address: pika.ConnectionParameters) -> None:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._lost.clear()

        def failed(_: Any, reason: Any) -> None:
            if not opened.done():
                opened.set_exception(reason if isinstance(reason, AMQPError) else BrokerLost(str(reason)))
            elif not self._lost.is_set():
                log.warning("the connection to the broker is lost: %s", reason)
                self._lost.set()

        connection = AsyncioConnection(
            address,
            on_open_callback=partial(_answer, opened),
            on_open_error_callback=failed,
            on_close_callback=failed,
            custom_ioloop=loop,
        )
        self._connection = connection
        await opened
        self._channel = channel = await self.open_channel()
        confirmed: asyncio.Future[None] = loop.create_future()
        channel.confirm_delivery(self._confirmed, callback=lambda _: confirmed.set_result(None))
        channel.add_on_return_callback(self._came_back)
        await confirmed
        self._published = 0
        self._declared.clear()
        self._ready.set()
        for consumer in list(self._consumers):
            consumer.connect()

    async def open_channel(self, on_close: Callable[[Any, Any], None] | None = None) -> Any:
        """A channel of the connection that there is. Raises BusUnavailable."""
        if self._connection is None or not self._connection.is_open:
            raise BusUnavailable("not connected to a broker")
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        channel = self._connection.channel(on_open_callback=partial(_answer, opened))

        def closed(which: Any, reason: Any) -> None:
            if not opened.done():
                opened.set_exception(BusUnavailable(str(reason)))
            elif on_close is not None:
                on_close(which, reason)
            else:
                self._lost.set()  # without the channel for publishing the connection is of no use

        channel.add_on_close_callback(closed)
        return await asyncio.wait_for(opened, self._settings.timeout)

    def _disconnected(self) -> None:
        self._ready.clear()
        for batch in set(self._unconfirmed.values()):
            if not batch.done.done():
                batch.done.set_exception(BusUnavailable("the connection was lost before the messages were confirmed"))
                batch.done.exception()  # seen, also when nobody waits any more
        self._unconfirmed.clear()
        for consumer in self._consumers:
            consumer.disconnected()
        self._abandon()

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed and not connection.is_closing:
            connection.close()

    async def close(self) -> None:
        if self._burials:
            await asyncio.wait(self._burials, timeout=self._settings.timeout)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        connection = self._connection
        if connection is not None and connection.is_open:
            connection.close()
            with suppress(TimeoutError):  # a broker that hangs says no good-bye
                async with asyncio.timeout(1.0):
                    while not connection.is_closed and not self._lost.is_set():
                        await asyncio.sleep(0.005)
            await asyncio.sleep(0.01)  # the transport closes its socket in a turn of its own
        self._disconnected()

    # Queues -----------------------------------------------------------------------------------------------------------

    def name(self, queue: str) -> str:
        return f"{self._settings.prefix}.{queue}" if self._settings.prefix else queue

    async def declare(self, channel: Any, queue: str) -> None:
        """Make sure of a queue, and of what services publish into it. Raises BusUnavailable.

        One at a time: a broker that is asked twice at once for a new quorum queue answers with an internal error.
        """
        async with self._declaring:
            if self.name(queue) not in self._declared:
                await self._declare(channel, queue)
                self._declared.add(self.name(queue))

    def undeclared(self, queue: str) -> None:
        """The broker has deleted a queue."""
        self._declared.discard(self.name(queue))

    async def _declare(self, channel: Any, queue: str) -> None:
        arguments: dict[str, Any] = {"x-queue-type": "quorum"}
        if queue != DEAD:
            arguments |= {
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.name(DEAD),
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
        await self._ask(channel.queue_declare, self.name(queue), durable=True, arguments=arguments)
        if queue.startswith(EVENTS):
            _, exchange, topic = queue.split(".", 2)
            await self._bind(queue, exchange, topic)

    async def _bind(self, queue: str, exchange: str, topic: str) -> None:
        """oslo.messaging publishes `topic.priority` to a topic exchange, which is not durable unless somebody has made it so."""
        try:
            probe = await self.open_channel(lambda *_: None)
            await self._ask(probe.exchange_declare, exchange, passive=True, on=probe)
        except BusUnavailable:
            probe = await self.open_channel(lambda *_: None)
            await self._ask(probe.exchange_declare, exchange, exchange_type="topic", durable=False, on=probe)
        for pattern in (topic, f"{topic}.*"):
            await self._ask(probe.queue_bind, self.name(queue), exchange, routing_key=pattern, on=probe)
        probe.close()

    async def depth(self, queue: str) -> int:
        self._keep_connected()
        if not self.connected:
            raise BusUnavailable("not connected to a broker")
        await self.declare(self._channel, queue)
        found = await self._ask(self._channel.queue_declare, self.name(queue), passive=True)
        return int(found.method.message_count)

    async def _ask(self, method: Callable[..., Any], *args: Any, on: Any = None, **kwargs: Any) -> Any:
        """Call a method of a channel and wait for its answer. Raises BusUnavailable."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def refused(_: Any, reason: Any) -> None:
            if not answered.done():
                answered.set_exception(BusUnavailable(str(reason)))

        if on is not None:
            on.add_on_close_callback(refused)
        try:
            method(*args, callback=partial(_answer, answered), **kwargs)
            return await asyncio.wait_for(answered, self._settings.timeout)
        except (AMQPError, TimeoutError) as e:
            raise BusUnavailable(f"the broker did not answer: {str(e) or type(e).__name__}") from None

    # Publishing -------------------------------------------------------------------------------------------------------

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        if not bodies:
            return
        self._keep_connected()
        try:
            async with asyncio.timeout(self._settings.timeout):
                while True:
                    with suppress(ChannelWrongStateError, ConnectionWrongStateError):  # it has just gone
                        if await self._sent(queue, bodies):
                            break
                    if not self._channel.is_open:
                        self._lost.set()
                    await asyncio.sleep(0.05)  # a queue that was just made, or has no leader at the moment, refuses
        except TimeoutError:
            metrics.UNPUBLISHED.inc(len(bodies))
            raise BusUnavailable(
                f"the broker did not confirm {len(bodies)} messages for {queue} within {self._settings.timeout} s"
            ) from None
        except AMQPError as e:
            metrics.UNPUBLISHED.inc(len(bodies))
            raise BusUnavailable(f"{type(e).__name__}: {e}") from None
        metrics.PUBLISHED.labels(queue.partition(".")[0]).inc(len(bodies))

    async def _sent(self, queue: str, bodies: Sequence[bytes]) -> bool:
        """False when the broker refused any of them. Raises BusUnavailable, AMQPError."""
        await self._ready.wait()
        name = self.name(queue)
        await self.declare(self._channel, queue)
        batch = _Batch(name, len(bodies))
        for body in bodies:
            self._published += 1
            self._unconfirmed[self._published] = batch
            self._channel.basic_publish("", name, body, _DURABLE, mandatory=True)
        await batch.done
        if batch.refused:
            self._declared.discard(name)
        return not batch.refused

    def _confirmed(self, frame: Any) -> None:
        tag, accepted = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Ack)
        if not frame.method.multiple:
            self._settle(tag, accepted)
            return
        for waiting in [t for t in self._unconfirmed if t <= tag]:
            self._settle(waiting, accepted)

    def _settle(self, tag: int, accepted: bool) -> None:
        batch = self._unconfirmed.pop(tag, None)
        if batch is not None:
            batch.settle(accepted)

    def _came_back(self, _: Any, method: Any, __: Any, ___: bytes) -> None:
        """There is no such queue any more. Messages cannot be told apart here, and twice is harmless: all count as refused."""
        for batch in set(self._unconfirmed.values()):
            if batch.queue == method.routing_key:
                batch.refused += 1

    def bury(self, delivery: AmqpDelivery, reason: str) -> None:
        """A dead letter says why; the message is settled once the letter is safe."""
        body = encode_letter(DeadLetter(delivery.queue, delivery.body, reason, self._clock()))

        async def run() -> None:
            try:
                await self.publish(DEAD, [body])
            except BusUnavailable:
                delivery.requeue()
            else:
                delivery.ack()

        task = asyncio.create_task(run())
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    # Consuming --------------------------------------------------------------------------------------------------------

    async def consume(self, queues: Iterable[str], prefetch: int) -> AmqpConsumer:
        consumer = AmqpConsumer(self, prefetch)
        self._consumers.add(consumer)
        for queue in queues:
            await consumer.add(queue)
        if self.connected:
            consumer.connect()
        self._keep_connected()
        return consumer

    def forget(self, consumer: AmqpConsumer) -> None:
        self._consumers.discard(consumer)


class BrokerLost(AMQPError):  # type: ignore[misc]
    """The connection could not be opened."""
