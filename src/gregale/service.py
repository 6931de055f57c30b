"""One process with everything in it: database, bus, engine and executor, started and stopped in the right order."""

from __future__ import annotations

import socket
import sys
import time
import uuid
from contextlib import AbstractAsyncContextManager
from importlib.resources import files
from types import TracebackType
from typing import Any, Literal

import msgspec
from starlette.applications import Starlette

from gregale import cluster
from gregale.actions import ActionContext, ActionSettings, Registry, Result
from gregale.actions.contract import Action
from gregale.api import ApiSettings, application
from gregale.api.auth import DEFAULT_PROJECT, Authenticator, authenticator
from gregale.bus import LocalBus
from gregale.core import InvalidInput
from gregale.core.scope import shown_time
from gregale.engine import Engine, EngineSettings, standalone
from gregale.executor import Executor, ExecutorSettings
from gregale.executor.run import run
from gregale.language import read_workflows
from gregale.store import Database, definitions, upgrade
from gregale.store.ownership import Owner


class ServiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`database`: an SQLAlchemy URL; `sqlite://` keeps everything in memory. `durability`: "full" or "normal"."""

    database: str = "sqlite://"
    durability: Literal["full", "normal"] = "full"
    name: str = ""
    engine: EngineSettings = EngineSettings()
    executor: ExecutorSettings = ExecutorSettings()
    actions: ActionSettings = ActionSettings()
    api: ApiSettings = ApiSettings()


def encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def new_id() -> str:
    return str(uuid.uuid4())


def _install(connection: Any, now: float) -> None:
    """The public workflows that come with Gregale."""
    text = (files("gregale.service_workflows") / "create_instance.yaml").read_text(encoding="utf-8")
    owner = Owner(DEFAULT_PROJECT, now, new_id, scope="public")
    definitions.install(connection, read_workflows(text), owner)


class Service(AbstractAsyncContextManager["Service"]):
    """`async with Service(settings) as service:` runs workflows; see `engine` and `database`."""

    def __init__(self, settings: ServiceSettings | None = None, actions: tuple[Action, ...] = ()):
        self.settings = settings or ServiceSettings()
        self._since = time.time()
        self._authenticator: Authenticator | None = None
        self.registry = Registry(self.settings.actions, actions)
        self.database = Database(self.settings.database, self.settings.durability)
        self.bus = LocalBus(time.time)
        self.engine = Engine(self.database, self.bus, self.registry.info, time.time, new_id, self.settings.engine)

    async def __aenter__(self) -> Service:
        """Raises StoreError when the database cannot be used."""
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 6_000))  # deep trees of sub-workflows end in one decision
        self.database.hold()
        upgrade(self.database)
        await self.database.writing(_install, time.time())
        name = self.settings.name or socket.gethostname()
        self.member = await cluster.enter(self.database, "serve", name, time.time, new_id)
        self.executor = Executor(
            self.database, self.bus, self.registry, time.time, self.member.id, name, self.settings.executor
        )
        await self.engine.start()
        await self.executor.start()
        return self

    def application(self) -> Starlette:
        """The REST API over this process. Raises BadPolicy, and ValueError for settings that do not fit together."""
        self._authenticator = authenticator(self.settings.api.auth)
        trusts = None
        if self.settings.api.auth.mode == "keystone":
            from gregale.api.auth.keystone import Keystone
            from gregale.api.auth.trusts import KeystoneTrusts

            assert isinstance(self._authenticator, Keystone)
            trusts = KeystoneTrusts(self._authenticator, self.engine)
        return application(
            self.engine, self.system_actions, self.run_action, self.settings.api, self._authenticator, trusts
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

    async def run_action(
        self,
        name: str,
        given: dict[str, Any],
        namespace: str,
        project_id: str,
        description: str = "",
        save: bool = False,
        wait: bool = False,
        target: str | None = None,
        timeout: int | None = None,
        credentials: dict[str, Any] | None = None,
    ) -> Any:
        """Run an action of its own (language spec 7.3): a map for one that is not stored, else its row.

        Raises InvalidInput.
        """
        call = await standalone.prepare(self.engine, name, given, namespace, project_id)
        if not call.base.is_sync and wait:
            raise InvalidInput(f"The action '{name}' does not support synchronous execution")
        if not call.base.is_sync or (save and not wait):
            return await standalone.store(
                self.engine, call, project_id, description, target, timeout, None, credentials
            )
        context = ActionContext(executor=self.executor.name, settings=self.registry.settings, security=credentials)
        result = (
            await run(self.executor.actions, call.base.runs_as or call.base.name, call.base_input, context, timeout)
            or Result()
        )
        state, output = await standalone.outcome(
            self.engine, call, result.data, result.error, result.cancel, namespace, project_id
        )
        if save:
            return await standalone.store(self.engine, call, project_id, description, target, timeout, (state, output))
        return {
            "id": None,
            "name": name,
            "workflow_name": None,
            "workflow_namespace": None,
            "task_name": None,
            "task_execution_id": None,
            "state": state,
            "state_info": output if state == "ERROR" and isinstance(output, str) else None,
            "tags": None,
            "description": description,
            "project_id": None,
            "accepted": True,
            "input": encoded(given),
            "output": encoded({"result": output}),
            "created_at": None,
            "updated_at": None,
        }

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._authenticator is not None:
            await self._authenticator.close()
        await self.executor.stop()
        await self.engine.stop()
        await cluster.leave(self.database, self.member, time.time)
        self.database.close()
