"""What a commit tells the world, written in the same transaction: entries of the events stream, and notifications to send."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import Work
from gregale.core.notices import named
from gregale.core.scope import shown_time
from gregale.core.work import Transition
from gregale.store import rows
from gregale.store.schema import events, notifications

_KEYS = uuid.UUID("6f2c27a9-63bb-5d41-9a0f-1f1f8c7c9e55")


def entries(works: Sequence[Work]) -> list[rows.Row]:
    """Rows of the events stream: one for each execution that a batch has changed."""
    return [
        {
            "at": work.transitions[-1].at,
            "project_id": work.execution.project_id,
            "root_id": work.execution.root_id,
            "execution_id": work.execution.id,
            "workflow_name": work.execution.workflow_name,
            "body": rows.encode([_entry(work, t, event) for t, event in named(work.transitions)]),
        }
        for work in works
        if work.transitions
    ]


def letters(connection: Connection, works: Sequence[Work], always: Sequence[dict[str, Any]]) -> int:
    """Write what is to be sent of a batch to the publishers of each execution's `notify` and to those of `always`. Gives its number."""
    found = [letter for work in works if work.transitions for letter in _letters(work, always)]
    if found:
        _number(connection, found)
        connection.execute(notifications.insert(), found)
    return len(found)


def _entry(work: Work, t: Transition, event: str | None) -> tuple[Any, ...]:
    name = None if t.task_id is None else work.execution.tasks[t.task_id].name
    return (t.at, t.task_id, name, None if t.old is None else t.old.value, t.new.value, event)


