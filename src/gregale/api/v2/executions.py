"""/v2/executions"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import sqlalchemy as sa

from gregale.api import report, secrets
from gregale.api.auth import Identity
from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.problems import Forbidden
from gregale.api.v2 import tasks
from gregale.api.wire import Encoded, encoded, is_uuid, listing, record
from gregale.core import Execution, InvalidInput, NotAllowed, NotFound, Pause, Resume, Stop, UpdateEnv
from gregale.core.context import merged_maps
from gregale.store import rows, search
from gregale.store.attributes import Attribute, Resource
from gregale.store.load import spec_of
from gregale.store.removal import subtree_ids
from gregale.store.schema import executions, specs

_c = executions.c
_ROOT = sa.case((_c.root_id != _c.id, _c.root_id))


def _published_global(row: Any) -> str:
    """What tasks have published globally: the workflow's own context without its vars."""
    hidden = spec_of(row.spec_hash, row.body).vars
    return encoded({k: v for k, v in rows.decode(row.context).items() if k not in hidden})


_BODY = sa.select(specs.c.body).where(specs.c.hash == _c.spec_hash).scalar_subquery().label("body")

EXECUTION = Resource(
    "executions",
    "WorkflowExecution",
    executions,
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("workflow_id", "id", _c.workflow_id),
        Attribute("workflow_name", "text", _c.workflow_name, nullable=False),
        Attribute("workflow_namespace", "text", _c.namespace),
        Attribute("description", "text", _c.description),
        Attribute("tags", "tags", _c.tags),
        Attribute("params", "object", _c.params),
        Attribute("task_execution_id", "id", _c.parent_task_id),
        Attribute("root_execution_id", "id", _ROOT),
        Attribute("state", "text", _c.state, nullable=False),
        Attribute("state_info", "text", _c.state_info),
        Attribute("input", "object", _c.input),
        Attribute("output", "object", _c.output, lambda row: row.output or "{}", (_c.output,), listed=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at, nullable=False),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute(
            "published_global", "object", None, _published_global, (_c.context, _c.spec_hash, _BODY), listed=False
        ),
    ),
    extra=secrets.COLUMNS,
)
_LISTED = (*EXECUTION.listed(), "output")
_INTERNAL_PARAMS = ("root_execution_id", "task_execution_id", "index")
_MAX_ID = 64

api = Endpoints("executions")


class StartBody(msgspec.Struct, forbid_unknown_fields=True):
    """What may be given to start an execution; of a copied record everything else is ignored."""

    id: str | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None
    workflow_namespace: str | None = None
    input: Encoded = None
    params: Encoded = None
    description: str | None = None
    source_execution_id: str | None = None
    tags: Any = None
    task_execution_id: Any = None
    root_execution_id: Any = None
    state: Any = None
    state_info: Any = None
    output: Any = None
    published_global: Any = None
    created_at: Any = None
    updated_at: Any = None


class ChangeBody(msgspec.Struct, forbid_unknown_fields=True):
    """A new state, a new description, or more of the environment."""

    state: str | None = None
    state_info: Any = None
    description: str | None = None
    params: Encoded = None
    id: Any = None
    workflow_id: Any = None
    workflow_name: Any = None
    workflow_namespace: Any = None
    input: Any = None
    output: Any = None
    tags: Any = None
    task_execution_id: Any = None
    root_execution_id: Any = None
    source_execution_id: Any = None
    published_global: Any = None
    created_at: Any = None
    updated_at: Any = None


def _decided(execution: Execution) -> dict[str, Any]:
    """The record of an execution as a decision has just left it; by the time of a reading it may have gone on."""
    row = rows.execution_row(execution)
    shown = {a.name: row[a.column.name] for a in EXECUTION.attributes if isinstance(a.column, sa.Column)}
    root = None if execution.root_id == execution.id else execution.root_id
    body = rows.encode(execution.spec.body)
    more = {"root_execution_id": root, "context": row["context"], "spec_hash": execution.spec_hash, "body": body}
    return EXECUTION.record(SimpleNamespace(**shown, **more), [a.name for a in EXECUTION.attributes])


