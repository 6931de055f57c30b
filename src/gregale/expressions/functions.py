"""The functions of language spec 3.2 for both languages, and those that packages add.

A package adds one by the entry point group `gregale.expression_functions`: a plain function of values, no scope.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import yaml

from gregale import yamltext
from gregale.expressions.scope import Scope

Function = Callable[..., Any]


def _task(scope: Scope, name: str | None = None) -> Any:
    return scope.task(name)


def _tasks(
    scope: Scope,
    workflow_execution_id: str | None = None,
    recursive: bool = False,
    state: str | None = None,
    flat: bool = False,
) -> Any:
    return scope.tasks(workflow_execution_id, recursive, state, flat)


def _execution(scope: Scope) -> Any:
    return scope.execution()


def _executions(
    scope: Scope,
    id: str | None = None,  # noqa: A002 - the parameter's name in the language
    root_execution_id: str | None = None,
    state: str | None = None,
    from_time: str | None = None,
    to_time: str | None = None,
) -> Any:
    return scope.executions(
        id=id, root_execution_id=root_execution_id, state=state, from_time=from_time, to_time=to_time
    )


def _env(scope: Scope) -> Any:
    return scope.env()


def _global(scope: Scope, name: str) -> Any:
    return scope.global_(name)


def _uuid(scope: Scope) -> str:
    return scope.uuid()


def _json_dump(scope: Scope, data: Any) -> str:
    del scope
    return json.dumps(plain(data), indent=4)


def _json_parse(scope: Scope, text: str) -> Any:
    del scope
    return json.loads(text)


def _yaml_dump(scope: Scope, data: Any) -> str:
    del scope
    return str(yaml.safe_dump(plain(data), default_flow_style=False))


def _yaml_parse(scope: Scope, text: str) -> Any:
    """Anchors are inert here too, so that no text can expand (spec 9, no. 13)."""
    del scope
    return yamltext.parse(text).data if text.strip() else None


BUILTIN: dict[str, Function] = {
    "task": _task,
    "tasks": _tasks,
    "execution": _execution,
    "executions": _executions,
    "env": _env,
    "global": _global,
    "uuid": _uuid,
    "json_dump": _json_dump,
    "json_parse": _json_parse,
    "yaml_dump": _yaml_dump,
    "yaml_parse": _yaml_parse,
}

ASK_SCOPE = frozenset(("task", "tasks", "execution", "executions", "env", "global", "uuid"))
"""Functions that take nothing from the left of a Jinja filter's `|`."""


@cache
def added() -> dict[str, Function]:
    """Functions from installed packages, by name. One that does not load is an error at first use, with its own text."""
    return {entry.name: entry.load() for entry in entry_points(group="gregale.expression_functions")}


def plain(value: Any) -> Any:
    """A value of maps, lists and scalars, whatever mappings and sequences an evaluation produced."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if hasattr(value, "items"):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "__iter__"):
        return [plain(v) for v in value]
    return str(value)
