"""One process: what it is made of by its kind, started and stopped in the right order."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import sys
import time
from contextlib import AbstractAsyncContextManager, suppress
from importlib.resources import files
from types import TracebackType
from typing import Any, Literal

import msgspec
from sqlalchemy.exc import IntegrityError
from starlette.applications import Starlette

from gregale import faults, inline
from gregale.actions import ActionSettings, Registry
from gregale.actions.contract import Action
from gregale.api import ApiSettings, application, health_application
from gregale.api.auth import DEFAULT_PROJECT, Authenticator, authenticator
from gregale.bus import BrokerSettings, Bus, LocalBus
from gregale.cluster import Clock, ClusterSettings, Leases, Membership
from gregale.core.scope import shown_time
from gregale.engine import Engine, EngineSettings
from gregale.executor import Executor, ExecutorSettings
from gregale.executor.run import Actions
from gregale.language import read_workflows
from gregale.store import Database, StoreError, Unavailable, definitions, members, migrate, upgrade
from gregale.store.ownership import Owner, change_number

log = logging.getLogger("gregale")

Kind = Literal["serve", "api", "engine", "executor"]


class ServiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`database`: an SQLAlchemy URL; `sqlite://` keeps everything in memory. `durability`: "full" or "normal"."""

    database: str = "sqlite://"
    durability: Literal["full", "normal"] = "full"
    name: str = ""
    broker: BrokerSettings = BrokerSettings()
    cluster: ClusterSettings = ClusterSettings()
    engine: EngineSettings = EngineSettings()
    executor: ExecutorSettings = ExecutorSettings()
    actions: ActionSettings = ActionSettings()
    api: ApiSettings = ApiSettings()


def new_id() -> str:
    """A UUID that begins with the time (RFC 9562, version 7), so that rows made together lie together in every index."""
    chance = random.getrandbits(74)
    value = int(time.time() * 1000) << 80 | 0x7 << 76 | chance >> 62 << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _install(connection: Any, now: float) -> None:
    """The public workflows that come with Gregale."""
    text = (files("gregale.service_workflows") / "create_instance.yaml").read_text(encoding="utf-8")
    owner = Owner(DEFAULT_PROJECT, now, new_id, scope="public", system=True)
    definitions.install(connection, read_workflows(text), owner)


