"""/v2/tasks"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale.api.v2 import action_executions
from gregale.api.wire import collection, encoded, json_body, obj, project, wanted, when
from gregale.core import InvalidInput, Rerun, Skip, WorkflowError
from gregale.store import rows, search
from gregale.store.load import spec_of
from gregale.store.schema import executions, tasks
from gregale.store.shown import runtime_context, task_result

_FILTERS = (
    "id",
    "name",
    "workflow_name",
    "workflow_id",
    "workflow_execution_id",
    "tags",
    "state",
    "state_info",
    "processed",
    "created_at",
    "updated_at",
    "type",
    "project_id",
)


def shown(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "type": row.type,
        "workflow_name": row.workflow_name,
        "workflow_namespace": row.namespace,
        "workflow_id": row.workflow_id,
        "workflow_execution_id": row.execution_id,
        "tags": [],
        "state": row.state,
        "state_info": row.state_info,
        "project_id": row.project_id,
        "runtime_context": encoded(runtime_context(row.progress)),
        "published": row.published if row.published is not None else "{}",
        "processed": bool(row.processed),
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
        "started_at": when(row.started_at),
        "finished_at": when(row.finished_at),
    }


async def _answer(request: Request, task_id: str) -> Response:
    database = request.app.state.database
    row = await database.reading(search.task, task_id, project(request))
    spec = await database.reading(search.spec_body, row.spec_hash)
    children = await database.reading(search.children, task_id)
    task_spec = spec_of(row.spec_hash, spec).tasks[row.name]
    result = shown(row)
    result["tags"] = list(task_spec.tags)
    result["result"] = encoded(task_result(children, task_spec.with_items is not None))
    names = task_spec.publishing(row.state).globals
    if names:
        context = rows.decode((await database.reading(search.execution, row.execution_id, project(request))).context)
        result["published_global"] = encoded({n: context[n] for n in names if n in context})
    return JSONResponse(result)


async def get(request: Request) -> Response:
    return await _answer(request, request.path_params["id"])


async def listed(request: Request) -> Response:
    return await page_of(request, None)


async def page_of(request: Request, execution_id: str | None) -> Response:
    page = wanted(request, _FILTERS)
    where = [executions.c.project_id == project(request)]
    if execution_id is not None:
        where.append(tasks.c.execution_id == execution_id)
    found = await request.app.state.database.reading(search.task_list, page, *where)
    return collection(request, "tasks", page, found, shown)


async def update(request: Request) -> Response:
    """Rerun or skip a failed task (API spec 2.3)."""
    task_id = request.path_params["id"]
    body = await json_body(request, ("id", "name", "workflow_name", "state", "reset", "env", "workflow_execution_id"))
    database = request.app.state.database
    row = await database.reading(search.task, task_id, project(request))
    for name, found in (("name", row.name), ("workflow_name", row.workflow_name)):
        if body.get(name) and body[name] != found:
            raise InvalidInput(f"The {name} does not match: the task's is '{found}'")
    state, reset, env = body.get("state"), body.get("reset"), obj(body.get("env"), "env")
    if state not in ("RUNNING", "SKIPPED"):
        raise InvalidInput(
            f"Invalid task state: {state}. Only updating task to rerun (RUNNING) or skip (SKIPPED) is supported"
        )
    if row.state != "ERROR":
        raise WorkflowError(
            f"The current task execution must be in ERROR for rerun. Only updating task to rerun is supported [state={row.state}]"
        )
    if state == "SKIPPED":
        await request.app.state.engine.apply(row.execution_id, Skip(task_id, env or None))
        return await _answer(request, task_id)
    if not isinstance(reset, bool):
        raise InvalidInput("Reset field is mandatory to rerun task: true or false")
    spec = spec_of(row.spec_hash, await database.reading(search.spec_body, row.spec_hash))
    if not reset and spec.tasks[row.name].with_items is None:
        raise InvalidInput("Only with-items task has the option to not reset")
    await request.app.state.engine.apply(row.execution_id, Rerun(task_id, reset, env or None))
    return await _answer(request, task_id)


async def its_actions(request: Request) -> Response:
    return await action_executions.page_of(request, request.path_params["id"])


async def its_executions(request: Request) -> Response:
    from gregale.api.v2 import executions as api

    found = await request.app.state.database.reading(
        search.page,
        executions,
        list(executions.c),
        wanted(request, ()),
        executions.c.parent_task_id == request.path_params["id"],
        executions.c.project_id == project(request),
    )
    return JSONResponse({"executions": [api.shown(row) for row in found]})


routes = [
    Route("/v2/tasks", listed, methods=["GET"]),
    Route("/v2/tasks/{id}", get, methods=["GET"]),
    Route("/v2/tasks/{id}", update, methods=["PUT"]),
    Route("/v2/tasks/{id}/action_executions", its_actions, methods=["GET"]),
    Route("/v2/tasks/{id}/workflow_executions", its_executions, methods=["GET"]),
]
