"""What explaining an execution takes beside the execution itself."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import Execution, NotFound
from gregale.core.explain import Due, Facts, Holder
from gregale.store.cluster_schema import members
from gregale.store.load import load
from gregale.store.ownership import Viewer
from gregale.store.schema import action_executions, executions, timers


def execution_and_facts(
    connection: Connection,
    execution_id: str,
    viewer: Viewer,
    now: float,
    sweep_every: float,
    heartbeat_timeout: float,
) -> tuple[Execution, Facts]:
    """On one snapshot. Raises NotFound."""
    found = load(connection, [execution_id])
    if not found or (found[0].project_id != viewer.project_id and not viewer.admin):
        raise NotFound(f"WorkflowExecution not found [id={execution_id}]")
    due: dict[str, list[Due]] = {}
    for row in connection.execute(sa.select(timers).where(timers.c.execution_id == execution_id)):
        due.setdefault(row.task_id, []).append(Due(row.kind, row.due))
    a = action_executions.c
    held = connection.execute(
        sa.select(a.id, a.holder, a.held_since, a.heartbeat, members.c.name, members.c.state)
        .join(members, members.c.id == a.holder, isouter=True)
        .where(a.execution_id == execution_id, a.holder.is_not(None), a.state.in_(("RUNNING", "PAUSED")))
    )
    holders = {
        row.id: Holder(row.name or row.holder, row.state or "gone", row.held_since or 0.0, row.heartbeat or 0.0)
        for row in held
    }
    inner = sa.select(executions.c.id, executions.c.state).where(executions.c.parent_id == execution_id)
    below = {row.id: row.state for row in connection.execute(inner)}
    return found[0], Facts(now, due, holders, below, sweep_every, heartbeat_timeout)
