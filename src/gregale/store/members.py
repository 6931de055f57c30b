"""The rows of members and of the partitions that engines own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store.cluster_schema import members, partitions
from gregale.store.schema import action_executions

ALIVE = ("up", "draining")

_key = members.c.id == sa.bindparam("key")
_beat = members.update().where(_key, members.c.state.in_(ALIVE)).values(heartbeat=sa.bindparam("now"))
_state = sa.select(members.c.state).where(_key)
_alive = sa.select(members).where(members.c.state.in_(ALIVE))
_owned = sa.select(partitions).order_by(partitions.c.number)


def time_of(connection: Connection) -> float | None:
    """The clock of a database server, in seconds since the epoch; None where the database has only that of this machine."""
    clock = {
        "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
        "mysql": "SELECT unix_timestamp(sysdate(6))",
        "mariadb": "SELECT unix_timestamp(sysdate(6))",
    }.get(connection.dialect.name)
    return None if clock is None else float(connection.scalar(sa.text(clock)) or 0.0)


def enter(connection: Connection, member: dict[str, Any]) -> None:
    """Repeated with the same member it changes nothing."""
    if connection.scalar(sa.select(members.c.id).where(members.c.id == member["id"])) is None:
        connection.execute(members.insert(), [member])


def beat(connection: Connection, member_id: str, now: float) -> str:
    """Say that a member lives; gives its state, `lost` when others have given it up."""
    found = connection.execute(_beat, {"key": member_id, "now": now})
    if found.rowcount == 1:
        return str(connection.scalar(_state, {"key": member_id}))
    return "lost"


def alive(connection: Connection) -> Sequence[Any]:
    """Members that have not left and were not given up."""
    return connection.execute(_alive).all()


def shown(connection: Connection, since: float) -> Sequence[Any]:
    """The living, those that left or were lost since then, with the actions that each holds."""
    holds = (
        sa.select(action_executions.c.holder, sa.func.count().label("actions"))
        .where(action_executions.c.state == "RUNNING", action_executions.c.holder.is_not(None))
        .group_by(action_executions.c.holder)
        .subquery()
    )
    return connection.execute(
        sa.select(members, sa.func.coalesce(holds.c.actions, 0).label("actions"))
        .join(holds, holds.c.holder == members.c.id, isouter=True)
        .where(sa.or_(members.c.state.in_(ALIVE), members.c.heartbeat >= since))
        .order_by(members.c.kind, members.c.name, members.c.started_at)
    ).all()


def lose(connection: Connection, member_id: str, heartbeat: float) -> bool:
    """Give a member up, unless it has said something since."""
    found = connection.execute(
        members.update()
        .where(members.c.id == member_id, members.c.heartbeat == heartbeat, members.c.state.in_(ALIVE))
        .values(state="lost")
    )
    return found.rowcount == 1


def lose_all(connection: Connection, but: str) -> None:
    """Nobody else can be alive."""
    connection.execute(members.update().where(members.c.state.in_(ALIVE), members.c.id != but).values(state="lost"))


def drain(connection: Connection, name: str) -> list[str]:
    """Ask the living members of that name (or id) to take nothing new; gives their ids."""
    found = list(
        connection.scalars(
            sa.select(members.c.id).where(
                sa.or_(members.c.name == name, members.c.id == name), members.c.state.in_(ALIVE)
            )
        )
    )
    connection.execute(members.update().where(members.c.id.in_(found)).values(state="draining"))
    return found


def leave(connection: Connection, member_id: str, now: float) -> None:
    give(connection, member_id, now)
    connection.execute(members.update().where(members.c.id == member_id).values(state="gone", heartbeat=now))


def prune(connection: Connection, before: float) -> None:
    """Forget members that went long ago, and that hold nothing."""
    held = sa.select(1).where(action_executions.c.holder == members.c.id, action_executions.c.state == "RUNNING")
    connection.execute(
        members.delete().where(members.c.state.not_in(ALIVE), members.c.heartbeat < before, ~held.exists())
    )


# Partitions ----------------------------------------------------------------------------------------------------------


def owned(connection: Connection) -> Sequence[Any]:
    return connection.execute(_owned).all()


def take(connection: Connection, wanted: Sequence[tuple[int, int]], owner: str, now: float) -> list[int]:
    """Take partitions `(number, epoch)` that have not changed hands since they were seen; gives those that are now owned."""
    seen = sa.tuple_(partitions.c.number, partitions.c.epoch).in_(list(wanted))
    connection.execute(partitions.update().where(seen).values(owner=owner, epoch=partitions.c.epoch + 1, since=now))
    mine = sa.select(partitions.c.number).where(
        partitions.c.number.in_([number for number, _ in wanted]), partitions.c.owner == owner
    )
    return sorted(connection.scalars(mine))


def give(connection: Connection, owner: str, now: float, numbers: Sequence[int] | None = None) -> None:
    """Let go of some partitions, or of all."""
    which = partitions.c.owner == owner
    if numbers is not None:
        which &= partitions.c.number.in_(numbers)
    connection.execute(partitions.update().where(which).values(owner=None, epoch=partitions.c.epoch + 1, since=now))
