"""Definitions are remembered, and never used when another process has changed them."""

from __future__ import annotations

import asyncio
import time

import pytest

from gregale.core import NotFound
from gregale.language import read_workflows
from gregale.service import Service, ServiceSettings, new_id
from gregale.store import Database, definitions
from gregale.store.ownership import Owner
from tests.engine.test_engine import PROJECT, finished, start


class Elsewhere:
    """Another process on the same database. On a file there is none: it is the service itself that changes something."""

    def __init__(self, service: Service):
        self._server = service.database.is_server
        self.database = Database(service.settings.database) if self._server else service.database

    async def __aenter__(self) -> Elsewhere:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server:
            self.database.close()

    async def define(self, value: int, name: str = "wf") -> None:
        text = f"version: '2.0'\n{name}: {{output: {{v: {value}}}, tasks: {{a: {{action: std.noop}}}}}}"
        owner = Owner(PROJECT, time.time(), new_id)
        await self.database.writing(definitions.save_workflows, read_workflows(text), owner, None)  # type: ignore[arg-type]


async def test_an_execution_is_of_the_definition_that_another_process_has_just_stored(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service, Elsewhere(service) as elsewhere:
        for value in range(5):
            await elsewhere.define(value)
            assert (await finished(service, await start(service))).output == {"v": value}


async def test_what_another_process_has_just_defined_is_not_refused(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service, Elsewhere(service) as elsewhere:
        for _ in range(2):
            with pytest.raises(NotFound):
                await start(service, "later")
        await elsewhere.define(7, "later")
        assert (await finished(service, await start(service, "later"))).output == {"v": 7}


async def test_definitions_that_change_all_the_time_do_not_keep_executions_from_ending(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service, Elsewhere(service) as elsewhere:
        await elsewhere.define(0)

        async def change() -> None:
            for value in range(1, 10_000):
                await elsewhere.define(value)

        changing = asyncio.create_task(change())
        try:
            for _ in range(5):
                made = await asyncio.gather(*(start(service) for _ in range(20)))
                for execution_id in made:
                    assert (await finished(service, execution_id)).state == "SUCCESS"
            assert not changing.done()
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
