"""/v2/action_executions: results from outside, and actions run on their own."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale.api.wire import collection, encoded, flag, json_body, obj, project, wanted, when
from gregale.core import ActionDone, ActionUpdate, InvalidInput
from gregale.engine import standalone
from gregale.store import rows, search
from gregale.store.schema import action_executions

_FILTERS = (
    "id",
    "name",
    "task_execution_id",
    "state",
    "state_info",
    "accepted",
    "description",
    "created_at",
    "updated_at",
    "project_id",
)
_STATES = ("SUCCESS", "ERROR", "CANCELLED", "PAUSED", "RUNNING")


def shown(row: Any, output: bool = True) -> dict[str, Any]:
    result = {
        "id": row.id,
        "workflow_name": row.workflow_name,
        "workflow_namespace": row.namespace,
        "task_name": row.task_name,
        "task_execution_id": row.task_id,
        "state": row.state,
        "state_info": row.state_info,
        "tags": None,
        "name": row.name,
        "description": row.description or "",
        "project_id": row.project_id,
        "accepted": bool(row.accepted),
        "input": row.input,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }
    if output:
        result["output"] = "{}" if row.output is None else encoded({"result": rows.decode(row.output)})
    return result


async def _answer(request: Request, action_id: str, status: int = 200) -> Response:
    row = await request.app.state.database.reading(search.action_execution, action_id, project(request))
    return JSONResponse(shown(row), status)


async def get(request: Request) -> Response:
    return await _answer(request, request.path_params["id"])


async def listed(request: Request) -> Response:
    return await page_of(request, None)


async def page_of(request: Request, task_id: str | None) -> Response:
    page = wanted(request, _FILTERS, ("include_output",))
    output = flag(request, "include_output")
    where = [action_executions.c.project_id == project(request)]
    if task_id is not None:
        where.append(action_executions.c.task_id == task_id)
    renamed = tuple(("task_id" if n == "task_execution_id" else n, v) for n, v in page.filters)
    found = await request.app.state.database.reading(
        search.action_list, msgspec.structs.replace(page, filters=renamed), *where
    )
    return collection(request, "action_executions", page, found, lambda row: shown(row, output))


async def update(request: Request) -> Response:
    """The callback of asynchronous actions: complete, pause or resume (API spec 2.4)."""
    action_id = request.path_params["id"]
    body = await json_body(request, ("id", "state", "output", "state_info"))
    row = await request.app.state.database.reading(search.action_execution, action_id, project(request))
    state = body.get("state")
    if state not in _STATES:
        raise InvalidInput(f"Expected one of {', '.join(_STATES)}; actual: {state}")
    output = obj(body.get("output"), "output")
    if row.execution_id is None:
        value = (output or "Unknown error") if state == "ERROR" else output
        await request.app.state.database.writing(standalone.update, action_id, state, value, time.time())
        return await _answer(request, action_id)
    event: ActionDone | ActionUpdate
    if state == "SUCCESS":
        event = ActionDone(action_id, output)
    elif state == "ERROR":
        event = ActionDone(action_id, error=output or "Unknown error")
    elif state == "CANCELLED":
        event = ActionDone(action_id, cancel=True)
    else:
        event = ActionUpdate(action_id, state)
    await request.app.state.engine.apply(row.execution_id, event)
    return await _answer(request, action_id)


async def create(request: Request) -> Response:
    """Run an action on its own, in place or stored (language spec 7.3)."""
    body = await json_body(request, ("name", "input", "description", "workflow_namespace", "params"))
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput("Please provide at least action name to run action.")
    params = obj(body.get("params"), "params")
    made = await request.app.state.run_inline(
        name,
        obj(body.get("input"), "input"),
        str(body.get("workflow_namespace") or ""),
        project(request),
        str(body.get("description") or ""),
        bool(params.get("save_result")),
        bool(params.get("run_sync")),
        params.get("target"),
        params.get("timeout"),
    )
    return JSONResponse(made if isinstance(made, dict) else shown(made), 201)


routes = [
    Route("/v2/action_executions", listed, methods=["GET"]),
    Route("/v2/action_executions", create, methods=["POST"]),
    Route("/v2/action_executions/{id}", get, methods=["GET"]),
    Route("/v2/action_executions/{id}", update, methods=["PUT"]),
]
