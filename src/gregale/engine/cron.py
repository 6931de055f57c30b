"""Cron triggers: once per due time, with any number of engines and across crashes.

The id of the execution is derived from trigger and due time: whoever fires a second time finds it there. Only then is the
trigger put behind that time, by compare-and-swap.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from croniter import CroniterBadCronError, CroniterBadDateError, croniter
from croniter.croniter import CroniterError

from gregale import metrics
from gregale.core import InvalidInput, Rejected
from gregale.expressions import ExpressionError
from gregale.store import Unavailable, maintenance, rows, triggers

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine.cron")

NEVER = "0 0 30 2 0"
"""Shown for a trigger that fires once and has no pattern; never scheduled from."""
_FIRINGS = uuid.UUID("0d7b1a52-35d0-5d0f-8d42-40c8e1d3a1f6")
_LONGEST_WAIT = 1.0


def next_time(pattern: str, after: float) -> float:
    """The next time that a pattern matches, in UTC. Raises InvalidInput."""
    if len(pattern) > 100:
        raise InvalidInput("The specified pattern is longer than 100 characters")
    try:
        found: float = croniter(pattern, datetime.fromtimestamp(after, UTC)).get_next(float)
    except (
        CroniterError,
        CroniterBadCronError,
        CroniterBadDateError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        OverflowError,
    ) as e:
        raise InvalidInput(f"The specified pattern is not valid: {pattern} [{e}]") from None
    return found


class Cron:
    def __init__(self, engine: Engine):
        self._engine = engine

    async def run(self) -> None:
        while self._engine.settings.cron:
            wait = _LONGEST_WAIT
            try:
                if self._engine.leads:
                    await self.once()
                    due = await self._engine.database.reading(triggers.next_due)
                    if due is not None:
                        wait = min(wait, max(0.005, due - self._engine.clock()))
            except Unavailable as e:
                log.warning("cron triggers wait for the database: %s", e)
            except Exception:
                log.exception("cron triggers could not be read; tried again")
            await asyncio.sleep(wait)

    async def once(self) -> None:
        """Fire what is due. Nothing is while the cluster is in maintenance."""
        database = self._engine.database
        found = await database.reading(triggers.due, self._engine.clock())
        if not found or await database.reading(maintenance.status) != "RUNNING":
            return
        await asyncio.gather(*(self._fire(row) for row in found))

    async def _fire(self, row: Any) -> None:
        engine = self._engine
        error = None
        try:
            await start(engine, row, "cron_trigger", f"{row.id}:{row.next_execution_time}")
            metrics.CRON.inc()
        except (Rejected, ExpressionError) as e:
            error = str(e)
            log.error("cron trigger '%s' could not start its workflow: %s", row.name, e)
        except Unavailable as e:
            log.warning("cron trigger '%s' waits for the database: %s", row.name, e)
            return
        except Exception:
            log.exception("cron trigger '%s' could not be fired; tried again", row.name)
            return
        now = engine.clock()
        following = None if row.pattern in (None, NEVER) else next_time(row.pattern, max(now, row.next_execution_time))
        await engine.database.writing(triggers.advance, row, following, error, now)


async def start(engine: Engine, row: Any, kind: str, occasion: str, extra: dict[str, Any] | None = None) -> str:
    """Start a trigger's workflow once for an occasion; gives the execution's id. Raises Rejected, ExpressionError."""
    by = {"type": kind, "id": row.id, **({"name": row.name} if kind == "event_trigger" else {})}
    description = rows.encode(
        {"description": f"Workflow execution created by {kind.replace('_', ' ')} '{row.name}'.", "triggered_by": by}
    )
    kept = rows.decode(row.security)
    made = await engine.create(
        row.workflow_id,
        "",
        rows.decode(row.workflow_input),
        {**rows.decode(row.workflow_params), **(extra or {})},
        description,
        row.project_id,
        str(uuid.uuid5(_FIRINGS, occasion)),
        None if kept is None else await engine.credentials(kept),
    )
    return made.id
