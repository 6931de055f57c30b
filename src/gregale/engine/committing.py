"""Commit, publish, acknowledge; in this order (design, rule 3)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gregale import faults, metrics
from gregale.bus import WakeMessage, encode
from gregale.bus.messages import engine_queue
from gregale.core import Execution, Start, StartExecution, State, Work
from gregale.core.partition import partition_of
from gregale.core.work import Command
from gregale.engine import trivial
from gregale.engine.batch import Batch, DefinitionsChanged
from gregale.engine.deciding import Decided
from gregale.engine.inbox import Job
from gregale.engine.publishing import message_of
from gregale.store import SwapLost, Unavailable

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine")

_OUTCOMES = {State.SUCCESS: "success", State.ERROR: "error", State.CANCELLED: "cancelled"}


class Committer:
    def __init__(self, engine: Engine):
        self._engine = engine

    async def finish(self, groups: dict[str, list[Job]], decided: Decided, definitions: int | None) -> None:
        """Commit, publish, acknowledge; in this order. What lost its swap is decided again, the rest is committed.

        `definitions`: the number of their changes that has to be the same still, or all of it is decided again."""
        metrics.BATCH.observe(sum(map(len, groups.values())))
        try:
            while decided:
                try:
                    works = await self._commit(decided, definitions)
                except SwapLost as e:
                    decided = self._without_losers(decided, e.execution_ids)
                    continue
                await self._committed(decided, works)
                break
        except DefinitionsChanged:
            self._engine.decider.doubt()
            self._engine.again([job for _, jobs in decided for job in jobs])
        except sa.exc.IntegrityError as e:  # somebody else has created the same; the rows say what
            log.info("a batch met rows of others, and is decided again: %s", e.orig)
            self._engine.again([job for _, jobs in decided for job in jobs], e)
        except Exception as e:
            await self._engine.failed([job for _, jobs in decided for job in jobs], e, "committed")
        finally:
            self._engine.busy.difference_update(groups)
            self._engine.slots.release()
            self._engine.inbox.wake.set()

    async def _commit(self, decided: Decided, definitions: int | None) -> list[Work]:
        """Raises SwapLost, DefinitionsChanged; and Unavailable where somebody waits for the outcome, else it goes on until the database is back."""
        works = [w for decision, _ in decided for w in decision.works.values() if w.changed()]
        if not works:
            return works
        batch = Batch(works, self._engine.settings.notify, definitions)
        waited = 0.1
        while True:
            try:
                with metrics.COMMIT.time():
                    letters = await self._engine.database.writing(batch)
            except Unavailable as e:
                if any(job.done is not None for _, jobs in decided for job in jobs):
                    raise
                log.warning("a commit waits for the database: %s", e)
                await asyncio.sleep(waited)
                waited = min(1.0, waited * 2)
                continue
            if letters:
                self._engine.notifier.wake.set()
            return works

    async def _committed(self, decided: Decided, works: list[Work]) -> None:
        faults.point("after_commit")
        for work in works:
            work.execution.revision += 1
            self._remember(work)
            for t in work.transitions:
                metrics.TRANSITIONS.labels("execution" if t.task_id is None else "task", t.new.value).inc()
            for child in work.children.values():
                if child.state.completed and child.kind == "ACTION" and child.id not in work.original.children:
                    metrics.ACTIONS.labels(_OUTCOMES[child.state]).inc()
            if log.isEnabledFor(logging.DEBUG):
                _tell(work)
        for decision, jobs in decided:
            for job in jobs:
                if job.done is not None and not job.done.done():
                    job.done.set_result(decision.peek(job.execution_id))
        commands = [(w.execution, c) for decision, _ in decided for w in decision.works.values() for c in w.commands]
        messages = [message_of(e, c) for e, c in commands if not self._is_for_here(e, c)]
        await self._engine.publisher.send([*messages, *self._wakes(works)])
        faults.point("before_ack")
        for _, jobs in decided:
            for job in jobs:
                if job.delivery is not None:
                    job.delivery.ack()
        for listener in self._engine.listeners:
            listener(works)

    def _is_for_here(self, execution: Execution, command: Command) -> bool:
        """Whether this engine goes on by itself: it starts sub-workflows of its own trees, and carries out trivial actions."""
        if not self._engine.settings.inline or partition_of(execution.root_id) not in self._engine.owned:
            return False
        event = Start() if isinstance(command, StartExecution) else trivial.event(command, self._engine.at_once)
        if event is None:
            return False
        self._engine.submit(Job(execution.root_id, command.execution_id, event))
        return True

    def _without_losers(self, decided: Decided, losers: frozenset[str]) -> Decided:
        self._engine.swaps_lost += len(losers)
        metrics.SWAPS_LOST.inc(len(losers))
        log.info("other commits came first for %s; deciding again", ", ".join(sorted(losers)))
        kept: Decided = []
        for decision, jobs in decided:
            if losers.isdisjoint(decision.works):
                kept.append((decision, jobs))
            else:
                self._engine.again(jobs)
        return kept

    def _remember(self, work: Work) -> None:
        execution = work.execution
        owned = partition_of(execution.root_id) in self._engine.owned
        if not owned or (execution.state.completed and not execution.open):
            self._engine.cache.forget(execution.id)
        else:
            self._engine.cache.keep(execution)
        if owned:
            for timer in work.timers:
                self._engine.timers.add(execution.root_id, timer)

    def _wakes(self, works: list[Work]) -> list[tuple[str, bytes]]:
        """Whoever owns what was changed here should know; a new execution has its start."""
        return [
            (engine_queue(number), encode(WakeMessage(w.execution.id, w.execution.root_id)))
            for w in works
            if not w.created and (number := partition_of(w.execution.root_id)) not in self._engine.owned
        ]


def _tell(work: Work) -> None:
    """What a commit has changed, a line for each change, with the ids that tools look for."""
    execution = work.execution
    for t in work.transitions:
        name = execution.workflow_name if t.task_id is None else execution.tasks[t.task_id].name
        log.debug("%s is %s", name, t.new.value, extra={"execution": execution.id, "task": t.task_id})
