"""What stands beside /v2: versions, health, information, maintenance."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import msgspec
from starlette.responses import RedirectResponse, Response

from gregale import metrics
from gregale.api.call import Call
from gregale.api.endpoint import Endpoints
from gregale.api.problems import NotReady
from gregale.api.wire import base_url
from gregale.core import InvalidInput, NotFound, WorkflowError
from gregale.store.ownership import change_number

api = Endpoints("service")


def _base(call: Call) -> str:
    return base_url(call.request, call.services.settings.trust_proxy)


@api("GET", "/", open=True, lenient=True, reply={"type": "object"})
async def versions(call: Call) -> dict[str, Any]:
    """The versions of the API."""
    link = {"href": f"{_base(call)}/v2", "target": "v2", "rel": "self"}
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


@api("GET", "/v2", open=True, lenient=True, status=302)
async def moved(call: Call) -> Response:
    """Leads to /v2/."""
    return RedirectResponse(f"{_base(call)}/v2/", 302)


@api("GET", "/v2/", open=True, lenient=True, reply={"type": "object"})
async def root(call: Call) -> dict[str, Any]:
    """Where version 2 is."""
    return {"uri": f"{_base(call)}/v2"}


@api("GET", "/healthz", open=True, lenient=True, reply={"type": "object"})
async def health(call: Call) -> dict[str, Any]:
    """200 while the database answers."""
    await call.read(change_number)
    return {"status": "ok"}


@api("GET", "/readyz", open=True, lenient=True, reply={"type": "object"})
async def ready(call: Call) -> dict[str, Any]:
    """200 while this process takes work: 503 when it is about to stop, draining, or its database does not answer."""
    if call.request.app.state.wakers.closed:
        raise NotReady("This process is about to stop")
    reason = await call.services.not_ready()
    if reason is not None:
        raise NotReady(reason)
    return {"status": "ready"}


@api("GET", "/metrics", open=True, lenient=True, reply={"text/plain": True})
async def measured(call: Call) -> Response:
    """Counters and times of this process, for Prometheus."""
    del call
    text, kind = metrics.text()
    return Response(text, media_type=kind)


@api("GET", "/healthcheck", open=True, lenient=True, reply={"type": "object"})
async def healthcheck(call: Call) -> dict[str, Any]:
    """The same under the name that other services use, where `api.healthcheck` is on."""
    if not call.services.settings.healthcheck:
        raise NotFound("Health is told under /healthz; api.healthcheck is off")
    return await health(call)


@api("GET", "/info", open=True, lenient=True, reply={})
async def info(call: Call) -> Any:
    """What the operator has to say, where `api.info_file` names a file."""
    path = call.services.settings.info_file
    if path is None:
        raise WorkflowError("Info endpoint disabled.")
    try:
        return msgspec.json.decode(await asyncio.to_thread(Path(path).read_bytes))
    except (OSError, msgspec.DecodeError) as e:
        raise WorkflowError(f"The info file {path} cannot be read: {e}") from None


class MaintenanceBody(msgspec.Struct, forbid_unknown_fields=True):
    """PAUSED stops the whole cluster, RUNNING lets it go on."""

    status: Literal["PAUSED", "RUNNING"]


@api("GET", "/maintenance", rule="maintenance:get", reply={"type": "object"})
async def maintenance(call: Call) -> dict[str, Any]:
    """RUNNING, PAUSING or PAUSED."""
    return {"status": await call.engine.maintenance.status()}


@api("PUT", "/maintenance", rule="maintenance:update", body=MaintenanceBody, reply={"type": "object"}, locked=False)
async def set_maintenance(call: Call) -> dict[str, Any]:
    """Pause everything that runs, and refuse changes; or let go on what was paused for it."""
    try:
        body = await call.json(MaintenanceBody)
    except InvalidInput as e:
        raise InvalidInput(f"{e}. The status must be PAUSED or RUNNING") from None
    return {"status": await call.engine.maintenance.set(body.status)}
