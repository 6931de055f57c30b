"""Jinja2, sandboxed and strict: a pure expression keeps its type, anything else is rendered as a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import jinja2
from jinja2 import meta, nodes, sandbox

from gregale.expressions import functions, settings
from gregale.expressions.budget import bounded
from gregale.expressions.errors import ExpressionError, GrammarError, described
from gregale.expressions.scope import Scope

_MAX_TEXT = 16 * 1024 * 1024


class _Environment(sandbox.ImmutableSandboxedEnvironment):
    """The sandbox, with multiplication and powers bounded, since one operation can eat all memory."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if (
            operator == "**"
            and isinstance(left, int)
            and isinstance(right, int)
            and left.bit_length() * abs(right) > 100_000
        ):
            raise ValueError("the result of ** would have too many digits")
        for a, b in ((left, right), (right, left)):
            if operator == "*" and isinstance(a, str | list | tuple) and isinstance(b, int) and len(a) * b > _MAX_TEXT:
                raise ValueError("the result of * would be too long")
        return super().call_binop(context, operator, left, right)


@cache
def _environment() -> _Environment:
    environment = _Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for name, function in functions.BUILTIN.items():
        environment.globals[name] = _global(function)
        environment.filters[name] = _filter(function, name in functions.ASK_SCOPE)
    for name, function in functions.added().items():
        environment.globals[name] = function
        environment.filters[name] = function
    return environment


def _global(function: functions.Function) -> Any:
    @jinja2.pass_context
    def call(context: jinja2.runtime.Context, *args: Any, **kwargs: Any) -> Any:
        return function(context["__scope"], *args, **kwargs)

    return call


def _filter(function: functions.Function, asks_scope: bool) -> Any:
    """`_|task('a')`, `x|json_dump`: the value on the left is an argument unless the function asks the scope."""

    @jinja2.pass_context
    def call(context: jinja2.runtime.Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        scope = context["__scope"]
        left = () if asks_scope else (value,)
        return function(scope, *left, *args, **kwargs)

    return call


class _Variables(Mapping[str, Any]):
    """`_`: nothing but a mapping, so that `_.env` is the variable of that name and not a question to the scope."""

    def __init__(self, scope: Scope):
        self.__scope = scope

    def __getitem__(self, name: str) -> Any:
        return self.__scope[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__scope)

    def __len__(self) -> int:
        return len(self.__scope)

    def __str__(self) -> str:
        return str(dict(self))


def _data(scope: Scope) -> Any:
    root = scope.root()
    return _Variables(scope) if root is scope else root


def expression(text: str, whole: str) -> Callable[[Scope], Any]:
    """A pure expression: its native value; undefined is an error."""
    cell: list[Any] = []

    def run(scope: Scope) -> Any:
        if not cell:
            cell.append(_environment().compile_expression(text.strip(), undefined_to_none=False))
        value = cell[0](_=_data(scope), __scope=scope)
        if isinstance(value, jinja2.Undefined):
            value._fail_with_undefined_error()  # noqa: SLF001 - Jinja's own way to raise with its own message
        return dict(value) if isinstance(value, _Variables) else value

    return _guarded(run, whole)


def template(text: str) -> Callable[[Scope], str]:
    """A text with expressions and blocks in it."""
    cell: list[jinja2.Template] = []

    def run(scope: Scope) -> str:
        if not cell:
            cell.append(_environment().from_string(text))
        return cell[0].render(_=_data(scope), __scope=scope)

    return _guarded(run, text)


def _guarded(run: Callable[[Scope], Any], text: str) -> Callable[[Scope], Any]:
    def guarded(scope: Scope) -> Any:
        try:
            return bounded(settings.settings().seconds, lambda: run(scope))
        except LookupError as e:
            if getattr(e, "passes_through_expressions", False):
                raise
            raise ExpressionError("Jinja", text, described(e, text)) from None
        except Exception as e:
            raise ExpressionError("Jinja", text, described(e, text)) from None

    return guarded


def check(text: str) -> GrammarError | None:
    try:
        _environment().parse(text)
    except jinja2.TemplateSyntaxError as e:
        return GrammarError("jinja", f"Not a Jinja expression: {text}: {e.message}")
    except RecursionError:
        return GrammarError("jinja", "Not a Jinja expression: nested too deeply")
    return None


def variables(text: str) -> set[str]:
    """Names read as `_.name`, unless something tests them for being defined."""
    try:
        return _variables(_environment().parse(text))
    except (jinja2.TemplateSyntaxError, RecursionError):  # not an expression: the grammar check says so
        return set()


def _variables(tree: nodes.Template) -> set[str]:
    if tree.find(nodes.Test) or tree.find(nodes.If):
        return set()
    if any(
        f.name in ("default", "d") for f in tree.find_all(nodes.Filter)
    ) or "_" not in meta.find_undeclared_variables(tree):
        return set()
    return {
        node.attr
        for node in tree.find_all(nodes.Getattr)
        if isinstance(node.node, nodes.Name)
        and node.node.name == "_"
        and node.attr not in ("get", "items", "keys", "values")
    }
