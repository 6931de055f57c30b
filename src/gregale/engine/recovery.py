"""Applying the remedy for what is stuck: what the sweeps do by themselves, and the one thing that a person has to decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gregale.bus.messages import actions_queue
from gregale.core import ActionDone, Event, Rerun, Start, Sweep, TimerFired
from gregale.engine.publishing import encoded
from gregale.engine.sweep import lost_reason, run_again
from gregale.store import sweep
from gregale.store.stuck import Stuck

if TYPE_CHECKING:
    from gregale.engine.engine import Engine


async def recover(engine: Engine, found: Sequence[Stuck]) -> None:
    """Raises Rejected, Unavailable."""
    for one in found:
        if one.kind == "unheld":
            for row in await engine.database.reading(sweep.actions, [one.subject]):
                await engine.publisher.send([(actions_queue(row.target), encoded(run_again(row)))])
        elif one.kind == "abandoned":
            await _abandoned(engine, one)
        else:
            await engine.apply(one.execution_id, _event(one))


def _event(one: Stuck) -> Event:
    if one.kind == "unstarted":
        return Start()
    if one.kind == "overdue":
        task_id, kind, stamp = one.subject.rsplit("/", 2)
        return TimerFired(task_id, kind, int(stamp))  # type: ignore[arg-type]
    if one.kind == "lost":
        return Rerun(one.subject)
    return Sweep()


async def _abandoned(engine: Engine, one: Stuck) -> None:
    for row in await engine.database.reading(sweep.actions, [one.subject]):
        if row.safe_rerun:
            await engine.database.writing(sweep.free, [row.id])
            await engine.publisher.send([(actions_queue(row.target), encoded(run_again(row)))])
        else:
            event = ActionDone(row.id, error=lost_reason(row), attempt=row.attempt)
            await engine.apply(one.execution_id, event)
