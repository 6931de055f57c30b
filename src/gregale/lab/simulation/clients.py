"""Clients of the simulated api: the real application, asked without a network."""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gregale.api import ApiSettings, application
from gregale.lab.simulation.loop import PROCESS

if TYPE_CHECKING:
    from gregale.lab.simulation.world import Process, World


class _CurrentEngine:
    """The engine of the process that handles a request: the application is made once."""

    def __getattr__(self, name: str) -> Any:
        process = PROCESS.get()
        if process is None:
            return _Nobody.__dict__[name]
        return getattr(process.engine, name)


class _Nobody:
    def listen(self) -> None:
        """Streams are not simulated."""

    def clock(self) -> float:
        return 0.0


@lru_cache(maxsize=1)
def _application() -> Any:
    engine: Any = _CurrentEngine()

    async def no_actions(*_: Any, **__: Any) -> Any:
        raise AssertionError("not simulated")

    return application(engine, list, no_actions, ApiSettings())


async def request(process: Process, method: str, path: str, body: Any) -> tuple[int, Any]:
    """Status and body of the answer of an api."""
    sent: list[dict[str, Any]] = []
    content = json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await process.pause()
    await _application()(scope, receive, send)
    await process.pause()
    answer = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    return sent[0]["status"], json.loads(answer) if answer else None


class Client:
    """Starts one execution, with an id of its own, and asks again until it knows that it was started."""

    def __init__(self, world: World, execution_id: str, shape: str):
        self.execution_id = execution_id
        self.shape = shape
        self.confirmed = False
        self.gave_up = False
        self._world = world

    async def run(self, after: float) -> None:
        await asyncio.sleep(after)
        body = {"id": self.execution_id, "workflow_name": self.shape}
        for _ in range(200):
            apis = self._world.living("api")
            if apis:
                task = self._world.within(apis[-1], request(apis[-1], "POST", "/v2/executions", body))
                done, _ = await asyncio.wait([task], timeout=5.0)
                if done and not task.cancelled() and task.exception() is None and task.result()[0] == 201:
                    self.confirmed = True
                    return
                if done and not task.cancelled() and task.exception() is None and task.result()[0] < 500:
                    self._world.broken(f"{self.execution_id} was refused: {task.result()}")
                    return
                task.cancel()
            await asyncio.sleep(0.5)
        self.gave_up = True
