"""One process with everything in it: database, bus, engine and executor, started and stopped in the right order."""

from __future__ import annotations

import socket
import sys
import time
import uuid
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from gregale import cluster
from gregale.actions import ActionSettings, Registry
from gregale.actions.contract import Action
from gregale.bus import LocalBus
from gregale.engine import Engine, EngineSettings
from gregale.executor import Executor, ExecutorSettings
from gregale.store import Database, upgrade


class ServiceSettings(msgspec.Struct, frozen=True):
    """`database`: an SQLAlchemy URL; `sqlite://` keeps everything in memory. `durability`: "full" or "normal"."""

    database: str = "sqlite://"
    durability: str = "full"
    name: str = ""
    engine: EngineSettings = EngineSettings()
    executor: ExecutorSettings = ExecutorSettings()
    actions: ActionSettings = ActionSettings()


def new_id() -> str:
    return str(uuid.uuid4())


class Service(AbstractAsyncContextManager["Service"]):
    """`async with Service(settings) as service:` runs workflows; see `engine` and `database`."""

    def __init__(self, settings: ServiceSettings | None = None, actions: tuple[Action, ...] = ()):
        self.settings = settings or ServiceSettings()
        self.registry = Registry(self.settings.actions, actions)
        durability = "normal" if self.settings.durability == "normal" else "full"
        self.database = Database(self.settings.database, durability)  # type: ignore[arg-type]
        self.bus = LocalBus(time.time)
        self.engine = Engine(self.database, self.bus, self.registry.info, time.time, new_id, self.settings.engine)

    async def __aenter__(self) -> Service:
        """Raises StoreError when the database cannot be used."""
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))  # deep trees of sub-workflows end in one decision
        self.database.hold()
        upgrade(self.database)
        name = self.settings.name or socket.gethostname()
        self.member = await cluster.enter(self.database, "serve", name, time.time, new_id)
        self.executor = Executor(
            self.database, self.bus, self.registry, time.time, self.member.id, name, self.settings.executor
        )
        await self.engine.start()
        await self.executor.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.executor.stop()
        await self.engine.stop()
        await cluster.leave(self.database, self.member, time.time)
        self.database.close()
