"""/v2/cron_triggers (API spec 4.1)"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.triggers import keep, remove
from gregale.api.v2.executions import across_projects
from gregale.api.wire import Encoded, listing, record
from gregale.core import InvalidInput, NotFound
from gregale.core.creation import check_input
from gregale.engine.cron import NEVER, next_time
from gregale.store import definitions, rows, triggers
from gregale.store.attributes import Attribute, Resource
from gregale.store.schema import cron_triggers

_c = cron_triggers.c

CRON_TRIGGER = Resource(
    "cron_triggers",
    "CronTrigger",
    cron_triggers,
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("name", "text", _c.name, nullable=False),
        Attribute("workflow_name", "text", _c.workflow_name, nullable=False),
        Attribute("workflow_id", "id", _c.workflow_id, nullable=False),
        Attribute("workflow_input", "object", _c.workflow_input),
        Attribute("workflow_params", "object", _c.workflow_params),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("scope", "text", _c.scope, nullable=False),
        Attribute("pattern", "text", _c.pattern),
        Attribute("remaining_executions", "number", _c.remaining_executions),
        Attribute("first_execution_time", "time", _c.first_execution_time),
        Attribute("next_execution_time", "time", _c.next_execution_time, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at),
    ),
)
_SOONEST = 60

api = Endpoints("cron triggers")


class CronTriggerBody(msgspec.Struct, forbid_unknown_fields=True):
    """When to start which workflow. `pattern`: five fields, or six with seconds, or seven with years, in UTC.
    `first_execution_time`: YYYY-MM-DD HH:MM, in UTC."""

    name: str | None = None
    workflow_name: str | None = None
    workflow_id: str | None = None
    workflow_input: Encoded = None
    workflow_params: Encoded = None
    pattern: str | None = None
    first_execution_time: str | None = None
    remaining_executions: int | str | None = None
    scope: str | None = None
    id: Any = None
    next_execution_time: Any = None
    created_at: Any = None
    updated_at: Any = None


class _Times(msgspec.Struct, frozen=True):
    pattern: str
    first: float | None
    following: float
    count: int | None


def _times(body: CronTriggerBody, now: float) -> _Times:
    """Raises InvalidInput."""
    count = _count(body.remaining_executions)
    if not body.pattern and not body.first_execution_time:
        raise InvalidInput("Pattern or first_execution_time must be specified.")
    first = _first(body.first_execution_time, now) if body.first_execution_time else None
    if body.pattern:
        following = next_time(body.pattern, now)
        return _Times(body.pattern, first, first if first is not None else following, count)
    if count is not None and count > 1:
        raise InvalidInput("Pattern must be provided if count is superior to 1.")
    assert first is not None
    return _Times(NEVER, first, first, 1)


def _count(given: int | str | None) -> int | None:
    if given is None:
        return None
    try:
        count = int(given)
    except ValueError:
        count = 0
    if not 1 <= count < 2**31:
        raise InvalidInput(f"The remaining_executions must be a positive integer, not '{given}'")
    return count


def _first(text: str, now: float) -> float:
    try:
        first = datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InvalidInput(f"First execution time '{text}' is not of the form YYYY-MM-DD HH:MM") from None
    if first < now + _SOONEST:
        raise InvalidInput(f"First execution time must be at least {_SOONEST} seconds in the future: it is UTC")
    return first


@api("POST", "/v2/cron_triggers", rule="cron_triggers:create", body=CronTriggerBody, reply=CRON_TRIGGER)
async def create(call: Call) -> dict[str, Any]:
    """Start a workflow by the clock: once at a time, or again and again by a pattern."""
    body = await call.json(CronTriggerBody)
    if not body.name or len(body.name) > 255:
        raise InvalidInput("'name' is required: 1 to 255 characters")
    now = call.engine.clock()
    times = _times(body, now)
    given, params = call.obj(body.workflow_input, "workflow_input"), call.obj(body.workflow_params, "workflow_params")
    identifier = body.workflow_id or body.workflow_name
    if not identifier:
        raise InvalidInput("Workflow name or workflow id must be given.")
    owner = call.owner("cron_triggers", body.scope or "private")
    workflow = await call.read(definitions.definition, identifier, "", call.viewer)
    if workflow is None:
        raise NotFound(f"Workflow not found [workflow_identifier={identifier}]")
    check_input(workflow, given)
    row: dict[str, Any] = {
        "id": owner.new_id(),
        "name": body.name,
        "project_id": owner.project_id,
        "scope": owner.scope,
        "workflow_id": workflow.id,
        "workflow_name": workflow.name,
        "workflow_input": rows.encode(given),
        "workflow_params": rows.encode(params),
        "pattern": times.pattern,
        "first_execution_time": times.first,
        "next_execution_time": times.following,
        "remaining_executions": times.count,
        "fingerprint": _fingerprint(owner.project_id, workflow.name, times, given, params),
        "last_error": None,
        "created_at": now,
        "updated_at": None,
    }
    await keep(call, cron_triggers, "CronTrigger", row)
    return await record(call, CRON_TRIGGER, row["id"])


def _fingerprint(project: str, workflow: str, times: _Times, given: Any, params: Any) -> str | None:
    """What two triggers may not have in common; only where count and first time are both given."""
    if times.count is None or times.first is None:
        return None
    whole = msgspec.json.encode(
        [project, workflow, times.pattern, given, params, times.count, times.first], order="sorted"
    )
    return hashlib.sha256(whole).hexdigest()


@api("GET", "/v2/cron_triggers/{identifier}", rule="cron_triggers:get", query=("fields",), reply=CRON_TRIGGER)
async def get(call: Call) -> dict[str, Any]:
    """One cron trigger, by name or id."""
    found = await call.read(triggers.find_cron, call.path("identifier"), call.viewer)
    return await record(call, CRON_TRIGGER, found.id)


@api(
    "GET",
    "/v2/cron_triggers",
    rule="cron_triggers:list",
    query=("all_projects",),
    reply=Listing(CRON_TRIGGER, "cron_triggers"),
)
async def listed(call: Call) -> dict[str, Any]:
    """The cron triggers of the project, and public ones."""
    across_projects(call, "cron_triggers")
    return await listing(call, CRON_TRIGGER, call.viewer.sees(cron_triggers))


@api("DELETE", "/v2/cron_triggers/{identifier}", rule="cron_triggers:delete")
async def delete(call: Call) -> None:
    """Delete a cron trigger. What it has started goes on."""
    found = await call.read(triggers.find_cron, call.path("identifier"), call.viewer)
    await remove(call, cron_triggers, "CronTrigger", found)
