"""What has to go: remains of deleted executions, expired executions, old entries of the stream. In bounded steps."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from gregale.store import Unavailable, outbox, removal, results

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine.housekeeping")

_PRUNE_EVERY = 60.0


class Housekeeper:
    """`wake` is set when something was deleted."""

    def __init__(self, engine: Engine):
        self.wake = asyncio.Event()
        self._engine = engine
        self._expire_at = 0.0
        self._prune_at = 0.0

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), 5.0)
            self.wake.clear()
            try:
                if self._engine.leads:
                    await self.once()
            except Unavailable as e:
                log.warning("housekeeping waits for the database: %s", e)
            except Exception:
                log.exception("housekeeping failed; it is tried again")
                await asyncio.sleep(1)

    async def once(self) -> None:
        """Everything that is due now."""
        database, settings, now = self._engine.database, self._engine.settings, self._engine.clock()
        if now >= self._expire_at:
            self._expire_at = now + settings.expiration.every
            await self.expire()
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY
            await database.writing(results.prune, now - _PRUNE_EVERY)
            for prune in (removal.prune_events, outbox.prune):
                while await database.writing(prune, now - settings.history):
                    pass
        while await database.writing(removal.collect):
            await asyncio.sleep(0)  # commits of running work go in between

    async def expire(self) -> int:
        """Delete what the policy says; gives how many."""
        policy = self._engine.settings.expiration
        if policy.older_than_minutes is None and policy.max_finished is None:
            return 0
        before = None if policy.older_than_minutes is None else self._engine.clock() - 60 * policy.older_than_minutes
        total = 0
        while True:
            found = await self._engine.database.reading(
                removal.expired, before, policy.max_finished, policy.ignored_states, policy.batch
            )
            for execution_id in found:
                await self._engine.delete(execution_id)
            total += len(found)
            if len(found) < policy.batch:
                break
        if total:
            log.info("%d expired executions deleted", total)
        return total
