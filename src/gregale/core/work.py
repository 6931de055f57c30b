"""A decision in the making: copies of the executions it touches, and what has changed in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec

from gregale.core import context
from gregale.core.errors import InvalidInput, NotFound
from gregale.core.state import Arrival, Child, Execution, RunAction, StartExecution, State, Task, Timer
from gregale.core.view import View


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`field_limit_kb`: size of one input, output, params or published value (spec 4.8), -1 for none.
    `deep_merge`: upstream's `merge_strategy: merge`."""

    field_limit_kb: Annotated[int, msgspec.Meta(ge=-1)] = 1024
    deep_merge: bool = False


Command = RunAction | StartExecution


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A change of state, of a task or, without `task_id`, of the execution. `old` is None for what has just come to be.

    `first`: a task runs for the first time.
    """

    at: float
    task_id: str | None
    old: State | None
    new: State
    first: bool = False


class Work:
    """One execution within a decision: a copy to change, and the records that changed. `id_given`: a new one whose id was not made
    for it, so that there may have been another one of that id."""

    __slots__ = (
        "arrivals",
        "children",
        "commands",
        "contexts",
        "created",
        "decision",
        "execution",
        "id_given",
        "original",
        "results",
        "starting",
        "tasks",
        "timers",
        "timers_done",
        "transitions",
    )

    def __init__(self, execution: Execution, decision: Decision, created: bool = False):
        self.original = execution
        self.execution = msgspec.structs.replace(execution)
        self.decision = decision
        self.created = created
        self.id_given = False
        self.tasks: dict[str, Task] = {}
        self.children: dict[str, Child] = {}
        self.contexts: list[context.Context] = []
        self.arrivals: list[Arrival] = []
        self.timers: list[Timer] = []
        self.timers_done: list[tuple[str, str, int]] = []
        self.commands: list[Command] = []
        self.results: dict[str, Any] = {}
        self.transitions: list[Transition] = []
        self.starting = 0

    # Tasks ---------------------------------------------------------------------------------------------------------

    def new_task(self, name: str, state: State, triggered_by: tuple[tuple[str, str], ...], inbound: int) -> Task:
        execution = self.execution
        now = self.decision.now
        task = Task(
            id=self.decision.new_id(),
            name=name,
            seq=execution.next_seq,
            type=execution.spec.tasks[name].kind,
            state=state,
            created_at=now,
            updated_at=now,
            triggered_by=triggered_by,
            inbound=inbound,
            outbound=inbound,
        )
        execution.next_seq += 1
        execution.latest = execution.latest.set(name, task.id)
        self._count(task, 1)
        self._store(task)
        return task

    def task(self, task_id: str) -> Task:
        """Raises NotFound."""
        found = self.execution.tasks.get(task_id)
        if found is None:
            raise NotFound(f"Task execution not found [id={task_id}]")
        return found

    def latest(self, name: str) -> Task | None:
        """The most recently created task execution of that name."""
        task_id = self.execution.latest.get(name)
        return None if task_id is None else self.execution.tasks[task_id]

    def update(self, task: Task, **changes: Any) -> Task:
        """Replace fields of a task; gives the new record."""
        new: Task = msgspec.structs.replace(task, updated_at=self.decision.now, **changes)
        if "state" in changes or "error_handled" in changes:
            self._count(self.execution.tasks[task.id], -1)
            self._count(new, 1)
        self._store(new)
        return new

    def _store(self, task: Task) -> None:
        old = self.execution.tasks.get(task.id)
        if old is None or old.state is not task.state:
            first = task.run > 0 and (old is None or old.run == 0)
            before = None if old is None else old.state
            self.transitions.append(Transition(self.decision.now, task.id, before, task.state, first))
        self.execution.tasks = self.execution.tasks.set(task.id, task)
        self.tasks[task.id] = task
        self.results.pop(task.id, None)

    def _count(self, task: Task, by: int) -> None:
        if task.state is State.ERROR:
            if not task.error_handled:
                self.execution.unhandled += by
        elif task.state is State.CANCELLED:
            self.execution.cancelled += by
        elif not task.state.completed:
            self.execution.open += by

    # Children ------------------------------------------------------------------------------------------------------

    def add_child(self, task: Task, child: Child) -> Task:
        child = msgspec.structs.replace(child, seq=self.execution.next_child)
        self.execution.next_child += 1
        self.put_child(child)
        return self.update(task, children=task.children.set(len(task.children), child.id))

    def put_child(self, child: Child) -> None:
        self.execution.children = self.execution.children.set(child.id, child)
        self.children[child.id] = child
        self.results.pop(child.task_id, None)

    def change_child(self, child: Child, **changes: Any) -> Child:
        new: Child = msgspec.structs.replace(child, updated_at=self.decision.now, **changes)
        self.put_child(new)
        return new

    def children_of(self, task: Task) -> list[Child]:
        """In the order in which they were scheduled."""
        children = self.execution.children
        return [children[task.children[i]] for i in range(len(task.children))]

    # Contexts ------------------------------------------------------------------------------------------------------

    def layer(self, seq: int) -> context.Context:
        return context.layer(self.execution.contexts, seq)

    def published_layer(self, parent: int, values: dict[str, Any], before: int) -> int:
        """The context with `values` published over `parent`; that of the attempt before, if it is the same."""
        if not values:
            return parent
        old = self.layer(before)
        if before != parent and old.parents == (parent,) and old.own == values:
            return before
        return self._add_layer(
            context.publish(self.layer(parent), self.execution.next_context, values, self.decision.settings.deep_merge)
        )

    def merged_layer(self, sources: list[int]) -> int:
        distinct = list(dict.fromkeys(sources))
        if len(distinct) > 1 and context.ROOT in distinct:
            distinct.remove(context.ROOT)
        if not distinct:
            return context.ROOT
        if len(distinct) == 1:
            return distinct[0]
        return self._add_layer(context.merge(self.execution.contexts, distinct, self.execution.next_context))

    def _add_layer(self, made: context.Context) -> int:
        self.execution.next_context += 1
        self.execution.contexts = self.execution.contexts.set(made.seq, made)
        self.contexts.append(made)
        return made.seq

    # Everything else -----------------------------------------------------------------------------------------------

    def schedule(self, task: Task, kind: Any, seconds: float) -> None:
        stamp = task.run if kind == "timeout" else task.attempt
        self.timers.append(Timer(self.execution.id, task.id, kind, stamp, self.decision.now + seconds))

    @contextmanager
    def starting_several(self) -> Iterator[None]:
        """While tasks are started one after the other, one that ends at once must not end the workflow before the rest exist."""
        self.starting += 1
        try:
            yield
        finally:
            self.starting -= 1

    def set_state(self, state: State) -> None:
        """The execution's own state; whether it may change so is the caller's to know."""
        execution = self.execution
        if execution.state is not state:
            self.transitions.append(Transition(self.decision.now, None, execution.state, state))
            execution.state = state

    def changed(self) -> bool:
        """Whether there is anything to write. Fields of the execution are replaced, never changed in place."""
        if self.created or self.tasks or self.children or self.contexts or self.timers or self.timers_done:
            return True
        old, new = self.original, self.execution
        return any(getattr(old, name) is not getattr(new, name) for name in _HEADER)


_HEADER = (
    "state",
    "state_info",
    "output",
    "params",
    "context",
    "started",
    "accepted",
    "backlog",
    "input",
)


class Decision:
    """Events applied to executions of one tree, to be committed together or not at all.

    `now`: seconds since the epoch. `new_id`: gives fresh ids. `works` holds every execution that was touched.
    """

    def __init__(self, view: View, now: float, new_id: Callable[[], str], settings: Settings | None = None):
        self.view = view
        self.now = now
        self.new_id = new_id
        self.settings = settings or Settings()
        self.works: dict[str, Work] = {}
        self.depth = 0

    def work(self, execution_id: str) -> Work:
        """The working copy of an execution. Raises NotFound, or Missing where the view has to load it first."""
        found = self.works.get(execution_id)
        if found is None:
            execution = self.view.execution(execution_id)
            if execution is None:
                raise NotFound(f"Workflow execution not found [id={execution_id}]")
            found = self.works[execution_id] = Work(execution, self)
        return found

    def peek(self, execution_id: str) -> Execution:
        """An execution to read only."""
        found = self.works.get(execution_id)
        if found is not None:
            return found.execution
        execution = self.view.execution(execution_id)
        if execution is None:
            raise NotFound(f"Workflow execution not found [id={execution_id}]")
        return execution

    def env(self, work: Work) -> dict[str, Any]:
        """The environment that `env()` shows: always that of the root (spec 3.2)."""
        root = work.execution.root_id
        params = work.execution.params if root == work.execution.id else self.peek(root).params
        env = params.get("env")
        return env if isinstance(env, dict) else {}

    def commands(self) -> list[Command]:
        return [command for work in self.works.values() for command in work.commands]


def check_size(value: Any, owner: str, field: str, limit_kb: int) -> str | None:
    """The message of spec 4.8 when a value is larger than the limit, else None."""
    if limit_kb < 0 or not value:
        return None
    size = len(msgspec.json.encode(value)) / 1024
    if size <= limit_kb:
        return None
    return f"Field size limit exceeded [class={owner}, field={field}, size={size:.0f}KB, limit={limit_kb}KB]"


def with_env(params: dict[str, Any], env: dict[str, Any]) -> dict[str, Any]:
    """Parameters with `env` merged deeply into theirs."""
    current = params.get("env")
    return {**params, "env": context.merged_maps(current if isinstance(current, dict) else {}, env)}


MAX_STATE_INFO = 65_500


def cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_STATE_INFO else text[: MAX_STATE_INFO - 3] + "..."


def jsonable(value: Any) -> Any:
    """A value as it will be read back from JSON: sets and tuples become lists, keys and dates text. Raises InvalidInput."""
    if type(value) in (str, int, float, bool) or value is None:
        return value
    try:
        return msgspec.json.decode(msgspec.json.encode(value)) if _odd(value) else value
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as e:
        raise InvalidInput(f"The value cannot be stored as JSON: {e}") from None


def _odd(value: Any) -> bool:
    """Whether JSON would change a value."""
    if type(value) is dict:
        return any(type(k) is not str or _odd(v) for k, v in value.items())
    if type(value) is list:
        return any(_odd(v) for v in value)
    if type(value) is float:
        return value != value or value in (float("inf"), float("-inf"))
    return type(value) not in (str, int, bool, type(None))
