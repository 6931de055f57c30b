"""The common shapes of YAQL as generated Python.

The library's own parser gives the tree, so that there is one grammar. The generated code answers only where its answer is
certain to be the library's: any missing key, unusual type or failed guard raises, and the caller asks the library instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yaql.language.expressions import (
    BinaryOperator,
    Constant,
    Function,
    GetContextValue,
    IndexExpression,
    KeywordConstant,
    ListExpression,
    MapExpression,
    MappingRuleExpression,
    UnaryOperator,
    Wrap,
)

from gregale.expressions.scope import Scope


class _Unsupported(Exception):
    """The expression is outside of the compiled subset."""


def compiled(tree: Any) -> Callable[[Scope], Any] | None:
    """A Python function for an expression tree, or None when the library has to evaluate it."""
    constants: list[Any] = []
    try:
        source = _value(tree, constants)
    except (_Unsupported, RecursionError):
        return None
    if len(source) > 20_000:
        return None
    names = {**_HELPERS, **{f"c{i}": value for i, value in enumerate(constants)}}
    try:
        function: Callable[[Scope], Any] = eval(f"lambda s: {source}", names)  # noqa: S307 - generated here, from a tree
    except (RecursionError, MemoryError, SyntaxError):
        return None
    return function


def _emit(node: Any, constants: list[Any]) -> str:
    if isinstance(node, Wrap):
        return _emit(node.expr, constants)
    if isinstance(node, Constant):
        constants.append(node.value)
        return f"c{len(constants) - 1}"
    if isinstance(node, GetContextValue):
        if node.path.value != "$":
            raise _Unsupported
        return "s"
    if isinstance(node, IndexExpression):
        return _index(node, constants)
    if isinstance(node, BinaryOperator):
        return _binary(node, constants)
    if isinstance(node, UnaryOperator):
        return _unary(node, constants)
    if isinstance(node, ListExpression):
        return "[" + ", ".join(_value(a, constants) for a in node.args) + "]"
    if isinstance(node, MapExpression):
        return _map(node, constants)
    if isinstance(node, Function):
        return _function(node, constants)
    raise _Unsupported


def _value(node: Any, constants: list[Any]) -> str:
    """A piece whose value is used as a value: `$` itself has to be built by the library."""
    source = _emit(node, constants)
    if source == "s":
        raise _Unsupported
    return source


def _binary(node: Any, constants: list[Any]) -> str:
    left, right = node.args
    if node.operator in (".", "?."):
        return _dot(node.operator, left, right, constants)
    if node.operator in ("and", "or"):
        return f"({_value(left, constants)} {node.operator} {_value(right, constants)})"
    helper = _OPERATORS.get(node.operator)
    if helper is None:
        raise _Unsupported
    return f"{helper}({_value(left, constants)}, {_value(right, constants)})"


def _dot(operator: str, left: Any, right: Any, constants: list[Any]) -> str:
    task = _task_call(left)
    if task is not None and operator == "." and isinstance(right, KeywordConstant):
        return f"s.task_field({task!r}, {right.value!r})"
    base = _emit(left, constants)
    if isinstance(right, KeywordConstant):
        if base == "s":
            return f"s[{right.value!r}]" if operator == "." and not right.value.startswith("__") else _refuse()
        return f"{'_key' if operator == '.' else '_maybe_key'}({base}, {right.value!r})"
    if type(right) is Function and operator == "." and right.name in _METHODS:
        low, high = _METHODS[right.name]
        if not low <= len(right.args) <= high or any(isinstance(a, MappingRuleExpression) for a in right.args):
            raise _Unsupported
        arguments = ", ".join([base, *(_argument(a, constants) for a in right.args)])
        if base == "s":
            return f"_scope_{right.name}({arguments})" if right.name == "get" else _refuse()
        return f"_{right.name}({arguments})"
    raise _Unsupported


def _argument(node: Any, constants: list[Any]) -> str:
    """Arguments of methods are lambdas in some overloads: only what cannot depend on the receiver is certain."""
    if isinstance(node, Constant | ListExpression | MapExpression) and not getattr(node, "args", ()):
        return _emit(node, constants)
    if isinstance(node, BinaryOperator) and node.operator == ".":
        return _value(node, constants)
    raise _Unsupported


def _refuse() -> str:
    raise _Unsupported


def _task_call(node: Any) -> str | Any | None:
    """The name in `task(name)`, None for `task()` … as a repr-able value; anything else is not a task call."""
    if type(node) is not Function or node.name != "task" or len(node.args) > 1:
        return _NOT_A_TASK
    if not node.args:
        return _CURRENT
    return (
        node.args[0].value
        if isinstance(node.args[0], Constant) and isinstance(node.args[0].value, str)
        else _NOT_A_TASK
    )


class _Current:
    def __repr__(self) -> str:
        return "None"


_CURRENT = _Current()
_NOT_A_TASK = None


def _index(node: Any, constants: list[Any]) -> str:
    if len(node.args) != 2 or not isinstance(node.args[1], Constant):
        raise _Unsupported
    return f"_index({_value(node.args[0], constants)}, {_emit(node.args[1], constants)})"


def _unary(node: Any, constants: list[Any]) -> str:
    if node.operator == "not":
        return f"(not {_value(node.args[0], constants)})"
    if node.operator == "-":
        return f"_minus({_value(node.args[0], constants)})"
    raise _Unsupported


def _map(node: Any, constants: list[Any]) -> str:
    pairs = []
    for rule in node.args:
        if not isinstance(rule, MappingRuleExpression) or not isinstance(rule.source, Constant):
            raise _Unsupported
        if not isinstance(rule.source.value, str):
            raise _Unsupported
        pairs.append(f"{_emit(rule.source, constants)}: {_value(rule.destination, constants)}")
    return "{" + ", ".join(pairs) + "}"


def _function(node: Any, constants: list[Any]) -> str:
    if any(isinstance(a, MappingRuleExpression) for a in node.args):
        raise _Unsupported
    task = _task_call(node)
    if task is not None:
        return f"s.task({task!r})"
    if node.name in ("env", "execution") and not node.args:
        return f"s.{node.name}()"
    if node.name in _FUNCTIONS and len(node.args) == 1:
        return f"_{node.name}({_value(node.args[0], constants)})"
    raise _Unsupported


_NUMBERS = (int, float)
_SCALARS = (str, int, float, bool, type(None))


class _Ask(Exception):
    """Ask the library."""


def _key(value: Any, name: str) -> Any:
    if type(value) is dict:
        return value[name]
    raise _Ask


def _maybe_key(value: Any, name: str) -> Any:
    return None if value is None else _key(value, name)


def _index_of(value: Any, index: Any) -> Any:
    if type(value) is list and type(index) is int:
        return value[index]
    if type(value) is dict and type(index) is str:
        return value[index]
    raise _Ask


def _equal(a: Any, b: Any) -> bool:
    if type(a) in _SCALARS and type(b) in _SCALARS:
        return bool(a == b)
    raise _Ask


def _unequal(a: Any, b: Any) -> bool:
    return not _equal(a, b)


def _comparable(a: Any, b: Any) -> None:
    if not ((type(a) in _NUMBERS and type(b) in _NUMBERS) or (type(a) is str and type(b) is str)):
        raise _Ask


def _less(a: Any, b: Any) -> bool:
    _comparable(a, b)
    return bool(a < b)


def _less_equal(a: Any, b: Any) -> bool:
    _comparable(a, b)
    return bool(a <= b)


def _greater(a: Any, b: Any) -> bool:
    _comparable(a, b)
    return bool(a > b)


def _greater_equal(a: Any, b: Any) -> bool:
    _comparable(a, b)
    return bool(a >= b)


def _plus(a: Any, b: Any) -> Any:
    _comparable(a, b)
    if type(a) is str and len(a) + len(b) > 1_000_000:
        raise _Ask
    return a + b


def _difference(a: Any, b: Any) -> Any:
    if type(a) in _NUMBERS and type(b) in _NUMBERS:
        return a - b
    raise _Ask


def _product(a: Any, b: Any) -> Any:
    if type(a) in _NUMBERS and type(b) in _NUMBERS and abs(a) < 1e150 and abs(b) < 1e150:
        return a * b
    raise _Ask


def _minus(a: Any) -> Any:
    if type(a) in _NUMBERS:
        return -a
    raise _Ask


def _in(a: Any, b: Any) -> bool:
    if type(a) in _SCALARS and type(b) is list:
        return a in b
    raise _Ask


def _len(value: Any) -> int:
    if type(value) in (str, list, dict):
        return len(value)
    raise _Ask


def _get(value: Any, key: Any, default: Any = None) -> Any:
    if type(value) is dict and type(key) is str:
        return value.get(key, default)
    raise _Ask


def _scope_get(scope: Scope, key: Any, default: Any = None) -> Any:
    if type(key) is str and not key.startswith("__"):
        return scope.get(key, default)
    raise _Ask


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in types or _ask_if_odd(value)


def _ask_if_odd(value: Any) -> bool:
    if type(value) in (str, int, float, bool, type(None), list, dict):
        return False
    raise _Ask


_OPERATORS = {
    "=": "_equal",
    "!=": "_unequal",
    "<": "_less",
    "<=": "_less_equal",
    ">": "_greater",
    ">=": "_greater_equal",
    "+": "_plus",
    "-": "_difference",
    "*": "_product",
    "in": "_in",
}
_METHODS = {"get": (1, 2), "len": (0, 0)}
_FUNCTIONS = ("len", "isDict", "isList", "isString", "isBoolean")
_HELPERS: dict[str, Any] = {
    "__builtins__": {},
    "_key": _key,
    "_maybe_key": _maybe_key,
    "_index": _index_of,
    "_equal": _equal,
    "_unequal": _unequal,
    "_less": _less,
    "_less_equal": _less_equal,
    "_greater": _greater,
    "_greater_equal": _greater_equal,
    "_plus": _plus,
    "_difference": _difference,
    "_product": _product,
    "_minus": _minus,
    "_in": _in,
    "_len": _len,
    "_get": _get,
    "_scope_get": _scope_get,
    "_isDict": _is(dict),
    "_isList": _is(list),
    "_isString": _is(str),
    "_isBoolean": _is(bool),
}
