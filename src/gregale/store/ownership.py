"""Who sees what, and whose it is (API spec 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import NotAllowed, NotFound
from gregale.store.database import CHANGED
from gregale.store.schema import changes, shares, workflows


class Viewer(msgspec.Struct, frozen=True):
    """A project that asks. `admin` sees and may change what belongs to others."""

    project_id: str
    admin: bool = False

    def own(self, table: Any) -> sa.ColumnElement[bool]:
        """Rows of a kind that is never shared: the project's own."""
        return sa.true() if self.admin else table.c.project_id == self.project_id

    def sees(self, table: Any) -> sa.ColumnElement[bool]:
        """Its own rows, public ones, and workflows that it was given and has accepted."""
        if self.admin:
            return sa.true()
        ways = [table.c.project_id == self.project_id, table.c.scope == "public"]
        if table is workflows:
            given = sa.select(shares.c.workflow_id)
            ways.append(
                table.c.id.in_(given.where(shares.c.member_id == self.project_id, shares.c.status == "accepted"))
            )
        return sa.or_(*ways)

    def nearest(self, table: Any) -> sa.ColumnElement[int]:
        """For ORDER BY: the project's own before what others publish or share, and that before what only an admin sees."""
        return sa.case((table.c.project_id == self.project_id, 0), (table.c.scope == "public", 1), else_=2)

    def require_own(self, row: Any, kind: str) -> None:
        """Raises NotAllowed for what belongs to another project."""
        if row.project_id != self.project_id and not self.admin:
            raise NotAllowed(f"{kind} '{row.name}' belongs to another project and can only be changed there")


class Owner(msgspec.Struct, frozen=True):
    """Whose a definition is, and where it is kept. `now` in seconds; `new_id` gives fresh ids; `system`: it comes with Gregale."""

    project_id: str
    now: float
    new_id: Callable[[], str]
    namespace: str = ""
    scope: str = "private"
    admin: bool = False
    system: bool = False

    @property
    def viewer(self) -> Viewer:
        return Viewer(self.project_id, self.admin)


def find(
    connection: Connection, table: sa.Table, kind: str, identifier: str, namespace: str | None, viewer: Viewer
) -> Any:
    """A definition by id, or by name in a namespace (None: of a kind without). Raises NotFound."""
    named = [table.c.name == identifier]
    if namespace is not None:
        named.append(table.c.namespace == namespace)
    found = connection.execute(
        sa.select(table)
        .where(viewer.sees(table), sa.or_(table.c.id == identifier, sa.and_(*named)))
        .order_by(viewer.nearest(table))
        .limit(1)
    ).first()
    if found is None:
        where = f", namespace={namespace}" if namespace else ""
        raise NotFound(f"{kind} not found [name={identifier}{where}]")
    return found


def change_number(connection: Connection, what: str = "definitions") -> int:
    """Grows with every change of a definition."""
    return int(connection.scalar(sa.select(changes.c.number).where(changes.c.what == what)) or 0)


def changed(connection: Connection, what: str = "definitions") -> None:
    updated = connection.execute(changes.update().where(changes.c.what == what).values(number=changes.c.number + 1))
    if updated.rowcount == 0:
        connection.execute(changes.insert(), {"what": what, "number": 1})
    connection.info[CHANGED] = 1
