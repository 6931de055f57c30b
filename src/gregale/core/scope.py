"""What expressions of an execution see (language spec 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from gregale.core.context import Context, merged_maps
from gregale.core.state import Execution, Task
from gregale.core.work import Work
from gregale.expressions import Scope


class ExecutionScope(Scope):
    """Variables and functions for an execution and, within a task, for that task.

    `branch` is the data context of the branch; `items` are item variables, which a published variable hides [Q 4.5].
    """

    def __init__(self, work: Work, branch: Context, task: Task | None = None, items: Mapping[str, Any] | None = None):
        self._work = work
        self._branch = branch
        self._task = task
        self._items = items or {}

    def __getitem__(self, name: str) -> Any:
        branch = self._branch.variables
        if name in branch:
            return self._merged(name, branch[name])
        if name in self._items:
            return self._items[name]
        if name[:2] == "__":
            return self._internal(name)
        execution = self._work.execution
        if name in execution.context:
            return self._merged(name, execution.context[name])
        return execution.input[name]

    def _merged(self, name: str, value: Any) -> Any:
        if not self._work.decision.settings.deep_merge or not isinstance(value, dict):
            return value
        execution = self._work.execution
        for below in (execution.context.get(name), execution.input.get(name)):
            if isinstance(below, dict) and below is not value:
                value = merged_maps(below, value)
        return value

    def _internal(self, name: str) -> Any:
        if name == "__execution":
            return {"id": self._work.execution.id}
        if name == "__env":
            return self._work.decision.env(self._work)
        if name == "__task_execution" and self._task is not None:
            return {"id": self._task.id, "name": self._task.name}
        if name == "__versions" and self._branch.seq:
            return dict(self._branch.versions.items())
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        execution = self._work.execution
        names = dict.fromkeys([*execution.input, *execution.context, *self._items, *self._branch.variables.keys()])
        names.update(dict.fromkeys(("__execution", "__env")))
        if self._task is not None:
            names["__task_execution"] = None
        if self._branch.seq:
            names["__versions"] = None
        return iter(names)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _find(self, name: str | None) -> Task | None:
        if name is None or (self._task is not None and name == self._task.name):
            return self._task and self._work.execution.tasks[self._task.id]
        return self._work.latest(str(name))

    def task(self, name: str | None = None) -> dict[str, Any] | None:
        task = self._find(name)
        return None if task is None else task_map(self._work, task)

    def task_field(self, name: str | None, field: str) -> Any:
        task = self._find(name)
        if task is None:
            raise TypeError("no such task")
        if field == "result":
            return result(self._work, task)
        return task_map(self._work, task)[field]

    def tasks(
        self,
        workflow_execution_id: str | None = None,
        recursive: bool = False,
        state: str | None = None,
        flat: bool = False,
    ) -> list[dict[str, Any]]:
        decision = self._work.decision
        own = self._work.execution
        if workflow_execution_id is None:
            found = decision.view.tasks(own.project_id)
            mine = [task_map(self._work, t) for t in _ordered(own)]
            found = [t for t in found if t["workflow_execution_id"] != own.id] + mine
            return [t for t in found if state is None or t["state"] == state]
        if workflow_execution_id == own.id and not recursive and not flat:
            executions = [own]
        else:
            executions = [decision.peek(e.id) for e in decision.view.subtree(workflow_execution_id)]
        top = [e for e in executions if e.id == workflow_execution_id]
        below: dict[str, list[Execution]] = {}
        for execution in executions:
            below.setdefault(execution.parent_task_id or "", []).append(execution)
        return [t for e in top for t in self._descend(e, below, recursive, state, flat)]

    def _descend(
        self, execution: Execution, below: dict[str, list[Execution]], recursive: bool, state: str | None, flat: bool
    ) -> list[dict[str, Any]]:
        work = self._work.decision.works.get(execution.id) or Work(execution, self._work.decision)
        result = []
        for task in _ordered(execution):
            children = below.get(task.id, [])
            kept = state is None or task.state == state
            if kept and not (flat and task.type == "WORKFLOW" and any(c.state is task.state for c in children)):
                result.append(task_map(work, task))
            if recursive:
                for child in children:
                    result += self._descend(child, below, recursive, state, flat)
        return result

    def execution(self) -> dict[str, Any]:
        return execution_map(self._work.execution)

    def executions(self, **filters: Any) -> list[dict[str, Any]]:
        given = tuple(sorted((k, v) for k, v in filters.items() if v is not None))
        return self._work.decision.view.executions(self._work.execution.project_id, given)

    def env(self) -> dict[str, Any]:
        return self._work.decision.env(self._work)

    def global_(self, name: str) -> Any:
        return self._work.execution.context.get(name)

    def uuid(self) -> str:
        return self._work.decision.new_id()


def _ordered(execution: Execution) -> list[Task]:
    return sorted(execution.tasks.values(), key=lambda t: t.seq)


def result(work: Work, task: Task) -> Any:
    """`task().result` (spec 4.6)."""
    if task.id in work.results:
        return work.results[task.id]
    accepted = [c for c in work.children_of(task) if c.accepted]
    value: Any
    if work.execution.spec.tasks[task.name].with_items is not None:
        value = [c.output for c in sorted(accepted, key=lambda c: (c.index, c.seq))]
    elif len(accepted) == 1:
        value = accepted[0].output
    else:
        value = [c.output for c in accepted]
    work.results[task.id] = value
    return value


def task_map(work: Work, task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "spec": work.execution.spec.tasks[task.name].body,
        "state": task.state.value,
        "state_info": task.state_info,
        "result": result(work, task),
        "published": task.published,
        "type": task.type,
        "workflow_execution_id": work.execution.id,
        "created_at": shown_time(task.created_at),
        "updated_at": shown_time(task.updated_at),
    }


def execution_map(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "name": execution.workflow_name,
        "spec": execution.spec.body,
        "input": execution.input,
        "params": execution.params,
        "created_at": shown_time(execution.created_at),
        "updated_at": shown_time(execution.updated_at),
        "root_execution_id": None if execution.root_id == execution.id else execution.root_id,
    }


def shown_time(seconds: float) -> str:
    """UTC, `YYYY-MM-DD HH:MM:SS`, the form that clients parse (API spec 1.1)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
