"""Parts of records as the API shows them, worked out from rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store import rows
from gregale.store.schema import action_executions, executions, tasks


def runtime_context(progress: str) -> dict[str, Any]:
    """What language spec 5.11 and 6.2 record of a task's progress."""
    p = rows.progress_of(progress)
    result: dict[str, Any] = dict(p.policies)
    if p.triggered_by:
        result["triggered_by"] = [{"task_id": source, "event": clause} for source, clause in p.triggered_by]
    if p.items is not None:
        result["with_items"] = {"count": p.items.count, "capacity": p.items.capacity}
    return result


def results(connection: Connection, task_ids: Sequence[str]) -> dict[str, Any]:
    """Results of tasks, from the rows of what they ran, in order (language spec 4.6)."""
    children: dict[str, list[Any]] = {task_id: [] for task_id in task_ids}
    items: set[str] = set()
    c = action_executions.c
    for start in range(0, len(task_ids), 500):
        chunk = task_ids[start : start + 500]
        ran = sa.select(c.task_id, c.item, c.seq, c.output).where(c.task_id.in_(chunk), c.accepted.is_(sa.true()))
        for row in connection.execute(ran.order_by(c.seq)):
            children[row.task_id].append(row)
        for task_id, progress in connection.execute(
            sa.select(tasks.c.id, tasks.c.progress).where(tasks.c.id.in_(chunk))
        ):
            if rows.progress_of(progress).items is not None:
                items.add(task_id)
    return {task_id: _result(found, task_id in items) for task_id, found in children.items()}


def global_values(connection: Connection, execution_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What executions hold for all of their tasks: vars and global publishes."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(execution_ids), 500):
        chunk = executions.c.id.in_(execution_ids[start : start + 500])
        for key, context in connection.execute(sa.select(executions.c.id, executions.c.context).where(chunk)):
            found[key] = rows.decode(context)
    return found


def _result(accepted: list[Any], with_items: bool) -> Any:
    if with_items:
        accepted.sort(key=lambda c: (c.item, c.seq))
    elif len(accepted) == 1:
        return rows.decode(accepted[0].output)
    return [rows.decode(c.output) for c in accepted]
