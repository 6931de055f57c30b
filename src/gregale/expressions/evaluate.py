"""Find expressions in values, compile each text once, evaluate (language spec 3.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from gregale.expressions import find, jinja_engine, settings, yaql_engine
from gregale.expressions.errors import ExpressionError, GrammarError
from gregale.expressions.scope import Scope

_PURE_YAQL = re.compile(r"<%((?:(?!%>).)*)%>")
_PURE_JINJA = re.compile(r"{{((?:(?!}}).)*)}}")

Compiled = Callable[[Scope], Any]


def is_expression(value: Any) -> bool:
    """Whether a string holds an expression of either language."""
    return isinstance(value, str) and (find.has_jinja(value) or bool(find.yaql(value)))


def is_pure(text: str) -> bool:
    """Whether a string is exactly one expression, so that its value keeps its type."""
    return bool(_PURE_YAQL.fullmatch(text) or _PURE_JINJA.fullmatch(text))


def evaluate(value: Any, scope: Scope) -> Any:
    """`value` with every expression in it replaced by its result. Map keys are left alone. Raises ExpressionError.

    Nothing is copied that holds no expression: values are treated as immutable everywhere.
    """
    if type(value) is str:
        compiled = _compiled(value, settings.generation) if ("<%" in value or "{" in value) else None
        return value if compiled is None else compiled(scope)
    if type(value) is dict:
        return {key: evaluate(inner, scope) for key, inner in value.items()}
    if type(value) is list:
        return [evaluate(inner, scope) for inner in value]
    return value


@lru_cache(maxsize=20_000)
def _compiled(text: str, generation: int) -> Compiled | None:
    del generation
    if find.has_jinja(text):
        _require("jinja", "Jinja", text)
        pure = _PURE_JINJA.fullmatch(text)
        return jinja_engine.expression(pure.group(1), text) if pure else jinja_engine.template(text)
    found = find.yaql(text)
    if not found:
        return None
    _require("yaql", "YAQL", text)
    pure = _PURE_YAQL.fullmatch(text)
    if pure:
        return yaql_engine.expression(pure.group(1).strip())
    pieces: list[str | Compiled] = []
    end = 0
    for start, stop in found:
        pieces += [text[end:start], yaql_engine.expression(text[start + 2 : stop - 2].strip())]
        end = stop
    pieces.append(text[end:])
    return lambda scope: "".join(p if isinstance(p, str) else str(p(scope)) for p in pieces)


def _require(language: str, name: str, text: str) -> None:
    if language not in settings.settings().languages:
        raise ExpressionError(name, text, f"{name} expressions are switched off on this server")


def check(text: str) -> GrammarError | None:
    """What is wrong with the grammar of a string's expressions, or None (spec 1.7)."""
    pieces = find.yaql(text)
    jinja, yaql = find.has_jinja(text), bool(pieces)
    if jinja and yaql:
        return GrammarError(
            "expression",
            "The line already contains an expression of the other language: YAQL and Jinja cannot be mixed in one string",
        )
    for found, language, name in ((jinja, "jinja", "Jinja"), (yaql, "yaql", "YAQL")):
        if found and language not in settings.settings().languages:
            return GrammarError("expression", f"{name} expressions are switched off on this server")
    if jinja:
        return jinja_engine.check(text)
    for start, end in pieces:
        wrong = yaql_engine.check(text[start + 2 : end - 2].strip())
        if wrong is not None:
            return wrong
    return None


def variables(text: str) -> set[str]:
    """The top-level variables (`$.name`, `_.name`) that a string's expressions certainly read. Lenient: never too many."""
    if find.has_jinja(text):
        return jinja_engine.variables(text)
    found: set[str] = set()
    for start, end in find.yaql(text):
        found |= yaql_engine.variables(text[start + 2 : end - 2].strip())
    return found
