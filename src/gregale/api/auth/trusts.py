"""Keystone trusts for triggers: made with them, gone with them and with the last execution they started (API spec 3.5)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gregale.api.auth.identity import Identity
from gregale.api.auth.keystone import Keystone
from gregale.api.call import Trusts
from gregale.core import Work
from gregale.engine import Engine
from gregale.store import rows, security, triggers

log = logging.getLogger("gregale.api.trusts")


class KeystoneTrusts(Trusts):
    """Also gives the executions of triggers their tokens: a new one of the trust for each."""

    def __init__(self, keystone: Keystone, engine: Engine):
        self._keystone = keystone
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()
        engine.credentials = self._credentials
        engine.listen(self._saw)

    async def create(self, who: Identity) -> dict[str, Any] | None:
        token = (who.credentials or {}).get("auth_token")
        return await self._keystone.create_trust(token) if token else None

    async def delete(self, kept: dict[str, Any] | None) -> None:
        if kept and "trust_id" in kept:
            await self._keystone.delete_trust(kept["trust_id"])

    async def _credentials(self, kept: dict[str, Any]) -> dict[str, Any]:
        token = await self._keystone.trusted_token(kept["trust_id"])
        return {**kept, "auth_token": token, "is_trust_scoped": True}

    def _saw(self, works: list[Work]) -> None:
        """An execution of a trigger that is gone has ended: nobody needs the trust any more."""
        for work in works:
            execution = work.execution
            if execution.parent_id is None and execution.state.completed and '"triggered_by"' in execution.description:
                task = asyncio.create_task(self._ended(execution.id, execution.description))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _ended(self, execution_id: str, description: str) -> None:
        try:
            trigger_id = str(rows.decode(description)["triggered_by"]["id"])
            kept = await self._engine.database.reading(security.credentials, execution_id)
            if kept and not await self._engine.database.reading(triggers.needed, trigger_id):
                await self.delete(kept)
        except Exception:
            log.exception("the trust behind execution %s could not be looked after", execution_id)
