"""/v2/cluster: members, partitions and dead letters; Gregale's own."""

from __future__ import annotations

import base64
from typing import Any

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints
from gregale.api.problems import NotReady
from gregale.bus import BusUnavailable
from gregale.core import NotFound
from gregale.core.scope import shown_time
from gregale.store import dead_letters, members

api = Endpoints("cluster")

_DAY = 86_400.0
_MOST = 1000


def _reply(key: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [key],
        "properties": {key: {"type": "array", "items": {"type": "object"}}},
    }


@api("GET", "/v2/cluster/members", rule="cluster:get", reply=_reply("members"))
async def listed(call: Call) -> dict[str, Any]:
    """Every process: the living, and those that left or were lost within a day; with the partitions and actions that each holds."""
    found = await call.read(members.shown, call.engine.clock() - _DAY)
    owned: dict[str, list[int]] = {}
    for row in await call.read(members.owned):
        if row.owner is not None:
            owned.setdefault(row.owner, []).append(row.number)
    return {
        "members": [
            {
                "id": m.id,
                "kind": m.kind,
                "name": m.name,
                "host": m.host,
                "version": m.version,
                "state": m.state,
                "address": m.address,
                "started_at": shown_time(m.started_at),
                "heartbeat": shown_time(m.heartbeat),
                "partitions": owned.get(m.id, []),
                "actions": m.actions,
            }
            for m in found
        ]
    }


@api("GET", "/v2/cluster/partitions", rule="cluster:get", reply=_reply("partitions"))
async def partitions(call: Call) -> dict[str, Any]:
    """Who looks after which executions, since when, and how often that has changed."""
    names = {m.id: m for m in await call.read(members.shown, 0.0)}
    return {
        "partitions": [
            {
                "number": row.number,
                "owner": None if row.owner is None else names[row.owner].name if row.owner in names else row.owner,
                "state": names[row.owner].state if row.owner in names else None,
                "epoch": row.epoch,
                "since": shown_time(row.since) if row.since else None,
            }
            for row in await call.read(members.owned)
        ]
    }


@api(
    "POST",
    "/v2/cluster/members/{name}/drain",
    rule="cluster:update",
    reply={"type": "object"},
    status=200,
    locked=False,
)
async def drain(call: Call) -> dict[str, Any]:
    """Ask the members of that name, or id, to finish what they hold and to take nothing new. They stay until they are stopped."""
    found = await call.database.writing(members.drain, call.path("name"))
    if not found:
        raise NotFound(f"Member not found, or gone [name={call.path('name')}]")
    return {"draining": found}


def _letter(row: Any, whole: bool) -> dict[str, Any]:
    shown = {"id": row.id, "queue": row.queue, "reason": row.reason, "at": shown_time(row.at), "size": len(row.body)}
    return {**shown, "body": base64.b64encode(row.body).decode()} if whole else shown


@api("GET", "/v2/cluster/dead_letters", rule="cluster:get", reply=_reply("dead_letters"))
async def letters(call: Call) -> dict[str, Any]:
    """The newest messages that nobody could handle, with the reason of each."""
    return {"dead_letters": [_letter(row, False) for row in await call.read(dead_letters.listed, _MOST)]}


async def _found(call: Call) -> Any:
    row = await call.read(dead_letters.find, call.path("id"))
    if row is None:
        raise NotFound(f"Dead letter not found [id={call.path('id')}]")
    return row


@api("GET", "/v2/cluster/dead_letters/{id}", rule="cluster:get", reply={"type": "object"})
async def letter(call: Call) -> dict[str, Any]:
    """One of them, with its body in base64."""
    return _letter(await _found(call), True)


@api("POST", "/v2/cluster/dead_letters/{id}/requeue", rule="cluster:update", reply={"type": "object"}, status=200)
async def requeue(call: Call) -> dict[str, Any]:
    """Publish it again where it was, and forget it here."""
    row = await _found(call)
    try:
        await call.engine.bus.publish(row.queue, [row.body])
    except BusUnavailable as e:
        raise NotReady(f"The broker did not take it: {e}") from None
    await call.database.writing(dead_letters.remove, row.id)
    return {"requeued": row.id, "queue": row.queue}


@api("DELETE", "/v2/cluster/dead_letters/{id}", rule="cluster:update")
async def forget(call: Call) -> None:
    """Forget a dead letter."""
    await call.database.writing(dead_letters.remove, (await _found(call)).id)
