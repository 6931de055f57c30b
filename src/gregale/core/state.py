"""The state of one execution: frozen records in persistent maps, so that a decision never touches what it started from."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec
from immutables import Map

from gregale.language import WorkflowSpec


class State(StrEnum):
    IDLE = "IDLE"
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    DELAYED = "DELAYED"
    PAUSED = "PAUSED"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"

    @property
    def completed(self) -> bool:
        return self in COMPLETED


COMPLETED = frozenset((State.SUCCESS, State.ERROR, State.CANCELLED, State.SKIPPED))

TRANSITIONS: dict[State, frozenset[State]] = {
    State.IDLE: frozenset((State.RUNNING, State.ERROR, State.CANCELLED)),
    State.WAITING: frozenset((State.RUNNING,)),
    State.RUNNING: frozenset((State.PAUSED, State.DELAYED, State.SUCCESS, State.ERROR, State.CANCELLED)),
    State.DELAYED: frozenset((State.RUNNING, State.ERROR, State.CANCELLED)),
    State.PAUSED: frozenset((State.RUNNING, State.ERROR, State.CANCELLED)),
    State.SUCCESS: frozenset(),
    State.ERROR: frozenset((State.RUNNING, State.SKIPPED)),
    State.CANCELLED: frozenset((State.RUNNING,)),
    State.SKIPPED: frozenset(),
}
"""Language spec 5.1. Leaving a completed state is for rerun and skip alone, which say so."""


def may_become(old: State, new: State) -> bool:
    return old is new or new in TRANSITIONS[old]


class Items(msgspec.Struct, frozen=True, gc=False):
    """Progress of a with-items task. `only` are the indexes of a partial rerun; `next` counts those scheduled so far.

    `capacity` is how many more may be scheduled now, None without a limit; `done` counts accepted items.
    """

    count: int
    capacity: int | None = None
    next: int = 0
    done: int = 0
    only: tuple[int, ...] | None = None
    failed: bool = False
    cancelled: bool = False

    @property
    def planned(self) -> int:
        return self.count if self.only is None else len(self.only)


class Task(msgspec.Struct, frozen=True, gc=False):
    """A task execution.

    `run` grows with each start, `attempt` with each retry as well: timers and results carry the number they were made for.
    `round` counts the rounds of a join. `timeout` is in seconds; once it has fired, each attempt gets a timer of its own. `inbound` and `outbound` name contexts of the execution. `arrived` and `lost` are a join's
    progress in the current round, by the name of the inbound task. `children` maps an ordinal to a child's id.
    """

    id: str
    name: str
    seq: int
    type: Literal["ACTION", "WORKFLOW"]
    state: State
    created_at: float
    updated_at: float
    state_info: str | None = None
    inbound: int = 0
    outbound: int = 0
    published: dict[str, Any] | None = None
    triggered_by: tuple[tuple[str, str], ...] = ()
    processed: bool = False
    next_tasks: tuple[tuple[str, str], ...] = ()
    has_next_tasks: bool = False
    error_handled: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    run: int = 0
    round: int = 0
    attempt: int = 0
    retries: int = 0
    timeout: int = 0
    timed_out: bool = False
    policies: dict[str, Any] = {}
    held: tuple[str, str | None] | None = None
    items: Items | None = None
    arrived: Map[str, tuple[str, str, int]] = Map()
    lost: Map[str, str] = Map()
    again: tuple[tuple[str, str, str], ...] = ()
    children: Map[int, str] = Map()


class Child(msgspec.Struct, frozen=True, gc=False):
    """What a task runs: an action execution, or the link to a sub-workflow execution (whose id it then has).

    `base` is the action and input that really run where `name` is an ad-hoc action. `output` is the result or error value.
    """

    id: str
    task_id: str
    kind: Literal["ACTION", "WORKFLOW"]
    name: str
    index: int
    attempt: int
    state: State
    created_at: float
    updated_at: float
    state_info: str | None = None
    accepted: bool = False
    input: dict[str, Any] = {}
    output: Any = None
    has_output: bool = False
    is_sync: bool = True
    safe_rerun: bool = False
    base: tuple[str, dict[str, Any]] | None = None
    target: str | None = None
    timeout: int | None = None
    seq: int = 0


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An inbound task that chose a join: written once, so that a join of n tasks costs n rows and not n²."""

    join_id: str
    round: int
    source_name: str
    source_id: str
    attempt: int
    clause: str


class Timer(msgspec.Struct, frozen=True, gc=False):
    """Something due later. `stamp` is the task's run (for a timeout) or attempt that it was made for."""

    execution_id: str
    task_id: str
    kind: Literal["wait-before", "wait-after", "retry", "timeout"]
    stamp: int
    due: float


class RunAction(msgspec.Struct, frozen=True, gc=False):
    """Command: have an executor run an action."""

    action_id: str
    execution_id: str
    task_id: str | None
    workflow_name: str
    action: str
    input: dict[str, Any]
    attempt: int = 0
    safe_rerun: bool = False
    is_sync: bool = True
    target: str | None = None
    timeout: int | None = None


class StartExecution(msgspec.Struct, frozen=True, gc=False):
    """Command: have the owner of a created execution start it."""

    execution_id: str


class Execution(msgspec.Struct, gc=False):
    """One workflow execution with everything inside it. Changed only through `Work`, on a copy.

    `context` is the workflow's global context (vars, then global publishes). `spec_hash` names the stored body of `spec`.
    `open`, `unhandled`, `cancelled` count unfinished tasks, failed tasks that nothing handled, and cancelled tasks.
    `item_values` keeps evaluated with-items sources per task and attempt; it is never stored.
    """

    id: str
    root_id: str
    workflow_id: str
    workflow_name: str
    namespace: str
    spec: WorkflowSpec
    spec_hash: str
    input: dict[str, Any]
    params: dict[str, Any]
    created_at: float
    updated_at: float
    state: State = State.IDLE
    state_info: str | None = None
    output: dict[str, Any] | None = None
    context: dict[str, Any] = {}
    description: str = ""
    tags: tuple[str, ...] = ()
    project_id: str = "<default-project>"
    parent_id: str | None = None
    parent_task_id: str | None = None
    workbook: str = ""
    started: bool = False
    accepted: bool = False
    backlog: tuple[tuple[Any, ...], ...] = ()
    revision: int = 0
    tasks: Map[str, Task] = Map()
    latest: Map[str, str] = Map()
    children: Map[str, Child] = Map()
    contexts: Map[int, Any] = Map()
    next_seq: int = 1
    next_context: int = 1
    next_child: int = 1
    open: int = 0
    unhandled: int = 0
    cancelled: int = 0
    item_values: dict[str, tuple[int, dict[str, list[Any]]]] = {}
