"""Work that should be in flight and may not be, one query per kind of loss (design, rule 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store.cluster_schema import members
from gregale.store.schema import action_executions, executions, tasks, timers

_LIMIT = 10_000
_LONGEST_PAUSE = 60.0


def _in(partitions: Sequence[int]) -> sa.ColumnElement[bool]:
    """Rows of these partitions; what belongs to no execution is in partition 0."""
    where = executions.c.partition.in_(partitions)
    return sa.or_(where, action_executions.c.execution_id.is_(None)) if 0 in partitions else where


def unstarted(connection: Connection, partitions: Sequence[int], before: float) -> list[tuple[str, str]]:
    """Executions `(id, root)` created before that time which nobody has started."""
    found = connection.execute(
        sa.select(executions.c.id, executions.c.root_id)
        .where(executions.c.state == "RUNNING", executions.c.partition.in_(partitions))
        .where(executions.c.started.is_(sa.false()), executions.c.updated_at <= before)
        .limit(_LIMIT)
    )
    return [(row.id, row.root_id) for row in found]


def count_unstarted(connection: Connection, most: int) -> int:
    """Executions that wait for their start, counted up to `most`."""
    waiting = (
        sa.select(executions.c.id)
        .where(executions.c.state == "RUNNING", executions.c.started.is_(sa.false()))
        .limit(most)
        .subquery()
    )
    return int(connection.scalar(sa.select(sa.func.count()).select_from(waiting)) or 0)


def unheld(connection: Connection, partitions: Sequence[int], before: float, now: float) -> list[Any]:
    """Running actions untouched since then that nobody holds: rows with all that a command needs.

    One that was sent again and still waits is sent less and less often: the queue may just be long.
    """
    rested = now - action_executions.c.updated_at
    age = action_executions.c.updated_at - action_executions.c.created_at
    return list(
        connection.execute(
            sa.select(action_executions, executions.c.root_id, executions.c.workflow_name)
            .join(executions, executions.c.id == action_executions.c.execution_id, isouter=True)
            .where(
                action_executions.c.state == "RUNNING",
                action_executions.c.kind == "ACTION",
                action_executions.c.holder.is_(None),
                action_executions.c.updated_at <= before,
                sa.or_(rested >= age, rested >= _LONGEST_PAUSE),
                _in(partitions),
            )
            .limit(_LIMIT)
        ).all()
    )


def abandoned(connection: Connection, partitions: Sequence[int], silence: float) -> list[Any]:
    """Unfinished synchronous actions whose holder is lost, or has not named them for so many seconds while it lived."""
    table = action_executions
    return list(
        connection.execute(
            sa.select(
                table, executions.c.root_id, members.c.name.label("holder_name"), members.c.state.label("holder_state")
            )
            .join(executions, executions.c.id == table.c.execution_id, isouter=True)
            .join(members, members.c.id == table.c.holder, isouter=True)
            .where(
                table.c.state == "RUNNING",
                table.c.kind == "ACTION",
                table.c.holder.is_not(None),
                table.c.is_sync.is_(sa.true()),
                sa.or_(
                    members.c.state.in_(("lost", "gone")),
                    members.c.id.is_(None),
                    table.c.heartbeat <= members.c.heartbeat - silence,
                ),
                _in(partitions),
            )
            .limit(_LIMIT)
        ).all()
    )


def idle(connection: Connection, partitions: Sequence[int], before: float) -> list[tuple[str, str]]:
    """Running executions untouched since then in which nothing waits for an action, a sub-workflow or a timer."""
    moving = sa.select(1).where(
        action_executions.c.execution_id == executions.c.id,
        action_executions.c.state.in_(("RUNNING", "PAUSED")),
        action_executions.c.kind == "ACTION",
    )
    due = sa.select(1).where(timers.c.execution_id == executions.c.id)
    below = executions.alias("below")
    child = sa.select(1).where(
        below.c.parent_id == executions.c.id, below.c.state.not_in(("SUCCESS", "ERROR", "CANCELLED"))
    )
    paused = sa.select(1).where(tasks.c.execution_id == executions.c.id, tasks.c.state == "PAUSED")
    found = connection.execute(
        sa.select(executions.c.id, executions.c.root_id)
        .where(
            executions.c.state == "RUNNING",
            executions.c.partition.in_(partitions),
            executions.c.started.is_(sa.true()),
            executions.c.updated_at <= before,
            ~moving.exists(),
            ~due.exists(),
            ~child.exists(),
            ~paused.exists(),
        )
        .limit(_LIMIT)
    )
    return [(row.id, row.root_id) for row in found]


def timers_due(connection: Connection, partitions: Sequence[int], before: float) -> list[Any]:
    """Timers of these partitions that are due before then."""
    return list(
        connection.execute(
            sa.select(timers, executions.c.root_id)
            .join(executions, executions.c.id == timers.c.execution_id)
            .where(timers.c.partition.in_(partitions), timers.c.due <= before)
            .order_by(timers.c.due)
            .limit(_LIMIT)
        ).all()
    )


def timers_of(connection: Connection, execution_id: str) -> list[Any]:
    return list(connection.execute(sa.select(timers).where(timers.c.execution_id == execution_id)).all())


def free(connection: Connection, action_ids: Sequence[str]) -> None:
    """Take actions from a holder that is gone, so that they can be run again, at once."""
    for start in range(0, len(action_ids), 500):
        connection.execute(
            action_executions.update()
            .where(action_executions.c.id.in_(action_ids[start : start + 500]), action_executions.c.state == "RUNNING")
            .values(holder=None, held_since=None, heartbeat=None, updated_at=0.0)
        )


def touch(connection: Connection, action_ids: list[str], now: float) -> None:
    """These requests were sent again just now; the next sweep leaves them alone for a while."""
    for start in range(0, len(action_ids), 500):
        connection.execute(
            action_executions.update()
            .where(action_executions.c.id.in_(action_ids[start : start + 500]), action_executions.c.state == "RUNNING")
            .values(updated_at=now)
        )
