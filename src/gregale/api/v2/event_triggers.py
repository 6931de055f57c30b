"""/v2/event_triggers (API spec 4.2)"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.triggers import keep, remove
from gregale.api.v2.executions import across_projects
from gregale.api.wire import Encoded, is_uuid, listing, record
from gregale.core import InvalidInput, NotFound
from gregale.core.creation import check_input
from gregale.store import definitions, rows, triggers
from gregale.store.attributes import Attribute, Resource
from gregale.store.schema import event_triggers

_c = event_triggers.c

EVENT_TRIGGER = Resource(
    "event_triggers",
    "EventTrigger",
    event_triggers,
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("name", "text", _c.name, nullable=False),
        Attribute("workflow_id", "id", _c.workflow_id, nullable=False),
        Attribute("workflow_input", "object", _c.workflow_input),
        Attribute("workflow_params", "object", _c.workflow_params),
        Attribute("exchange", "text", _c.exchange, nullable=False),
        Attribute("topic", "text", _c.topic, nullable=False),
        Attribute("event", "text", _c.event, nullable=False),
        Attribute("scope", "text", _c.scope, nullable=False),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at),
    ),
)
_REQUIRED = ("workflow_id", "exchange", "topic", "event")

api = Endpoints("event triggers")


class EventTriggerBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which event, published to which topic of which exchange, starts which workflow."""

    name: str | None = None
    workflow_id: str | None = None
    exchange: str | None = None
    topic: str | None = None
    event: str | None = None
    workflow_input: Encoded = msgspec.UNSET
    workflow_params: Encoded = msgspec.UNSET
    scope: str | None = None


def _fingerprint(values: dict[str, Any]) -> str:
    whole = [values[name] for name in ("exchange", "topic", "event", "workflow_id", "project_id")]
    return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()


async def _require_workflow(call: Call, workflow_id: str, given: dict[str, Any]) -> None:
    if not is_uuid(workflow_id):
        raise InvalidInput(f"Invalid input for field/attribute workflow_id. Value: '{workflow_id}'. Expected a uuid.")
    workflow = await call.read(definitions.definition, workflow_id, "", call.viewer)
    if workflow is None:
        raise NotFound(f"Workflow not found [workflow_identifier={workflow_id}]")
    check_input(workflow, given)


@api("POST", "/v2/event_triggers", rule="event_triggers:create", body=EventTriggerBody, reply=EVENT_TRIGGER)
async def create(call: Call) -> dict[str, Any]:
    """Start a workflow by an event of another service."""
    body = await call.json(EventTriggerBody)
    missing = [name for name in _REQUIRED if not getattr(body, name)]
    if missing:
        raise InvalidInput(f"Missing parameters: {', '.join(missing)}; {', '.join(_REQUIRED)} are required")
    for name in (*_REQUIRED, "name"):
        if len(getattr(body, name) or "") > 255:
            raise InvalidInput(f"'{name}' must have at most 255 characters")
    given, params = _objects(call, body)
    assert body.workflow_id is not None
    await _require_workflow(call, body.workflow_id, given or {})
    owner = call.owner("event_triggers", body.scope or "private")
    row: dict[str, Any] = {
        "id": owner.new_id(),
        "name": body.name or "",
        "project_id": owner.project_id,
        "scope": owner.scope,
        "workflow_id": body.workflow_id,
        "exchange": body.exchange,
        "topic": body.topic,
        "event": body.event,
        "workflow_input": rows.encode(given or {}),
        "workflow_params": rows.encode(params or {}),
        "last_error": None,
        "created_at": owner.now,
        "updated_at": None,
    }
    row["fingerprint"] = _fingerprint(row)
    await keep(call, event_triggers, "EventTrigger", row)
    return await record(call, EVENT_TRIGGER, row["id"])


def _objects(call: Call, body: EventTriggerBody) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Input and parameters, None for what is not given."""
    given = None if body.workflow_input is msgspec.UNSET else call.obj(body.workflow_input, "workflow_input")
    params = None if body.workflow_params is msgspec.UNSET else call.obj(body.workflow_params, "workflow_params")
    return given, params


async def _found(call: Call) -> Any:
    key = call.path("id")
    if not is_uuid(key):
        raise InvalidInput(f"Invalid event trigger id: expected a UUID, got '{key}'")
    return await call.read(triggers.find_event, key, call.viewer)


@api("PUT", "/v2/event_triggers/{id}", rule="event_triggers:update", body=EventTriggerBody, reply=EVENT_TRIGGER)
async def update(call: Call) -> dict[str, Any]:
    """Change what an event starts; which event it is cannot be changed."""
    body = await call.json(EventTriggerBody)
    for name in ("exchange", "topic", "event"):
        if getattr(body, name) is not None:
            raise InvalidInput("Can not update fields: exchange, topic and event of an event trigger stay as they are")
    found = await _found(call)
    call.viewer.require_own(found, "EventTrigger")
    given, params = _objects(call, body)
    values: dict[str, Any] = {"updated_at": call.engine.clock()}
    if body.name is not None:
        if len(body.name) > 255:
            raise InvalidInput("'name' must have at most 255 characters")
        values["name"] = body.name
    if body.scope is not None:
        values["scope"] = call.scope("event_triggers", body.scope)
    if body.workflow_id is not None or given is not None:
        values["workflow_id"] = body.workflow_id or found.workflow_id
        await _require_workflow(
            call, values["workflow_id"], rows.decode(found.workflow_input) if given is None else given
        )
    if given is not None:
        values["workflow_input"] = rows.encode(given)
    if params is not None:
        values["workflow_params"] = rows.encode(params)
    values["fingerprint"] = _fingerprint({**found._mapping, **values})  # noqa: SLF001 - SQLAlchemy's public name for it
    await call.write(triggers.update_event, found, values)
    return await record(call, EVENT_TRIGGER, found.id)


@api("GET", "/v2/event_triggers/{id}", rule="event_triggers:get", query=("fields",), reply=EVENT_TRIGGER)
async def get(call: Call) -> dict[str, Any]:
    """One event trigger."""
    return await record(call, EVENT_TRIGGER, (await _found(call)).id)


@api(
    "GET",
    "/v2/event_triggers",
    rule="event_triggers:list",
    query=("all_projects",),
    reply=Listing(EVENT_TRIGGER, "event_triggers"),
)
async def listed(call: Call) -> dict[str, Any]:
    """The event triggers of the project, and public ones."""
    across_projects(call, "event_triggers")
    return await listing(call, EVENT_TRIGGER, call.viewer.sees(event_triggers))


@api("DELETE", "/v2/event_triggers/{id}", rule="event_triggers:delete")
async def delete(call: Call) -> None:
    """Delete an event trigger. What it has started goes on."""
    found = await _found(call)
    await remove(call, event_triggers, "EventTrigger", found)
