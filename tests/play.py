"""Play a workflow on the core: actions give what the test says, the clock jumps."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

from gregale.actions import ActionSettings, Registry
from gregale.core import ActionDone, Child, Event, Execution, RunAction, Settings, State, Task
from gregale.core.scope import result as task_result
from gregale.core.work import Work
from gregale.rehearsal.world import World

REGISTRY = Registry(ActionSettings(plugins=False))


class Error:
    """An action's outcome: failed with this value."""

    def __init__(self, value: Any = "boom"):
        self.value = value


CANCEL = object()
NEVER = object()


class Play:
    """`outcomes`: per task name an outcome, or a list of them in turn (the last again and again). A callable gets the input."""

    def __init__(
        self,
        text: str,
        name: str | None = None,
        given: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        outcomes: dict[str, Any] | None = None,
        workbook: str = "",
        actions: str = "",
        environments: dict[str, dict[str, Any]] | None = None,
        start: bool = True,
        settings: Settings | None = None,
        namespace: str = "",
    ):
        self.outcomes = outcomes or {}
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []
        self.world = World(REGISTRY.info, self._handle, settings)
        self.world.environments = environments or {}
        names = []
        if actions:
            self.world.add_actions(dedent(actions), namespace)
        if workbook:
            names = self.world.add_workbook(dedent(workbook), namespace)
        if text:
            names += self.world.add_workflows("version: '2.0'\n" + dedent(text), namespace)
        self.id = self.world.create(name or names[0], given, params, namespace)
        if start:
            self.world.run()

    def _handle(self, command: RunAction) -> ActionDone | None:
        execution = self.world.executions_by_id[command.execution_id]
        task = execution.tasks[command.task_id or ""].name
        index = execution.children[command.action_id].index
        self.calls.append((task, index, command.input))
        outcome = self._outcome(task, index, command)
        if outcome is NEVER:
            return None
        if outcome is CANCEL:
            return ActionDone(command.action_id, cancel=True, attempt=command.attempt)
        if isinstance(outcome, Error):
            return ActionDone(command.action_id, error=outcome.value, attempt=command.attempt)
        return ActionDone(command.action_id, outcome, attempt=command.attempt)

    def _outcome(self, task: str, index: int, command: RunAction) -> Any:
        if (task, index) in self.outcomes:
            found = self.outcomes[task, index]
        elif task in self.outcomes:
            found = self.outcomes[task]
        elif command.action == "std.fail":
            return Error(command.input.get("error_data") or "Fail action expected exception.")
        elif not command.is_sync:
            return NEVER
        else:
            return command.input.get("output")
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found(command.input) if callable(found) else found

    # Looking -------------------------------------------------------------------------------------------------------

    @property
    def execution(self) -> Execution:
        return self.world.executions_by_id[self.id]

    @property
    def state(self) -> str:
        return self.execution.state.value

    @property
    def output(self) -> Any:
        return self.execution.output

    @property
    def info(self) -> str:
        return self.execution.state_info or ""

    def tasks(self, name: str | None = None) -> list[Task]:
        """In the order of their creation."""
        found = sorted(self.execution.tasks.values(), key=lambda t: t.seq)
        return [t for t in found if name is None or t.name == name]

    def task(self, name: str) -> Task:
        [found] = self.tasks(name)
        return found

    def states(self) -> dict[str, str]:
        return {t.name: t.state.value for t in self.tasks()}

    def result(self, name: str) -> Any:
        return task_result(Work(self.execution, self.world.decision()), self.tasks(name)[-1])

    def children(self, name: str) -> list[Child]:
        return [self.execution.children[t.children[i]] for t in self.tasks(name) for i in range(len(t.children))]

    def sub(self, name: str, index: int = -1) -> Execution:
        """The sub-workflow execution of a task."""
        return self.world.executions_by_id[self.children(name)[index].id]

    def seen(self, name: str) -> dict[str, Any]:
        """A task's inbound context."""
        from gregale.core.context import layer

        return layer(self.execution.contexts, self.tasks(name)[-1].inbound).as_dict()

    def ran(self) -> list[str]:
        """Task names of action calls, in order."""
        return [task for task, _, _ in self.calls]

    # Acting --------------------------------------------------------------------------------------------------------

    def apply(self, event: Event, execution_id: str | None = None, run: bool = True) -> None:
        self.world.apply(execution_id or self.id, event)
        if run:
            self.world.run()

    def finish(self, name: str, data: Any = None, error: Any = None, cancel: bool = False, position: int = -1) -> None:
        """Complete a task's action from outside."""
        child = self.children(name)[position]
        self.apply(ActionDone(child.id, data, error, cancel))

    def wait(self, seconds: float) -> None:
        self.world.run(until=self.world.now + seconds)


def play(text: str, **options: Any) -> Play:
    return Play(text, **options)


__all__ = ["CANCEL", "NEVER", "Error", "Play", "State", "play"]
