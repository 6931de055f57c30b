"""The API over a service in memory, asked without a network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from gregale.api import ApiSettings
from gregale.api.auth import AuthSettings
from gregale.service import Service, ServiceSettings

ADMIN = {"X-Roles": "admin"}
HEADERS = ApiSettings(auth=AuthSettings(mode="headers"))
"""Projects and roles are what the headers say."""


class Api:
    """`await api("GET", "/v2/workflows", 200)` gives the JSON of a reply that has to have this status."""

    def __init__(self, client: httpx.AsyncClient, service: Service):
        self.client = client
        self.service = service

    async def __call__(self, method: str, path: str, status: int, **options: Any) -> Any:
        response = await self.client.request(method, path, **options)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        if status == 204:
            assert response.content == b""
            return None
        assert response.headers["content-type"].startswith("application/json")
        return response.json()

    def of(self, project: str, roles: str = "member") -> Api:
        """The same service, asked by another project."""
        client = httpx.AsyncClient(
            transport=self.client._transport,
            base_url="http://host",
            headers={"X-Project-Id": project, "X-Roles": roles},
        )
        return Api(client, self.service)

    async def until(self, condition: Callable[[], Any], seconds: float = 20) -> Any:
        """What an asynchronous condition gives as soon as it gives something."""
        deadline = time.monotonic() + seconds
        while not (found := await condition()):
            assert time.monotonic() < deadline, "it did not come to be"
            await asyncio.sleep(0.01)
        return found

    async def start(self, name: str, **more: Any) -> Any:
        return await self("POST", "/v2/executions", 201, json={"workflow_name": name, **more})

    async def wait(self, execution_id: str, *states: str) -> Any:
        deadline = time.monotonic() + 20
        while True:
            found = await self("GET", f"/v2/executions/{execution_id}", 200)
            if found["state"] in (states or ("SUCCESS", "ERROR", "CANCELLED")):
                return found
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)

    async def action(self, execution_id: str) -> str:
        """The id of the one running action."""
        deadline = time.monotonic() + 20
        while True:
            for task in (await self("GET", f"/v2/executions/{execution_id}/tasks", 200))["tasks"]:
                found = (await self("GET", f"/v2/tasks/{task['id']}/action_executions", 200))["action_executions"]
                if found and found[0]["state"] in ("RUNNING", "PAUSED"):
                    return str(found[0]["id"])
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(settings: ServiceSettings) -> AsyncIterator[Api]:
    async with Service(settings) as service:
        transport = httpx.ASGITransport(app=service.application(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            yield Api(client, service)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving(ServiceSettings()) as made:
        yield made


@pytest.fixture
async def projects() -> AsyncIterator[Api]:
    """Asked by the project `p`; `projects.of("q")` is another one."""
    async with serving(ServiceSettings(api=HEADERS)) as made:
        yield made.of("p")


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[ServiceSettings], Any]]:
    """`await serve(settings)`: one with settings of its own."""
    async with AsyncExitStack() as stack:

        async def make(settings: ServiceSettings) -> Api:
            return await stack.enter_async_context(serving(settings))

        yield make
