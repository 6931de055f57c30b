"""A server of the Mistral API v2, as a client sees it. Nothing here knows what is behind it."""

from __future__ import annotations

import json
import uuid
from types import TracebackType
from typing import Any

import aiohttp

from gregale.bench.shapes import Reference

_PAGE = 1000
UNFINISHED = ("IDLE", "RUNNING", "PAUSED")


class TargetError(Exception):
    """The server did not do what was asked: which request, and what it said."""


class Target:
    """`async with Target(url) as target:`; `url` with or without /v2."""

    def __init__(self, url: str, headers: dict[str, str] | None = None):
        self.url = url.rstrip("/").removesuffix("/v2") + "/v2"
        self._headers = headers
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Target:
        self._http = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2),
            timeout=aiohttp.ClientTimeout(60),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None
        await self._http.close()

    async def ask(self, method: str, path: str, body: Any = None, expected: int = 200) -> Any:
        """Raises TargetError."""
        assert self._http is not None
        text = isinstance(body, str)
        headers = {"Content-Type": "text/plain"} if text else {}
        try:
            async with self._http.request(
                method, self.url + path, data=body if text else None, json=None if text else body, headers=headers
            ) as reply:
                said = await reply.text()
                if reply.status != expected:
                    raise TargetError(f"{method} {self.url}{path}: {reply.status} {said[:300]}")
        except (aiohttp.ClientError, TimeoutError) as e:
            raise TargetError(f"{method} {self.url}{path}: {type(e).__name__} {e}") from None
        return json.loads(said) if said else None

    async def define(self, reference: Reference) -> str:
        """Upload a reference workflow under a name of its own, which this gives."""
        name = f"bench-{reference.name}-{reference.units}-{uuid.uuid4().hex[:8]}"
        await self.ask("POST", "/workflows", reference.document(name), 201)
        return name

    async def remove(self, name: str) -> None:
        await self.ask("DELETE", f"/workflows/{name}", expected=204)

    async def start(self, name: str, given: dict[str, Any]) -> str:
        """Gives the execution's id."""
        made = await self.ask("POST", "/executions", {"workflow_name": name, "input": json.dumps(given)}, 201)
        return str(made["id"])

    async def running(self, name: str) -> set[str]:
        """The executions of a workflow that have not ended."""
        query = f"workflow_name={name}&state=in:{','.join(UNFINISHED)}&fields=id&limit={_PAGE}"
        return {e["id"] for e in (await self.ask("GET", f"/executions?{query}"))["executions"]}

    async def execution(self, execution_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.ask("GET", f"/executions/{execution_id}")
        return found

    async def wrong(self, execution: dict[str, Any], reference: Reference) -> str | None:
        """What is not right about an execution that has ended: state, output, number and states of its tasks."""
        if execution["state"] != "SUCCESS":
            return f"{execution['id']} ended in {execution['state']}: {execution.get('state_info')}"
        output = json.loads(execution["output"])
        if {k: output.get(k) for k in reference.output} != reference.output:
            return f"{execution['id']} gave {str(output)[:200]}, not {str(reference.output)[:200]}"
        states = await self._task_states(execution["id"])
        if states != ["SUCCESS"] * reference.tasks:
            return f"{execution['id']} has {len(states)} tasks, {states.count('SUCCESS')} in SUCCESS, not {reference.tasks}"
        return None

    async def _task_states(self, execution_id: str) -> list[str]:
        states: list[str] = []
        page = f"/executions/{execution_id}/tasks?fields=id,state&limit={_PAGE}"
        while True:
            tasks = (await self.ask("GET", page))["tasks"]
            states += [t["state"] for t in tasks]
            if len(tasks) < _PAGE:
                return states
            page = f"/executions/{execution_id}/tasks?fields=id,state&limit={_PAGE}&marker={tasks[-1]['id']}"
