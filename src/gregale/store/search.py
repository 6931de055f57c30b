"""Lists and single records for people: filters, order, pages. One query a list; no large column that is not shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import InvalidInput, NotFound
from gregale.store.schema import action_executions, executions, specs, tasks

MAX_PAGE = 1000

_OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "nin", "has")


class Page(msgspec.Struct, frozen=True):
    """What of a collection is wanted. `filters`: column → `value` or `op:value` (API spec 1.1)."""

    limit: int = MAX_PAGE
    marker: str | None = None
    sort_keys: tuple[str, ...] = ("created_at",)
    sort_dirs: tuple[str, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()


def page(
    connection: Connection,
    table: sa.Table,
    columns: Sequence[sa.ColumnElement[Any]],
    wanted: Page,
    *where: sa.ColumnElement[bool],
) -> list[Any]:
    """Rows of one page. Raises InvalidInput for an unknown column or marker."""
    order: list[tuple[sa.Column[Any], bool]] = []
    for position, key in enumerate(wanted.sort_keys):
        direction = wanted.sort_dirs[position] if position < len(wanted.sort_dirs) else "asc"
        if key not in table.c:
            raise InvalidInput(f"Cannot sort by '{key}': known are {', '.join(c.name for c in table.c)}")
        order.append((table.c[key], direction == "desc"))
    if all(column.name != "id" for column, _ in order):
        order.append((table.c.id, False))
    statement = sa.select(*columns).where(*where)
    for name, value in wanted.filters:
        if name not in table.c:
            raise InvalidInput(f'Unknown argument: "{name}"')
        statement = statement.where(_condition(table.c[name], value))
    if wanted.marker is not None:
        at = connection.execute(sa.select(table).where(table.c.id == wanted.marker)).first()
        if at is None:
            raise NotFound(f"No such marker: {wanted.marker}")
        statement = statement.where(_after(order, at))
    statement = statement.order_by(*(column.desc() if down else column.asc() for column, down in order))
    return list(connection.execute(statement.limit(wanted.limit)).all())


def _after(order: list[tuple[sa.Column[Any], bool]], at: Any) -> sa.ColumnElement[bool]:
    """Rows that come after `at`: for each key, equal in all keys before it and further in it."""
    alternatives = []
    for position, (column, down) in enumerate(order):
        value = getattr(at, column.name)
        same = [c == getattr(at, c.name) for c, _ in order[:position]]
        alternatives.append(sa.and_(*same, column < value if down else column > value))
    return sa.or_(*alternatives)


def _condition(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    operator, _, value = text.partition(":")
    if operator not in _OPERATORS:
        operator, value = "eq", text
    if operator == "has":
        return column.contains(value, autoescape=True)
    if operator in ("in", "nin"):
        values = [typed(column, v) for v in value.split(",")]
        return column.in_(values) if operator == "in" else column.not_in(values)
    wanted = typed(column, value)
    if operator in ("eq", "neq"):
        same: sa.ColumnElement[bool] = column == wanted
        return same if operator == "eq" else sa.not_(same)
    comparisons: dict[str, sa.ColumnElement[bool]] = {
        "gt": column > wanted,
        "gte": column >= wanted,
        "lt": column < wanted,
        "lte": column <= wanted,
    }
    return comparisons[operator]


def typed(column: sa.Column[Any], text: str) -> Any:
    """A filter's text as the column's type. Raises InvalidInput."""
    if isinstance(column.type, sa.Boolean):
        return text.lower() in ("true", "1", "yes", "on")
    if isinstance(column.type, sa.Double | sa.Float):
        for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"):
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
            except ValueError:
                continue
        raise InvalidInput(f"'{text}' is not a time: write YYYY-MM-DD HH:MM:SS")
    if isinstance(column.type, sa.Integer):
        if not text.lstrip("-").isdigit():
            raise InvalidInput(f"'{text}' is not a number")
        return int(text)
    return text


def execution_columns(output: bool) -> list[sa.ColumnElement[Any]]:
    left_out = {"context", "backlog"} | (set() if output else {"output"})
    return [c for c in executions.c if c.name not in left_out]


def execution(connection: Connection, execution_id: str, project_id: str) -> Any:
    """Raises NotFound."""
    found = connection.execute(
        sa.select(executions).where(executions.c.id == execution_id, executions.c.project_id == project_id)
    ).first()
    if found is None:
        raise NotFound(f"WorkflowExecution not found [id={execution_id}]")
    return found


_TASK_COLUMNS = [
    *tasks.c,
    executions.c.workflow_name,
    executions.c.workflow_id,
    executions.c.namespace,
    executions.c.project_id,
    executions.c.spec_hash,
]


def task_list(connection: Connection, wanted: Page, *where: sa.ColumnElement[bool]) -> list[Any]:
    """Task rows with the names of their workflows. A filter may name a workflow column too."""
    own, more = [], []
    for name, value in wanted.filters:
        if name == "workflow_execution_id":
            own.append(("execution_id", value))
        elif name in ("workflow_name", "workflow_id", "project_id"):
            more.append(_condition(executions.c[name], value))
        else:
            own.append((name, value))
    inside = tasks.c.execution_id == executions.c.id
    return page(
        connection, tasks, _TASK_COLUMNS, msgspec.structs.replace(wanted, filters=tuple(own)), inside, *more, *where
    )


def task(connection: Connection, task_id: str, project_id: str) -> Any:
    """Raises NotFound."""
    found = connection.execute(
        sa.select(*_TASK_COLUMNS).where(
            tasks.c.execution_id == executions.c.id, tasks.c.id == task_id, executions.c.project_id == project_id
        )
    ).first()
    if found is None:
        raise NotFound(f"TaskExecution not found [id={task_id}]")
    return found


def children(connection: Connection, task_id: str) -> list[Any]:
    """What a task has run, in order."""
    return list(
        connection.execute(
            sa.select(action_executions).where(action_executions.c.task_id == task_id).order_by(action_executions.c.seq)
        ).all()
    )


_ACTION_COLUMNS = [
    *action_executions.c,
    tasks.c.name.label("task_name"),
    executions.c.workflow_name,
    executions.c.namespace,
    executions.c.root_id,
]


def _actions_with_names() -> sa.Select[Any]:
    joined = action_executions.join(tasks, tasks.c.id == action_executions.c.task_id, isouter=True).join(
        executions, executions.c.id == action_executions.c.execution_id, isouter=True
    )
    return sa.select(*_ACTION_COLUMNS).select_from(joined).where(action_executions.c.kind == "ACTION")


def action_list(connection: Connection, wanted: Page, *where: sa.ColumnElement[bool]) -> list[Any]:
    """Action executions with the names of their task and workflow."""
    found = page(
        connection, action_executions, [action_executions.c.id], wanted, action_executions.c.kind == "ACTION", *where
    )
    ids = [row.id for row in found]
    by_id = {row.id: row for row in connection.execute(_actions_with_names().where(action_executions.c.id.in_(ids)))}
    return [by_id[i] for i in ids]


def action_execution(connection: Connection, action_id: str, project_id: str) -> Any:
    """Raises NotFound."""
    found = connection.execute(
        _actions_with_names().where(action_executions.c.id == action_id, action_executions.c.project_id == project_id)
    ).first()
    if found is None:
        raise NotFound(f"ActionExecution not found [id={action_id}]")
    return found


def subtree_ids(connection: Connection, execution_id: str) -> list[str]:
    """An execution and everything below it, level by level."""
    found = [execution_id]
    level = [execution_id]
    while level:
        level = list(connection.scalars(sa.select(executions.c.id).where(executions.c.parent_id.in_(level))))
        found += level
    return found


def delete_execution(connection: Connection, execution_id: str) -> None:
    """An execution with everything in it and below it."""
    ids = subtree_ids(connection, execution_id)
    for start in range(0, len(ids), 500):
        connection.execute(executions.delete().where(executions.c.id.in_(ids[start : start + 500])))


def describe(connection: Connection, execution_id: str, description: str) -> None:
    """Only people read a description, so that it needs no decision."""
    connection.execute(executions.update().where(executions.c.id == execution_id).values(description=description))


def spec_body(connection: Connection, spec_hash: str) -> str:
    """The stored body of a workflow, as JSON text."""
    found = connection.scalar(sa.select(specs.c.body).where(specs.c.hash == spec_hash))
    assert found is not None
    return str(found)
