"""/v2/notifications: what was, is being and could not be sent; Gregale's own."""

from __future__ import annotations

from typing import Any

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.wire import listing, record
from gregale.core import WorkflowError
from gregale.store import outbox, rows
from gregale.store.attributes import Attribute, Resource
from gregale.store.schema import notifications

_c = notifications.c


def _publisher(row: Any) -> str:
    """Without headers, which may hold credentials."""
    return rows.encode({k: v for k, v in rows.decode(row.publisher).items() if k != "headers"})


NOTIFICATION = Resource(
    "notifications",
    "Notification",
    notifications,
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("execution_id", "text", _c.execution_id, nullable=False),
        Attribute("root_execution_id", "text", _c.root_id, nullable=False),
        Attribute("event", "text", _c.event, nullable=False),
        Attribute("publisher", "object", None, _publisher, (_c.publisher,)),
        Attribute("payload", "object", _c.payload, listed=False),
        Attribute("state", "text", _c.state, nullable=False),
        Attribute("attempts", "number", _c.attempts, nullable=False),
        Attribute("next_attempt_at", "time", _c.due, nullable=False),
        Attribute("last_error", "text", _c.last_error),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at, nullable=False),
    ),
)

api = Endpoints("notifications")


@api("GET", "/v2/notifications", rule="notifications:list", reply=Listing(NOTIFICATION, "notifications"))
async def listed(call: Call) -> dict[str, Any]:
    """Notifications of the project's executions: PENDING, SENT or FAILED, with the last error."""
    return await listing(call, NOTIFICATION, call.viewer.own(notifications))


@api("GET", "/v2/notifications/{id}", rule="notifications:get", query=("fields",), reply=NOTIFICATION)
async def get(call: Call) -> dict[str, Any]:
    """One notification, with what is sent. Its id is the idempotency key that a webhook receives."""
    return await record(call, NOTIFICATION, call.path("id"), call.viewer.own(notifications))


@api("PUT", "/v2/notifications/{id}", rule="notifications:update", reply=NOTIFICATION)
async def resend(call: Call) -> dict[str, Any]:
    """Try a failed notification again, now."""
    key = call.path("id")
    found = await record(call, NOTIFICATION, key, call.viewer.own(notifications))
    if found["state"] != "FAILED":
        raise WorkflowError(f"Only a FAILED notification can be sent again; this one is {found['state']}")
    await call.write(outbox.settle, [(key, "PENDING", call.engine.clock(), found["last_error"])], call.engine.clock())
    call.engine.notifier.wake.set()
    return await record(call, NOTIFICATION, key)
