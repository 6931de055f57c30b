"""A world in memory for the core: definitions, executions, timers and a virtual clock."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from gregale.core import (
    ActionDone,
    ActionInfo,
    Decision,
    Definition,
    Event,
    Execution,
    RunAction,
    Settings,
    Start,
    StartExecution,
    TimerFired,
    create_execution,
    decide,
)
from gregale.core.calls import adhoc_info
from gregale.core.scope import execution_map, task_map
from gregale.core.work import Command, Work
from gregale.language import ActionSpec, WorkflowSpec, read_actions, read_workbook, read_workflows
from gregale.store.definitions import spec_hash

Handler = Callable[[RunAction], ActionDone | None]
"""Gives the result of an action, or None when it ends later, by somebody's `apply`."""

ACTION_LOOKUP = Callable[[str], ActionInfo | None]


class World:
    """`run` carries everything out that can move, jumping the clock from timer to timer."""

    def __init__(self, actions: ACTION_LOOKUP, handler: Handler, settings: Settings | None = None):
        self.now = 1_700_000_000.0
        self.executions_by_id: dict[str, Execution] = {}
        self.environments: dict[str, dict[str, Any]] = {}
        self.queue: deque[Command] = deque()
        self.timers: list[tuple[float, int, str, Event]] = []
        self.commands_seen: list[Command] = []
        self._actions = actions
        self._handler = handler
        self._settings = settings
        self._adhoc: dict[tuple[str, str], ActionSpec] = {}
        self._workflows: dict[tuple[str, str], Definition] = {}
        self._ids = itertools.count(1)
        self._order = itertools.count()

    # Definitions ---------------------------------------------------------------------------------------------------

    def add_workflows(self, text: str, namespace: str = "") -> list[str]:
        """Names of the workflows in a document. Raises InvalidDocument."""
        specs = read_workflows(text).workflows
        for spec in specs:
            self._define(spec.name, namespace, spec, "")
        return [s.name for s in specs]

    def add_actions(self, text: str, namespace: str = "") -> None:
        for spec in read_actions(text).actions:
            self._adhoc[spec.name, namespace] = spec

    def add_workbook(self, text: str, namespace: str = "") -> list[str]:
        book = read_workbook(text)
        for name, action in book.actions.items():
            self._adhoc[f"{book.name}.{name}", namespace] = action
        for name, spec in book.workflows.items():
            self._define(f"{book.name}.{name}", namespace, spec, book.name)
        return [f"{book.name}.{name}" for name in book.workflows]

    def define(self, definition: Definition) -> None:
        """A workflow that is ready already."""
        self._workflows[definition.name, definition.namespace] = definition

    def _define(self, name: str, namespace: str, spec: WorkflowSpec, workbook: str) -> None:
        self._workflows[name, namespace] = Definition(
            f"def-{name}", name, namespace, spec, spec_hash(spec.body), workbook
        )

    # View ----------------------------------------------------------------------------------------------------------

    def execution(self, execution_id: str) -> Execution | None:
        return self.executions_by_id.get(execution_id)

    def workflow(self, name: str, namespace: str, project_id: str, admin: bool = False) -> Definition | None:
        del project_id, admin
        return self._workflows.get((name, namespace))

    def action(self, name: str, namespace: str, project_id: str) -> ActionInfo | None:
        del project_id

        def find(wanted: str) -> ActionSpec | ActionInfo | None:
            return self._adhoc.get((wanted, namespace)) or self._adhoc.get((wanted, "")) or self._actions(wanted)

        found = find(name)
        return adhoc_info(name, found, find) if isinstance(found, ActionSpec) else found

    def environment(self, name: str, project_id: str) -> dict[str, Any] | None:
        del project_id
        return self.environments.get(name)

    def tasks(self, project_id: str) -> list[dict[str, Any]]:
        return [
            task_map(Work(e, Decision(self, self.now, self.new_id)), t)
            for e in self.executions_by_id.values()
            if e.project_id == project_id
            for t in sorted(e.tasks.values(), key=lambda t: t.seq)
        ]

    def executions(self, project_id: str, filters: tuple[tuple[str, Any], ...]) -> list[dict[str, Any]]:
        wanted = dict(filters)
        result = []
        for e in self.executions_by_id.values():
            shown = {**execution_map(e), "state": e.state.value}
            if e.project_id == project_id and all(
                shown.get(k) == v for k, v in wanted.items() if k in ("id", "root_execution_id", "state")
            ):
                result.append(shown)
        return result

    def subtree(self, execution_id: str) -> list[Execution]:
        found = [e for e in self.executions_by_id.values() if e.id == execution_id]
        for e in found:
            found += [c for c in self.executions_by_id.values() if c.parent_id == e.id]
        return found

    # Running -------------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._ids):012d}"

    def decision(self) -> Decision:
        return Decision(self, self.now, self.new_id, self._settings)

    def create(
        self, name: str, given: dict[str, Any] | None = None, params: dict[str, Any] | None = None, namespace: str = ""
    ) -> str:
        """Create an execution; `run` starts it. Raises Rejected, ExpressionError, KeyError for an unknown workflow."""
        decision = self.decision()
        work = create_execution(
            decision,
            self._workflows[name, namespace],
            self.new_id(),
            given or {},
            params or {},
            "",
            "<default-project>",
        )
        self._commit(decision)
        return work.execution.id

    def apply(self, execution_id: str, event: Event) -> None:
        """Decide one event and keep what it changed. Raises Rejected."""
        decision = self.decision()
        decide(decision, execution_id, event)
        self._commit(decision)

    def _commit(self, decision: Decision) -> None:
        for work in decision.works.values():
            if work.changed():
                work.execution.revision += 1
                self.executions_by_id[work.execution.id] = work.execution
            for timer in work.timers:
                self.at(timer.due, timer.execution_id, TimerFired(timer.task_id, timer.kind, timer.stamp))
            self.queue.extend(work.commands)

    def step(self) -> bool:
        """Carry out one command. False when none is left."""
        if not self.queue:
            return False
        command = self.queue.popleft()
        self.commands_seen.append(command)
        if isinstance(command, StartExecution):
            self.apply(command.execution_id, Start())
        else:
            done = self._handler(command)
            if done is not None:
                self.apply(command.execution_id, done)
        return True

    def run(self, until: float | None = None, max_steps: int = 1_000_000) -> None:
        """Carry out commands and fire timers until nothing can move, or the clock has reached `until`."""
        for _ in range(max_steps):
            if self.step():
                continue
            if not self.timers or (until is not None and self.timers[0][0] > until):
                break
            self.fire()
        else:
            raise RuntimeError(f"the workflow still moves after {max_steps} steps")
        if until is not None:
            self.now = max(self.now, until)

    def fire(self) -> None:
        """Jump to the next timer and fire it."""
        due, _, execution_id, event = heapq.heappop(self.timers)
        self.apply_at(due, execution_id, event)

    def apply_at(self, due: float, execution_id: str, event: Event) -> None:
        """The clock stands still for timers that no longer mean anything."""
        before = self.now
        self.now = max(self.now, due)
        if execution_id in self.executions_by_id and not self._changes(execution_id, event):
            self.now = before

    def _changes(self, execution_id: str, event: Event) -> bool:
        decision = self.decision()
        decide(decision, execution_id, event)
        self._commit(decision)
        work = decision.works[execution_id]
        return bool(work.tasks or work.children or not isinstance(event, TimerFired))

    def at(self, due: float, execution_id: str, event: Event) -> None:
        """Have an event happen at a time."""
        heapq.heappush(self.timers, (due, next(self._order), execution_id, event))
