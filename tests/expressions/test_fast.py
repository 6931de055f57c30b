"""The compiled form of YAQL is the library's equal on whatever it is given, errors included."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gregale.expressions import ExpressionError, MapScope, fast, yaql_engine

NAMES = st.sampled_from(["a", "b", "c", "items", "x_1"])
SCALARS = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.none(),
    st.sampled_from(["", "a", "word", "x y"]),
    st.floats(-2, 2).map(lambda f: round(f, 2)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
DATA = st.dictionaries(NAMES, VALUES, max_size=4)


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return (
        f"'{value}'"
        if isinstance(value, str)
        else str(value)
        if not isinstance(value, float) or value >= 0
        else f"({value})"
    )


LEAVES = st.one_of(
    NAMES.map(lambda n: f"$.{n}"),
    st.tuples(NAMES, NAMES).map(lambda p: f"$.{p[0]}.{p[1]}"),
    st.tuples(NAMES, NAMES).map(lambda p: f"$.{p[0]}?.{p[1]}"),
    SCALARS.map(_literal),
    NAMES,
    st.just("$"),
    st.tuples(NAMES, SCALARS).map(lambda p: f"$.get({p[0]}, {_literal(p[1])})"),
    st.sampled_from(
        [
            "task(t).result.a",
            "task(t).result",
            "task().name",
            "task(none)",
            "task(none).result",
            "env().a",
            "execution()",
        ]
    ),
)


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(
            inner, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "+", "-", "*", "and", "or", "in"]), inner
        ).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda e: f"not ({e})"),
        inner.map(lambda e: f"-({e})"),
        st.lists(inner, max_size=3).map(lambda es: "[" + ", ".join(es) + "]"),
        st.lists(st.tuples(NAMES, inner), max_size=2).map(
            lambda ps: "{" + ", ".join(f"{k} => {v}" for k, v in ps) + "}"
        ),
        st.tuples(inner, st.sampled_from(["0", "1", "'a'"])).map(lambda p: f"({p[0]})[{p[1]}]"),
        inner.map(lambda e: f"({e}).len()"),
        st.tuples(inner, NAMES).map(lambda p: f"({p[0]}).{p[1]}"),
        st.tuples(st.sampled_from(["len", "isDict", "isList", "isString", "isBoolean"]), inner).map(
            lambda p: f"{p[0]}({p[1]})"
        ),
    )


EXPRESSIONS = st.recursive(LEAVES, _combined, max_leaves=5)


class _Scope(MapScope):
    def task(self, name: str | None = None) -> dict[str, Any] | None:
        return None if name == "none" else {"name": name or "current", "result": self._data.get("a")}

    def execution(self) -> dict[str, Any]:
        return {"id": "e"}


def outcome(run: Any, scope: MapScope) -> Any:
    try:
        value = run(scope)
    except ExpressionError as e:
        return ("error", str(e))
    return ("value", type(value), value)


@given(EXPRESSIONS, DATA)
def test_compiled_and_library_agree_on_values_and_errors(text: str, data: dict[str, Any]) -> None:
    scope = _Scope(data, env={"a": 1})
    assert outcome(yaql_engine.expression(text), scope) == outcome(yaql_engine.library(text), scope)


@pytest.mark.parametrize(
    "text",
    [
        "$.a.b.c",
        "task(t).result.x",
        "$.a = 1",
        "$.a < 2 and not $.b or $.c != x",
        "42",
        "'text'",
        "[1, $.a, x]",
        "{a => 1, b => $.x.y}",
        "$.get(x)",
        "task().result",
        "env().x",
    ],
)
def test_the_common_shapes_are_compiled(text: str) -> None:
    assert fast.compiled(yaql_engine._parsed(text, 0).expression) is not None


@pytest.mark.parametrize("text", ["$.a.where($.x > 1)", "$.select($.b)", "$x", "range(1)", "$.a.get($.b => 1)"])
def test_everything_else_is_left_to_the_library(text: str) -> None:
    assert fast.compiled(yaql_engine._parsed(text, 0).expression) is None
