"""/v2/events: what happens, as it happens (server-sent events); and events of other services, handed in over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
from starlette.responses import StreamingResponse

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints
from gregale.api.problems import Gone
from gregale.core import InvalidInput
from gregale.core.scope import shown_time
from gregale.engine.event_triggers import Notification
from gregale.store import outbox, rows
from gregale.store.schema import events

_STEP = 500
_HEARTBEAT = 15.0
_LOOK_EVERY = 1.0

api = Endpoints("events")


class EventBody(msgspec.Struct, forbid_unknown_fields=True):
    """An event for event triggers. The same `message_id` starts nothing a second time."""

    exchange: str
    topic: str
    event_type: str
    payload: dict[str, Any] = {}
    message_id: str | None = None
    publisher_id: str = ""
    timestamp: str = ""
    context: dict[str, Any] = {}


@api("POST", "/v2/events", rule="events:create", body=EventBody, reply={"type": "object"})
async def happened(call: Call) -> dict[str, Any]:
    """Tell event triggers of an event. The reply names the executions that were started for it."""
    body = await call.json(EventBody)
    context = dict(body.context)
    if call.who.authenticated and not call.who.admin:
        context["project_id"] = call.who.project_id
    message_id = body.message_id or call.engine.new_id()
    at = body.timestamp or shown_time(call.engine.clock())
    notification = Notification(message_id, body.event_type, body.payload, body.publisher_id, at, context=context)
    started = await call.engine.event_triggers.happened(body.exchange, body.topic, notification)
    return {"message_id": message_id, "executions": started}


class Wakers:
    """Streams that wait for the next commit of this process; those of others are seen by looking.

    `closed`: the server is about to stop, and every stream ends so that it can.
    """

    def __init__(self) -> None:
        self.closed = False
        self._waiting: set[asyncio.Event] = set()

    def wake(self, _: object) -> None:
        for event in self._waiting:
            event.set()

    def close(self) -> None:
        self.closed = True
        self.wake(None)

    async def wait(self, seconds: float) -> None:
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
        finally:
            self._waiting.discard(event)


@api(
    "GET",
    "/v2/events",
    rule="events:list",
    query=("execution", "workflow", "project", "last_event_id"),
    reply={"text/event-stream": True},
)
async def stream(call: Call) -> StreamingResponse:
    """Changes of state of executions and tasks, as they are committed (text/event-stream).

    Without a position the stream begins now. The header Last-Event-ID, or `last_event_id`, resumes after an event that
    was seen, without loss or repeat; `0` gives all that is kept. `execution` means a whole tree by its root, or one
    execution; `workflow` is a name; `project` is for administrators.
    """
    where = [] if call.who.admin else [events.c.project_id == call.who.project_id]
    if "project" in call.query:
        if call.query["project"] != call.who.project_id:
            call.require("executions:list:all_projects")
        where.append(events.c.project_id == call.query["project"])
    if "execution" in call.query:
        wanted = call.query["execution"]
        where.append((events.c.root_id == wanted) | (events.c.execution_id == wanted))
    if "workflow" in call.query:
        where.append(events.c.workflow_name == call.query["workflow"])
    given = call.request.headers.get("last-event-id") or call.query.get("last_event_id")
    seq, index = _position(given)
    if given is None:
        _, seq = await call.read(outbox.stream, 2**62, 1, 0.0)
        index = _AFTER_ALL
    else:
        oldest = await call.read(outbox.oldest)
        if 0 < seq < oldest - 1:
            raise Gone(f"Events after {given} are not kept any more; begin with last_event_id={oldest - 1}, or with 0")
    return StreamingResponse(
        _entries(call, where, seq, index),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


_AFTER_ALL = 2**31


def _position(given: str | None) -> tuple[int, int]:
    """An id is the position of a commit's entry and the number of the change within it. Raises InvalidInput."""
    if not given:
        return 0, _AFTER_ALL
    seq, _, index = given.partition("-")
    if (
        not seq.isascii()
        or not seq.isdigit()
        or len(seq) > 18
        or (index and not (index.isascii() and index.isdigit() and len(index) < 10))
    ):
        raise InvalidInput(f"'{given[:50]}' is not the id of an event")
    return int(seq), int(index) if index else _AFTER_ALL


async def _entries(call: Call, where: list[Any], seq: int, index: int) -> AsyncIterator[bytes]:
    yield b": gregale\n\n"
    wakers: Wakers = call.request.app.state.wakers
    quiet = 0.0
    after = seq - 1 if index != _AFTER_ALL else seq
    while not wakers.closed:
        found, head = await call.read(outbox.stream, after, _STEP, call.engine.clock(), *where)
        lines = []
        for row in found:
            for number, change in enumerate(rows.decode(row.body)):
                if row.seq > seq or (row.seq == seq and number > index):
                    lines.append(_line(row, number, change))
        before, after = after, found[-1].seq if len(found) == _STEP else head
        if lines:
            quiet = 0.0
            yield b"".join(lines)
        elif quiet >= _HEARTBEAT:
            quiet = 0.0
            yield b": still here\n\n"
        if len(found) < _STEP and head == before:
            await wakers.wait(_LOOK_EVERY)
            quiet += _LOOK_EVERY


def _line(row: Any, number: int, change: list[Any]) -> bytes:
    at, task_id, task_name, old, new, event = change
    data = {
        "kind": "execution" if task_id is None else "task",
        "id": row.execution_id if task_id is None else task_id,
        "name": row.workflow_name if task_id is None else task_name,
        "state": new,
        "old_state": old,
        "event": event,
        "at": shown_time(at),
        "execution_id": row.execution_id,
        "root_execution_id": row.root_id,
        "workflow_name": row.workflow_name,
        "project_id": row.project_id,
    }
    return b"id: %d-%d\nevent: %s\ndata: %s\n\n" % (row.seq, number, data["kind"].encode(), msgspec.json.encode(data))
