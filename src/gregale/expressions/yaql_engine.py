"""YAQL: the library within bounds, and in front of it the compiled form of the common shapes (`fast`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import yaql
from yaql.language import exceptions, factory, specs, utils, yaqltypes
from yaql.language.expressions import BinaryOperator, Constant, Function, GetContextValue

from gregale.expressions import fast, functions, settings
from gregale.expressions.budget import bounded
from gregale.expressions.errors import ExpressionError, GrammarError, described
from gregale.expressions.scope import Scope


def expression(text: str) -> Callable[[Scope], Any]:
    """The compiled form of one expression. It tries the fast path; whatever that cannot decide, the library decides."""
    wrong = check(text)
    if wrong is not None:
        raise ExpressionError("YAQL", text[:200], wrong.message)
    quick = fast.compiled(_parsed(text, settings.generation).expression)
    slow = library(text)
    if quick is None:
        return slow

    def run(scope: Scope) -> Any:
        try:
            return quick(scope)
        except Exception:  # whatever it was, the library says what it means
            return slow(scope)

    return run


def library(text: str) -> Callable[[Scope], Any]:
    """The same by the library alone."""

    def run(scope: Scope) -> Any:
        try:
            return bounded(settings.settings().seconds, lambda: _evaluate(text, scope))
        except RecursionError:
            raise ExpressionError("YAQL", text, "nested too deeply") from None
        except LookupError as e:
            # Questions that only the database can answer pass through as they are.
            if getattr(e, "passes_through_expressions", False):
                raise
            raise ExpressionError("YAQL", text, described(e, text)) from None
        except Exception as e:
            raise ExpressionError("YAQL", text, described(e, text)) from None

    return run


def _evaluate(text: str, scope: Scope) -> Any:
    context = _root_context().create_child_context()
    root = scope.root()
    context["$"] = _Lazy(scope) if root is scope else utils.convert_input_data(root)
    context["$__scope"] = scope
    for name in ("__env", "__execution", "__task_execution"):
        if name in scope:
            context["$" + name] = utils.convert_input_data(scope[name])
    statement = _parsed(text, settings.generation)
    return statement(utils.NO_VALUE, context, statement.engine)


class _Lazy(utils.MappingType):  # type: ignore[misc]
    """`$` for the library: values are converted when they are read, not all of them for every evaluation."""

    def __init__(self, scope: Scope):
        self._scope = scope

    def __getitem__(self, name: str) -> Any:
        return utils.convert_input_data(self._scope[name])

    def __iter__(self) -> Any:
        return iter(self._scope)

    def __len__(self) -> int:
        return len(self._scope)

    def __hash__(self) -> int:
        return hash(tuple(self._scope))


_parsing = threading.Lock()
"""The library's parser keeps its stack in an object that all share."""


@lru_cache(maxsize=20_000)
def _parsed(text: str, generation: int) -> Any:
    with _parsing:
        return _engine(generation)(text)


@cache
def _engine(generation: int) -> Any:
    del generation
    current = settings.settings()
    return factory.YaqlFactory().create(
        options={
            "yaql.limitIterators": current.iterations,
            "yaql.memoryQuota": current.memory,
            "yaql.convertTuplesToLists": True,
            "yaql.convertSetsToLists": True,
        }
    )


@cache
def _root_context() -> Any:
    context = yaql.create_context().create_child_context()
    for name, function in functions.BUILTIN.items():
        context.register_function(_with_scope(function), name=name)
    for name, function in functions.added().items():
        context.register_function(_plain(function), name=name)
    context.register_function(_bounded_power, name="pow")
    context.register_function(_list_by_int, name="#operator_*")
    context.register_function(_int_by_list, name="#operator_*")
    return context


def _with_scope(function: functions.Function) -> Any:
    def call(context: Any, *args: Any, **kwargs: Any) -> Any:
        return function(context["$__scope"], *args, **kwargs)

    return specs.inject("context", yaqltypes.Context())(call)


def _plain(function: functions.Function) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*(functions.plain(a) for a in args), **kwargs)

    return call


@specs.parameter("left", yaqltypes.Sequence())  # type: ignore[untyped-decorator]
@specs.parameter("right", int)  # type: ignore[untyped-decorator]
def _list_by_int(left: Any, right: int) -> Any:
    """The library's own bound does not hold for tuples, and one multiplication cannot be interrupted."""
    if len(left) * right > settings.settings().iterations:
        raise ValueError("the list would be too long")
    return left * right


@specs.parameter("left", int)  # type: ignore[untyped-decorator]
@specs.parameter("right", yaqltypes.Sequence())  # type: ignore[untyped-decorator]
def _int_by_list(left: int, right: Any) -> Any:
    return _list_by_int(right, left)


def _bounded_power(a: Any, b: Any, c: Any = None) -> Any:
    if c is None and isinstance(a, int) and isinstance(b, int) and a.bit_length() * abs(b) > 100_000:
        raise ValueError("the result of pow would have too many digits")
    return pow(a, b, c)


MAX_LENGTH = 16_384
MAX_DEPTH = 150


def check(text: str) -> GrammarError | None:
    if len(text) > MAX_LENGTH:
        return GrammarError("yaql", f"A YAQL expression has at most {MAX_LENGTH} characters; this one has {len(text)}")
    try:
        if _depth(_parsed(text, settings.generation).expression) > MAX_DEPTH:
            return GrammarError("yaql", f"A YAQL expression is nested at most {MAX_DEPTH} levels deep")
    except exceptions.YaqlException as e:
        position = getattr(e, "position", None)
        caret = f"{text}\n    {' ' * position}^" if isinstance(position, int) and position >= 0 else ""
        return GrammarError("yaql", f"Not a YAQL expression: {text}: {e}", caret)
    except RecursionError:
        return GrammarError("yaql", "Not a YAQL expression: nested too deeply")
    return None


def _depth(tree: Any) -> int:
    """How deeply a tree is nested, found without recursion."""
    deepest = 0
    todo = [(tree, 1)]
    while todo:
        node, depth = todo.pop()
        deepest = max(deepest, depth)
        inner = getattr(node, "args", None) or [
            n
            for n in (getattr(node, "expr", None), getattr(node, "source", None), getattr(node, "destination", None))
            if n is not None
        ]
        todo.extend((n, depth + 1) for n in inner)
    return deepest


def variables(text: str) -> set[str]:
    try:
        tree = _parsed(text, settings.generation).expression
    except Exception:  # not an expression: the grammar check says so
        return set()
    found: set[str] = set()
    _walk(tree, found)
    return found


def _walk(node: Any, found: set[str]) -> None:
    if isinstance(node, BinaryOperator) and node.operator == ".":
        left, right = node.args
        if isinstance(left, GetContextValue):
            if left.path.value == "$" and isinstance(right, Constant):
                found.add(str(right.value))
        else:
            _walk(left, found)
    elif isinstance(node, Function):
        for argument in node.args:
            _walk(argument, found)
