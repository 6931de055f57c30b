"""Maintenance of the whole cluster: what runs is paused, and what was paused for it goes on afterwards (API spec 4.6).

`once` brings the executions in line with the switch, step by step and from any point at which it was interrupted.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING

from gregale.core import Event, Pause, Rejected, Resume
from gregale.store import Unavailable, maintenance
from gregale.store.recent import Recent

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine.maintenance")

_STEP = 200
_FRESH, _OLDEST = 0.1, 1.0
"""Seconds; what is started in them while another process switches is paused with the rest."""


class Maintenance:
    def __init__(self, engine: Engine):
        self._engine = engine
        self._recent = Recent(self._look, _FRESH if engine.database.is_server else inf)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            try:
                if self._engine.leads:
                    await self.once()
            except Unavailable as e:
                log.warning("maintenance waits for the database: %s", e)
            except Exception:
                log.exception("maintenance could not be carried on; tried again")

    async def set(self, status: str) -> str:
        """Ask for PAUSED or RUNNING; gives the status that follows."""
        new, old = ("PAUSING", ("RUNNING",)) if status == "PAUSED" else ("RUNNING", ("PAUSING", "PAUSED"))
        switched = await self._engine.database.writing(maintenance.switch, new, old)
        self._recent.forget()
        if switched:
            asked = new
            await self.once()
            return asked
        return await self.status()

    async def status(self) -> str:
        """PAUSING becomes PAUSED when no task runs any more."""
        database = self._engine.database
        found = await database.reading(maintenance.status)
        if found == "PAUSING" and not await database.reading(maintenance.busy):
            await database.writing(maintenance.switch, "PAUSED", ("PAUSING",))
            self._recent.forget()
            return "PAUSED"
        return found

    async def recent(self) -> str:
        """The status as it was at most a second ago. On a file, nobody else could have changed it."""
        return await self._recent.get(_OLDEST if self._engine.database.is_server else inf)

    async def _look(self) -> str:
        return await self._engine.database.glancing(maintenance.status)

    async def once(self) -> None:
        database = self._engine.database
        status = await self.status()
        if status == "RUNNING":
            while held := await database.reading(maintenance.to_resume, _STEP):
                await self._each(held, Resume())
                await database.writing(maintenance.let_go, held)
            return
        while running := await database.reading(maintenance.to_pause, _STEP):
            await database.writing(maintenance.hold, running)
            if not await self._each(running, Pause("Paused for maintenance")):
                return

    async def _each(self, ids: list[str], event: Event) -> int:
        """Gives how many took it: an execution may have ended, or be gone."""
        done = 0
        for execution_id in ids:
            try:
                await self._engine.apply(execution_id, event)
                done += 1
            except Rejected as e:
                log.info("%s: %s", execution_id, e)
        return done
