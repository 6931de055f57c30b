"""What makes no progress although the sweeps should have seen to it, or waits for a decision that no program can take."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import LOST
from gregale.core.scope import shown_time
from gregale.store.cluster_schema import members
from gregale.store.members import ALIVE
from gregale.store.ownership import Viewer
from gregale.store.schema import action_executions, executions, tasks, timers
from gregale.store.sweep import idle_executions

_MOST = 500
_a, _e = action_executions.c, executions.c


class Stuck(msgspec.Struct, frozen=True):
    """One thing. `subject` is the id of what stands still; `remedy` is what recovering does about it."""

    kind: str
    execution_id: str
    root_id: str
    subject: str
    name: str
    since: float
    reason: str
    remedy: str


def stuck(
    connection: Connection, viewer: Viewer, now: float, after: float, execution_id: str | None = None
) -> list[Stuck]:
    """Everything that has stood still for `after` seconds, of one execution or of all."""
    where = [] if viewer.admin else [_e.project_id == viewer.project_id]
    if execution_id is not None:
        where.append(_e.id == execution_id)
    before = now - after
    found: list[Stuck] = []
    for look in (_unstarted, _unheld, _abandoned, _idle, _overdue, _lost):
        found += look(connection, where, before)
    return found


Where = Sequence[sa.ColumnElement[bool]]


def _unstarted(connection: Connection, where: Where, before: float) -> list[Stuck]:
    rows = connection.execute(
        sa.select(executions)
        .where(_e.state == "RUNNING", _e.started.is_(sa.false()), _e.updated_at <= before, *where)
        .limit(_MOST)
    )
    return [
        Stuck(
            "unstarted",
            r.id,
            r.root_id,
            r.id,
            r.workflow_name,
            r.updated_at,
            "it was created, and no engine has started it",
            "start it",
        )
        for r in rows
    ]


def _unheld(connection: Connection, where: Where, before: float) -> list[Stuck]:
    rows = connection.execute(
        sa.select(action_executions, _e.root_id)
        .join(executions, _e.id == _a.execution_id)
        .where(_a.state == "RUNNING", _a.kind == "ACTION", _a.holder.is_(None), _a.created_at <= before, *where)
        .limit(_MOST)
    ).all()
    alive = set(
        connection.scalars(
            sa.select(members.c.name).where(members.c.kind.in_(("executor", "serve")), members.c.state.in_(ALIVE))
        )
    )
    result = []
    for r in rows:
        if not alive:
            reason, remedy = "no executor is there to run it", "send its request again; an executor has to be started"
        elif r.target is not None and r.target not in alive:
            reason = f"it asks for the executor '{r.target}', which is not there"
            remedy = "send its request again; an executor of that name has to be started"
        else:
            reason, remedy = "no executor has taken it", "send its request again"
        result.append(Stuck("unheld", r.execution_id, r.root_id, r.id, r.name, r.created_at, reason, remedy))
    return result


def _abandoned(connection: Connection, where: Where, before: float) -> list[Stuck]:
    rows = connection.execute(
        sa.select(action_executions, _e.root_id, members.c.name.label("member"), members.c.state.label("holder_state"))
        .join(executions, _e.id == _a.execution_id)
        .join(members, members.c.id == _a.holder, isouter=True)
        .where(_a.state == "RUNNING", _a.is_sync.is_(sa.true()), _a.holder.is_not(None), _a.heartbeat <= before)
        .where(sa.or_(members.c.id.is_(None), members.c.state.in_(("lost", "gone"))), *where)
        .limit(_MOST)
    )
    return [
        Stuck(
            "abandoned",
            r.execution_id,
            r.root_id,
            r.id,
            r.name,
            r.heartbeat,
            f"its executor '{r.member or r.holder}' is {r.holder_state or 'gone'}",
            "let another executor run it" if r.safe_rerun else "end it as lost: it may not run twice",
        )
        for r in rows
    ]


def _idle(connection: Connection, where: Where, before: float) -> list[Stuck]:
    rows = connection.execute(
        sa.select(executions).where(idle_executions, _e.updated_at <= before, *where).limit(_MOST)
    )
    return [
        Stuck(
            "idle",
            r.id,
            r.root_id,
            r.id,
            r.workflow_name,
            r.updated_at,
            "it is RUNNING, and nothing in it is in flight",
            "decide again from its rows what comes next",
        )
        for r in rows
    ]


def _overdue(connection: Connection, where: Where, before: float) -> list[Stuck]:
    rows = connection.execute(
        sa.select(timers, _e.root_id, tasks.c.name)
        .join(executions, _e.id == timers.c.execution_id)
        .join(tasks, tasks.c.id == timers.c.task_id)
        .where(timers.c.due <= before, _e.state == "RUNNING", *where)
        .limit(_MOST)
    )
    return [
        Stuck(
            "overdue",
            r.execution_id,
            r.root_id,
            f"{r.task_id}/{r.kind}/{r.stamp}",
            r.name,
            r.due,
            f"its timer '{r.kind}' was due at {shown_time(r.due)} UTC, and no engine has seen to it",
            "fire the timer",
        )
        for r in rows
    ]


def _lost(connection: Connection, where: Where, before: float) -> list[Stuck]:
    """Ended, and waiting for a person: whether the action was done is not known."""
    del before
    rows = connection.execute(
        sa.select(tasks, _e.root_id)
        .join(executions, _e.id == tasks.c.execution_id)
        .where(_e.state == "ERROR", tasks.c.state == "ERROR", tasks.c.state_info.like(f"{LOST}: %"), *where)
        .order_by(tasks.c.updated_at.desc())
        .limit(_MOST)
    )
    return [
        Stuck(
            "lost",
            r.execution_id,
            r.root_id,
            r.id,
            r.name,
            r.updated_at,
            str(r.state_info).split(". ")[0],
            "rerun the task: only if its action may run again",
        )
        for r in rows
    ]
