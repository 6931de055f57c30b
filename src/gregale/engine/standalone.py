"""Action executions that belong to no workflow (language spec 7.3): their row is all their state."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.bus import ActionFinished, Delivery
from gregale.core import NotFound, WorkflowError
from gregale.store import Database, rows
from gregale.store.schema import action_executions as table


async def finished(database: Database, message: ActionFinished, delivery: Delivery, now: float) -> None:
    """Store a result and acknowledge it; one that came before stays."""
    state = "CANCELLED" if message.cancel else "ERROR" if message.error is not None else "SUCCESS"
    value = message.error if state == "ERROR" else None if message.cancel else message.data
    await database.writing(_finish, message.action_id, state, value, now)
    delivery.ack()


def _finish(connection: Connection, action_id: str, state: str, value: Any, now: float) -> bool:
    found = connection.execute(
        table.update()
        .where(table.c.id == action_id, table.c.execution_id.is_(None), table.c.state.in_(("RUNNING", "PAUSED")))
        .values(state=state, output=rows.encode(value), accepted=True, updated_at=now, state_info=str(value) if state == "ERROR" else None)
    )
    return found.rowcount == 1


def update(connection: Connection, action_id: str, state: str, value: Any, now: float) -> None:
    """Complete, pause or resume one from outside. Raises NotFound, WorkflowError."""
    row = connection.execute(sa.select(table).where(table.c.id == action_id, table.c.execution_id.is_(None))).first()
    if row is None:
        raise NotFound(f"ActionExecution not found [id={action_id}]")
    if row.state not in ("RUNNING", "PAUSED"):
        raise WorkflowError(f"The action execution {action_id} has ended already in {row.state}; its result stays as it is")
    if state in ("PAUSED", "RUNNING"):
        if row.is_sync:
            raise WorkflowError("Transition to the PAUSED state is only supported for asynchronous action execution")
        connection.execute(table.update().where(table.c.id == action_id).values(state=state, updated_at=now))
    else:
        _finish(connection, action_id, state, value, now)
