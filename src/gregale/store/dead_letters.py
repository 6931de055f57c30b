"""Messages that nobody could handle, kept until somebody looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store.cluster_schema import dead_letters as table


def keep(connection: Connection, letters: Sequence[dict[str, Any]]) -> None:
    """Store letters by ids that are derived from what they say: one that comes twice is there once."""
    ids = [letter["id"] for letter in letters]
    known = set(connection.scalars(sa.select(table.c.id).where(table.c.id.in_(ids))))
    new = {letter["id"]: letter for letter in letters if letter["id"] not in known}
    if new:
        connection.execute(table.insert(), list(new.values()))


def listed(connection: Connection, most: int) -> Sequence[Any]:
    """The newest ones."""
    return connection.execute(sa.select(table).order_by(table.c.at.desc(), table.c.id).limit(most)).all()


def find(connection: Connection, letter_id: str) -> Any:
    return connection.execute(sa.select(table).where(table.c.id == letter_id)).first()


def remove(connection: Connection, letter_id: str) -> bool:
    return connection.execute(table.delete().where(table.c.id == letter_id)).rowcount == 1


def count(connection: Connection) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
