"""The loop: events at hand → decisions → one commit → messages out → acknowledgements (design, rule 3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from gregale import metrics
from gregale.bus import Bus
from gregale.core import (
    ActionInfo,
    Conflict,
    Decision,
    Event,
    Execution,
    NotFound,
    Rejected,
    Stop,
    Work,
    create_execution,
)
from gregale.core.partition import partition_of
from gregale.engine.burials import Burials
from gregale.engine.committing import Committer
from gregale.engine.cron import Cron
from gregale.engine.deciding import Decider
from gregale.engine.event_triggers import EventTriggers
from gregale.engine.housekeeping import Housekeeper
from gregale.engine.inbox import Inbox, Job
from gregale.engine.intake import Intake
from gregale.engine.maintenance import Maintenance
from gregale.engine.notifier import Notifier
from gregale.engine.publishing import Publisher
from gregale.engine.settings import EngineSettings
from gregale.engine.sweep import Sweeper
from gregale.engine.timers import Timers
from gregale.engine.trivial import AtOnce, never
from gregale.engine.view import Cache, answer
from gregale.store import Database, Unavailable, removal, security

log = logging.getLogger("gregale.engine")

_MAX_TRIES = 50
_LETTING_GO = 5.0
_ANSWER_WITHIN = 30.0
"""Seconds."""


class Engine:
    """`clock` gives seconds since the epoch, `new_id` fresh ids, `registry` what is known of an action by name, `at_once` the outcome
    of trivial ones."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        registry: Callable[[str], ActionInfo | None],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        settings: EngineSettings | None = None,
        at_once: AtOnce | None = None,
    ):
        self.database = database
        self.bus = bus
        self.settings = settings or EngineSettings()
        self.cache = Cache(self.settings.cached)
        self.clock = clock
        self.new_id = new_id
        self.sweeper = Sweeper(self)
        self.housekeeper = Housekeeper(self)
        self.notifier = Notifier(self)
        self.maintenance = Maintenance(self)
        self.cron = Cron(self)
        self.event_triggers = EventTriggers(self)
        self.swaps_lost = 0
        self.poisoned = 0
        self.registry = registry
        self.inbox = Inbox()
        self._committer = Committer(self)
        self.at_once = at_once if self.settings.inline and at_once is not None else never
        self.decider = Decider(database, self.cache, clock, new_id, self.settings.core, self._refuse, self.at_once)
        self.busy: set[str] = set()
        self.owned: set[int] = set()
        self.intake = Intake(self)
        self.timers = Timers(clock, self.submit)
        self.publisher = Publisher(bus)
        self.parts: list[Any] = [
            self.intake,
            self.timers,
            self.sweeper,
            self.housekeeper,
            self.notifier,
            self.maintenance,
            self.cron,
            self.event_triggers,
            Burials(self),
        ]
        self.slots = asyncio.Semaphore(self.settings.in_flight)
        self._tasks: list[asyncio.Task[None]] = []
        self._commits: set[asyncio.Task[None]] = set()
        self.listeners: list[Callable[[list[Work]], None]] = []
        self.credentials: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] = _as_kept

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Decide what is asked of this process. `own` makes it look after partitions, too."""
        self._tasks += [
            asyncio.create_task(self._work(), name="engine-work"),
            asyncio.create_task(self.publisher.run(), name="engine-publish"),
        ]

    async def own(self) -> None:
        """Be ready for `gain`: take messages, watch timers, sweep, and do what one engine of a cluster does for all."""
        await self.intake.open(self.settings.prefetch)
        for loop in self.parts:
            self._tasks.append(asyncio.create_task(loop.run(), name=f"engine-{type(loop).__name__.lower()}"))

    async def gain(self, partitions: Sequence[int]) -> None:
        """Look after these partitions from now on."""
        self.owned.update(partitions)
        metrics.PARTITIONS.set(len(self.owned))
        self.cache.forget_partitions(set(partitions))
        await self.intake.add(partitions)
        await self.sweeper.takeover(sorted(partitions))

    async def lose(self, partitions: Sequence[int]) -> None:
        """Finish what is at hand of these partitions, and forget them."""
        gone = set(partitions)
        self.owned -= gone
        metrics.PARTITIONS.set(len(self.owned))
        await self.intake.drop(partitions)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LETTING_GO):
                while self.inbox.holds(gone) or any(partition_of(root_id) in gone for root_id in self.busy):
                    self.inbox.wake.set()
                    await asyncio.sleep(0.005)
        self.timers.drop(gone)
        self.cache.forget_partitions(gone)

    @property
    def leads(self) -> bool:
        """Whether what one engine does for the whole cluster is done here."""
        return 0 in self.owned

    async def stop(self) -> None:
        """Finish what is being handled, then let go."""
        await self.intake.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.grace):
                while self.inbox or self.busy:
                    self.inbox.wake.set()
                    await asyncio.sleep(0.005)
        for task in [*self._tasks, *self._commits]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._commits, return_exceptions=True)

    def listen(self, listener: Callable[[list[Work]], None]) -> None:
        """Call `listener` with what each committed batch has changed."""
        self.listeners.append(listener)

    # Work in -------------------------------------------------------------------------------------------------------

    async def apply(self, execution_id: str, event: Event) -> Execution:
        """Decide and commit one event; gives the execution afterwards. Raises Rejected."""
        done: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()
        root_id = await self._root_of(execution_id)
        self.submit(Job(root_id, execution_id, event, done=done, fresh=True))  # a refusal must not come from what was
        return await self._outcome(done)

    async def _outcome(self, done: asyncio.Future[Execution]) -> Execution:
        """Raises Unavailable when it takes too long, what is asked for may still happen then."""
        try:
            return await asyncio.wait_for(done, _ANSWER_WITHIN)
        except TimeoutError:
            raise Unavailable("There was no answer in time; whether the change was made is not known") from None

    async def create(
        self,
        identifier: str,
        namespace: str,
        given: dict[str, Any],
        params: dict[str, Any],
        description: str,
        project_id: str,
        execution_id: str | None = None,
        credentials: dict[str, Any] | None = None,
        admin: bool = False,
    ) -> Execution:
        """Create an execution of a workflow, by name or id; its start follows. With an id that exists already, that execution.

        `credentials`: what its actions may present to other services. Raises Rejected, ExpressionError.
        """
        new_id = execution_id or self.new_id()
        if execution_id is None:
            self.cache.executions[new_id] = None  # nobody else can know an id that was made just now
        if credentials:
            await self.database.writing(security.keep, new_id, credentials)
        done: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()

        def make(decision: Decision) -> Work:
            definition = decision.view.workflow(identifier, namespace, project_id, admin)
            if definition is None:
                raise NotFound(f"Workflow not found [workflow_identifier={identifier}, namespace={namespace}]")
            work = create_execution(decision, definition, new_id, given, params, description, project_id)
            work.id_given = execution_id is not None
            return work

        self.submit(Job(new_id, new_id, None, create=make, done=done))
        try:
            made = await self._outcome(done)
        except Exception:
            if not self.cache.executions.get(new_id):
                self.cache.executions.pop(new_id, None)
            if credentials:
                await self.database.writing(security.drop_unused, new_id)
            raise
        if made.project_id != project_id and not admin:
            raise Conflict(f"An execution with this id exists already, and not in this project [id={new_id}]")
        return made

    async def delete(self, execution_id: str) -> None:
        """Delete an execution with everything below it; what they leave is collected in the background."""
        for gone in await self.database.writing(removal.remove, execution_id):
            self.cache.forget(gone)
        self.housekeeper.wake.set()

    def submit(self, job: Job) -> None:
        self.inbox.put(job)

    async def _root_of(self, execution_id: str) -> str:
        cached = self.cache.executions.get(execution_id)
        if cached is not None:
            return cached.root_id
        found = await self.database.reading(answer, [("execution", execution_id)], self.settings.core.deep_merge)
        execution = found["execution", execution_id]
        if execution is None:
            raise NotFound(f"WorkflowExecution not found [id={execution_id}]")
        if execution_id not in self.cache.executions:
            self.cache.keep(execution)
        return str(execution.root_id)

    def _spawn(self, run: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(run)
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)

    # The loop ------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            await self.slots.acquire()
            while not (groups := self.inbox.take(self.settings.batch, self.settings.per_tree, self.busy)):
                self.inbox.wake.clear()
                await self.inbox.wake.wait()
            self.busy.update(groups)
            metrics.WAITING.set(len(self.inbox))
            for root_id, jobs in groups.items():
                owned = partition_of(root_id) in self.owned
                if any(job.fresh or (not owned and job.create is None) for job in jobs):
                    self.cache.forget_tree(root_id)  # others may have changed it since
            try:
                decided, definitions = await self.decider.decide(groups, self.registry)
            except Exception as e:
                decided, definitions = [], None
                await self.failed([job for jobs in groups.values() for job in jobs], e, "decided")
            self._spawn(self._committer.finish(groups, decided, definitions))

    def _refuse(self, job: Job, error: Exception) -> None:
        if job.done is not None:
            if not job.done.done():
                job.done.set_exception(error)
        elif isinstance(error, NotFound):
            log.info("an event for something that is gone: %s", error)
        elif not isinstance(error, Rejected):
            self.poisoned += 1
            metrics.POISONED.inc()
            log.error(
                "execution %s: %s could not be decided and ends in ERROR",
                job.execution_id,
                type(job.event).__name__,
                exc_info=error,
            )
            if not isinstance(job.event, Stop):
                reason = f"Gregale could not decide {type(job.event).__name__} and set this execution aside: {type(error).__name__}: {error}"
                self.submit(Job(job.root_id, job.execution_id, Stop("ERROR", reason, True)))
        if job.delivery is not None:
            if isinstance(error, Rejected):
                job.delivery.ack()
            else:
                job.delivery.reject(f"{type(error).__name__}: {error}")

    async def failed(self, jobs: list[Job], error: Exception, what: str) -> None:
        """Whoever waits is told; messages are held and tried again, without end while the database is away."""
        if isinstance(error, Unavailable):
            log.warning("a batch could not be %s: %s", what, error)
            for job in jobs:
                if job.done is not None and not job.done.done():
                    job.done.set_exception(error)
            jobs = [job for job in jobs if job.done is None]
            self.again(jobs)
            await asyncio.sleep(0.2)
            return
        log.error("a batch could not be %s; its events are tried again", what, exc_info=error)
        await asyncio.sleep(0.1)
        self.again(jobs, error)

    def again(self, jobs: list[Job], error: Exception | None = None) -> None:
        """Forget what was known of these trees and decide their events again from the rows."""
        again = []
        for job in jobs:
            self.cache.forget_tree(job.root_id)
            self.cache.executions.pop(job.execution_id, None)
            job.failed += error is not None
            job.row = None
            if error is not None and job.failed > _MAX_TRIES:
                self._refuse(job, error)
            else:
                again.append(job)
        self.inbox.put_back(again)


async def _as_kept(credentials: dict[str, Any]) -> dict[str, Any]:
    """What a trigger kept is what its executions present, unless a way of authentication says otherwise."""
    return credentials
