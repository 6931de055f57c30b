"""Who holds which action: claims before unsafe actions start, heartbeats while they run, what the dead have left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store.schema import action_executions as table
from gregale.store.schema import members


def claim(connection: Connection, wanted: Sequence[tuple[str, int]], holder: str, now: float) -> set[str]:
    """Claim actions `(id, attempt)` that run, that nobody holds; gives the ids of those now held by `holder`."""
    claimed = set()
    for action_id, attempt in wanted:
        found = connection.execute(
            table.update()
            .where(
                table.c.id == action_id,
                table.c.attempt == attempt,
                table.c.state == "RUNNING",
                table.c.holder.is_(None),
            )
            .values(holder=holder, held_since=now, heartbeat=now)
        )
        if found.rowcount == 1:
            claimed.add(action_id)
    return claimed


def heartbeat(connection: Connection, action_ids: Sequence[str], holder: str, now: float) -> None:
    """Say that these actions still run here. Takes idempotent ones that were started without a claim as held."""
    for start in range(0, len(action_ids), 500):
        connection.execute(
            table.update()
            .where(
                table.c.id.in_(action_ids[start : start + 500]),
                table.c.state == "RUNNING",
                sa.or_(table.c.holder == holder, table.c.holder.is_(None)),
            )
            .values(holder=holder, heartbeat=now, held_since=sa.func.coalesce(table.c.held_since, now))
        )
    connection.execute(members.update().where(members.c.id == holder).values(heartbeat=now))


def release(connection: Connection, holder: str) -> None:
    """Forget the claims of a member that is known not to run them any more, where running again is safe."""
    connection.execute(
        table.update()
        .where(table.c.holder == holder, table.c.state == "RUNNING", table.c.safe_rerun.is_(sa.true()))
        .values(holder=None, held_since=None, heartbeat=None)
    )


def join(connection: Connection, member: dict[str, Any], alone: bool) -> list[Any]:
    """Enter a member. `alone`: no other can be alive, so all that are not gone are lost. Gives the lost ones."""
    lost: list[Any] = []
    if alone:
        gone = sa.select(members).where(members.c.state.not_in(("gone", "lost")), members.c.id != member["id"])
        lost = list(connection.execute(gone).all())
        connection.execute(members.update().where(members.c.id.in_([m.id for m in lost])).values(state="lost"))
    connection.execute(members.insert(), [member])
    return lost


def leave(connection: Connection, member_id: str, now: float) -> None:
    connection.execute(members.update().where(members.c.id == member_id).values(state="gone", heartbeat=now))
