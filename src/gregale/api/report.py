"""What an execution and everything below it has done: the report, and lists of sub-executions (API spec 1.5)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core.scope import shown_time
from gregale.store import rows
from gregale.store.attributes import Resource
from gregale.store.removal import subtree_ids
from gregale.store.schema import action_executions, executions, tasks

_CHUNK = 500
_COUNTED = ("RUNNING", "SUCCESS", "ERROR", "IDLE", "PAUSED")


def execution_rows(connection: Connection, resource: Resource, ids: Sequence[str], names: Sequence[str]) -> list[Any]:
    """Rows of these executions with what the attributes need, and with `parent_id`."""
    found: list[Any] = []
    select = resource.select(names).add_columns(executions.c.parent_id)
    for start in range(0, len(ids), _CHUNK):
        found += connection.execute(select.where(executions.c.id.in_(ids[start : start + _CHUNK]))).all()
    return found


def started_by(connection: Connection, task_id: str) -> list[str]:
    mine = sa.select(executions.c.id).where(executions.c.parent_task_id == task_id)
    return list(connection.scalars(mine.order_by(executions.c.created_at, executions.c.id)))


def depth_first(found: Mapping[str, Any], tops: Sequence[str]) -> list[Any]:
    """Rows in the order of a walk that goes down before it goes on."""
    below: dict[str | None, list[Any]] = defaultdict(list)
    for row in found.values():
        below[row.parent_id].append(row)
    for children in below.values():
        children.sort(key=lambda r: (r.created_at, r.id), reverse=True)
    waiting = [found[top] for top in reversed(tops) if top in found]
    result = []
    while waiting:
        row = waiting.pop()
        result.append(row)
        waiting += below[row.id]
    return result


def report(
    connection: Connection, top: Any, depth: int, errors_only: bool, statistics_only: bool, now: float
) -> dict[str, Any]:
    """`top`: the row of the execution. With `depth` 0 only its own tasks, its sub-workflows as leaves."""
    inner = subtree_ids(connection, top.id, depth)
    statistics = _statistics(connection, inner, errors_only)
    statistics["estimated_time"] = estimated_time(connection, top, now)
    if statistics_only:
        return {"statistics": statistics}
    ids = inner if depth < 0 else subtree_ids(connection, top.id, depth + 1)
    return {
        "statistics": statistics,
        "root_workflow_execution": _tree(connection, top.id, ids, set(inner), errors_only),
    }


def _statistics(connection: Connection, ids: Sequence[str], errors_only: bool) -> dict[str, Any]:
    states: Counter[str] = Counter()
    for start in range(0, len(ids), _CHUNK):
        chunk = tasks.c.execution_id.in_(ids[start : start + _CHUNK])
        for state, number in connection.execute(
            sa.select(tasks.c.state, sa.func.count()).where(chunk).group_by(tasks.c.state)
        ):
            if not errors_only or state == "ERROR":
                states[state] += number
    result: dict[str, Any] = {"total_tasks_count": sum(states.values())}
    return result | {f"{state.lower()}_tasks_count": states[state] for state in _COUNTED}


def estimated_time(connection: Connection, top: Any, now: float) -> int:
    """Seconds that an execution probably still takes: the mean of up to 20 earlier ones less what it has taken."""
    if top.state != "RUNNING":
        return 0
    earlier = (
        sa.select((executions.c.updated_at - executions.c.created_at).label("took"))
        .where(executions.c.workflow_id == top.workflow_id, executions.c.state == "SUCCESS")
        .order_by(executions.c.created_at.desc())
        .limit(20)
        .subquery()
    )
    mean = connection.scalar(sa.select(sa.func.avg(earlier.c.took)))
    return -1 if mean is None else max(1, int(mean - (now - top.created_at)))


def _tree(connection: Connection, top: str, ids: Sequence[str], inner: set[str], errors_only: bool) -> dict[str, Any]:
    nodes: dict[str, dict[str, Any]] = {}
    by_task: dict[str, list[str]] = defaultdict(list)
    task_rows: dict[str, list[Any]] = defaultdict(list)
    action_rows: dict[str, list[Any]] = defaultdict(list)
    e, a = executions.c, action_executions.c
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        mine = sa.select(e.id, e.workflow_name, e.created_at, e.updated_at, e.state, e.state_info, e.parent_task_id)
        for row in connection.execute(mine.where(e.id.in_(chunk)).order_by(e.created_at, e.id)):
            nodes[row.id] = _node(row, row.workflow_name)
            by_task[row.parent_task_id].append(row.id)
        for task in connection.execute(
            sa.select(tasks).where(tasks.c.execution_id.in_([i for i in chunk if i in inner])).order_by(tasks.c.seq)
        ):
            task_rows[task.execution_id].append(task)
        for action in connection.execute(
            sa.select(
                a.id, a.task_id, a.name, a.created_at, a.updated_at, a.state, a.state_info, a.accepted, a.heartbeat
            )
            .where(a.execution_id.in_(chunk), a.kind == "ACTION")
            .order_by(a.seq)
        ):
            action_rows[action.task_id].append(action)
    for execution_id in ids:
        if execution_id not in inner or execution_id not in nodes:
            continue
        shown = [t for t in task_rows[execution_id] if not errors_only or t.state == "ERROR"]
        nodes[execution_id]["task_executions"] = [
            {
                **_node(task, task.name),
                **_retries(task),
                "action_executions": [_action(row) for row in action_rows[task.id]],
                "workflow_executions": [nodes[child] for child in by_task[task.id]],
            }
            for task in shown
        ]
    return nodes[top]


def _node(row: Any, name: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": name,
        "created_at": shown_time(row.created_at),
        "updated_at": shown_time(row.updated_at),
        "state": row.state,
        "state_info": row.state_info,
    }


def _retries(task: Any) -> dict[str, int]:
    count = rows.progress_of(task.progress).retries
    return {"retry_count": count} if count else {}


def _action(row: Any) -> dict[str, Any]:
    last = None if row.heartbeat is None else shown_time(row.heartbeat)
    return {**_node(row, row.name), "accepted": bool(row.accepted), "last_heartbeat": last}
