"""GET /v2/executions/{id}/explain and /v2/tasks/{id}/explain: why something is where it is; Gregale's own."""

from __future__ import annotations

from typing import Any

import msgspec

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints
from gregale.core.explain import Reason, explain
from gregale.core.scope import shown_time
from gregale.store import search
from gregale.store.facts import execution_and_facts

api = Endpoints("explain")

_REPLY = {
    "type": "object",
    "required": ["reasons"],
    "properties": {"reasons": {"type": "array", "items": {"type": "object"}}},
}


async def _reasons(call: Call, execution_id: str) -> list[Reason]:
    settings = call.engine.settings
    execution, facts = await call.read(
        execution_and_facts,
        execution_id,
        call.viewer,
        call.engine.clock(),
        settings.sweep_every,
        settings.heartbeat_timeout,
    )
    return explain(execution, facts)


def _shown(reason: Reason) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(reason)
    due = None if reason.due is None else shown_time(reason.due)
    return {**plain, "since": shown_time(reason.since), "due": due}


@api("GET", "/v2/executions/{id}/explain", rule="executions:get", reply=_REPLY)
async def of_execution(call: Call) -> dict[str, Any]:
    """Why an execution is where it is, and each of its tasks that has not ended: what it waits for, and what happens next."""
    return {"reasons": [_shown(r) for r in await _reasons(call, call.path("id"))]}


@api("GET", "/v2/tasks/{id}/explain", rule="tasks:get", reply=_REPLY)
async def of_task(call: Call) -> dict[str, Any]:
    """Why a task is where it is; of one that has ended, why its execution is."""
    row = await call.read(search.task, call.path("id"), call.viewer)
    reasons = await _reasons(call, row.execution_id)
    mine = [r for r in reasons if r.id == row.id]
    return {"reasons": [_shown(r) for r in mine or reasons[:1]]}
