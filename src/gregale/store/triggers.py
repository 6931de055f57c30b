"""Cron and event triggers (API spec 4.1, 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from gregale.core import Conflict, NotFound
from gregale.store.ownership import Viewer, changed
from gregale.store.schema import cron_triggers, event_triggers, executions


def using(connection: Connection, workflow_id: str, not_of: str | None = None) -> list[str]:
    """Ids of the triggers that start a workflow; `not_of`: only those of other projects."""
    found: list[str] = []
    for table in (cron_triggers, event_triggers):
        where = [table.c.workflow_id == workflow_id]
        if not_of is not None:
            where.append(table.c.project_id != not_of)
        found += connection.scalars(sa.select(table.c.id).where(*where))
    return found


def create(connection: Connection, table: sa.Table, kind: str, row: dict[str, Any]) -> None:
    """Raises Conflict."""
    if table is cron_triggers:
        same = sa.select(table.c.id).where(table.c.name == row["name"], table.c.project_id == row["project_id"])
        if connection.execute(same).first() is not None:
            raise Conflict(f"{kind} already exists [name={row['name']}, project_id={row['project_id']}]")
    _guarded(connection, table, kind, row["fingerprint"], None)
    try:
        connection.execute(table.insert(), row)
    except IntegrityError:
        raise Conflict(f"{kind} already exists [name={row['name']}, project_id={row['project_id']}]") from None
    changed(connection, "triggers")


def _guarded(connection: Connection, table: sa.Table, kind: str, fingerprint: str | None, own_id: str | None) -> None:
    same = connection.execute(sa.select(table.c.id, table.c.name).where(table.c.fingerprint == fingerprint)).first()
    if fingerprint is not None and same is not None and same.id != own_id:
        raise Conflict(f"A {kind} that does the same exists already: '{same.name}' [id={same.id}]")


def find_cron(connection: Connection, identifier: str, viewer: Viewer) -> Any:
    """By name or id. Raises NotFound."""
    table = cron_triggers
    found = connection.execute(
        sa.select(table)
        .where(viewer.sees(table), sa.or_(table.c.id == identifier, table.c.name == identifier))
        .order_by(viewer.nearest(table))
        .limit(1)
    ).first()
    if found is None:
        raise NotFound(f"CronTrigger not found [name={identifier}]")
    return found


def find_event(connection: Connection, trigger_id: str, viewer: Viewer) -> Any:
    """Raises NotFound."""
    table = event_triggers
    found = connection.execute(sa.select(table).where(table.c.id == trigger_id, viewer.sees(table))).first()
    if found is None:
        raise NotFound(f"EventTrigger not found [id={trigger_id}]")
    return found


def delete(connection: Connection, table: sa.Table, found: Any) -> None:
    connection.execute(table.delete().where(table.c.id == found.id))
    changed(connection, "triggers")


def update_event(connection: Connection, found: Any, values: dict[str, Any]) -> None:
    """Raises Conflict."""
    _guarded(connection, event_triggers, "EventTrigger", values["fingerprint"], found.id)
    connection.execute(event_triggers.update().where(event_triggers.c.id == found.id).values(values))
    changed(connection, "triggers")


def due(connection: Connection, now: float, most: int = 500) -> Sequence[Any]:
    """Cron triggers whose time has come, the longest overdue first."""
    table = cron_triggers
    return connection.execute(
        sa.select(table).where(table.c.next_execution_time <= now).order_by(table.c.next_execution_time).limit(most)
    ).all()


def next_due(connection: Connection) -> float | None:
    """When the next cron trigger is due."""
    found = connection.scalar(sa.select(sa.func.min(cron_triggers.c.next_execution_time)))
    return None if found is None else float(found)


def advance(connection: Connection, fired: Any, following: float | None, error: str | None, now: float) -> bool:
    """Put a trigger behind the time that it was fired for; after its last time it goes. False when another one did so."""
    table = cron_triggers
    same = (table.c.id == fired.id, table.c.next_execution_time == fired.next_execution_time)
    last = following is None or (fired.remaining_executions is not None and fired.remaining_executions <= 1)
    if last:
        done = connection.execute(table.delete().where(*same))
    else:
        left = None if fired.remaining_executions is None else fired.remaining_executions - 1
        values = {
            "next_execution_time": following,
            "remaining_executions": left,
            "last_error": error,
            "updated_at": now,
        }
        done = connection.execute(table.update().where(*same).values(values))
    return done.rowcount == 1


def failed(connection: Connection, table: sa.Table, trigger_id: str, error: str | None) -> None:
    connection.execute(table.update().where(table.c.id == trigger_id).values(last_error=error))


def topics(connection: Connection) -> list[tuple[str, str]]:
    """What event triggers listen to: (exchange, topic)."""
    found = connection.execute(sa.select(event_triggers.c.exchange, event_triggers.c.topic).distinct()).all()
    return [(row.exchange, row.topic) for row in found]


def listening(connection: Connection, exchange: str, topic: str, event: str) -> Sequence[Any]:
    table = event_triggers
    return connection.execute(
        sa.select(table).where(table.c.exchange == exchange, table.c.topic == topic, table.c.event == event)
    ).all()


def needed(connection: Connection, trigger_id: str) -> bool:
    """Whether a trigger is still there, or an execution that it started (its description says so) has not ended yet."""
    for table in (cron_triggers, event_triggers):
        if connection.execute(sa.select(table.c.id).where(table.c.id == trigger_id)).first() is not None:
            return True
    unfinished = executions.c.state.in_(("RUNNING", "PAUSED", "IDLE"))
    started = executions.c.description.contains(trigger_id, autoescape=True)
    return connection.execute(sa.select(executions.c.id).where(unfinished, started).limit(1)).first() is not None