def _letters(work: Work, always: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    given = work.execution.params.get("notify")
    publishers = [p for p in (*(given if isinstance(given, list) else ()), *always) if isinstance(p, dict)]
    if not publishers:
        return []
    happened = named(work.transitions)
    result = []
    for number, publisher in enumerate(publishers):
        text = rows.encode(publisher)
        lane = hashlib.sha256(f"{work.execution.root_id}:{number}:{text}".encode()).hexdigest()[:40]
        types = publisher.get("event_types")
        for position, (transition, event) in enumerate(happened):
            if event is None or (isinstance(types, list) and event not in types):
                continue
            key = f"{work.execution.id}:{work.original.revision}:{position}:{lane}"
            result.append(
                {
                    "id": str(uuid.uuid5(_KEYS, key)),
                    "execution_id": work.execution.id,
                    "root_id": work.execution.root_id,
                    "project_id": work.execution.project_id,
                    "event": event,
                    "publisher": text,
                    "lane": lane,
                    "payload": rows.encode(_payload(work, transition, event)),
                    "state": "PENDING",
                    "attempts": 0,
                    "due": transition.at,
                    "last_error": None,
                    "created_at": transition.at,
                    "updated_at": transition.at,
                }
            )
    return result


def _payload(work: Work, t: Transition, event: str) -> dict[str, Any]:
    e = work.execution
    shared = {
        "workflow_name": e.workflow_name,
        "workflow_namespace": e.namespace,
        "workflow_id": e.workflow_id,
        "state": t.new.value,
        "project_id": e.project_id,
        "event": event,
    }
    if t.task_id is None:
        return shared | {
            "id": e.id,
            "name": e.workflow_name,
            "state_info": e.state_info,
            "task_execution_id": e.parent_task_id,
            "root_execution_id": None if e.root_id == e.id else e.root_id,
            "created_at": shown_time(e.created_at),
            "updated_at": shown_time(t.at),
        }
    task = e.tasks[t.task_id]
    return shared | {
        "id": task.id,
        "name": task.name,
        "workflow_execution_id": e.id,
        "state_info": task.state_info,
        "type": task.type,
        "created_at": shown_time(task.created_at),
        "updated_at": shown_time(t.at),
        "started_at": None if task.started_at is None else shown_time(task.started_at),
        "finished_at": None if task.finished_at is None else shown_time(task.finished_at),
    }


def _number(connection: Connection, letters: list[dict[str, Any]]) -> None:
    """The order within each lane goes on from what is there; the swap of the execution lets one writer at a time do so."""
    lanes = list({letter["lane"] for letter in letters})
    last: dict[str, int] = {}
    for start in range(0, len(lanes), 500):
        found = (
            sa.select(notifications.c.lane, sa.func.max(notifications.c.seq))
            .where(notifications.c.lane.in_(lanes[start : start + 500]))
            .group_by(notifications.c.lane)
        )
        last.update({row[0]: row[1] for row in connection.execute(found)})
    for letter in letters:
        last[letter["lane"]] = letter["seq"] = last.get(letter["lane"], 0) + 1


def heads(connection: Connection, now: float, most: int) -> Sequence[Any]:
    """Notifications that are due, of each lane the first one that is not sent."""
    before = notifications.alias("before")
    earlier = sa.select(1).where(
        before.c.lane == notifications.c.lane, before.c.state == "PENDING", before.c.seq < notifications.c.seq
    )
    return connection.execute(
        sa.select(notifications)
        .where(notifications.c.state == "PENDING", notifications.c.due <= now, ~earlier.exists())
        .order_by(notifications.c.due)
        .limit(most)
    ).all()


def take(connection: Connection, found: Sequence[Any], now: float, lease: float) -> list[Any]:
    """Those of `found` that this caller alone may send within the lease."""
    taken = []
    for row in found:
        done = connection.execute(
            notifications.update()
            .where(notifications.c.id == row.id, notifications.c.state == "PENDING", notifications.c.due == row.due)
            .values(due=now + lease, attempts=row.attempts + 1, updated_at=now)
        )
        if done.rowcount == 1:
            taken.append(row)
    return taken


def settle(connection: Connection, outcomes: Sequence[tuple[str, str, float, str | None]], now: float) -> None:
    """Outcomes of sending: (id, state, when to try again, error)."""
    connection.execute(
        notifications.update()
        .where(notifications.c.id == sa.bindparam("key"))
        .values(state=sa.bindparam("s"), due=sa.bindparam("d"), last_error=sa.bindparam("e"), updated_at=now),
        [{"key": i, "s": state, "d": due, "e": error} for i, state, due, error in outcomes],
    )


def prune(connection: Connection, before: float, most: int = 5000) -> int:
    """Forget notifications that were dealt with before that time; gives how many."""
    old = sa.select(notifications.c.id).where(notifications.c.state != "PENDING", notifications.c.updated_at < before)
    found = list(connection.scalars(old.limit(most)))
    for start in range(0, len(found), 500):
        connection.execute(notifications.delete().where(notifications.c.id.in_(found[start : start + 500])))
    return len(found)


def stream(
    connection: Connection, after: int, most: int, now: float, *where: sa.ColumnElement[bool]
) -> tuple[Sequence[Any], int]:
    """Entries after a position, and the position up to which nothing can appear any more.

    Positions are given out before commits, and these may come in another order: an entry behind a gap is held back until the
    gap is filled, or so old that its transaction cannot be under way any more.
    """
    if after >= _NOW:
        return (), int(connection.scalar(sa.select(sa.func.max(events.c.seq))) or 0)
    head = after
    for seq, at in connection.execute(
        sa.select(events.c.seq, events.c.at).where(events.c.seq > after).order_by(events.c.seq).limit(10 * most)
    ):
        if seq != head + 1 and at > now - _HELD_BACK:
            break
        head = seq
    found = connection.execute(
        sa.select(events).where(events.c.seq > after, events.c.seq <= head, *where).order_by(events.c.seq).limit(most)
    ).all()
    return found, head


_NOW = 2**62
"""A position behind all: only the newest is asked for."""
_HELD_BACK = 3.0
"""Seconds; a transaction that takes longer has lost its swap, or its database."""


def oldest(connection: Connection) -> int:
    """The first position that the stream still holds, 0 when it is empty."""
    return int(connection.scalar(sa.select(sa.func.min(events.c.seq))) or 0)
