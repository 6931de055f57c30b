"""Workflows that one project offers to another (API spec 3.3)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import Conflict, InvalidInput, NotFound
from gregale.store.ownership import Owner, Viewer, changed
from gregale.store.schema import shares, workflows

STATUSES = ("pending", "accepted", "rejected")


def offer(connection: Connection, workflow_id: str, member_id: str, owner: Owner) -> str:
    """Gives the id of the share. Raises NotFound, InvalidInput, Conflict."""
    found = connection.execute(
        sa.select(workflows).where(workflows.c.id == workflow_id, workflows.c.project_id == owner.project_id)
    ).first()
    if found is None:
        raise NotFound(f"Workflow not found [id={workflow_id}]: only its owner can share it")
    if found.scope != "private":
        raise InvalidInput(f"Only private workflows can be shared; '{found.name}' is {found.scope}")
    if connection.execute(_of(workflow_id).where(shares.c.member_id == member_id)).first() is not None:
        raise Conflict(
            f"The workflow is shared with this project already [workflow_id={workflow_id}, member_id={member_id}]"
        )
    key = owner.new_id()
    row = {"id": key, "workflow_id": workflow_id, "project_id": owner.project_id, "member_id": member_id}
    connection.execute(shares.insert(), {**row, "status": "pending", "created_at": owner.now, "updated_at": None})
    return key


def _of(workflow_id: str) -> sa.Select[Any]:
    return sa.select(shares).where(shares.c.workflow_id == workflow_id)


def party(viewer: Viewer) -> sa.ColumnElement[bool]:
    """Shares that the project takes part in, as owner or as member."""
    if viewer.admin:
        return sa.true()
    return sa.or_(shares.c.project_id == viewer.project_id, shares.c.member_id == viewer.project_id)


def share(connection: Connection, workflow_id: str, member_id: str, *where: Any) -> Any:
    """Raises NotFound."""
    found = connection.execute(_of(workflow_id).where(shares.c.member_id == member_id, *where)).first()
    if found is None:
        raise NotFound(f"Member not found [workflow_id={workflow_id}, member_id={member_id}]")
    return found


def answer(connection: Connection, workflow_id: str, member_id: str, status: str, project_id: str, now: float) -> str:
    """Accept or reject: for the member alone. Gives the id. Raises NotFound, InvalidInput."""
    if status not in STATUSES:
        raise InvalidInput(f"Invalid member status: '{status}'; possible are {', '.join(STATUSES)}")
    found = share(connection, workflow_id, member_id, shares.c.member_id == project_id)
    connection.execute(shares.update().where(shares.c.id == found.id).values(status=status, updated_at=now))
    changed(connection)
    return str(found.id)


def withdraw(connection: Connection, workflow_id: str, member_id: str, project_id: str) -> None:
    """For the owner alone. Raises NotFound."""
    found = share(connection, workflow_id, member_id, shares.c.project_id == project_id)
    connection.execute(shares.delete().where(shares.c.id == found.id))
    changed(connection)
