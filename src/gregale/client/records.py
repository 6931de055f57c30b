"""What the API shows, as typed records. JSON inside JSON is decoded; times are text, `YYYY-MM-DD HH:MM:SS` in UTC."""

from __future__ import annotations

from typing import Any

import msgspec

ENDED = frozenset(("SUCCESS", "ERROR", "CANCELLED"))


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes that the server does not show have their defaults."""

    id: str
    created_at: str | None = None
    updated_at: str | None = None
    project_id: str | None = None


class Workflow(Record, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    input: str = ""
    interface: dict[str, Any] = {}
    definition: str = ""
    checksum: str | None = None
    tags: list[str] = []
    scope: str = "private"


class Workbook(Record, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    definition: str = ""
    tags: list[str] = []
    scope: str = "private"


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is null for an action that was not stored."""

    id: str
    name: str
    is_system: bool = False
    input: str | None = None
    description: str | None = None
    tags: list[str] | None = None
    definition: str | None = None
    scope: str | None = None
    namespace: str = ""


class Execution(Record, frozen=True, kw_only=True):
    workflow_id: str = ""
    workflow_name: str = ""
    workflow_namespace: str = ""
    description: str = ""
    tags: list[str] = []
    params: dict[str, Any] = {}
    task_execution_id: str | None = None
    root_execution_id: str | None = None
    state: str = ""
    state_info: str | None = None
    input: dict[str, Any] = {}
    output: dict[str, Any] = {}
    published_global: dict[str, Any] = {}

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Task(Record, frozen=True, kw_only=True):
    name: str = ""
    type: str = ""
    workflow_name: str = ""
    workflow_namespace: str = ""
    workflow_id: str = ""
    workflow_execution_id: str = ""
    tags: list[str] = []
    state: str = ""
    state_info: str | None = None
    runtime_context: dict[str, Any] = {}
    result: Any = None
    published: dict[str, Any] = {}
    published_global: dict[str, Any] = {}
    processed: bool = False
    started_at: str | None = None
    finished_at: str | None = None


class ActionExecution(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is None for an action that ran in place and was not stored."""

    id: str | None = None
    name: str = ""
    workflow_name: str | None = None
    task_name: str | None = None
    task_execution_id: str | None = None
    state: str = ""
    state_info: str | None = None
    description: str | None = None
    accepted: bool = False
    input: dict[str, Any] = {}
    output: dict[str, Any] = {}
    created_at: str | None = None
    updated_at: str | None = None


class Environment(Record, frozen=True, kw_only=True):
    name: str = ""
    description: str | None = None
    variables: dict[str, Any] = {}
    scope: str = "private"


class CronTrigger(Record, frozen=True, kw_only=True):
    name: str = ""
    workflow_name: str = ""
    workflow_id: str = ""
    workflow_input: dict[str, Any] = {}
    workflow_params: dict[str, Any] = {}
    pattern: str | None = None
    first_execution_time: str | None = None
    next_execution_time: str | None = None
    remaining_executions: int | None = None
    scope: str = "private"


class EventTrigger(Record, frozen=True, kw_only=True):
    name: str = ""
    workflow_id: str = ""
    workflow_input: dict[str, Any] = {}
    workflow_params: dict[str, Any] = {}
    exchange: str = ""
    topic: str = ""
    event: str = ""
    scope: str = "private"


class Member(Record, frozen=True, kw_only=True):
    resource_id: str = ""
    resource_type: str = "workflow"
    member_id: str = ""
    status: str = ""


class Notification(Record, frozen=True, kw_only=True):
    execution_id: str = ""
    event: str = ""
    publisher: dict[str, Any] = {}
    payload: dict[str, Any] = {}
    state: str = ""
    attempts: int = 0
    next_attempt_at: str | None = None
    last_error: str | None = None


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """A change of state from the events stream. `position` is what `events(after=…)` resumes after."""

    kind: str
    id: str
    name: str
    state: str
    at: str
    execution_id: str
    root_execution_id: str
    workflow_name: str
    old_state: str | None = None
    event: str | None = None
    position: str = ""


_ENCODED = frozenset(
    (
        "input",
        "output",
        "params",
        "published_global",
        "runtime_context",
        "published",
        "result",
        "variables",
        "workflow_input",
        "workflow_params",
        "interface",
        "publisher",
        "payload",
    )
)
_PLAIN_INPUT = (Workflow, Action)


def decoded(plain: dict[str, Any], kind: type[Any]) -> Any:
    """A record of a reply, its JSON texts decoded. Raises msgspec.ValidationError for what is no such record."""
    values = {
        name: msgspec.json.decode(value)
        if name in _ENCODED and isinstance(value, str) and not (name == "input" and kind in _PLAIN_INPUT)
        else value
        for name, value in plain.items()
        if value is not None
    }
    return msgspec.convert(values, kind)
