"""/v2/tasks"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from gregale.api import secrets
from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.wire import Encoded, encoded, listing, record
from gregale.core import InvalidInput, Rerun, Skip, WorkflowError
from gregale.store import search
from gregale.store.attributes import Attribute, Resource
from gregale.store.load import spec_of
from gregale.store.schema import executions, specs, tasks
from gregale.store.shown import global_values, results, runtime_context

_c, _e = tasks.c, executions.c


def _runtime_context(row: Any) -> str:
    return encoded(runtime_context(row.progress))


def _published_global(row: Any) -> Any:
    """Names of what the task publishes globally, by its state; `_completed` puts the values in their place."""
    names = spec_of(row.spec_hash, row.body).tasks[row.name].publishing(row.state).globals
    return (row.workflow_execution_id, tuple(names)) if names else None


BODY = sa.select(specs.c.body).where(specs.c.hash == _e.spec_hash).scalar_subquery().label("body")

TASK = Resource(
    "tasks",
    "TaskExecution",
    tasks.join(executions, _e.id == _c.execution_id),
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("name", "text", _c.name, nullable=False),
        Attribute("type", "text", _c.type, nullable=False),
        Attribute("workflow_name", "text", _e.workflow_name, nullable=False),
        Attribute("workflow_namespace", "text", _e.namespace),
        Attribute("workflow_id", "id", _e.workflow_id),
        Attribute("workflow_execution_id", "text", _c.execution_id, nullable=False),
        Attribute("tags", "tags", _c.tags),
        Attribute("state", "text", _c.state, nullable=False),
        Attribute("state_info", "text", _c.state_info),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("runtime_context", "object", None, _runtime_context, (_c.progress,)),
        Attribute("published", "object", _c.published, lambda row: row.published or "{}", (_c.published,)),
        Attribute("processed", "flag", _c.processed, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at, nullable=False),
        Attribute("started_at", "time", _c.started_at),
        Attribute("finished_at", "time", _c.finished_at),
        Attribute("result", "object", None, lambda _: None, (), listed=False),
        Attribute(
            "published_global",
            "object",
            None,
            _published_global,
            (_c.name, _c.state, _c.execution_id.label("workflow_execution_id"), _e.spec_hash, BODY),
            listed=False,
        ),
    ),
    extra=secrets.COLUMNS,
)
"""`result` is worked out from what the task has run, by `_completed`."""

api = Endpoints("tasks")


class RerunBody(msgspec.Struct, forbid_unknown_fields=True):
    """`state`: RUNNING runs the task again, SKIPPED leaves it behind."""

    state: str | None = None
    reset: bool | None = None
    env: Encoded = None
    id: Any = None
    name: str | None = None
    workflow_name: str | None = None
    type: Any = None
    workflow_namespace: Any = None
    workflow_id: Any = None
    workflow_execution_id: Any = None
    tags: Any = None
    state_info: Any = None
    runtime_context: Any = None
    result: Any = None
    published: Any = None
    published_global: Any = None
    processed: Any = None
    created_at: Any = None
    updated_at: Any = None
    started_at: Any = None
    finished_at: Any = None


async def _completed(call: Call, items: list[dict[str, Any]]) -> None:
    """Fill in what is not in the task's own row: its result, and global publishes, which are absent where there are none."""
    if items and "result" in items[0]:
        found = await call.read(results, [item["id"] for item in items])
        for item in items:
            item["result"] = encoded(found[item["id"]])
    publishing = {item["published_global"][0] for item in items if item.get("published_global")}
    values = await call.read(global_values, sorted(publishing)) if publishing else {}
    for item in items:
        if item.get("published_global"):
            key, names = item["published_global"]
            item["published_global"] = encoded({n: values[key][n] for n in names if n in values[key]})
        else:
            item.pop("published_global", None)


async def _one(call: Call, task_id: str) -> dict[str, Any]:
    shown = await record(call, TASK, task_id, call.viewer.own(tasks))
    await _completed(call, [shown])
    return shown


@api("GET", "/v2/tasks/{id}", rule="tasks:get", query=("fields",), reply=TASK)
async def get(call: Call) -> dict[str, Any]:
    """One task, with its result, and with what it has published globally if it did."""
    return await _one(call, call.path("id"))


@api("GET", "/v2/tasks", rule="tasks:list", reply=Listing(TASK, "tasks"), query=("result", "reset", "env"))
async def listed(call: Call) -> dict[str, Any]:
    """Tasks of all executions, without their results."""
    return await page_of(call, None)


async def page_of(call: Call, execution_id: str | None) -> dict[str, Any]:
    for name in ("result", "reset", "env"):
        if name in call.query:
            known = ", ".join(TASK.filters())
            raise InvalidInput(f"Tasks cannot be filtered by '{name}', which is not stored; possible are {known}")
    within = () if execution_id is None else (("workflow_execution_id", execution_id),)
    found: dict[str, Any] = {}

    def finish(row: Any, item: dict[str, Any]) -> dict[str, Any]:
        found[item["id"]] = row
        return item

    page = await listing(call, TASK, call.viewer.own(tasks), within=within, finish=finish)
    await _completed(call, page["tasks"])
    page["tasks"] = [secrets.masked(found[item["id"]], item) for item in page["tasks"]]
    return page


@api("PUT", "/v2/tasks/{id}", rule="tasks:update", body=RerunBody, reply=TASK)
async def update(call: Call) -> dict[str, Any]:
    """Rerun or skip a failed task (API spec 2.3)."""
    task_id = call.path("id")
    body = await call.json(RerunBody)
    row = await call.read(search.task, task_id, call.viewer)
    for name, given, found in (
        ("name", body.name, row.name),
        ("workflow_name", body.workflow_name, row.workflow_name),
    ):
        if given and given != found:
            raise InvalidInput(f"The {name} does not match: the task's is '{found}'")
    env = call.obj(body.env, "env")
    if body.state not in ("RUNNING", "SKIPPED"):
        raise InvalidInput(
            f"Invalid task state: {body.state}. Only updating task to rerun (RUNNING) or skip (SKIPPED) is supported"
        )
    if row.state != "ERROR":
        raise WorkflowError(
            f"The current task execution must be in ERROR for rerun. Only updating task to rerun is supported [state={row.state}]"
        )
    if body.state == "SKIPPED":
        await call.engine.apply(row.execution_id, Skip(task_id, env or None))
        return await _one(call, task_id)
    if body.reset is None:
        raise InvalidInput("Reset field is mandatory to rerun task: true or false")
    spec = spec_of(row.spec_hash, await call.read(search.spec_body, row.spec_hash))
    if not body.reset and spec.tasks[row.name].with_items is None:
        raise InvalidInput("Only with-items task has the option to not reset")
    await call.engine.apply(row.execution_id, Rerun(task_id, body.reset, env or None))
    return await _one(call, task_id)
