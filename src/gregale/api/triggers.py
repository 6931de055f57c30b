"""Keeping a trigger, and with it the trust by which its executions act for their owner (API spec 3.5)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gregale.api.call import Call
from gregale.store import rows, triggers


async def keep(call: Call, table: sa.Table, kind: str, row: dict[str, Any]) -> None:
    """A trust that was made for a trigger which is then refused goes again. Raises Conflict."""
    trust = await call.services.trusts.create(call.who)
    try:
        await call.write(
            triggers.create, table, kind, {**row, "security": None if trust is None else rows.encode(trust)}
        )
    except Exception:
        await call.services.trusts.delete(trust)
        raise


async def remove(call: Call, table: sa.Table, kind: str, found: Any) -> None:
    """What it has started goes on. Raises NotAllowed."""
    call.viewer.require_own(found, kind)
    await call.write(triggers.delete, table, found)
    await call.services.trusts.delete(rows.decode(found.security))
