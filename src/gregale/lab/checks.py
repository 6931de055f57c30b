"""What must hold in the rows once everything is at rest: the invariants that rows can show, checked offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import invariants
from gregale.lab.load import Operation
from gregale.store import load, rows
from gregale.store.cluster_schema import results
from gregale.store.schema import action_executions, events, executions, tasks, timers

_ENDED = ("SUCCESS", "ERROR", "CANCELLED")
_OVER = (*_ENDED, "SKIPPED")


class Check(msgspec.Struct, frozen=True):
    """`broken`: every place where it does not hold."""

    name: str
    looked_at: int
    broken: tuple[str, ...]


def states(connection: Connection) -> dict[str, str]:
    """Of the executions that have no parent."""
    found = connection.execute(sa.select(executions.c.id, executions.c.state).where(executions.c.parent_id.is_(None)))
    return {row.id: row.state for row in found}


def ends(connection: Connection) -> dict[str, tuple[str, str | None, str | None]]:
    c = executions.c
    found = connection.execute(sa.select(c.id, c.state, c.output, c.state_info).where(c.parent_id.is_(None)))
    return {row.id: (row.state, row.output, row.state_info) for row in found}


def unfinished(connection: Connection) -> int:
    """Executions, of any depth, that have not ended."""
    live = sa.select(sa.func.count()).select_from(executions).where(executions.c.state.not_in(_ENDED))
    return int(connection.scalar(live) or 0)


def rest(connection: Connection) -> list[Check]:
    """All of them."""
    return [
        _ended_for_good(connection),
        _nothing_lives_in_the_dead(connection),
        _once_each(connection),
        _core(connection),
        _nothing_left(connection),
    ]


def _check(name: str, looked_at: int, broken: Iterator[str] | Sequence[str]) -> Check:
    return Check(name, looked_at, tuple(broken)[:20])


def _ended_for_good(connection: Connection) -> Check:
    """I1: nothing leaves a terminal state (nothing here is rerun)."""
    ended: dict[str, str] = {}
    broken = []
    number = 0
    for row in connection.execute(sa.select(events).order_by(events.c.seq)):
        for change in rows.decode(row.body):
            _, task_id, name, _, new, _ = change
            key = task_id or row.execution_id
            number += 1
            if key in ended and new != ended[key]:
                broken.append(f"{name or row.workflow_name} {key} went from {ended[key]} to {new}")
            if new in _OVER:
                ended[key] = new
    return _check("I1: what has ended stays as it is", number, broken)


def _nothing_lives_in_the_dead(connection: Connection) -> Check:
    """I3."""
    task_rows = connection.execute(
        sa.select(tasks.c.id, tasks.c.name, tasks.c.state)
        .join(executions, executions.c.id == tasks.c.execution_id)
        .where(executions.c.state.in_(_ENDED), tasks.c.state.not_in(_OVER))
    ).all()
    action_rows = connection.execute(
        sa.select(action_executions.c.id, action_executions.c.name)
        .join(tasks, tasks.c.id == action_executions.c.task_id)
        .where(tasks.c.state.in_(_OVER), action_executions.c.state.not_in(_OVER), action_executions.c.accepted)
    ).all()
    broken = [f"task {r.name} {r.id} is {r.state} in an execution that has ended" for r in task_rows]
    broken += [f"action {r.name} {r.id} lives in a task that has ended" for r in action_rows]
    return _check("I3: nothing lives in what has ended", _count(connection, tasks), broken)


def _once_each(connection: Connection) -> Check:
    """I4: in workflows without cycles, each task of an execution is there once."""
    found = connection.execute(
        sa.select(tasks.c.execution_id, tasks.c.name, sa.func.count())
        .group_by(tasks.c.execution_id, tasks.c.name)
        .having(sa.func.count() > 1)
    ).all()
    return _check(
        "I4: each task once", _count(connection, tasks), [f"{r[1]} in {r[0]} is there {r[2]} times" for r in found]
    )


def _core(connection: Connection) -> Check:
    """I5, I7: what the core holds of each execution, recounted from its rows."""
    ids = list(connection.scalars(sa.select(executions.c.id)))
    broken = []
    for execution in load(connection, ids):
        broken += [f"{execution.id}: {fault}" for fault in invariants.broken(execution)]
    return _check("I5, I7: counters and states as the core needs them", len(ids), broken)


def _nothing_left(connection: Connection) -> Check:
    """I8 at rest: nothing says that it is in flight."""
    ended = sa.select(executions.c.id).where(executions.c.state.in_(_ENDED))
    left = {
        "timers": connection.execute(sa.select(timers.c.task_id).where(timers.c.execution_id.in_(ended))).all(),
        "results": connection.execute(
            sa.select(results.c.action_id)
            .join(action_executions, action_executions.c.id == results.c.action_id)
            .where(action_executions.c.state == "RUNNING")
        ).all(),
        "actions": connection.execute(
            sa.select(action_executions.c.id).where(
                action_executions.c.execution_id.in_(ended), action_executions.c.state == "RUNNING"
            )
        ).all(),
    }
    broken = [f"{len(found)} {what} are left" for what, found in left.items() if found and what != "timers"]
    return _check("I8: nothing is in flight at rest", _count(connection, action_executions), broken)


def history(operations: Sequence[Operation]) -> Check:
    """I15, on the history of clients, which ends with a read of everything: what was confirmed is there, what was refused for certain
    is not, and of the rest either may be true."""
    there = {o.execution_id for o in operations if o.kind == "read"}
    results: dict[str, set[str]] = {}
    for operation in operations:
        if operation.kind != "read":
            results.setdefault(operation.execution_id, set()).add(operation.result)
    broken = [
        f"{key}: confirmed, and not there" for key, found in results.items() if "ok" in found and key not in there
    ]
    broken += [f"{key}: refused, and there" for key, found in results.items() if found == {"failed"} and key in there]
    return _check("I15: what was confirmed is there, what was refused is not", len(results), broken)


def first_end_after(connection: Connection, moment: float) -> float | None:
    """When the first change of state was committed after that time."""
    found: Any = connection.scalar(sa.select(sa.func.min(events.c.at)).where(events.c.at > moment))
    return None if found is None else float(found)


def longest_pause(connection: Connection, since: float, until: float) -> float:
    """The longest time, in seconds, in which no change of state was committed."""
    at = list(
        connection.scalars(
            sa.select(events.c.at).where(events.c.at >= since, events.c.at <= until).order_by(events.c.at)
        )
    )
    return max((b - a for a, b in pairwise([since, *at, until])), default=0.0)


def _count(connection: Connection, table: sa.Table) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
