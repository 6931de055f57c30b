"""/v2/stuck: what makes no progress, why, and what helps; Gregale's own."""

from __future__ import annotations

from typing import Any

import msgspec

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints
from gregale.core import InvalidInput
from gregale.core.scope import shown_time
from gregale.engine.recovery import recover as apply_remedies
from gregale.store import search
from gregale.store.stuck import Stuck, stuck

api = Endpoints("stuck")

_AFTER = 60.0
_REPLY = {
    "type": "object",
    "required": ["stuck"],
    "properties": {"stuck": {"type": "array", "items": {"type": "object"}}},
}


class RecoverBody(msgspec.Struct, forbid_unknown_fields=True):
    """`preview`: say what would be done, and do nothing. `after`: seconds for which something must have stood still. `lost`: also
    run again what may have been done."""

    preview: bool = False
    after: float = 0.0
    lost: bool = False


def _shown(one: Stuck) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return {**plain, "since": shown_time(one.since)}


@api("GET", "/v2/stuck", rule="executions:list", query=("after",), reply=_REPLY)
async def listed(call: Call) -> dict[str, Any]:
    """Whatever has stood still for `after` seconds (60), why, and what recovering does about it; and lost actions, which wait for a
    person's decision."""
    try:
        after = float(call.query.get("after") or _AFTER)
    except ValueError:
        after = -1.0
    if not 0 <= after < 1e9:
        raise InvalidInput(f"'after' is a number of seconds, not '{call.query.get('after')}'")
    found = await call.read(stuck, call.viewer, call.engine.clock(), after)
    return {"stuck": [_shown(one) for one in found]}


@api("POST", "/v2/executions/{id}/recover", rule="executions:update", body=RecoverBody, reply=_REPLY, status=200)
async def recover(call: Call) -> dict[str, Any]:
    """Apply the remedy for everything of an execution that is stuck; what was done, or with `preview` would be."""
    body = await call.json(RecoverBody)
    row = await call.read(search.execution, call.path("id"), call.viewer, "id")
    found = await call.read(stuck, call.viewer, call.engine.clock(), body.after, row.id)
    wanted = [one for one in found if one.kind != "lost" or body.lost]
    if not body.preview:
        await apply_remedies(call.engine, wanted)
    return {"stuck": [_shown(one) for one in (found if body.preview else wanted)]}
