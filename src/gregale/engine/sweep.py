"""Everything in flight has someone who notices (design, rule 7): one method per kind of loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gregale import faults, metrics
from gregale.bus import ActionFinished, RunActionMessage
from gregale.bus.messages import actions_queue
from gregale.core import LOST, ActionDone, Start, Sweep, Timer
from gregale.core.scope import shown_time
from gregale.engine import standalone
from gregale.engine.inbox import Job
from gregale.engine.intake import restored
from gregale.engine.publishing import encoded
from gregale.store import Unavailable, results, rows, sweep

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine.sweep")

_RESULTS = 200
"""Of which each may be large."""


class Sweeper:
    """`found` counts what each kind of sweep has set going again. `skipped`: kinds to leave out, for tests of what each is for."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self.found: dict[str, int] = {}
        self.skipped: set[str] = set()

    async def takeover(self, partitions: list[int]) -> None:
        """Of partitions that were just taken. Where messages do not outlive the processes, nothing can be in flight: everything
        that should be is set going at once."""
        after = self._engine.settings.stale_after if self._engine.bus.durable else -1.0
        try:
            await self.once(after, partitions)
        except Unavailable as e:
            log.warning("partitions could not be swept on taking them; the next sweep does: %s", e)

    async def run(self) -> None:
        settings = self._engine.settings
        while True:
            await asyncio.sleep(settings.sweep_every)
            try:
                await self.once(settings.stale_after, sorted(self._engine.owned))
            except Unavailable as e:
                log.warning("no sweep: %s", e)
            except Exception:
                log.exception("a sweep failed; the next one looks again")

    async def once(self, after: float, partitions: list[int]) -> None:
        """Look for everything that has rested for `after` seconds and should not."""
        if not partitions:
            return
        before = self._engine.clock() - after
        sweeps: dict[str, Callable[[], Awaitable[int]]] = {
            "timers": lambda: self._timers(partitions),
            "results": lambda: self._results(partitions, before),
            "abandoned": lambda: self._abandoned(partitions),
            "unheld": lambda: self._unheld(partitions, before),
            "unstarted": lambda: self._unstarted(partitions, before),
            "idle": lambda: self._idle(partitions, before),
        }
        for kind, look in sweeps.items():
            if kind in self.skipped or faults.without(f"sweep:{kind}"):
                continue
            if number := await look():
                self.found[kind] = self.found.get(kind, 0) + number
                metrics.SWEPT.labels(kind).inc(number)
                log.info("sweep: %d × %s", number, kind)

    async def _timers(self, partitions: list[int]) -> int:
        """Timers that are due before the next sweep but one, whoever made them. Gives those that are overdue."""
        engine = self._engine
        now = engine.clock()
        horizon = now + 2 * engine.settings.sweep_every
        overdue = 0
        for row in await engine.database.reading(sweep.timers_due, partitions, horizon):
            engine.timers.add(row.root_id, Timer(row.execution_id, row.task_id, row.kind, row.stamp, row.due))
            overdue += row.due < now - engine.settings.sweep_every
        return overdue

    async def _results(self, partitions: list[int], before: float) -> int:
        """A result waits in the database, and the message that should have said so was lost, or never sent."""
        engine = self._engine
        found = await engine.database.reading(results.waiting, partitions, before, _RESULTS)
        for row in found:
            message = ActionFinished(row.action_id, row.execution_id, row.root_id, row.attempt)
            engine.intake.finished(restored(message, row.body), None)
        return len(found)

    async def _unstarted(self, partitions: list[int], before: float) -> int:
        """A start message was lost: created executions that nobody has started."""
        found = await self._engine.database.reading(sweep.unstarted, partitions, before)
        for execution_id, root_id in found:
            self._engine.submit(Job(root_id, execution_id, Start(), fresh=True))
        return len(found)

    async def _unheld(self, partitions: list[int], before: float) -> int:
        """A request to run an action was lost, or is still queued: sent again; a claim or idempotence makes twice harmless."""
        engine = self._engine
        found = await engine.database.reading(sweep.unheld, partitions, before, engine.clock())
        if found:
            await engine.database.writing(sweep.touch, [row.id for row in found], engine.clock())
        await engine.publisher.send([(actions_queue(row.target), encoded(run_again(row))) for row in found])
        return len(found)

    async def _abandoned(self, partitions: list[int]) -> int:
        """An executor is gone: what is safe to run again is freed, the rest ends as lost, with the reason."""
        engine = self._engine
        found = await engine.database.reading(sweep.abandoned, partitions, engine.settings.heartbeat_timeout)
        again = [row.id for row in found if row.safe_rerun and row.claims < engine.settings.crashes]
        if again:
            await engine.database.writing(sweep.free, again)
        for row in found:
            if row.id in again:
                continue
            reason = _crashing(row) if row.safe_rerun else lost_reason(row)
            if row.execution_id is None:
                await engine.database.writing(standalone.update, row.id, "ERROR", reason, engine.clock())
            else:
                event = ActionDone(row.id, error=reason, attempt=row.attempt)
                engine.submit(Job(row.root_id, row.execution_id, event, fresh=True))
        return len(found)

    async def _idle(self, partitions: list[int], before: float) -> int:
        """Nothing is in flight in a running execution: look whether a join, a parent or its end was missed."""
        found = await self._engine.database.reading(sweep.idle, partitions, before)
        for execution_id, root_id in found:
            self._engine.submit(Job(root_id, execution_id, Sweep(), fresh=True))
        return len(found)


def run_again(row: Any) -> RunActionMessage:
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
        again=True,
    )


def _crashing(row: Any) -> str:
    return (
        f"{LOST}: {row.claims} executors in turn were lost while they ran this action, last '{row.holder_name or row.holder}'. It may run "
        "again by its nature, but seems to end whatever runs it. Look into what it does there, then rerun the task."
    )


def lost_reason(row: Any) -> str:
    holder = row.holder_name or row.holder
    return (
        f"{LOST}: the executor '{holder}' that ran this action was last seen at {shown_time(row.heartbeat)} UTC, and whether the action "
        "finished is not known. It was not redelivered because it is not safe to run twice. Rerun the task if it may run again, "
        "skip it if it was done, or declare 'safe-rerun: true' on tasks that may always run again."
    )
