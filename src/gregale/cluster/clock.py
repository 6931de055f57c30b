"""Time as the database tells it: timers and heartbeats of all members go by one clock."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.engine import Connection

from gregale.store import Database, members


class Clock:
    """`clock()` gives seconds since the epoch: this machine's, moved by what it was last seen to differ from the database's."""

    def __init__(self, local: Callable[[], float]):
        self._local = local
        self.offset = 0.0

    def __call__(self) -> float:
        return self._local() + self.offset

    async def set(self, database: Database) -> None:
        def ask(connection: Connection) -> tuple[float, float | None, float]:
            return self._local(), members.time_of(connection), self._local()

        before, theirs, after = await database.reading(ask)
        if theirs is not None:
            self.offset = theirs - (before + after) / 2
