"""Dead letters: taken from their queue into the database, where operators find them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from gregale import metrics
from gregale.bus import DEAD, decode_letter
from gregale.store import Unavailable, dead_letters

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine")

_IDS = uuid.UUID("4e8f8d5e-0a4f-5a55-8a83-0b8a35b5b7f0")


class Burials:
    def __init__(self, engine: Engine):
        self._engine = engine

    async def run(self) -> None:
        consumer = await self._engine.bus.consume((DEAD,), 64)
        while deliveries := await consumer.take(64):
            letters = [_row(delivery.body, self._engine.clock()) for delivery in deliveries]
            for letter in letters:
                metrics.BURIED.inc()
                log.error("a message on '%s' could not be handled: %s", letter["queue"], letter["reason"])
            while True:
                try:
                    await self._engine.database.writing(dead_letters.keep, letters)
                    break
                except Unavailable:
                    await asyncio.sleep(0.5)
            for delivery in deliveries:
                delivery.ack()


def _row(body: bytes, now: float) -> dict[str, Any]:
    """The id comes from what the letter says: one that is delivered twice is kept once."""
    key = str(uuid.uuid5(_IDS, body.hex()))
    try:
        letter = decode_letter(body)
    except msgspec.MsgspecError:
        return {"id": key, "queue": "", "reason": "not a dead letter", "body": body, "at": now}
    return {"id": key, "queue": letter.queue, "reason": letter.reason, "body": letter.body, "at": letter.at or now}
