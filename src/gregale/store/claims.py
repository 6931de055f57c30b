"""Who holds which action: claims before unsafe actions start, heartbeats while they run, what the dead have left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store import rows
from gregale.store.schema import action_executions as table


def claim(connection: Connection, wanted: Sequence[tuple[str, int]], holder: str, now: float) -> set[str]:
    """Claim actions `(id, attempt)` that run, that nobody holds; gives the ids of those now held by `holder`.

    Repeated with the same `now` it gives the same: nobody else can have claimed at that time in that name.
    """
    by_attempt: dict[int, list[str]] = {}
    for action_id, attempt in sorted(wanted):
        by_attempt.setdefault(attempt, []).append(action_id)
    claimed: set[str] = set()
    for attempt, ids in by_attempt.items():
        for start in range(0, len(ids), 500):
            chunk = table.c.id.in_(ids[start : start + 500])
            connection.execute(
                table.update()
                .where(chunk, table.c.attempt == attempt, table.c.state == "RUNNING", table.c.holder.is_(None))
                .values(holder=holder, held_since=now, heartbeat=now, claims=table.c.claims + 1)
            )
            mine = sa.select(table.c.id).where(
                chunk, table.c.attempt == attempt, table.c.holder == holder, table.c.held_since == now
            )
            claimed.update(connection.scalars(mine))
    return claimed


def still_held(connection: Connection, action_id: str, attempt: int, holder: str) -> bool:
    """Whether a claim from a while ago still stands."""
    found = sa.select(table.c.id).where(
        table.c.id == action_id, table.c.attempt == attempt, table.c.state == "RUNNING", table.c.holder == holder
    )
    return connection.scalar(found) is not None


def unfinished(connection: Connection, keys: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of the actions `(id, attempt)` whose result has not arrived."""
    found: set[tuple[str, int]] = set()
    ids = [action_id for action_id, _ in keys]
    for start in range(0, len(ids), 500):
        rest = sa.select(table.c.id, table.c.attempt).where(
            table.c.id.in_(ids[start : start + 500]), table.c.state == "RUNNING"
        )
        found.update((row.id, row.attempt) for row in connection.execute(rest))
    return found & set(keys)


def request(connection: Connection, action_id: str) -> dict[str, Any] | None:
    """The input of an action that was too large for a message; None when it is gone."""
    row = connection.execute(sa.select(table.c.input, table.c.base).where(table.c.id == action_id)).first()
    if row is None:
        return None
    given: dict[str, Any] = rows.decode(row.input) if row.base is None else rows.decode(row.base)[1]
    return given


def heartbeat(connection: Connection, action_ids: Sequence[str], holder: str, now: float) -> None:
    """Say that these actions still run here. Takes idempotent ones that were started without a claim as held."""
    ids = sorted(action_ids)
    for start in range(0, len(ids), 500):
        connection.execute(
            table.update()
            .where(
                table.c.id.in_(ids[start : start + 500]),
                table.c.state == "RUNNING",
                sa.or_(table.c.holder == holder, table.c.holder.is_(None)),
            )
            .values(holder=holder, heartbeat=now, held_since=sa.func.coalesce(table.c.held_since, now))
        )


def release(connection: Connection, holder: str) -> None:
    """Forget the claims of a member that is known not to run them any more, where running again is safe."""
    connection.execute(
        table.update()
        .where(table.c.holder == holder, table.c.state == "RUNNING", table.c.safe_rerun.is_(sa.true()))
        .values(holder=None, held_since=None, heartbeat=None, updated_at=0.0)
    )
