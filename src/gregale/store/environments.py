"""Environments: named variables, by name within what a project sees."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import Conflict
from gregale.store import rows
from gregale.store.ownership import Owner, Viewer, changed, find
from gregale.store.schema import environments


def environment(connection: Connection, name: str, viewer: Viewer) -> Any:
    """Raises NotFound."""
    return find(connection, environments, "Environment", name, None, viewer)


def save(connection: Connection, values: dict[str, Any], owner: Owner, update: bool) -> str:
    """`values`: name, and description, variables, scope where given. Gives the id. Raises Conflict, NotFound, NotAllowed."""
    name = values["name"]
    if "variables" in values:
        values = {**values, "variables": rows.encode(values["variables"])}
    if update:
        found = environment(connection, name, owner.viewer)
        owner.viewer.require_own(found, "Environment")
        connection.execute(
            environments.update().where(environments.c.id == found.id).values(**values, updated_at=owner.now)
        )
        key = str(found.id)
    else:
        mine = (environments.c.name == name, environments.c.project_id == owner.project_id)
        if connection.execute(sa.select(environments.c.id).where(*mine)).first() is not None:
            raise Conflict(f"Environment already exists [name={name}, project_id={owner.project_id}]")
        key = owner.new_id()
        fixed = {"id": key, "project_id": owner.project_id, "created_at": owner.now, "updated_at": None}
        connection.execute(
            environments.insert(), {"scope": "private", "variables": "{}", "description": None, **values, **fixed}
        )
    changed(connection)
    return key


def delete(connection: Connection, name: str, viewer: Viewer) -> None:
    """Raises NotFound, NotAllowed."""
    found = environment(connection, name, viewer)
    viewer.require_own(found, "Environment")
    connection.execute(environments.delete().where(environments.c.id == found.id))
    changed(connection)