@api("POST", "/v2/executions", rule="executions:create", body=StartBody, reply=EXECUTION)
async def start(call: Call) -> dict[str, Any]:
    """Start an execution of a workflow.

    The reply shows it stored and RUNNING. With an `id` of the client's the start may be repeated: the second one finds
    what the first one made. `source_execution_id` takes over workflow, input and parameters of an earlier execution.
    """
    body = await call.json(StartBody)
    given, params = call.obj(body.input, "input"), call.obj(body.params, "params")
    for name in _INTERNAL_PARAMS:
        if name in params:
            raise InvalidInput(f"The parameter '{name}' is set by the engine only")
    description = body.description or ""
    identifier, namespace = body.workflow_id or body.workflow_name, body.workflow_namespace
    if body.source_execution_id:
        old = await call.read(search.execution, body.source_execution_id, call.viewer, "input", "params")
        if not identifier:
            identifier = old.workflow_id
            namespace = old.namespace if namespace is None else namespace
        given = merged_maps(rows.decode(old.input), given)
        kept = {k: v for k, v in rows.decode(old.params).items() if k not in _INTERNAL_PARAMS}
        params = merged_maps(kept, params)
        description = f"{description} Based on the execution '{body.source_execution_id}'".strip()
    if not identifier:
        raise InvalidInput("Workflow ID or workflow name must be provided. Workflow ID is preferred.")
    if body.id is not None and len(body.id) > _MAX_ID:
        raise InvalidInput(f"'id' must have at most {_MAX_ID} characters")
    if namespace:
        params["namespace"] = namespace
    await call.services.admission.require()
    made = await call.engine.create(
        identifier,
        namespace or "",
        given,
        params,
        description,
        call.who.project_id,
        body.id or None,
        call.credentials(),
        call.who.admin,
    )
    return _decided(made)


@api("GET", "/v2/executions/{id}", rule="executions:get", query=("fields",), reply=EXECUTION)
async def get(call: Call) -> dict[str, Any]:
    """One execution, with its output and what its tasks have published globally."""
    return await record(call, EXECUTION, call.path("id"), call.viewer.own(executions))


def across_projects(call: Call, resource: str) -> None:
    """Seeing other projects' things needs a policy of its own. Raises Forbidden."""
    if call.flag("all_projects"):
        call.require(f"{resource}:list:all_projects")


def _nulls(call: Call) -> list[Any]:
    columns = {a.name: a.column for a in EXECUTION.attributes if a.column is not None}
    names = [n for n in call.query.get("nulls", "").split(",") if n]
    for name in names:
        if name not in columns:
            raise InvalidInput(f"Cannot ask for null in '{name}'; possible are {', '.join(columns)}")
    # a root is its own root: an index is entered by asking for executions without a parent
    return [_c.parent_id.is_(None) if n == "root_execution_id" else columns[n].is_(None) for n in names]


@api(
    "GET",
    "/v2/executions",
    rule="executions:list",
    query=("include_output", "all_projects", "nulls"),
    reply=Listing(EXECUTION, "executions"),
)
async def listed(call: Call) -> dict[str, Any]:
    """Executions, without their outputs unless `include_output` asks for them. `nulls=root_execution_id` keeps the roots."""
    across_projects(call, "executions")
    if "project_id" in call.query:
        call.require("executions:list:all_projects")
    return await _listing(call, call.viewer.own(executions), *_nulls(call))


async def _listing(call: Call, *where: Any) -> dict[str, Any]:
    more = ("output",) if call.flag("include_output") else ()
    return await listing(call, EXECUTION, *where, more=more, finish=secrets.masked)


@api(
    "GET",
    "/v2/tasks/{id}/workflow_executions",
    rule="executions:list",
    query=("include_output", "all_projects", "nulls"),
    reply=Listing(EXECUTION, "executions"),
)
async def of_task(call: Call) -> dict[str, Any]:
    """The executions that a task has started."""
    across_projects(call, "executions")
    task_id = call.path("id")
    where = (_c.parent_task_id == task_id, call.viewer.own(executions), *_nulls(call))
    more = ("output",) if call.flag("include_output") else ()
    within = (("task_execution_id", task_id),) if is_uuid(task_id) else ()
    return await listing(call, EXECUTION, *where, more=more, within=within, finish=secrets.masked)


