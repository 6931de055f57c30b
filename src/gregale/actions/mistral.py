"""Actions written against `mistral_lib.actions.Action`, run as they are. Needs the extra `gregale[mistral]`."""

from __future__ import annotations

import inspect
from typing import Any

from gregale.actions.contract import Action, ActionContext, Result, from_function
from gregale.core import ActionInfo, Parameter


def adapted(name: str, cls: type) -> Action:
    """An action that constructs `cls` with the input and calls its `run`. Raises TypeError for any other class."""
    try:
        from mistral_lib import actions as lib
    except ImportError as e:
        raise TypeError(
            f"{cls.__name__} is a class, which needs the package mistral-lib: install gregale[mistral]"
        ) from e
    if not issubclass(cls, lib.Action):
        raise TypeError(f"{cls.__name__} is neither a function nor a mistral_lib.actions.Action")
    parameters = [p for p in inspect.signature(cls).parameters.values() if p.name != "self"]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]

    def run(context: ActionContext, **given: Any) -> Any:
        made = cls(**given)
        found = made.run(_context(lib, context))
        if isinstance(found, lib.Result):
            return Result(found.data, found.error, bool(getattr(found, "cancel", False)))
        return found

    plain = from_function(run, name)
    return Action(
        ActionInfo(
            name,
            is_sync=_is_sync(cls),
            parameters=tuple(Parameter(p.name, p.default is p.empty) for p in named),
            any_parameters=any(p.kind is p.VAR_KEYWORD for p in parameters),
        ),
        plain.run,
        True,
        inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0],
        ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in named),
        credentials=True,
    )


def _is_sync(cls: type) -> bool:
    """`is_sync` is a method of instances; what it gives may not depend on them."""
    try:
        made: Any = object.__new__(cls)
        return bool(made.is_sync())
    except Exception:  # it did depend on the instance; the contract's default is a synchronous action
        return True


def _context(lib: Any, context: ActionContext) -> Any:
    from mistral_lib.actions import context as lib_context

    execution = lib_context.ExecutionContext(
        workflow_execution_id=context.workflow_execution_id,
        task_execution_id=context.task_execution_id,
        action_execution_id=context.action_execution_id,
        workflow_name=context.workflow_name,
        callback_url=context.callback_url,
    )
    del lib
    known = inspect.signature(lib_context.SecurityContext).parameters
    given = {name: value for name, value in (context.security or {}).items() if name in known}
    security = lib_context.SecurityContext(**given) if context.security else None
    return lib_context.ActionContext(security_ctx=security, execution_ctx=execution)
