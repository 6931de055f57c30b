"""What every bus promises, on the one in memory."""

from __future__ import annotations

import asyncio

import pytest

from gregale.bus import (
    DEAD,
    ActionFinished,
    DeadLetter,
    LocalBus,
    RunActionMessage,
    StartMessage,
    Unreadable,
    decode,
    decode_letter,
    encode,
)
from gregale.bus.contract import DELIVERY_LIMIT


def bus() -> LocalBus:
    return LocalBus(lambda: 5.0)


async def test_messages_come_in_order_once_and_are_settled_by_hand() -> None:
    b = bus()
    consumer = await b.consume(("q",), 10)
    await b.publish("q", [b"1", b"2", b"3"])
    first = await consumer.take(2)
    assert [d.body for d in first] == [b"1", b"2"]
    assert not first[0].redelivered
    for d in first:
        d.ack()
        d.ack()  # settling twice is harmless
    assert [d.body for d in await consumer.take(10)] == [b"3"]
    assert await b.depth("q") == 0


async def dead_letters(b: LocalBus) -> list[DeadLetter]:
    consumer = await b.consume((DEAD,), 100)
    return [decode_letter(d.body) for d in await consumer.take(100)]


async def test_unsettled_messages_of_a_consumer_that_goes_away_are_delivered_again() -> None:
    b = bus()
    gone, stays = await b.consume(("q",), 10), await b.consume(("q",), 10)
    await b.publish("q", [b"1"])
    await gone.take(1)
    await gone.abandon()
    [again] = await stays.take(1)
    assert (again.body, again.redelivered) == (b"1", True)
    assert await gone.take(1) == ()


async def test_prefetch_bounds_what_a_consumer_holds() -> None:
    b = bus()
    consumer = await b.consume(("q",), 2)
    await b.publish("q", [b"1", b"2", b"3"])
    held = await consumer.take(10)
    assert len(held) == 2
    waiting = asyncio.ensure_future(consumer.take(10))
    await asyncio.sleep(0)
    assert not waiting.done()
    held[0].ack()
    assert [d.body for d in await waiting] == [b"3"]


async def test_requeue_delivers_again_until_the_limit_and_then_buries() -> None:
    b = bus()
    consumer = await b.consume(("q",), 1)
    await b.publish("q", [b"poison"])
    for _ in range(DELIVERY_LIMIT):
        [delivery] = await consumer.take(1)
        delivery.requeue()
    [letter] = await dead_letters(b)
    assert (letter.queue, letter.body, letter.at) == ("q", b"poison", 5.0)
    assert "delivered 20 times" in letter.reason


async def test_a_rejected_message_is_a_dead_letter_with_its_reason() -> None:
    b = bus()
    consumer = await b.consume(("q",), 1)
    await b.publish("q", [b"x"])
    [delivery] = await consumer.take(1)
    delivery.reject("unreadable")
    assert [(d.queue, d.reason) for d in await dead_letters(b)] == [("q", "unreadable")]


async def test_a_consumer_takes_from_several_queues_and_can_let_go_of_one_while_it_settles_what_it_took() -> None:
    b = bus()
    consumer, other = await b.consume(("q", "r"), 10), await b.consume((), 10)
    await b.publish("q", [b"1"])
    await b.publish("r", [b"2"])
    taken = await consumer.take(10)
    assert sorted((d.queue, d.body) for d in taken) == [("q", b"1"), ("r", b"2")]
    await consumer.drop("q")
    await other.add("q")
    await b.publish("q", [b"3"])
    assert [d.body for d in await other.take(10)] == [b"3"]
    for delivery in taken:
        delivery.ack()
    await consumer.abandon()
    assert await b.depth("q") == await b.depth("r") == 0


async def test_a_message_wakes_only_as_many_consumers_as_it_needs() -> None:
    b = bus()
    consumers = [await b.consume(("q",), 1) for _ in range(3)]
    waiting = [asyncio.ensure_future(c.take(1)) for c in consumers]
    await asyncio.sleep(0)
    await b.publish("q", [b"1", b"2"])
    done, pending = await asyncio.wait(waiting, timeout=1)
    assert (len(done), len(pending)) == (2, 1)
    for c in consumers:
        await c.close()
    await asyncio.wait(waiting, timeout=1)


@pytest.mark.parametrize(
    "message",
    [
        StartMessage("e", "r"),
        ActionFinished("a", "e", "r", 1, data={"x": [1]}),
        RunActionMessage("a", None, None, None, "w", "std.echo", {"output": 2**70}),
    ],
)
def test_messages_survive_encoding(message: object) -> None:
    if isinstance(message, RunActionMessage):
        message = RunActionMessage("a", None, None, None, "w", "std.echo", {"output": 2**60})
    assert decode(encode(message)) == message  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [b"", b"junk", b"\xff" * 20, b"\x82\xa1v\x02\xa1m\x83\xa4type\xa5start\xacexecution_id\xa1e\xa7root_id\xa1r"],
)
def test_what_is_no_message_of_this_version_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(body)
