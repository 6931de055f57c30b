"""Results of actions that wait in the database: no message could carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store.cluster_schema import results as table
from gregale.store.schema import action_executions, executions


def keep(connection: Connection, kept: Sequence[tuple[str, int, str]], now: float) -> None:
    """Store results `(action, attempt, body)`; the first one of an attempt stays."""
    for action_id, attempt, body in sorted(kept):
        known = sa.select(table.c.action_id).where(table.c.action_id == action_id, table.c.attempt == attempt)
        if connection.scalar(known) is None:
            row = {"action_id": action_id, "attempt": attempt, "body": body, "at": now}
            connection.execute(table.insert(), [row])


def body(connection: Connection, action_id: str, attempt: int) -> str | None:
    found: str | None = connection.scalar(
        sa.select(table.c.body).where(table.c.action_id == action_id, table.c.attempt == attempt)
    )
    return found


_waiting = (
    sa.select(table, action_executions.c.execution_id, executions.c.root_id)
    .join(action_executions, action_executions.c.id == table.c.action_id)
    .join(executions, executions.c.id == action_executions.c.execution_id, isouter=True)
    .where(action_executions.c.state == "RUNNING", action_executions.c.attempt == table.c.attempt)
    .where(table.c.at <= sa.bindparam("before", type_=sa.Double))
    .where(
        sa.or_(
            executions.c.partition.in_(sa.bindparam("partitions", expanding=True)),
            sa.and_(action_executions.c.execution_id.is_(None), sa.bindparam("first", type_=sa.Integer) == 1),
        )
    )
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def waiting(connection: Connection, partitions: Sequence[int], before: float, most: int) -> Sequence[Any]:
    """Results kept before then whose actions do not know of them yet, in these partitions."""
    given = {"partitions": list(partitions), "first": int(0 in partitions), "before": before, "most": most}
    return connection.execute(_waiting, given).all()


def prune(connection: Connection, before: float) -> int:
    """Forget results that were taken, or that nobody waits for any more."""
    wanted = sa.select(1).where(
        action_executions.c.id == table.c.action_id,
        action_executions.c.attempt == table.c.attempt,
        action_executions.c.state == "RUNNING",
    )
    done = connection.execute(table.delete().where(table.c.at < before, ~wanted.exists()))
    return done.rowcount
