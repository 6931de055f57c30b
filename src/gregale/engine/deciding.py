"""Deciding a batch in memory: what the core has to know is loaded, what it refuses is set apart.

Definitions are remembered. That none has changed since is not asked before a decision but compared with its commit, where asking
costs next to nothing; only a refusal, which has no commit, asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gregale.core import ActionDone, ActionInfo, Decision, Missing, Settings, decide
from gregale.engine.inbox import Job
from gregale.engine.trivial import AtOnce, carry_out, never
from gregale.engine.view import CHANGES, NEVER, Cache, CachedView, answer
from gregale.store import Database
from gregale.store.load import unstarted
from gregale.store.ownership import change_number

_MAX_QUESTIONS = 10_000

Decided = list[tuple[Decision, list[Job]]]


class Decider:
    """`refuse` is told of each job that the core would not or could not decide."""

    def __init__(
        self,
        database: Database,
        cache: Cache,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        settings: Settings,
        refuse: Callable[[Job, Exception], None],
        at_once: AtOnce,
    ):
        self._database = database
        self._cache = cache
        self._clock = clock
        self._new_id = new_id
        self._settings = settings
        self._refuse = refuse
        self._at_once = at_once
        self._fresh: set[str] = set()
        self._sure = False
        self._doubted = False

    async def decide(
        self, groups: dict[str, list[Job]], registry: Callable[[str], ActionInfo | None]
    ) -> tuple[Decided, int | None]:
        """One decision per tree, with the jobs that are in it; and the number of definitions that the commit has to find, if any."""
        compared = await self._trust()
        transient: dict[tuple[Any, ...], Any] = {}
        self._fresh.clear()
        self._recall(groups)
        waiting = dict(groups)
        decided: Decided = []
        view = CachedView(self._cache, registry, transient)
        while waiting:
            questions: list[tuple[Any, ...]] = []
            for root_id, jobs in list(waiting.items()):
                outcome = self._tree(list(jobs), view, questions)
                if outcome is not None:
                    decided.append(outcome)
                    del waiting[root_id]
            if questions:
                await self._learn(list(dict.fromkeys(questions)), transient)
                if compared == NEVER:
                    compared = self._cache.change_number
        return decided, compared if view.used_definitions else None

    def _recall(self, groups: dict[str, list[Job]]) -> None:
        """New executions whose rows came with their starts."""
        for jobs in groups.values():
            for job in jobs:
                if job.row is not None and job.execution_id not in self._cache.executions:
                    new = unstarted(job.row, self._settings.deep_merge)
                    if new is not None:
                        self._cache.keep(new)

    def doubt(self) -> None:
        """A commit has found that definitions have changed. The next batch asks before it decides, so that however often they change,
        none is decided more than twice for it."""
        self._doubted = True

    async def _trust(self) -> int | None:
        """The number that remembered definitions have. None when they are known not to be older than this moment."""
        self._cache.trim()
        self._sure = True
        if not self._database.is_server:  # nobody else could have changed them
            self._cache.seen(self._database.changes)
        elif self._doubted:
            self._doubted = False
            self._cache.seen(await self._database.glancing(change_number))
        else:
            self._sure = False
            return self._cache.change_number
        return None

    def _tree(
        self, jobs: list[Job], view: CachedView, questions: list[tuple[Any, ...]]
    ) -> tuple[Decision, list[Job]] | None:
        """Decide the jobs of one tree. None when something must be loaded first."""
        refused: list[tuple[Job, Exception]] = []
        at_once = self._at_once
        while True:
            decision = Decision(view, self._clock(), self._new_id, self._settings)
            failed = None
            for job in jobs:
                try:
                    self._require_fresh(job, view)
                    _one(decision, job)
                except Missing as e:
                    questions.append(e.question)
                    return None
                except Exception as e:  # a refusal, or a fault of ours: the others are decided without it
                    if view.used_definitions and not self._sure:
                        questions.append(CHANGES)
                        return None
                    failed = job
                    refused.append((job, e))
                    break
            if failed is None:
                try:
                    carry_out(decision, at_once)
                except Missing as e:
                    questions.append(e.question)
                    return None
                except Exception:  # as an event of its own it will show whose fault it is
                    at_once = never
                    continue
                for job, error in refused:
                    self._refuse(job, error)
                return decision, jobs
            jobs.remove(failed)

    def _require_fresh(self, job: Job, view: CachedView) -> None:
        """A result that would change nothing may be one for an action that another process has started: before it is dropped,
        the rows have to say so. Raises Missing."""
        if not isinstance(job.event, ActionDone) or job.execution_id in self._fresh:
            return
        known = view.execution(job.execution_id)
        child = None if known is None else known.children.get(job.event.action_id)
        if child is None or child.state.completed or job.event.attempt not in (None, child.attempt):
            self._cache.forget(job.execution_id)
            raise Missing("execution", job.execution_id)

    async def _learn(self, questions: list[tuple[Any, ...]], transient: dict[tuple[Any, ...], Any]) -> None:
        found = await self._database.reading(answer, questions[:_MAX_QUESTIONS], self._settings.deep_merge)
        number = found.pop(CHANGES, None)
        if number is not None and self._database.is_server:
            self._cache.seen(number)
            self._sure = True
        for question, value in found.items():
            if question[0] == "execution":
                self._fresh.add(question[1])
                if value is None:
                    self._cache.executions[question[1]] = None
                else:
                    self._cache.keep(value)
            elif question[0] in ("tasks", "executions", "subtree"):
                transient[question] = value
                if question[0] == "subtree":
                    for execution in value:
                        if self._cache.executions.get(execution.id) is None:
                            self._cache.keep(execution)
            else:
                self._cache.answers[question] = value


def _one(decision: Decision, job: Job) -> None:
    if job.event is not None:
        decide(decision, job.execution_id, job.event)
    elif job.create is not None:
        known = job.execution_id in decision.works or decision.view.execution(job.execution_id) is not None
        if not known:  # a start with an id that exists gives the execution that has it (spec 4.1)
            job.create(decision)
