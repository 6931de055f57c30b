"""/v2/action_executions: results from outside, and actions run on their own."""

from __future__ import annotations

from typing import Any

import msgspec

from gregale.api import secrets
from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.problems import Forbidden
from gregale.api.wire import Encoded, encoded, is_uuid, listing, record
from gregale.core import ActionDone, ActionUpdate, InvalidInput
from gregale.engine import standalone
from gregale.store import rows, search
from gregale.store.attributes import Attribute, Resource
from gregale.store.schema import action_executions, executions, tasks

_c, _e = action_executions.c, executions.c


def _output(row: Any) -> str:
    return "{}" if row.output is None else encoded({"result": rows.decode(row.output)})


ACTION_EXECUTION = Resource(
    "action_executions",
    "ActionExecution",
    action_executions.join(tasks, tasks.c.id == _c.task_id, isouter=True).join(
        executions, _e.id == _c.execution_id, isouter=True
    ),
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("workflow_name", "text", _e.workflow_name),
        Attribute("workflow_namespace", "text", _e.namespace),
        Attribute("task_name", "text", tasks.c.name),
        Attribute("task_execution_id", "id", _c.task_id),
        Attribute("state", "text", _c.state, nullable=False),
        Attribute("state_info", "text", _c.state_info),
        Attribute("tags", "text", None, lambda _: None),
        Attribute("name", "text", _c.name, nullable=False),
        Attribute("description", "text", _c.description, lambda row: row.description or "", (_c.description,)),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("accepted", "flag", _c.accepted, nullable=False),
        Attribute("input", "object", _c.input),
        Attribute("output", "object", _c.output, _output, (_c.output,), listed=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at, nullable=False),
    ),
    where=(_c.kind == "ACTION", _c.execution_id.is_(None) | _e.id.is_not(None)),
    extra=secrets.COLUMNS,
)
_STATES = ("SUCCESS", "ERROR", "CANCELLED", "PAUSED", "RUNNING")
_QUERY = ("include_output", "tags", "params")

api = Endpoints("action executions")


class UpdateBody(msgspec.Struct, forbid_unknown_fields=True):
    """How an action has ended, or that it pauses or goes on. `output`: its result, a JSON object."""

    state: str | None = None
    output: Encoded = None
    id: Any = None
    state_info: Any = None
    name: Any = None
    description: Any = None
    workflow_name: Any = None
    workflow_namespace: Any = None
    task_name: Any = None
    task_execution_id: Any = None
    tags: Any = None
    accepted: Any = None
    input: Any = None
    params: Any = None
    created_at: Any = None
    updated_at: Any = None


class RunBody(msgspec.Struct, forbid_unknown_fields=True):
    """An action to run. `params`: save_result, run_sync, target, timeout (seconds)."""

    name: str | None = None
    input: Encoded = None
    description: str | None = None
    workflow_namespace: str | None = None
    params: Encoded = None
    id: Any = None
    state: Any = None
    state_info: Any = None
    workflow_name: Any = None
    task_name: Any = None
    task_execution_id: Any = None
    tags: Any = None
    accepted: Any = None
    output: Any = None
    created_at: Any = None
    updated_at: Any = None


@api(
    "GET",
    "/v2/action_executions",
    rule="action_executions:list",
    query=_QUERY,
    reply=Listing(ACTION_EXECUTION, "action_executions"),
)
async def listed(call: Call) -> dict[str, Any]:
    """Action executions, without their outputs unless `include_output` asks for them."""
    return await _page(call)


@api(
    "GET",
    "/v2/tasks/{id}/action_executions",
    rule="action_executions:list",
    query=_QUERY,
    reply=Listing(ACTION_EXECUTION, "action_executions"),
)
async def of_task(call: Call) -> dict[str, Any]:
    """The action executions of a task."""
    return await _page(call, call.path("id"))


async def _page(call: Call, task_id: str | None = None) -> dict[str, Any]:
    where = [call.viewer.own(action_executions)]
    for name in ("tags", "params"):
        if call.query.get(name):
            raise InvalidInput(f"Action executions cannot be filtered by '{name}': they have none")
    if task_id is not None:
        where.append(_c.task_id == task_id)
    more = ("output",) if call.flag("include_output") else ()
    within = (("task_execution_id", task_id),) if task_id is not None and is_uuid(task_id) else ()
    return await listing(call, ACTION_EXECUTION, *where, more=more, within=within, finish=secrets.masked)


