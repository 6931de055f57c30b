"""Work that should be in flight and may not be, one query per kind of loss (design, rule 7).

The statements are made once: most of the time that a sweep takes when it finds nothing goes into making them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store.cluster_schema import members, results
from gregale.store.schema import action_executions, executions, tasks, timers

_LIMIT = 10_000
_LONGEST_PAUSE = 60.0

_a = action_executions.c
_e = executions.c
_partitions: sa.BindParameter[Any] = sa.bindparam("partitions", expanding=True)
_before: sa.BindParameter[float] = sa.bindparam("before", type_=sa.Double)
_owned = _e.partition.in_(_partitions)
_owned_or_alone = sa.or_(_owned, sa.and_(_a.execution_id.is_(None), sa.bindparam("first", type_=sa.Integer) == 1))
"""What belongs to no execution is in partition 0."""


def _of(partitions: Sequence[int]) -> dict[str, Any]:
    return {"partitions": list(partitions), "first": int(0 in partitions)}


_waiting = sa.and_(_e.state == "RUNNING", _e.started.is_(sa.false()))
_unstarted = sa.select(_e.id, _e.root_id).where(_waiting, _owned, _e.updated_at <= _before).limit(_LIMIT)


def unstarted(connection: Connection, partitions: Sequence[int], before: float) -> list[tuple[str, str]]:
    """Executions `(id, root)` created before that time which nobody has started."""
    found = connection.execute(_unstarted, {"partitions": list(partitions), "before": before})
    return [(row.id, row.root_id) for row in found]


def count_unstarted(connection: Connection, most: int) -> int:
    """Executions that wait for their start, counted up to `most`."""
    found = sa.select(_e.id).where(_waiting).limit(most).subquery()
    return int(connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0)


_rested = sa.bindparam("now", type_=sa.Double) - _a.updated_at
_unheld = (
    sa.select(action_executions, _e.root_id, _e.workflow_name)
    .join(executions, _e.id == _a.execution_id, isouter=True)
    .where(
        _a.state == "RUNNING",
        _a.kind == "ACTION",
        _a.holder.is_(None),
        _a.updated_at <= _before,
        sa.or_(_rested >= _a.updated_at - _a.created_at, _rested >= _LONGEST_PAUSE),
        _owned_or_alone,
    )
    .limit(_LIMIT)
)


def unheld(connection: Connection, partitions: Sequence[int], before: float, now: float) -> list[Any]:
    """Running actions untouched since then that nobody holds: rows with all that a command needs.

    One that was sent again and still waits is sent less and less often: the queue may just be long.
    """
    return list(connection.execute(_unheld, {**_of(partitions), "before": before, "now": now}).all())


def actions(connection: Connection, action_ids: Sequence[str]) -> list[Any]:
    """Running ones, with what a request or a reason for their loss needs."""
    found = (
        sa.select(
            action_executions,
            _e.root_id,
            _e.workflow_name,
            members.c.name.label("holder_name"),
            members.c.state.label("holder_state"),
        )
        .join(executions, _e.id == _a.execution_id, isouter=True)
        .join(members, members.c.id == _a.holder, isouter=True)
        .where(_a.id.in_(action_ids), _a.state == "RUNNING")
    )
    return list(connection.execute(found).all())


_told = sa.select(1).where(results.c.action_id == _a.id, results.c.attempt == _a.attempt)
_abandoned = (
    sa.select(action_executions, _e.root_id, members.c.name.label("holder_name"), members.c.state.label("holder_state"))
    .join(executions, _e.id == _a.execution_id, isouter=True)
    .join(members, members.c.id == _a.holder, isouter=True)
    .where(
        _a.state == "RUNNING",
        _a.kind == "ACTION",
        _a.holder.is_not(None),
        _a.is_sync.is_(sa.true()),
        ~_told.exists(),
        sa.or_(
            members.c.state.in_(("lost", "gone")),
            members.c.id.is_(None),
            _a.heartbeat <= members.c.heartbeat - sa.bindparam("silence", type_=sa.Double),
        ),
        _owned_or_alone,
    )
    .limit(_LIMIT)
)


def abandoned(connection: Connection, partitions: Sequence[int], silence: float) -> list[Any]:
    """Unfinished synchronous actions whose holder is lost, or has not named them for so many seconds while it lived; without
    those whose result waits in the database."""
    return list(connection.execute(_abandoned, {**_of(partitions), "silence": silence}).all())


_below = executions.alias("below")
idle_executions = sa.and_(
    _e.state == "RUNNING",
    _e.started.is_(sa.true()),
    ~sa.select(1)
    .where(_a.execution_id == _e.id, _a.state.in_(("RUNNING", "PAUSED")), _a.kind == "ACTION")
    .correlate(executions)
    .exists(),
    ~sa.select(1).where(timers.c.execution_id == _e.id).correlate(executions).exists(),
    ~sa.select(1)
    .where(_below.c.parent_id == _e.id, _below.c.state.not_in(("SUCCESS", "ERROR", "CANCELLED")))
    .correlate(executions)
    .exists(),
    ~sa.select(1).where(tasks.c.execution_id == _e.id, tasks.c.state == "PAUSED").correlate(executions).exists(),
)
"""In which nothing waits for an action, a sub-workflow or a timer."""
_idle = sa.select(_e.id, _e.root_id).where(idle_executions, _owned, _e.updated_at <= _before).limit(_LIMIT)


def idle(connection: Connection, partitions: Sequence[int], before: float) -> list[tuple[str, str]]:
    """Running executions `(id, root)` untouched since then in which nothing is in flight."""
    found = connection.execute(_idle, {"partitions": list(partitions), "before": before})
    return [(row.id, row.root_id) for row in found]


_timers_due = (
    sa.select(timers, _e.root_id)
    .join(executions, _e.id == timers.c.execution_id)
    .where(timers.c.partition.in_(_partitions), timers.c.due <= _before)
    .order_by(timers.c.due)
    .limit(_LIMIT)
)


def timers_due(connection: Connection, partitions: Sequence[int], before: float) -> list[Any]:
    """Timers of these partitions that are due before then."""
    return list(connection.execute(_timers_due, {"partitions": list(partitions), "before": before}).all())


def timers_of(connection: Connection, execution_id: str) -> list[Any]:
    return list(connection.execute(sa.select(timers).where(timers.c.execution_id == execution_id)).all())


def free(connection: Connection, action_ids: Sequence[str]) -> None:
    """Take actions from a holder that is gone, so that they can be run again, at once."""
    _set(connection, action_ids, holder=None, held_since=None, heartbeat=None, updated_at=0.0)


def touch(connection: Connection, action_ids: Sequence[str], now: float) -> None:
    """These requests were sent again just now; the next sweep leaves them alone for a while."""
    _set(connection, action_ids, updated_at=now)


def _set(connection: Connection, action_ids: Sequence[str], **values: Any) -> None:
    for start in range(0, len(action_ids), 500):
        chunk = _a.id.in_(action_ids[start : start + 500])
        connection.execute(action_executions.update().where(chunk, _a.state == "RUNNING").values(**values))
