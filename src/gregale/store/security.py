"""What the actions of a tree of executions may present to other services."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store import rows
from gregale.store.schema import executions, security


def keep(connection: Connection, root_id: str, credentials: dict[str, Any]) -> None:
    """The first ones given for an execution stay: a second start with its id changes nothing."""
    if connection.execute(sa.select(security.c.root_id).where(security.c.root_id == root_id)).first() is None:
        connection.execute(security.insert(), {"root_id": root_id, "credentials": rows.encode(credentials)})


def drop_unused(connection: Connection, root_id: str) -> None:
    """Forget the credentials of a start that was refused."""
    exists = sa.select(executions.c.id).where(executions.c.id == root_id)
    if connection.execute(exists).first() is None:
        connection.execute(security.delete().where(security.c.root_id == root_id))


def credentials(connection: Connection, root_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = rows.decode(
        connection.scalar(sa.select(security.c.credentials).where(security.c.root_id == root_id))
    )
    return found
