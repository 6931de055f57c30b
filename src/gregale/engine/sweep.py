"""Everything in flight has someone who notices (design, rule 7): one method per kind of loss."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from gregale import metrics
from gregale.bus import RunActionMessage, encode
from gregale.bus.messages import actions_queue
from gregale.core import ActionDone, Start, Sweep, Timer
from gregale.core.scope import shown_time
from gregale.engine import standalone
from gregale.engine.inbox import Job
from gregale.store import rows, sweep

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine.sweep")


class Sweeper:
    """`found` counts what each kind of sweep has set going again."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self.found: dict[str, int] = {}

    async def takeover(self) -> None:
        """After a start nothing is in flight: everything that should be is set going at once."""
        for row in await self._engine.database.reading(sweep.all_timers):
            self._engine.add_timer(row.root_id, Timer(row.execution_id, row.task_id, row.kind, row.stamp, row.due))
        await self.once(after=-1.0)

    async def run(self) -> None:
        settings = self._engine.settings
        while True:
            await asyncio.sleep(settings.sweep_every)
            try:
                await self.once(settings.stale_after)
            except Exception:
                log.exception("a sweep failed; the next one looks again")

    async def once(self, after: float) -> None:
        """Look for everything that has rested for `after` seconds and should not."""
        before = self._engine.clock() - after
        await self._abandoned()
        await self._unheld(before)
        await self._unstarted(before)
        await self._idle(before)

    def _count(self, kind: str, number: int) -> None:
        if number:
            self.found[kind] = self.found.get(kind, 0) + number
            metrics.SWEPT.labels(kind).inc(number)
            log.info("sweep: %d × %s", number, kind)

    async def _unstarted(self, before: float) -> None:
        """A start message was lost: created executions that nobody has started."""
        found = await self._engine.database.reading(sweep.unstarted, before)
        for execution_id, root_id in found:
            self._engine.submit(Job(root_id, execution_id, Start()))
        self._count("unstarted", len(found))

    async def _unheld(self, before: float) -> None:
        """A request to run an action was lost, or is still queued: sent again; a claim or idempotence makes twice harmless."""
        found = await self._engine.database.reading(sweep.unheld, before)
        queues: dict[str, list[bytes]] = {}
        for row in found:
            queues.setdefault(actions_queue(row.target), []).append(encode(_message(row)))
        await self._engine.database.writing(sweep.touch, [row.id for row in found], self._engine.clock())
        for queue, bodies in queues.items():
            await self._engine.bus.publish(queue, bodies)
        self._count("unheld", len(found))

    async def _abandoned(self) -> None:
        """An executor is gone: what is safe to run again is freed, the rest ends as lost, with the reason."""
        engine = self._engine
        found = await engine.database.reading(sweep.abandoned, engine.clock() - engine.settings.heartbeat_timeout)
        safe = [row.id for row in found if row.safe_rerun]
        if safe:
            await engine.database.writing(sweep.free, safe)
        for row in found:
            if row.safe_rerun:
                continue
            reason = _lost(row)
            if row.execution_id is None:
                await engine.database.writing(standalone.update, row.id, "ERROR", reason, engine.clock())
            else:
                engine.submit(Job(row.root_id, row.execution_id, ActionDone(row.id, error=reason, attempt=row.attempt)))
        self._count("abandoned", len(found))

    async def _idle(self, before: float) -> None:
        """Nothing is in flight in a running execution: look whether a join, a parent or its end was missed."""
        found = await self._engine.database.reading(sweep.idle, before)
        for execution_id, root_id in found:
            self._engine.submit(Job(root_id, execution_id, Sweep()))
        self._count("idle", len(found))


def _message(row: Any) -> RunActionMessage:
    action, given = (row.name, rows.decode(row.input)) if row.base is None else rows.decode(row.base)
    return RunActionMessage(
        row.id,
        row.execution_id,
        row.root_id,
        row.task_id,
        row.workflow_name or "",
        action,
        given,
        row.attempt,
        bool(row.safe_rerun),
        bool(row.is_sync),
        row.timeout,
    )


def _lost(row: Any) -> str:
    holder = row.holder_name or row.holder
    return (
        f"Lost: the executor '{holder}' that ran this action was last seen at {shown_time(row.heartbeat)} UTC, and whether the action "
        "finished is not known. It was not redelivered because it is not safe to run twice. Rerun the task if it may run again, "
        "skip it if it was done, or declare 'safe-rerun: true' on tasks that may always run again."
    )