@api("GET", "/v2/action_executions/{id}", rule="action_executions:get", query=("fields",), reply=ACTION_EXECUTION)
async def get(call: Call) -> dict[str, Any]:
    """One action execution, with its output."""
    return await record(call, ACTION_EXECUTION, call.path("id"), call.viewer.own(action_executions))


@api(
    "GET",
    "/v2/tasks/{id}/action_executions/{action_id}",
    rule="action_executions:get",
    query=("fields",),
    reply=ACTION_EXECUTION,
)
async def get_of_task(call: Call) -> dict[str, Any]:
    """One action execution of a task, with its output."""
    where = (call.viewer.own(action_executions), _c.task_id == call.path("id"))
    return await record(call, ACTION_EXECUTION, call.path("action_id"), *where)


@api(
    "PUT",
    "/v2/action_executions/{id}",
    rule="action_executions:update",
    body=UpdateBody,
    reply=ACTION_EXECUTION,
    locked=False,
)
async def update(call: Call) -> dict[str, Any]:
    """The callback of asynchronous actions: complete, pause or resume (API spec 2.4)."""
    await call.require_unlocked("PAUSING")
    action_id = call.path("id")
    body = await call.json(UpdateBody)
    row = await call.read(search.action_execution, action_id, call.viewer)
    state = body.state
    if state not in _STATES:
        raise InvalidInput(f"Expected one of {', '.join(_STATES)}; actual: {state}")
    output = call.obj(body.output, "output")
    if row.execution_id is None:
        value = None if state == "CANCELLED" else (output or "Unknown error") if state == "ERROR" else output
        await call.write(standalone.update, action_id, state, value, call.engine.clock())
        return await record(call, ACTION_EXECUTION, action_id)
    event: ActionDone | ActionUpdate
    if state == "SUCCESS":
        event = ActionDone(action_id, data=output)
    elif state == "ERROR":
        event = ActionDone(action_id, error=output or "Unknown error")
    elif state == "CANCELLED":
        event = ActionDone(action_id, cancel=True)
    else:
        event = ActionUpdate(action_id, state)  # type: ignore[arg-type]
    await call.engine.apply(row.execution_id, event)
    return await record(call, ACTION_EXECUTION, action_id)


@api("POST", "/v2/action_executions", rule="action_executions:create", body=RunBody, reply=ACTION_EXECUTION)
async def create(call: Call) -> dict[str, Any]:
    """Run an action on its own: in place, or stored where `save_result` says so or the action is asynchronous."""
    body = await call.json(RunBody)
    if not body.name:
        raise InvalidInput("Please provide at least action name to run action.")
    params = call.obj(body.params, "params")
    target, timeout = params.get("target"), params.get("timeout")
    if target is not None and not isinstance(target, str):
        raise InvalidInput("'target' must be the name of an executor")
    if timeout is not None and (
        isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 2**31
    ):
        raise InvalidInput("'timeout' must be a number of seconds above 0")
    made = await call.services.run_inline(
        body.name,
        call.obj(body.input, "input"),
        body.workflow_namespace or "",
        call.who.project_id,
        body.description or "",
        bool(params.get("save_result")),
        bool(params.get("run_sync")),
        target,
        None if timeout is None else max(1, int(timeout)),
        call.credentials(),
    )
    if isinstance(made, dict):
        return made
    missing = {"workflow_name": None, "workflow_namespace": None, "task_name": None, "task_execution_id": None}
    shown = {
        a.name: getattr(made, a.name) for a in ACTION_EXECUTION.attributes if a.name not in missing and a.name != "tags"
    }
    row = type(made)(**shown, **missing)
    return ACTION_EXECUTION.record(row, [a.name for a in ACTION_EXECUTION.attributes])


@api("DELETE", "/v2/action_executions/{id}", rule="action_executions:delete")
async def delete(call: Call) -> None:
    """Delete a finished action execution that belongs to no task, where the operator allows it."""
    if not call.services.settings.allow_action_execution_deletion:
        raise Forbidden("Action execution deletion is not allowed: api.allow_action_execution_deletion is off")
    row = await call.read(search.action_execution, call.path("id"), call.viewer)
    if row.task_id is not None:
        raise Forbidden(
            "Only ad-hoc action execution can be deleted; this one belongs to a task and goes with its execution"
        )
    if row.state not in ("SUCCESS", "ERROR", "CANCELLED"):
        raise Forbidden(f"Only completed action execution can be deleted; this one is {row.state}")
    await call.write(search.delete_action_execution, row.id)
