"""Starts are refused while too many wait: what was accepted is finished first, and nothing grows without bound."""

from __future__ import annotations

from contextlib import suppress
from math import inf

from sqlalchemy.engine import Connection

from gregale import metrics
from gregale.api.problems import TooMany
from gregale.api.settings import ApiSettings
from gregale.bus import BusUnavailable
from gregale.bus.messages import ACTIONS
from gregale.engine import Engine
from gregale.store import sweep
from gregale.store.recent import Recent

_FRESH = 0.5
"""Seconds."""


class Admission:
    def __init__(self, engine: Engine, settings: ApiSettings):
        self._engine = engine
        self._most = settings.max_waiting
        self._waiting = Recent(self._look, _FRESH)
        self._let_in = 0

    async def require(self) -> None:
        """Raises TooMany. Between two looks at the rows, the starts let in here are counted; none is refused by an old look."""
        waiting = await self._waiting.get(inf) + self._let_in + 1
        if waiting > self._most:
            waiting = await self._waiting.get(_FRESH) + self._let_in + 1
        if waiting > self._most:
            metrics.REFUSED.inc()
            raise TooMany(
                f"About {waiting} executions and actions wait for their turn, and {self._most} are the most (api.max_waiting); "
                "try again in a moment",
                2.0,
            )
        self._let_in += 1

    async def _look(self) -> int:
        before = self._let_in
        waiting = await self._engine.database.reading(self._unstarted)
        with suppress(BusUnavailable):  # starts are taken, and begin when it is back
            queued = await self._engine.bus.depth(ACTIONS)
            metrics.QUEUED.set(queued)
            waiting += queued
        self._let_in -= before
        return waiting

    def _unstarted(self, connection: Connection) -> int:
        return sweep.count_unstarted(connection, self._most + 1)
