"""Starts are refused while too many wait: what was accepted is finished first, and nothing grows without bound."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sqlalchemy.engine import Connection

from gregale import metrics
from gregale.api.problems import TooMany
from gregale.api.settings import ApiSettings
from gregale.bus import BusUnavailable
from gregale.bus.messages import ACTIONS
from gregale.engine import Engine
from gregale.store import sweep

_LOOK_EVERY = 0.5


class Admission:
    def __init__(self, engine: Engine, settings: ApiSettings):
        self._engine = engine
        self._most = settings.max_waiting
        self._waiting = 0
        self._looked = float("-inf")

    async def require(self) -> None:
        """Raises TooMany. Between two looks at the rows, the starts let in here are counted."""
        now = asyncio.get_running_loop().time()
        if now - self._looked > _LOOK_EVERY:
            self._looked = now
            self._waiting = await self._engine.database.reading(self._unstarted)
            with suppress(BusUnavailable):  # starts are taken, and begin when it is back
                queued = await self._engine.bus.depth(ACTIONS)
                metrics.QUEUED.set(queued)
                self._waiting += queued
        self._waiting += 1
        if self._waiting > self._most:
            metrics.REFUSED.inc()
            raise TooMany(
                f"About {self._waiting} executions and actions wait for their turn, and {self._most} are the most (api.max_waiting); "
                "try again in a moment",
                2.0,
            )

    def _unstarted(self, connection: Connection) -> int:
        return sweep.count_unstarted(connection, self._most + 1)
