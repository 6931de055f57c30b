"""What a checked document says: frozen specs, all defaults applied, all inline forms resolved."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

REQUIRED: Any = msgspec.UNSET
"""Stands in `input` for "no default: the caller must give it"."""

ENGINE_COMMANDS = frozenset(("noop", "fail", "succeed", "pause"))
CLAUSES = ("on-success", "on-error", "on-complete", "on-skip")


class Transition(msgspec.Struct, frozen=True):
    """One target of a clause: a task or an engine command, with its guard and the command's parameters."""

    target: str
    guard: str | None = None
    params: dict[str, Any] = {}

    @property
    def is_command(self) -> bool:
        return self.target in ENGINE_COMMANDS


class Publish(msgspec.Struct, frozen=True):
    """Variables to publish, by scope. `atomic` is accepted by the language and ignored (spec 2.4)."""

    branch: dict[str, Any] = {}
    globals: dict[str, Any] = {}

    def over(self, other: Publish) -> Publish:
        """The union of both per scope; this one wins where both name a variable (spec 4.4)."""
        return Publish({**other.branch, **self.branch}, {**other.globals, **self.globals})

    def __bool__(self) -> bool:
        return bool(self.branch or self.globals)


class OnClause(msgspec.Struct, frozen=True):
    transitions: tuple[Transition, ...] = ()
    publish: Publish = Publish()


class RetrySpec(msgspec.Struct, frozen=True):
    """Values are literals or expressions (spec 6.3)."""

    count: int | str
    delay: int | str
    break_on: str | None = None
    continue_on: str | None = None


class Policies(msgspec.Struct, frozen=True):
    """Policies of a task, its workflow's defaults applied (spec 6.1). 0, False and None mean "no policy"."""

    retry: RetrySpec | None = None
    wait_before: int | str = 0
    wait_after: int | str = 0
    timeout: int | str = 0
    pause_before: bool | str = False
    concurrency: int | str = 0
    fail_on: bool | str = False
    safe_rerun: bool = False


class TaskSpec(msgspec.Struct, frozen=True):
    """One task. Exactly one of `action` and `workflow` is set; `input` is a map or one expression that gives a map."""

    name: str
    action: str | None
    workflow: str | None
    input: dict[str, Any] | str
    with_items: dict[str, Any] | None
    publish: Publish
    publish_on_error: Publish
    publish_on_skip: Publish
    clauses: dict[str, OnClause]
    policies: Policies
    own_timeout: int | str
    keep_result: bool
    target: str | None
    join: int | Literal["all"] | None
    requires: tuple[str, ...]
    description: str
    tags: tuple[str, ...]
    body: dict[str, Any]

    @property
    def kind(self) -> Literal["ACTION", "WORKFLOW"]:
        return "WORKFLOW" if self.workflow is not None else "ACTION"

    def clause(self, name: str) -> OnClause:
        return self.clauses.get(name, _NOTHING)

    def publishing(self, state: str) -> Publish:
        """What a task that ended in `state` publishes; on-complete beats the task, the task beats the clause [Q 4.4]."""
        task_level, clause = {
            "SUCCESS": (self.publish, "on-success"),
            "ERROR": (self.publish_on_error, "on-error"),
            "SKIPPED": (self.publish_on_skip, "on-skip"),
        }.get(state, (Publish(), ""))
        if not clause:
            return task_level
        return self.clause("on-complete").publish.over(task_level.over(self.clause(clause).publish))


_NOTHING = OnClause()


class WorkflowSpec(msgspec.Struct, frozen=True):
    """One workflow. `body` is the map it was read from; `inbound` holds, per task, the tasks that may lead to it."""

    name: str
    type: Literal["direct", "reverse"]
    description: str
    tags: tuple[str, ...]
    input: dict[str, Any]
    vars: dict[str, Any]
    output: dict[str, Any]
    output_on_error: dict[str, Any]
    tasks: dict[str, TaskSpec]
    inbound: dict[str, tuple[str, ...]]
    body: dict[str, Any]

    @property
    def start_tasks(self) -> tuple[str, ...]:
        """Tasks that nothing leads to, in the order written."""
        return tuple(name for name in self.tasks if not self.inbound.get(name))

    def targets(self, task: str) -> tuple[str, ...]:
        """The tasks that `task` may lead to, each once, engine commands left out."""
        spec = self.tasks[task]
        found = dict.fromkeys(t.target for c in CLAUSES for t in spec.clause(c).transitions if not t.is_command)
        return tuple(found)


class ActionSpec(msgspec.Struct, frozen=True):
    """An ad-hoc action: another action with its input and output transformed (spec 1.5 and 7.4)."""

    name: str
    base: str
    base_input: dict[str, Any]
    input: dict[str, Any]
    output: Any
    has_output: bool
    description: str
    tags: tuple[str, ...]
    body: dict[str, Any]


class WorkbookSpec(msgspec.Struct, frozen=True):
    name: str
    description: str
    tags: tuple[str, ...]
    workflows: dict[str, WorkflowSpec]
    actions: dict[str, ActionSpec]
