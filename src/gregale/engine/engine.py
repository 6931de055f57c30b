"""The loop: events at hand → decisions → one commit → messages out → acknowledgements (design, rule 3)."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sqlalchemy.engine import Connection

from gregale import metrics
from gregale.bus import ActionFinished, Bus, Delivery, RunActionMessage, StartMessage, Unreadable, decode, encode
from gregale.bus.messages import ENGINE, actions_queue
from gregale.core import (
    ActionDone,
    ActionInfo,
    Conflict,
    Decision,
    Event,
    Execution,
    NotFound,
    Rejected,
    RunAction,
    Start,
    StartExecution,
    Stop,
    Timer,
    TimerFired,
    Work,
    create_execution,
)
from gregale.core.work import Command
from gregale.engine import standalone
from gregale.engine.cron import Cron
from gregale.engine.deciding import Decided, Decider
from gregale.engine.event_triggers import EventTriggers
from gregale.engine.housekeeping import Housekeeper
from gregale.engine.inbox import Inbox, Job
from gregale.engine.maintenance import Maintenance
from gregale.engine.notifier import Notifier
from gregale.engine.settings import EngineSettings
from gregale.engine.sweep import Sweeper
from gregale.engine.view import Cache, answer
from gregale.store import Database, SwapLost, commit, definitions, outbox, removal, security
from gregale.store.ownership import Viewer

log = logging.getLogger("gregale.engine")

_MAX_TRIES = 50


class Engine:
    """`clock` gives seconds since the epoch, `new_id` fresh ids, `registry` what is known of an action by name."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        registry: Callable[[str], ActionInfo | None],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        settings: EngineSettings | None = None,
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
        self._inbox = Inbox()
        self._decider = Decider(database, self.cache, clock, new_id, self.settings.core, self._refuse)
        self._busy: set[str] = set()
        self._timers: list[tuple[float, int, str, Timer]] = []
        self._timer_count = 0
        self._slots = asyncio.Semaphore(self.settings.in_flight)
        self._tasks: list[asyncio.Task[None]] = []
        self._commits: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[list[Work]], None]] = []
        self.credentials: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] = _as_kept

    # Life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what the rows say is unfinished, then take messages."""
        await self.sweeper.takeover()
        consumer = await self.bus.consume(ENGINE, self.settings.batch * 4)
        self._consumer = consumer
        own = (self._receive, self._work, self._watch_timers)
        parts = (self.sweeper, self.housekeeper, self.notifier, self.maintenance, self.cron, self.event_triggers)
        for loop in (*own, *(part.run for part in parts)):
            self._tasks.append(asyncio.create_task(loop(), name=f"engine-{loop.__qualname__}"))

    async def stop(self) -> None:
        """Finish what is being handled, then let go."""
        await self._consumer.close()
        while self._inbox or self._busy:
            self._inbox.wake.set()
            await asyncio.sleep(0.005)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def listen(self, listener: Callable[[list[Work]], None]) -> None:
        """Call `listener` with what each committed batch has changed."""
        self._listeners.append(listener)

    # Work in -------------------------------------------------------------------------------------------------------

    async def apply(self, execution_id: str, event: Event) -> Execution:
        """Decide and commit one event; gives the execution afterwards. Raises Rejected."""
        done: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()
        root_id = await self._root_of(execution_id)
        self.submit(Job(root_id, execution_id, event, done=done))
        return await done

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
        viewer = Viewer(project_id, admin)
        definition = await self.database.reading(definitions.definition, identifier, namespace, viewer)
        if definition is None:
            raise NotFound(f"Workflow not found [workflow_identifier={identifier}, namespace={namespace}]")
        new_id = execution_id or self.new_id()
        if execution_id is None:
            self.cache.executions[new_id] = None  # nobody else can know an id that was made just now
        if credentials:
            await self.database.writing(security.keep, new_id, credentials)
        done: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()

        def make(decision: Decision) -> Work:
            return create_execution(decision, definition, new_id, given, params, description, project_id)

        self.submit(Job(new_id, new_id, None, create=make, done=done))
        try:
            made = await done
        except Exception:
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
        self._inbox.put(job)

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

    async def _receive(self) -> None:
        while deliveries := await self._consumer.take(self.settings.batch):
            for delivery in deliveries:
                try:
                    message = decode(delivery.body)
                except Unreadable as e:
                    delivery.reject(str(e))
                    continue
                self._accept(message, delivery)

    def _accept(self, message: object, delivery: Delivery) -> None:
        if isinstance(message, StartMessage):
            self.submit(Job(message.root_id, message.execution_id, Start(), delivery=delivery))
        elif isinstance(message, ActionFinished) and message.execution_id is not None and message.root_id is not None:
            event = ActionDone(
                message.action_id, message.data, message.error, message.cancel, message.attempt, message.force_fail
            )
            self.submit(Job(message.root_id, message.execution_id, event, delivery=delivery))
        elif isinstance(message, ActionFinished):
            self._spawn(standalone.finished(self, message, delivery))
        else:
            delivery.reject(f"not a message for an engine: {type(message).__name__}")

    def _spawn(self, run: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(run)
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)

    # The loop ------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            await self._slots.acquire()
            while not (groups := self._inbox.take(self.settings.batch, self.settings.per_tree, self._busy)):
                self._inbox.wake.clear()
                await self._inbox.wake.wait()
            self._busy.update(groups)
            try:
                decided = await self._decider.decide(groups, self.registry)
            except Exception:
                log.exception("a batch could not be decided; its events are tried again")
                decided = []
                await asyncio.sleep(0.1)
                await self._again([job for jobs in groups.values() for job in jobs], groups)
            self._spawn(self._finish(groups, decided))

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

    async def _finish(self, groups: dict[str, list[Job]], decided: Decided) -> None:
        """Commit, publish, acknowledge; in this order."""
        try:
            works = [w for decision, _ in decided for w in decision.works.values() if w.changed()]
            metrics.BATCH.observe(sum(map(len, groups.values())))
            if works:
                with metrics.COMMIT.time():
                    letters: int = await self.database.writing(_write, works, self.settings.notify)
                if letters:
                    self.notifier.wake.set()
            for work in works:
                work.execution.revision += 1
                self._remember(work)
                for t in work.transitions:
                    metrics.TRANSITIONS.labels("execution" if t.task_id is None else "task", t.new.value).inc()
            await self._publish(
                [
                    (w.execution.root_id, c)
                    for decision, _ in decided
                    for w in decision.works.values()
                    for c in w.commands
                ]
            )
            for decision, jobs in decided:
                self._settle(decision, jobs)
            for listener in self._listeners:
                listener(works)
        except SwapLost as e:
            self.swaps_lost += len(e.execution_ids)
            metrics.SWAPS_LOST.inc(len(e.execution_ids))
            log.info("other commits came first for %s; deciding again", ", ".join(sorted(e.execution_ids)))
            await self._again([job for _, jobs in decided for job in jobs], groups, e)
        except Exception:
            log.exception("a batch could not be committed; its events are tried again")
            await asyncio.sleep(0.1)
            await self._again([job for _, jobs in decided for job in jobs], groups)
        finally:
            self._busy.difference_update(groups)
            self._slots.release()
            self._inbox.wake.set()

    async def _again(self, jobs: list[Job], groups: dict[str, list[Job]], error: Exception | None = None) -> None:
        """Forget what was known of these trees and decide their events again from the rows."""
        for execution_id, execution in list(self.cache.executions.items()):
            if execution is None or execution.root_id in groups:
                self.cache.forget(execution_id)
        again = []
        for job in jobs:
            job.failed += 1
            if job.failed > _MAX_TRIES:
                self._refuse(job, error or RuntimeError("could not be committed"))
            else:
                again.append(job)
        self._inbox.put_back(again)

    def _remember(self, work: Work) -> None:
        execution = work.execution
        if execution.state.completed and not execution.open:
            self.cache.forget(execution.id)
        else:
            self.cache.keep(execution)
        for timer in work.timers:
            self.add_timer(execution.root_id, timer)

    async def _publish(self, commands: list[tuple[str, Command]]) -> None:
        by_queue: dict[str, list[bytes]] = {}
        for root_id, command in commands:
            if isinstance(command, StartExecution):
                by_queue.setdefault(ENGINE, []).append(encode(StartMessage(command.execution_id, root_id)))
            else:
                by_queue.setdefault(actions_queue(command.target), []).append(encode(run_message(root_id, command)))
        for queue, bodies in by_queue.items():
            await self.bus.publish(queue, bodies)

    def _settle(self, decision: Decision, jobs: list[Job]) -> None:
        for job in jobs:
            if job.delivery is not None:
                job.delivery.ack()
            if job.done is not None and not job.done.done():
                job.done.set_result(decision.peek(job.execution_id))

    # Timers --------------------------------------------------------------------------------------------------------

    def add_timer(self, root_id: str, timer: Timer) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (timer.due, self._timer_count, root_id, timer))

    async def _watch_timers(self) -> None:
        while True:
            now = self.clock()
            while self._timers and self._timers[0][0] <= now:
                _, _, root_id, timer = heapq.heappop(self._timers)
                self.submit(Job(root_id, timer.execution_id, TimerFired(timer.task_id, timer.kind, timer.stamp)))
            wait = min(0.5, self._timers[0][0] - now) if self._timers else 0.5
            await asyncio.sleep(max(0.001, wait))


async def _as_kept(credentials: dict[str, Any]) -> dict[str, Any]:
    """What a trigger kept is what its executions present, unless a way of authentication says otherwise."""
    return credentials


def _write(connection: Connection, works: list[Work], notify: tuple[dict[str, Any], ...]) -> int:
    """A batch and what the world is told of it, in one transaction. Gives the number of notifications."""
    commit(connection, works)
    return outbox.record(connection, works, notify)


def run_message(root_id: str, command: RunAction) -> RunActionMessage:
    return RunActionMessage(
        command.action_id,
        command.execution_id,
        root_id,
        command.task_id,
        command.workflow_name,
        command.action,
        command.input,
        command.attempt,
        command.safe_rerun,
        command.is_sync,
        command.timeout,
    )
