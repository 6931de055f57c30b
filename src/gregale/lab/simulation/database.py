"""The database as each simulated process sees it: the real statements on one database in memory, with what can go wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from gregale.language import read_workflows
from gregale.store import Database, Unavailable, definitions, upgrade
from gregale.store.ownership import Owner

if TYPE_CHECKING:
    from gregale.lab.simulation.world import Process, World


class Template:
    """One database for every run, set back to what it was at first: statements are compiled once."""

    def __init__(self, workflows: str):
        self.database = Database()
        upgrade(self.database)
        number = iter(range(10_000))
        owner = Owner("<default-project>", 0.0, lambda: f"definition-{next(number)}", scope="public")
        self.database.write(definitions.install, read_workflows(workflows), owner)
        self._first = sqlite3.connect(":memory:")
        self._raw().backup(self._first)

    def _raw(self) -> sqlite3.Connection:
        with self.database.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            return raw

    def reset(self) -> Database:
        self._first.backup(self._raw())
        return self.database


class ProcessDatabase:
    """What `gregale.store.Database` offers to a process, without threads. Every question takes a while, on the way there and back:
    in between, others act, and the process may end."""

    is_server = True
    in_memory = True

    def __init__(self, world: World, process: Process):
        self._world = world
        self._process = process

    async def reading(self, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await self._there()
        result = self._world.shared.read(run, *args, **kwargs)
        await self._process.pause()
        return result

    glancing = reading

    async def writing(self, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await self._there()
        result = self._commit(run, args, kwargs)
        if self._world.chance("unheard"):
            # the reply is lost: the transaction is tried again, as the real thing does, in a little while
            self._world.trace(f"{self._process.name}: nobody heard whether a commit was made")
            await self._process.pause()
            result = self._commit(run, args, kwargs)
        await self._process.pause()
        return result

    writing_once = writing
    beating = writing

    def _commit(self, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        def checked(connection: Connection) -> Any:
            result = run(connection, *args, **kwargs)
            self._world.committed(connection, self._process, run)
            return result

        return self._world.shared.write(checked)

    async def _there(self) -> None:
        await self._process.pause()
        if self._world.database_away:
            await asyncio.sleep(0.7)
            if self._world.database_away:
                raise Unavailable("the simulated database is away")
