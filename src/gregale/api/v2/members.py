"""/v2/workflows/{id}/members: workflows that one project offers to another (API spec 3.3)."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints
from gregale.api.wire import is_uuid, record
from gregale.core import InvalidInput, WorkflowError
from gregale.store import sharing
from gregale.store.attributes import Attribute, Resource
from gregale.store.schema import shares

_c = shares.c

MEMBER = Resource(
    "members",
    "Member",
    shares,
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("resource_id", "id", _c.workflow_id, nullable=False),
        Attribute("resource_type", "text", sa.literal("workflow"), lambda _: "workflow"),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("member_id", "text", _c.member_id, nullable=False),
        Attribute("status", "text", _c.status, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at),
    ),
)
_ALL = tuple(a.name for a in MEMBER.attributes)

api = Endpoints("members")


class MemberBody(msgspec.Struct, forbid_unknown_fields=True):
    """`member_id` to share with a project, `status` to answer."""

    member_id: str | None = None
    status: str | None = None
    resource_id: Any = None
    resource_type: Any = None
    id: Any = None
    created_at: Any = None
    updated_at: Any = None


def _workflow(call: Call) -> str:
    """Raises InvalidInput, WorkflowError where projects cannot be told apart."""
    if not call.who.authenticated:
        raise WorkflowError("Resource sharing feature can only be supported with authentication enabled")
    key = call.path("id")
    if not is_uuid(key):
        raise InvalidInput(f"Workflow members are found by the workflow's id: expected a UUID, got '{key}'")
    return key


@api("POST", "/v2/workflows/{id}/members", rule="members:create", body=MemberBody, reply=MEMBER)
async def create(call: Call) -> dict[str, Any]:
    """Offer a private workflow to another project, which then has to accept it."""
    workflow_id = _workflow(call)
    body = await call.json(MemberBody)
    if not body.member_id or len(body.member_id) > 255:
        raise InvalidInput("Member id must be provided: 1 to 255 characters.")
    key = await call.write(sharing.offer, workflow_id, body.member_id, call.owner("members", "private"))
    return await record(call, MEMBER, key)


@api("PUT", "/v2/workflows/{id}/members/{member_id}", rule="members:update", body=MemberBody, reply=MEMBER)
async def update(call: Call) -> dict[str, Any]:
    """Accept or reject a workflow that another project offers."""
    workflow_id = _workflow(call)
    body = await call.json(MemberBody)
    if not body.status:
        raise InvalidInput(f"Field 'status' is missing; possible are {', '.join(sharing.STATUSES)}")
    now = call.engine.clock()
    key = await call.write(sharing.answer, workflow_id, call.path("member_id"), body.status, call.who.project_id, now)
    return await record(call, MEMBER, key)


@api("GET", "/v2/workflows/{id}/members/{member_id}", rule="members:get", reply=MEMBER)
async def get(call: Call) -> dict[str, Any]:
    """One share, for its owner and its member."""
    found = await call.read(sharing.share, _workflow(call), call.path("member_id"), sharing.party(call.viewer))
    return await record(call, MEMBER, found.id)


@api("GET", "/v2/workflows/{id}/members", rule="members:list", reply=[MEMBER])
async def listed(call: Call) -> dict[str, Any]:
    """All shares of a workflow for its owner, its own for a member."""
    where = (_c.workflow_id == _workflow(call), sharing.party(call.viewer))
    found = await call.read(_select, *where)
    return {"members": [MEMBER.record(row, _ALL) for row in found]}


def _select(connection: Any, *where: Any) -> list[Any]:
    return list(connection.execute(MEMBER.select(_ALL).where(*where).order_by(_c.created_at, _c.id)).all())


@api("DELETE", "/v2/workflows/{id}/members/{member_id}", rule="members:delete")
async def delete(call: Call) -> None:
    """Stop sharing a workflow with a project."""
    await call.write(sharing.withdraw, _workflow(call), call.path("member_id"), call.who.project_id)
