"""Deleting executions in bounded steps: first the executions themselves, at once; then what they leave, piece by piece.

Every commit of an execution swaps its revision, so that nothing can be written for one that is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store.cluster_schema import held
from gregale.store.schema import (
    action_executions,
    arrivals,
    contexts,
    events,
    executions,
    garbage,
    notifications,
    security,
    tasks,
    timers,
)

_CHUNK = 500
_STEP = 1000
_LEFT = (
    (timers, timers.c.execution_id),
    (arrivals, arrivals.c.execution_id),
    (action_executions, action_executions.c.execution_id),
    (tasks, tasks.c.execution_id),
    (contexts, contexts.c.execution_id),
    (notifications, notifications.c.execution_id),
    (security, security.c.root_id),
    (held, held.c.execution_id),
)


def subtree_ids(connection: Connection, execution_id: str, depth: int = -1) -> list[str]:
    """An execution and everything below it, level by level; `depth` bounds the levels, negative is no bound."""
    root = sa.select(executions.c.root_id).where(executions.c.id == execution_id).scalar_subquery()
    below: dict[str, list[str]] = {}
    for key, parent in connection.execute(
        sa.select(executions.c.id, executions.c.parent_id).where(executions.c.root_id == root)
    ):
        below.setdefault(parent, []).append(key)
    found = level = [execution_id]
    while level and depth != 0:
        level = [child for parent in level for child in below.get(parent, ())]
        found = found + level
        depth -= 1
    return found


def remove(connection: Connection, execution_id: str) -> list[str]:
    """Delete an execution with all below it. What they leave is collected by `collect`. Gives the ids of what was there."""
    ids: list[str] = []
    below = subtree_ids(connection, execution_id)
    for start in range(0, len(below), _CHUNK):
        chunk = executions.c.id.in_(below[start : start + _CHUNK])
        found = list(connection.scalars(sa.select(executions.c.id).where(chunk)))
        if found:
            connection.execute(executions.delete().where(chunk))
            connection.execute(garbage.insert(), [{"execution_id": i} for i in found])
        ids += found
    return ids


def collect(connection: Connection) -> bool:
    """One bounded step of collecting. False when nothing is left to collect."""
    ids = list(connection.scalars(sa.select(garbage.c.execution_id).limit(100)))
    if not ids:
        return False
    for table, owner in _LEFT:
        keys = list(table.primary_key.columns)
        found = connection.execute(sa.select(*keys).where(owner.in_(ids)).limit(_STEP)).all()
        if not found:
            continue
        if len(keys) == 1:
            connection.execute(table.delete().where(keys[0].in_([row[0] for row in found])))
        else:
            names = [f"k{i}" for i in range(len(keys))]
            match = [column == sa.bindparam(name) for column, name in zip(keys, names, strict=True)]
            connection.execute(table.delete().where(*match), [dict(zip(names, row, strict=True)) for row in found])
        return True
    connection.execute(garbage.delete().where(garbage.c.execution_id.in_(ids)))
    return True


def expired(
    connection: Connection, before: float | None, keep: int | None, ignored: Sequence[str], most: int
) -> list[str]:
    """Finished root executions to delete: those that ended before that time, and those beyond the newest `keep`."""
    states = [s for s in ("SUCCESS", "ERROR", "CANCELLED") if s not in ignored]
    finished = sa.select(executions.c.id).where(executions.c.parent_id.is_(None), executions.c.state.in_(states))
    found: list[str] = []
    if before is not None:
        found += connection.scalars(
            finished.where(executions.c.updated_at < before).order_by(executions.c.updated_at).limit(most)
        )
    if keep is not None and len(found) < most:
        newest = (
            finished.order_by(executions.c.updated_at.desc(), executions.c.id).offset(keep).limit(most - len(found))
        )
        found += [i for i in connection.scalars(newest) if i not in set(found)]
    return found


def prune_events(connection: Connection, before: float, most: int = 5000) -> int:
    """Forget old entries of the stream, in bounded steps; gives how many. The newest stays: it tells a reader what it missed."""
    newest = int(connection.scalar(sa.select(sa.func.max(events.c.seq))) or 0)
    old = sa.select(events.c.seq).where(events.c.at < before, events.c.seq < newest)
    found = list(connection.scalars(old.order_by(events.c.seq).limit(most)))
    if found:
        connection.execute(events.delete().where(events.c.seq <= found[-1], events.c.at < before))
    return len(found)
