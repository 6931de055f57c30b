"""Sending notifications: in order within a tree of executions, again with backoff, never in the way of the engine."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from gregale import metrics
from gregale.actions import ActionError, egress
from gregale.bus import BusUnavailable
from gregale.bus.messages import notification_queue
from gregale.store import Unavailable, outbox, rows

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine.notifier")

_TIMEOUT = httpx.Timeout(10, connect=3)
_LEASE = 30.0


class SendingFailed(Exception):
    """A notification did not arrive; `final` when trying again cannot help."""

    def __init__(self, reason: str, final: bool = False):
        self.final = final
        super().__init__(reason)


class Notifier:
    """`wake` is set when there is something to send."""

    def __init__(self, engine: Engine):
        self.wake = asyncio.Event()
        self._engine = engine
        self._client: httpx.AsyncClient | None = None

    async def run(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), 1.0)
                self.wake.clear()
                try:
                    while await self._some():
                        pass
                except (Unavailable, BusUnavailable) as e:
                    log.warning("notifications wait: %s", e)
                    await asyncio.sleep(1)
                except Exception:
                    log.exception("notifications could not be handled; they are tried again")
                    await asyncio.sleep(1)
        finally:
            if self._client is not None:
                await self._client.aclose()

    async def _some(self) -> bool:
        """Send what is due, one of each lane at a time. False when nothing is."""
        engine = self._engine
        found = await engine.database.reading(outbox.heads, engine.clock(), engine.settings.sending.at_once)
        if not found:
            return False
        client = self._client = self._client or httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)
        taken = await engine.database.writing(outbox.take, found, engine.clock(), _LEASE)
        outcomes = await asyncio.gather(*(self._one(client, row) for row in taken))
        for _, state, _, _ in outcomes:
            metrics.NOTIFICATIONS.labels({"SENT": "sent", "FAILED": "given up"}.get(state, "failed")).inc()
        if outcomes:
            await engine.database.writing(outbox.settle, outcomes, engine.clock())
        return bool(outcomes)

    async def _one(self, client: httpx.AsyncClient, row: Any) -> tuple[str, str, float, str | None]:
        sending, now = self._engine.settings.sending, self._engine.clock()
        try:
            await self._send(client, row, rows.decode(row.publisher), rows.decode(row.payload))
        except SendingFailed as e:
            log.warning("notification %s of execution %s: %s", row.event, row.execution_id, e)
            if e.final or row.attempts + 1 >= sending.attempts:
                return row.id, "FAILED", now, str(e)
            wait = min(sending.longest_retry, sending.first_retry * 2**row.attempts) * (0.8 + 0.4 * random.random())  # noqa: S311
            return row.id, "PENDING", now + wait, str(e)
        return row.id, "SENT", now, None

    async def _send(
        self, client: httpx.AsyncClient, row: Any, publisher: dict[str, Any], payload: dict[str, Any]
    ) -> None:
        """Raises SendingFailed."""
        kind = publisher.get("type")
        if kind == "noop":
            log.info("%s of %s", row.event, row.execution_id)
        elif kind == "webhook":
            await self._webhook(client, row, publisher, payload)
        elif kind == "bus":
            queue = notification_queue(
                str(publisher.get("exchange", "gregale")), str(publisher.get("topic", "notifications"))
            )
            message = {
                "message_id": row.id,
                "event_type": row.event,
                "publisher_id": "gregale",
                "priority": "INFO",
                "timestamp": payload["updated_at"],
                "context": {"project_id": row.project_id},
                "payload": payload,
            }
            try:
                await self._engine.bus.publish(queue, [msgspec.json.encode(message)])
            except BusUnavailable as e:
                raise SendingFailed(str(e)) from None
        else:
            raise SendingFailed(f"There is no publisher '{kind}'; there are webhook, bus and noop", final=True)

    async def _webhook(
        self, client: httpx.AsyncClient, row: Any, publisher: dict[str, Any], payload: dict[str, Any]
    ) -> None:
        url, given = publisher.get("url"), publisher.get("headers")
        if not isinstance(url, str):
            raise SendingFailed("A webhook needs a 'url'", final=True)
        headers = {str(k): str(v) for k, v in given.items()} if isinstance(given, dict) else {}
        headers |= {"Content-Type": "application/json", "Idempotency-Key": row.id}
        try:
            await egress.check(url, self._engine.settings.sending.http)
            answer = await client.post(url, content=msgspec.json.encode(payload), headers=headers)
        except egress.EgressRefused as e:
            raise SendingFailed(str(e), final=True) from None
        except (ActionError, httpx.HTTPError, httpx.InvalidURL, ValueError) as e:
            raise SendingFailed(f"POST {url}: {type(e).__name__}: {e}") from None
        if answer.status_code not in (200, 201):
            raise SendingFailed(f"POST {url}: answered {answer.status_code}; 200 or 201 is expected")
