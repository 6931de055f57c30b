"""Entering and leaving."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

from gregale import __version__
from gregale.store import Database, claims


class Member(msgspec.Struct, frozen=True):
    id: str
    kind: str
    name: str


async def enter(
    database: Database, kind: str, name: str, clock: Callable[[], float], new_id: Callable[[], str]
) -> Member:
    """Enter the cluster. On SQLite there is one process, so all that are still listed are lost."""
    member = Member(new_id(), kind, name)
    now = clock()
    row = {
        "id": member.id,
        "kind": kind,
        "name": name,
        "host": socket.gethostname(),
        "version": __version__,
        "state": "up",
        "started_at": now,
        "heartbeat": now,
    }
    await database.writing(claims.join, row, database.engine.dialect.name == "sqlite")
    return member


async def leave(database: Database, member: Member, clock: Callable[[], float]) -> None:
    """What the member still holds and is safe to run again is freed for others."""
    await database.writing(claims.release, member.id)
    await database.writing(claims.leave, member.id, clock())
