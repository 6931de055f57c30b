"""Dynamic actions: classes in source text that an administrator has stored (API spec 1.4).

What the engine has to know of one is read from the text; only executors run it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from gregale.actions.contract import Action, ActionContext, ActionError, from_function
from gregale.core import ActionInfo, Parameter

PREFIX = "dynamic:"
"""Executors know a dynamic action by this and its id."""


def described(name: str, action_id: str, content: str, class_name: str) -> ActionInfo:
    """Parameters from the signature of `__init__`; asynchronous if `is_sync` returns False. Raises ActionError."""
    try:
        module = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise ActionError(f"The code source is not Python: {e}") from None
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        known = ", ".join(classes) or "none"
        raise ActionError(f"The code source has no class '{class_name}'; its classes: {known}")
    init = _method(classes, class_name, "__init__")
    parameters, open_ended = _parameters(init.args) if init is not None else ((), False)
    return ActionInfo(
        name,
        is_sync=not _returns_false(_method(classes, class_name, "is_sync")),
        parameters=parameters,
        any_parameters=open_ended,
        runs_as=PREFIX + action_id,
    )


def _method(classes: dict[str, ast.ClassDef], name: str, method: str) -> ast.FunctionDef | None:
    """A method of a class or of the nearest of its bases in the same text."""
    for one in _ancestry(classes, name, frozenset()):
        for node in one.body:
            if isinstance(node, ast.FunctionDef) and node.name == method:
                return node
    return None


def _ancestry(classes: dict[str, ast.ClassDef], name: str, seen: frozenset[str]) -> Iterator[ast.ClassDef]:
    if name in classes and name not in seen:
        yield classes[name]
        for base in classes[name].bases:
            if isinstance(base, ast.Name):
                yield from _ancestry(classes, base.id, seen | {name})


def _parameters(given: ast.arguments) -> tuple[tuple[Parameter, ...], bool]:
    named = [*given.posonlyargs, *given.args][1:]
    required = len(named) - len(given.defaults)
    found = [Parameter(a.arg, i < required) for i, a in enumerate(named)]
    found += [Parameter(a.arg, d is None) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return tuple(found), given.kwarg is not None


def _returns_false(method: ast.FunctionDef | None) -> bool:
    returned = [n.value for n in ast.walk(method) if isinstance(n, ast.Return)] if method is not None else []
    return bool(returned) and all(isinstance(v, ast.Constant) and v.value is False for v in returned)


@lru_cache(maxsize=256)
def loaded(name: str, class_name: str, content: str) -> Action:
    """The action that constructs the class with its input and calls `run`, with or without a context. Raises ActionError."""
    action: Action = msgspec.structs.replace(
        _made(name, class_name, content), info=described(name, "", content, class_name)
    )
    return action


def _made(name: str, class_name: str, content: str) -> Action:
    scope: dict[str, Any] = {"__name__": f"gregale_dynamic.{name}"}
    try:
        exec(compile(content, f"<code source of {name}>", "exec"), scope)  # noqa: S102 - what this resource is for
        cls = scope[class_name]
    except Exception as e:
        raise ActionError(f"The code source of '{name}' cannot be loaded: {type(e).__name__}: {e}") from None
    if not inspect.isclass(cls) or not callable(getattr(cls, "run", None)):
        raise ActionError(f"'{class_name}' is not a class with a method 'run'")
    if _is_mistral(cls):
        from gregale.actions import mistral

        return mistral.adapted(name, cls)

    def run(context: ActionContext, **given: Any) -> Any:
        made: Any = cls(**given)
        positional = (context,) if len(inspect.signature(made.run).parameters) > 0 else ()
        return made.run(*positional)

    return from_function(run, name)


def _is_mistral(cls: type) -> bool:
    return any(base.__module__.startswith("mistral_lib.") for base in cls.__mro__)
