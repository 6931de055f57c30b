"""Single records and small sets of them, for people and for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import NotFound
from gregale.store.attributes import Resource
from gregale.store.ownership import Viewer
from gregale.store.schema import action_executions, executions, specs, tasks


def one(connection: Connection, resource: Resource, key: str, names: Sequence[str], *where: Any) -> Any:
    """The row of one record with what these attributes need. Raises NotFound."""
    found = connection.execute(resource.select(names).where(resource.id == key, *where)).first()
    if found is None:
        raise NotFound(f"{resource.title} not found [id={key}]")
    return found


_LARGE = frozenset(("input", "params", "context", "backlog", "output", "published", "progress", "base"))


def _small(table: sa.Table, more: Sequence[str]) -> list[Any]:
    return [c for c in table.c if c.name not in _LARGE or c.name in more]


def execution(connection: Connection, execution_id: str, viewer: Viewer, *more: str) -> Any:
    """Without its large columns, but for those named. Raises NotFound."""
    found = connection.execute(
        sa.select(*_small(executions, more)).where(executions.c.id == execution_id, viewer.own(executions))
    ).first()
    if found is None:
        raise NotFound(f"WorkflowExecution not found [id={execution_id}]")
    return found


def task(connection: Connection, task_id: str, viewer: Viewer) -> Any:
    """With the spec that its execution runs, without its large columns. Raises NotFound."""
    found = connection.execute(
        sa.select(*_small(tasks, ()), executions.c.workflow_name, executions.c.spec_hash)
        .join(executions, executions.c.id == tasks.c.execution_id)
        .where(tasks.c.id == task_id, viewer.own(tasks))
    ).first()
    if found is None:
        raise NotFound(f"TaskExecution not found [id={task_id}]")
    return found


def action_execution(connection: Connection, action_id: str, viewer: Viewer) -> Any:
    """Raises NotFound."""
    table = action_executions
    found = connection.execute(
        sa.select(*_small(table, ())).where(table.c.id == action_id, table.c.kind == "ACTION", viewer.own(table))
    ).first()
    if found is None:
        raise NotFound(f"ActionExecution not found [id={action_id}]")
    return found


def describe(connection: Connection, execution_id: str, description: str) -> None:
    """Only people read a description, so that it needs no decision."""
    connection.execute(executions.update().where(executions.c.id == execution_id).values(description=description))


def delete_action_execution(connection: Connection, action_id: str) -> None:
    connection.execute(action_executions.delete().where(action_executions.c.id == action_id))


def spec_body(connection: Connection, spec_hash: str) -> str:
    """The stored body of a workflow, as JSON text."""
    found = connection.scalar(sa.select(specs.c.body).where(specs.c.hash == spec_hash))
    assert found is not None
    return str(found)
