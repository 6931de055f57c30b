"""/v2/executions"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale.api.v2 import tasks
from gregale.api.wire import collection, encoded, flag, json_body, obj, project, wanted, when
from gregale.core import Execution, InvalidInput, NotAllowed, NotFound, Pause, Resume, Stop, UpdateEnv
from gregale.store import rows, search
from gregale.store.load import spec_of
from gregale.store.schema import executions

_FILTERS = (
    "id",
    "workflow_name",
    "workflow_id",
    "description",
    "tags",
    "params",
    "task_execution_id",
    "root_execution_id",
    "state",
    "state_info",
    "input",
    "output",
    "created_at",
    "updated_at",
    "project_id",
)
_COLUMN = {"task_execution_id": "parent_task_id", "root_execution_id": "root_id"}
_START = (
    "id",
    "workflow_id",
    "workflow_name",
    "workflow_namespace",
    "input",
    "params",
    "description",
    "source_execution_id",
)
_MAX_ID = 64
_INTERNAL_PARAMS = ("root_execution_id", "task_execution_id", "index")


def shown(row: Any, output: bool = True) -> dict[str, Any]:
    result = {
        "id": row.id,
        "workflow_id": row.workflow_id,
        "workflow_name": row.workflow_name,
        "workflow_namespace": row.namespace,
        "description": row.description,
        "tags": rows.decode(row.tags),
        "params": row.params,
        "task_execution_id": row.parent_task_id,
        "root_execution_id": None if row.root_id == row.id else row.root_id,
        "state": row.state,
        "state_info": row.state_info,
        "input": row.input,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
        "project_id": row.project_id,
    }
    if output:
        result["output"] = row.output if row.output is not None else "{}"
    return result


def _as_decided(execution: Execution) -> Any:
    """The row of an execution as a decision has just left it; by the time of a reading it may have gone on."""
    return SimpleNamespace(**rows.execution_row(execution))


async def _answer(request: Request, row: Any, status: int = 200) -> Response:
    result = shown(row)
    spec = spec_of(row.spec_hash, await request.app.state.database.reading(search.spec_body, row.spec_hash))
    published = {k: v for k, v in rows.decode(row.context).items() if k not in spec.vars}
    result["published_global"] = encoded(published)
    return JSONResponse(result, status)


async def create(request: Request) -> Response:
    body = await json_body(request, _START)
    engine = request.app.state.engine
    given, params = obj(body.get("input"), "input"), obj(body.get("params"), "params")
    for name in _INTERNAL_PARAMS:
        if name in params:
            raise InvalidInput(f"The parameter '{name}' is set by the engine only")
    description = body.get("description") or ""
    identifier = body.get("workflow_id") or body.get("workflow_name")
    namespace = body.get("workflow_namespace") or ""
    source = body.get("source_execution_id")
    if source:
        old = await request.app.state.database.reading(search.execution, source, project(request))
        identifier = identifier or old.workflow_id
        given = {**rows.decode(old.input), **given}
        params = {**{k: v for k, v in rows.decode(old.params).items() if k not in _INTERNAL_PARAMS}, **params}
        description = f"{description} Based on the execution '{source}'".strip()
    if not identifier:
        raise InvalidInput("Workflow ID or workflow name must be provided. Workflow ID is preferred.")
    if body.get("id") is not None and not (isinstance(body["id"], str) and len(body["id"]) <= _MAX_ID):
        raise InvalidInput(f"'id' must be a string of at most {_MAX_ID} characters")
    made = await engine.create(
        str(identifier), str(namespace), given, params, str(description), project(request), body.get("id") or None
    )
    return await _answer(request, _as_decided(made), 201)


async def get(request: Request) -> Response:
    row = await request.app.state.database.reading(search.execution, request.path_params["id"], project(request))
    return await _answer(request, row)


async def listed(request: Request) -> Response:
    page = wanted(request, _FILTERS, ("include_output", "all_projects", "nulls"))
    output = flag(request, "include_output")
    where = [executions.c.project_id == project(request)]
    if "root_execution_id" in dict(page.filters):
        where.append(executions.c.root_id != executions.c.id)
    for name in filter(None, request.query_params.get("nulls", "").split(",")):
        if name not in ("root_execution_id", "task_execution_id"):
            raise InvalidInput(f"Cannot ask for null in '{name}'")
        where.append(executions.c.parent_id.is_(None))
    columns = search.execution_columns(output)
    renamed = msgspec.structs.replace(page, filters=tuple((_COLUMN.get(n, n), v) for n, v in page.filters))
    found = await request.app.state.database.reading(search.page, executions, columns, renamed, *where)
    return collection(request, "executions", page, found, lambda row: shown(row, output))


async def update(request: Request) -> Response:
    execution_id = request.path_params["id"]
    body = await json_body(
        request, ("id", "state", "state_info", "description", "params", "workflow_name", "workflow_id")
    )
    await request.app.state.database.reading(search.execution, execution_id, project(request))
    state, description = body.get("state"), body.get("description")
    env = obj(obj(body.get("params"), "params").get("env"), "env")
    if state is None and description is None and not env:
        raise InvalidInput("The property state, description, or env is not provided for update.")
    if description is not None and state is not None:
        raise InvalidInput("The property description must be updated separately from state.")
    if env and state not in (None, "RUNNING"):
        raise InvalidInput(
            "The property env can only be updated when workflow execution is not running or on resume from pause."
        )
    engine = request.app.state.engine
    if description is not None:
        await request.app.state.database.writing(search.describe, execution_id, str(description))
    if env and state is None:
        await engine.apply(execution_id, UpdateEnv(env))
    if state is not None:
        return await _answer(
            request, _as_decided(await engine.apply(execution_id, _event(str(state), body.get("state_info"), env)))
        )
    return await _answer(
        request, await request.app.state.database.reading(search.execution, execution_id, project(request))
    )


def _event(state: str, info: Any, env: dict[str, Any]) -> Pause | Resume | Stop:
    message = None if info is None else str(info)
    if state == "PAUSED":
        return Pause(message)
    if state == "RUNNING":
        return Resume(env or None)
    if state in ("SUCCESS", "ERROR", "CANCELLED"):
        return Stop(state, message, if_paused=True)  # type: ignore[arg-type]
    raise InvalidInput(
        f"Cannot change state to {state}. Allowed states are: RUNNING, PAUSED, SUCCESS, ERROR, CANCELLED"
    )


async def delete(request: Request) -> Response:
    execution_id = request.path_params["id"]
    row = await request.app.state.database.reading(search.execution, execution_id, project(request))
    if row.state not in ("SUCCESS", "ERROR", "CANCELLED") and not flag(request, "force"):
        raise NotAllowed(
            f"Only completed executions can be deleted. Use --force to override this. Execution {execution_id} is in {row.state} state"
        )
    await request.app.state.engine.delete(execution_id)
    return Response(status_code=204)


async def its_tasks(request: Request) -> Response:
    row = await request.app.state.database.reading(search.execution, request.path_params["id"], project(request))
    return await tasks.page_of(request, row.id)


async def sub_executions(request: Request) -> Response:
    database = request.app.state.database
    top = await database.reading(search.execution, request.path_params["id"], project(request))
    found = []
    for execution_id in await database.reading(search.subtree_ids, top.id):
        try:
            found.append(shown(await database.reading(search.execution, execution_id, project(request))))
        except NotFound:
            continue
    return JSONResponse({"executions": found})


routes = [
    Route("/v2/executions", listed, methods=["GET"]),
    Route("/v2/executions", create, methods=["POST"]),
    Route("/v2/executions/{id}", get, methods=["GET"]),
    Route("/v2/executions/{id}", update, methods=["PUT"]),
    Route("/v2/executions/{id}", delete, methods=["DELETE"]),
    Route("/v2/executions/{id}/tasks", its_tasks, methods=["GET"]),
    Route("/v2/executions/{id}/executions", sub_executions, methods=["GET"]),
]
