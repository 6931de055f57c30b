"""The same promises on RabbitMQ, and what happens when it goes away."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pika
import pytest

from gregale.bus import DEAD, BrokerSettings, BusUnavailable, decode_letter
from gregale.bus.amqp import AmqpBus
from gregale.bus.amqp.addresses import addresses
from gregale.bus.contract import DELIVERY_LIMIT
from gregale.bus.messages import notification_queue
from gregale.lab import RabbitMQ
from gregale.lab.servers import free_port

pytestmark = pytest.mark.xdist_group("lab-mariadb")


@pytest.fixture
async def bus(rabbitmq: RabbitMQ) -> AsyncIterator[AmqpBus]:
    """With queues of its own."""
    made = AmqpBus(BrokerSettings(rabbitmq.url(), f"t{uuid.uuid4().hex[:8]}"), time.time)
    yield made
    await made.close()


async def test_messages_come_in_order_and_are_gone_when_they_are_acknowledged(bus: AmqpBus) -> None:
    consumer = await bus.consume(("q", "r"), 100)
    await bus.publish("q", [b"1", b"2", b"3"])
    await bus.publish("r", [b"4"])
    found = []
    while len(found) < 4:
        taken = await asyncio.wait_for(consumer.take(10), 10)
        found += [(d.queue, d.body, d.redelivered) for d in taken]
        for delivery in taken:
            delivery.ack()
            delivery.ack()  # settling twice is harmless
    assert [f for f in found if f[0] == "q"] == [("q", b"1", False), ("q", b"2", False), ("q", b"3", False)]
    assert ("r", b"4", False) in found
    assert await bus.depth("q") == 0


async def test_prefetch_bounds_what_is_taken_and_dropping_a_queue_leaves_it_to_others(bus: AmqpBus) -> None:
    first, second = await bus.consume(("q",), 2), await bus.consume((), 10)
    await bus.publish("q", [b"1", b"2", b"3"])
    held = []
    while len(held) < 2:
        held += await asyncio.wait_for(first.take(10), 10)
    await first.drop("q")
    await second.add("q")
    [third] = await asyncio.wait_for(second.take(10), 10)
    assert third.body == b"3"
    for delivery in (*held, third):
        delivery.ack()


async def test_what_an_abandoned_consumer_held_is_delivered_again(bus: AmqpBus) -> None:
    gone = await bus.consume(("q",), 10)
    await bus.publish("q", [b"1"])
    await asyncio.wait_for(gone.take(1), 10)
    await gone.abandon()
    stays = await bus.consume(("q",), 10)
    [again] = await asyncio.wait_for(stays.take(1), 10)
    assert (again.body, again.redelivered) == (b"1", True)
    again.ack()


async def test_dead_letters_say_where_they_were_and_why(bus: AmqpBus) -> None:
    consumer, dead = await bus.consume(("q",), 10), await bus.consume((DEAD,), 10)
    await bus.publish("q", [b"unreadable"])
    [delivery] = await asyncio.wait_for(consumer.take(1), 10)
    delivery.reject("not a message")
    [letter] = await asyncio.wait_for(dead.take(1), 10)
    found = decode_letter(letter.body)
    assert (found.queue, found.body, found.reason) == ("q", b"unreadable", "not a message")
    letter.ack()
    await bus.publish("q", [b"again and again"])
    for _ in range(DELIVERY_LIMIT + 1):
        [delivery] = await asyncio.wait_for(consumer.take(1), 10)
        delivery.requeue()
    [letter] = await asyncio.wait_for(dead.take(1), 10)
    found = decode_letter(letter.body)
    assert (found.queue, found.body) == ("q", b"again and again")
    assert f"delivered {DELIVERY_LIMIT} times" in found.reason
    letter.ack()


async def test_addresses_are_tried_in_turn_and_a_consumer_outlives_its_connection(rabbitmq: RabbitMQ) -> None:
    url = rabbitmq.url().replace("@", f"@127.0.0.1:{free_port()},")
    bus = AmqpBus(BrokerSettings(url, f"t{uuid.uuid4().hex[:8]}"), time.time)
    consumer = await bus.consume(("q",), 10)
    await bus.publish("q", [b"1"])
    [held] = await asyncio.wait_for(consumer.take(1), 10)
    bus._lost.set()  # as when the broker resets it
    [again] = await asyncio.wait_for(consumer.take(1), 20)
    held.ack()  # of a connection that is gone: does nothing
    assert (again.body, again.redelivered) == (b"1", True)
    again.ack()
    await published(bus, "q", b"2")
    [second] = await asyncio.wait_for(consumer.take(1), 10)
    second.ack()
    await bus.close()


async def published(bus: AmqpBus, queue: str, body: bytes) -> None:
    """As callers do: again, when nobody knows whether it was taken."""
    for _ in range(20):
        try:
            await bus.publish(queue, [body])
            return
        except BusUnavailable:
            await asyncio.sleep(0.1)
    raise AssertionError("the broker did not take it")


async def test_without_a_broker_publishing_says_so_within_its_time() -> None:
    bus = AmqpBus(BrokerSettings(f"amqp://127.0.0.1:{free_port()}/", timeout=0.3), time.time)
    begun = time.monotonic()
    with pytest.raises(BusUnavailable, match=r"within 0\.3 s"):
        await bus.publish("q", [b"x"])
    assert time.monotonic() - begun < 2
    await bus.close()


async def test_notifications_of_other_services_reach_their_queue(bus: AmqpBus, rabbitmq: RabbitMQ) -> None:
    """As oslo.messaging publishes them: to a topic exchange, under `topic.priority`."""
    exchange = f"nova{uuid.uuid4().hex[:6]}"
    consumer = await bus.consume((notification_queue(exchange, "notifications"),), 10)

    def publish() -> None:
        connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url()))
        connection.channel().basic_publish(exchange, "notifications.info", b"{}")
        connection.close()

    deadline = time.monotonic() + 20
    while True:
        try:
            await asyncio.to_thread(publish)
            [found] = await asyncio.wait_for(consumer.take(1), 0.5)
            break
        except (TimeoutError, pika.exceptions.AMQPError):  # the queue is not bound yet
            assert time.monotonic() < deadline
    assert found.body == b"{}"
    found.ack()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://x/", "named as amqp://"),
        ("amqp://u:p@host:port/", "not host:port"),
        ("amqp://u:p@,b/", "not host:port"),
    ],
)
def test_a_url_that_names_no_broker_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        addresses(url, BrokerSettings())


def test_a_url_may_name_several_hosts_with_one_login() -> None:
    found = addresses("amqp://u:p%40@a,b:5673/v%2Fh", BrokerSettings())
    assert [(a.host, a.port, a.virtual_host) for a in found] == [("a", 5672, "v/h"), ("b", 5673, "v/h")]
    assert found[0].credentials.password == "p@"
