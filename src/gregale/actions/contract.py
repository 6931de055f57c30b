"""What an action is: a function with a name, a signature and a few promises (language spec 7.1)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec

from gregale.actions.settings import ActionSettings
from gregale.core import ActionInfo, Parameter

F = TypeVar("F", bound=Callable[..., Any])


class ActionContext(msgspec.Struct, frozen=True):
    """Where an action runs. A function receives it when its first parameter is named `context`.

    `security`: what actions that ask for it may present to other services.
    """

    action_execution_id: str = ""
    workflow_execution_id: str = ""
    workflow_name: str = ""
    task_execution_id: str = ""
    attempt: int = 0
    executor: str = ""
    settings: ActionSettings = ActionSettings()
    root_execution_id: str = ""
    security: dict[str, Any] | None = None

    @property
    def callback_url(self) -> str:
        return f"/v2/action_executions/{self.action_execution_id}"


class Result(msgspec.Struct, frozen=True):
    """An outcome: `data` of a success, `error` not null for a failure, `cancel` for a cancellation."""

    data: Any = None
    error: Any = None
    cancel: bool = False


class ActionError(Exception):
    """Raised by an action to fail with this text; any other exception does the same."""


class Action(msgspec.Struct, frozen=True):
    """`run` is a coroutine function, or a plain one that is run in a thread. `credentials`: it wants `context.security`. `trivial`: it
    needs nothing but its input, and mostly no time."""

    info: ActionInfo
    run: Callable[..., Any]
    takes_context: bool
    description: str = ""
    signature: str = ""
    credentials: bool = False
    trivial: bool = False

    @property
    def blocking(self) -> bool:
        return not inspect.iscoroutinefunction(self.run)


_DECLARED = "__gregale_action__"


def action(
    name: str | None = None, *, is_sync: bool = True, idempotent: bool = False, trivial: bool = False
) -> Callable[[F], F]:
    """Declare a function's name and promises. `is_sync=False`: it ends through the API. `idempotent`: it may run again. `trivial`: an
    engine may carry it out in place; where its coroutine waits for something, an executor does it after all."""

    def declare(function: F) -> F:
        setattr(function, _DECLARED, (name, is_sync, idempotent, trivial))
        return function

    return declare


def from_function(function: Callable[..., Any], name: str = "") -> Action:
    """An action for a function, from its declaration and signature."""
    declared, is_sync, idempotent, trivial = getattr(function, _DECLARED, (None, True, False, False))
    parameters = list(inspect.signature(function).parameters.values())
    takes_context = bool(parameters) and parameters[0].name == "context"
    if takes_context:
        parameters = parameters[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return Action(
        ActionInfo(
            name=name or declared or function.__name__,
            is_sync=is_sync,
            parameters=tuple(Parameter(_public(p.name), p.default is p.empty) for p in named),
            any_parameters=any(p.kind is p.VAR_KEYWORD for p in parameters),
            idempotent=idempotent,
        ),
        function,
        takes_context,
        inspect.cleandoc(function.__doc__ or "").split("\n\n")[0],
        ", ".join(
            _public(p.name) if p.default is p.empty else f"{_public(p.name)}={_default(p.default)}" for p in named
        ),
        trivial=trivial,
    )


def _public(name: str) -> str:
    """`from_` and the like are written without the underscore that Python needs."""
    return name.rstrip("_")


def _default(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@cache
def _python_names(run: Callable[..., Any]) -> dict[str, str]:
    return {_public(p): p for p in inspect.signature(run).parameters if _public(p) != p}


def arguments(action: Action, given: dict[str, Any]) -> dict[str, Any]:
    """`given` under the names that the Python function has."""
    names = _python_names(action.run)
    return {names.get(key, key): value for key, value in given.items()} if names else given


def raised(name: str, action_id: str, error: Exception) -> Result:
    """The outcome of an action that raised."""
    text = str(error) or type(error).__name__
    return Result(error=f"The action raised an exception [action={name}, action_ex_id={action_id}, msg='{text}']")


def returned(name: str, action_id: str, value: Any) -> Result:
    """The outcome of an action that gave a value. One that cannot be sent is an error of the action, not of its messenger."""
    if isinstance(value, Result):
        return value
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as e:
        return raised(name, action_id, ValueError(f"the result cannot be stored as JSON: {e}"))
    return Result(data=value)
