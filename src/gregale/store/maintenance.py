"""The switch that stops the whole cluster, and what it has paused (API spec 4.6)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store.cluster_schema import held, switches
from gregale.store.schema import executions, tasks

_NAME = "maintenance"


def status(connection: Connection) -> str:
    return str(connection.scalar(sa.select(switches.c.value).where(switches.c.name == _NAME)) or "RUNNING")


def switch(connection: Connection, new: str, old: Sequence[str]) -> bool:
    """Set the status if it is one of `old`."""
    if status(connection) not in old:
        return False
    found = connection.execute(switches.update().where(switches.c.name == _NAME).values(value=new))
    if found.rowcount == 0:
        connection.execute(switches.insert(), {"name": _NAME, "value": new})
    return True


def to_pause(connection: Connection, most: int) -> list[str]:
    """Running executions, those above before those below them."""
    running = sa.select(executions.c.id).where(executions.c.state == "RUNNING")
    return list(connection.scalars(running.order_by(executions.c.created_at).limit(most)))


def hold(connection: Connection, ids: Sequence[str]) -> None:
    known = set(connection.scalars(sa.select(held.c.execution_id).where(held.c.execution_id.in_(ids))))
    new = [{"execution_id": i} for i in ids if i not in known]
    if new:
        connection.execute(held.insert(), new)


def to_resume(connection: Connection, most: int) -> list[str]:
    return list(connection.scalars(sa.select(held.c.execution_id).limit(most)))


def let_go(connection: Connection, ids: Sequence[str]) -> None:
    connection.execute(held.delete().where(held.c.execution_id.in_(ids)))


def busy(connection: Connection) -> bool:
    """Whether an execution or a task still runs."""
    if connection.execute(sa.select(executions.c.id).where(executions.c.state == "RUNNING").limit(1)).first():
        return True
    found = (
        sa.select(tasks.c.id)
        .join(executions, executions.c.id == tasks.c.execution_id)
        .where(executions.c.state == "PAUSED", tasks.c.state == "RUNNING")
    )
    return connection.execute(found.limit(1)).first() is not None