class Service(AbstractAsyncContextManager["Service"]):
    """`async with Service(settings) as service:` runs workflows; see `engine` and `database`.

    A process of kind "serve" is everything; without a broker it is the only one on its database.
    """

    def __init__(self, settings: ServiceSettings | None = None, actions: tuple[Action, ...] = (), kind: Kind = "serve"):
        """Raises StoreError, and ValueError for settings that do not fit together."""
        self.settings = settings or ServiceSettings()
        self.kind = kind
        if kind != "serve" and not self.settings.broker.url:
            raise ValueError(f"A process of kind {kind} speaks with others by a broker: name it in broker.url")
        self._since = time.time()
        self._authenticator: Authenticator | None = None
        self.clock = Clock(time.time)
        self.registry = Registry(self.settings.actions, actions)
        self.database = Database(self.settings.database, self.settings.durability)
        self.bus = self._bus()
        self.engine = Engine(
            self.database,
            self.bus,
            self.registry.info,
            self.clock,
            new_id,
            self.settings.engine,
            self.registry.at_once,
        )
        self.name = self.settings.name or socket.gethostname()
        self.membership = Membership(self.database, kind, self.name, self.clock, new_id, self.settings.cluster)
        self.leases: Leases | None = None
        self.executor: Executor | None = None
        self.stopping = False
        self._draining: asyncio.Task[None] | None = None

    def _bus(self) -> Bus:
        if not self.settings.broker.url:
            return LocalBus(self.clock)
        from gregale.bus.amqp import AmqpBus
        from gregale.bus.faulty import FaultyBus

        bus: Bus = AmqpBus(self.settings.broker, self.clock)
        return FaultyBus(bus) if faults.wanted() else bus

    async def __aenter__(self) -> Service:
        """Raises StoreError when the database cannot be used."""
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 6_000))  # deep trees of sub-workflows end in one decision
        try:
            await self._start()
        except BaseException:
            await self.bus.close()
            self.database.close()
            raise
        return self

    async def _start(self) -> None:
        self.database.hold()
        await self._schema()
        if self.kind in ("serve", "api"):
            with suppress(IntegrityError, Unavailable):  # another process has just done the same, or will
                await self.database.writing(_install, time.time())
        await self.membership.enter(alone=await self._alone())
        await self.engine.start()
        if self.kind in ("serve", "engine"):
            self.leases = Leases(
                self.database, self.membership, self.clock, self.settings.cluster, self.engine.gain, self.engine.lose
            )
            await self.engine.own()
        if self.kind in ("serve", "executor"):
            self.executor = Executor(
                self.database,
                self.bus,
                self.registry,
                self.clock,
                lambda: self.membership.id,
                self.name,
                self.settings.executor,
            )
            await self.executor.start()
        self.membership.on_drain.append(self._drain)
        with suppress(Unavailable):
            await self.membership.once()
        self.membership.start()

    async def _schema(self) -> None:
        """One process by itself brings its database up to date. Among many it is done once, before them."""
        if self.settings.broker.url:
            while True:
                try:
                    await asyncio.to_thread(migrate.require, self.database)
                    return
                except Unavailable as e:
                    log.warning("cannot start yet: %s", e)
                    await asyncio.sleep(1.0)
        else:
            upgrade(self.database)

    async def _alone(self) -> bool:
        """Whether nobody else can be alive. Raises StoreError when messages would not reach who is."""
        if self.settings.broker.url:
            return False
        if not self.database.is_server:
            return True
        before = {m.id: m.heartbeat for m in await self.database.reading(members.alive)}
        if not before:
            return True
        await asyncio.sleep(self.settings.cluster.lease)
        for member in await self.database.reading(members.alive):
            if before.get(member.id) != member.heartbeat:
                raise StoreError(
                    f"{member.kind} '{member.name}' on {member.host} works on this database. Several processes need a broker: "
                    "name it in broker.url (of all of them), or stop the other one."
                )
        return True

    def _drain(self) -> None:
        """Partitions are given back by their leases; here the rest takes nothing new."""
        if self.executor is not None:
            self._draining = asyncio.create_task(self.executor.drain())

    async def not_ready(self) -> str | None:
        """Why this process should be given no work; None when it should."""
        if self.stopping:
            return "This process is about to stop"
        if self.membership.state != "up":
            return f"This member is {self.membership.state}"
        try:
            async with asyncio.timeout(1.0):
                await self.database.reading(change_number)
        except (Unavailable, TimeoutError):
            return "The database does not answer"
        return None

    def application(self) -> Starlette:
        """The REST API over this process; health and metrics alone for engines and executors.

        Raises BadPolicy, and ValueError for settings that do not fit together.
        """
        if self.kind == "executor":
            return health_application(self.not_ready)
        self._authenticator = authenticator(self.settings.api.auth)
        trusts = None
        if self.settings.api.auth.mode == "keystone":  # engines, too, start executions of triggers
            from gregale.api.auth.keystone import Keystone
            from gregale.api.auth.trusts import KeystoneTrusts

            assert isinstance(self._authenticator, Keystone)
            trusts = KeystoneTrusts(self._authenticator, self.engine)
        if self.kind == "engine":
            return health_application(self.not_ready)
        run_inline = inline.Inline(self.engine, Actions(self.registry, self.database), self.name)
        return application(
            self.engine,
            self.system_actions,
            run_inline,
            self.settings.api,
            self._authenticator,
            trusts,
            self.not_ready,
            lambda: self.membership.cut_off,
        )

    def system_actions(self) -> list[dict[str, object]]:
        """The actions of this process, as the API shows them."""
        since = shown_time(self._since)
        return [
            {
                "id": name,
                "name": name,
                "is_system": True,
                "input": found.signature,
                "description": found.description,
                "tags": None,
                "definition": "",
                "scope": "public",
                "project_id": None,
                "created_at": since,
                "updated_at": since,
                "namespace": "",
            }
            for name in self.registry.names()
            for found in [self.registry.get(name)]
        ]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is held is finished first, then partitions and membership are given back: nothing is lost, nothing runs twice."""
        self.stopping = True
        await self.membership.finish()
        if self._authenticator is not None:
            await self._authenticator.close()
        if self.executor is not None:
            await self.executor.stop()
        if self.leases is not None:
            with suppress(Unavailable):
                await self.leases.give()
        await self.engine.stop()
        await self.membership.leave()
        await self.bus.close()
        self.database.close()