@api("PUT", "/v2/executions/{id}", rule="executions:update", body=ChangeBody, reply=EXECUTION, locked=False)
async def update(call: Call) -> dict[str, Any]:
    """Pause, resume, end or describe an execution, or add to its environment (API spec 2.2)."""
    execution_id = call.path("id")
    body = await call.json(ChangeBody)
    if body.state != "CANCELLED":
        await call.require_unlocked()
    row = await call.read(search.execution, execution_id, call.viewer)
    _require_own(row.project_id, call.who)
    params = call.obj(body.params, "params")
    env = call.obj(params.get("env"), "env")
    if body.state is None and body.description is None and not env:
        raise InvalidInput("The property state, description, or env is not provided for update.")
    if body.description is not None and body.state is not None:
        raise InvalidInput("The property description must be updated separately from state.")
    if env and body.state not in (None, "RUNNING"):
        raise InvalidInput(
            "The property env can only be updated when workflow execution is not running or on resume from pause."
        )
    if env and body.state is None:
        await call.engine.apply(execution_id, UpdateEnv(env))
    if body.description is not None:
        await call.write(search.describe, execution_id, body.description)
    if body.state is not None:
        return _decided(await call.engine.apply(execution_id, _event(body.state, body.state_info, env)))
    return await record(call, EXECUTION, execution_id)


def _require_own(project_id: str, who: Identity) -> None:
    if project_id != who.project_id and not who.admin:
        raise Forbidden("The execution belongs to another project")


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


@api("DELETE", "/v2/executions/{id}", rule="executions:delete", query=("force",))
async def delete(call: Call) -> None:
    """Delete an ended execution with everything in it and below it; with `force` also one that has not ended."""
    execution_id = call.path("id")
    row = await call.read(search.execution, execution_id, call.viewer)
    if row.state not in ("SUCCESS", "ERROR", "CANCELLED") and not call.flag("force"):
        raise NotAllowed(
            "Only completed executions can be deleted. Use --force to override this. "
            f"Execution {execution_id} is in {row.state} state"
        )
    await call.engine.delete(execution_id)


@api("GET", "/v2/executions/{id}/tasks", rule="tasks:list", reply=Listing(tasks.TASK, "tasks"))
async def its_tasks(call: Call) -> dict[str, Any]:
    """The tasks of an execution."""
    execution_id = call.path("id")
    try:
        row = await call.read(search.execution, execution_id, call.viewer)
    except NotFound:
        if not is_uuid(execution_id):
            raise InvalidInput(f"Invalid execution id: expected a UUID, got '{execution_id}'") from None
        raise
    return await tasks.page_of(call, row.id)


_BELOW = ("errors_only", "max_depth", "include_output")


def depth_of(call: Call) -> int:
    text = call.query.get("max_depth") or "-1"
    try:
        return max(-1, min(int(text), 10_000))
    except ValueError:
        raise InvalidInput(f"max_depth: unable to convert to int: {text[:50]}") from None


async def _below(call: Call, tops: list[str], depth: int) -> dict[str, Any]:
    """Executions depth-first, each before those that its tasks have started."""
    errors = call.flag("errors_only")
    found: dict[str, Any] = {}
    for top in tops:
        ids = await call.read(subtree_ids, top, depth)
        found.update({row.id: row for row in await call.read(report.execution_rows, EXECUTION, ids, _LISTED)})
    order = report.depth_first(found, tops)
    names = _LISTED if call.flag("include_output") else EXECUTION.listed()
    shown = [
        row for row in order if not errors or row.state == "ERROR" or (row.id in tops and call.path("id") == row.id)
    ]
    return {"executions": [secrets.masked(row, EXECUTION.record(row, names)) for row in shown]}


@api("GET", "/v2/executions/{id}/executions", rule="executions:get", query=_BELOW, reply=[EXECUTION])
async def sub_executions(call: Call) -> dict[str, Any]:
    """An execution and those below it, depth first; `max_depth` bounds the levels, `errors_only` keeps the failed ones."""
    row = await call.read(search.execution, call.path("id"), call.viewer)
    return await _below(call, [row.id], depth_of(call))


@api("GET", "/v2/tasks/{id}/executions", rule="executions:get", query=_BELOW, reply=[EXECUTION])
async def sub_executions_of_task(call: Call) -> dict[str, Any]:
    """The executions below a task, depth first."""
    task = await call.read(search.task, call.path("id"), call.viewer)
    return await _below(call, await call.read(report.started_by, task.id), depth_of(call))


@api(
    "GET",
    "/v2/executions/{id}/report",
    rule="executions:get",
    query=("errors_only", "max_depth", "statistics_only"),
    reply={"type": "object"},
)
async def its_report(call: Call) -> dict[str, Any]:
    """Counts of tasks by state, the time that is probably left, and the whole tree of an execution (API spec 1.5)."""
    row = await call.read(search.execution, call.path("id"), call.viewer)
    return await call.read(
        report.report, row, depth_of(call), call.flag("errors_only"), call.flag("statistics_only"), call.engine.clock()
    )
