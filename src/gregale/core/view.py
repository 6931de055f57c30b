"""What the core asks of the world around it. Every answer is immutable within one decision."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from gregale.core.state import Execution
from gregale.language import ActionSpec, WorkflowSpec


class Parameter(msgspec.Struct, frozen=True):
    name: str
    required: bool = True


class ActionInfo(msgspec.Struct, frozen=True):
    """What is known of an action before it runs. `adhoc` is set for ad-hoc actions, which name a base.

    `runs_as`: what executors know it by, where that is not its name.
    """

    name: str
    is_sync: bool = True
    parameters: tuple[Parameter, ...] = ()
    any_parameters: bool = False
    idempotent: bool = False
    adhoc: ActionSpec | None = None
    runs_as: str = ""


class Definition(msgspec.Struct, frozen=True):
    """A stored workflow. `workbook` is the name of the workbook it came from, or empty."""

    id: str
    name: str
    namespace: str
    spec: WorkflowSpec
    spec_hash: str
    workbook: str = ""
    project_id: str = "<default-project>"


class View(Protocol):
    """Raises `Missing` where an answer is not at hand."""

    def execution(self, execution_id: str) -> Execution | None: ...
    def workflow(self, name: str, namespace: str, project_id: str, admin: bool = False) -> Definition | None: ...
    def action(self, name: str, namespace: str, project_id: str) -> ActionInfo | None: ...
    def environment(self, name: str, project_id: str) -> dict[str, Any] | None: ...
    def tasks(self, project_id: str) -> list[dict[str, Any]]: ...
    def executions(self, project_id: str, filters: tuple[tuple[str, Any], ...]) -> list[dict[str, Any]]: ...
    def subtree(self, execution_id: str) -> list[Execution]: ...
