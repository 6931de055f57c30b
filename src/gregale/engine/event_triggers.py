"""Event triggers: notifications on the bus that start workflows (API spec 4.2).

A listener per exchange and topic follows the table of triggers. The id of an execution is derived from trigger and
message, and the message is acknowledged after the execution was committed: so each message starts each workflow once.
"""

from __future__ import annotations

import asyncio
import logging
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import msgspec

from gregale import expressions
from gregale.bus import Delivery
from gregale.bus.messages import notification_queue
from gregale.core import InvalidInput, Rejected
from gregale.engine import cron
from gregale.expressions import ExpressionError, MapScope
from gregale.store import Unavailable, maintenance, triggers
from gregale.store.ownership import change_number
from gregale.store.schema import event_triggers

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine.event_triggers")

_DEFAULT = {
    "service": "<% $.publisher_id %>",
    "project_id": "<% $.context.get(project_id) %>",
    "user_id": "<% $.context.get(user_id) %>",
    "timestamp": "<% $.timestamp %>",
}
ANY_PROJECT = "<default-project>"
"""Without authentication there is one project, and every event is its own."""


class Notification(msgspec.Struct, frozen=True):
    """An event as services publish it (the oslo.messaging format)."""

    message_id: str
    event_type: str
    payload: dict[str, Any] = {}
    publisher_id: str = ""
    timestamp: str = ""
    priority: str = "INFO"
    context: dict[str, Any] = {}


def read(body: bytes) -> Notification:
    """A notification, also inside the envelope that oslo.messaging puts around it. Raises InvalidInput."""
    try:
        plain = msgspec.json.decode(body)
        if isinstance(plain, dict) and isinstance(plain.get("oslo.message"), str):
            plain = msgspec.json.decode(plain["oslo.message"])
        if isinstance(plain, dict):
            spread = {k.removeprefix("_context_"): v for k, v in plain.items() if k.startswith("_context_")}
            plain = {**plain, "context": plain.get("context") or plain.get("ctxt") or spread}
        return msgspec.convert(plain, Notification)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as e:
        raise InvalidInput(f"Not a notification: {e}") from None


class EventTriggers:
    def __init__(self, engine: Engine):
        self._engine = engine
        self._seen = -1
        self._listeners: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._follow()
                except Unavailable as e:
                    log.warning("event triggers wait for the database: %s", e)
                except Exception:
                    log.exception("event triggers could not be read; tried again")
                await asyncio.sleep(0.5)
        finally:
            for task in self._listeners.values():
                task.cancel()

    async def _follow(self) -> None:
        """Listen to what the triggers name, and to nothing else."""
        number = await self._engine.database.reading(change_number, "triggers")
        if number == self._seen:
            return
        wanted = set(await self._engine.database.reading(triggers.topics))
        for gone in self._listeners.keys() - wanted:
            self._listeners.pop(gone).cancel()
        for new in wanted - self._listeners.keys():
            self._listeners[new] = asyncio.create_task(self._listen(*new), name=f"events-{'-'.join(new)}")
        self._seen = number

    async def _listen(self, exchange: str, topic: str) -> None:
        consumer = await self._engine.bus.consume((notification_queue(exchange, topic),), 64)
        try:
            while deliveries := await consumer.take(64):
                for delivery in deliveries:
                    await self._handle(exchange, topic, delivery)
        finally:
            await consumer.abandon()

    async def _handle(self, exchange: str, topic: str, delivery: Delivery) -> None:
        try:
            notification = read(delivery.body)
        except InvalidInput as e:
            delivery.reject(str(e))
            return
        try:
            while not await self._handled(exchange, topic, notification):
                await asyncio.sleep(0.5)
        except Exception:
            log.exception("an event could not be handled; it is delivered again")
            delivery.requeue()
            await asyncio.sleep(0.2)
        else:
            delivery.ack()

    async def _handled(self, exchange: str, topic: str, notification: Notification) -> bool:
        """False while the cluster is in maintenance, or the database away: events are held."""
        try:
            if await self._engine.database.reading(maintenance.status) != "RUNNING":
                return False
            await self.happened(exchange, topic, notification)
        except Unavailable as e:
            log.warning("an event waits for the database: %s", e)
            return False
        return True

    async def happened(self, exchange: str, topic: str, notification: Notification) -> list[str]:
        """Start the workflow of each trigger that waits for this; gives the ids of the executions."""
        engine = self._engine
        found = await engine.database.reading(triggers.listening, exchange, topic, notification.event_type)
        project = notification.context.get("project_id") or notification.context.get("tenant")
        started = []
        for row in found:
            if row.scope != "public" and row.project_id not in (project, ANY_PROJECT):
                continue
            try:
                extra = {"event_params": self._params(notification)}
                started.append(
                    await cron.start(engine, row, "event_trigger", f"{row.id}:{notification.message_id}", extra)
                )
                error = None
            except (Rejected, ExpressionError) as e:
                error = str(e)
                log.error("event trigger '%s' could not start its workflow: %s", row.name, e)
            if error != row.last_error:
                await engine.database.writing(triggers.failed, event_triggers, row.id, error)
        return started

    def _params(self, notification: Notification) -> dict[str, Any]:
        """What the first fitting event definition, the last one written first, takes from the event."""
        properties: Any = _DEFAULT
        for definition in reversed(self._engine.settings.event_definitions):
            types = definition.get("event_types")
            patterns = types if isinstance(types, list | tuple) else [types]
            if any(fnmatch(notification.event_type, str(p)) for p in patterns):
                properties = definition.get("properties", {})
                break
        result: dict[str, Any] = expressions.evaluate(properties, MapScope(msgspec.to_builtins(notification)))
        return result
