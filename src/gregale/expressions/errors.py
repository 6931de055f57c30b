"""Errors of expressions. Their texts name the expression and what went wrong, never the data it was evaluated on."""

from __future__ import annotations

import re

import msgspec


class GrammarError(msgspec.Struct, frozen=True):
    """Why a text is not an expression. `kind`: "yaql", "jinja", or "expression" for mixed or disabled languages."""

    kind: str
    message: str
    hint: str = ""


class ExpressionError(Exception):
    """An expression failed on the data it met. The task or workflow it belongs to fails; nothing is retried."""

    def __init__(self, language: str, expression: str, error: str):
        self.language = language
        self.expression = expression
        super().__init__(f"Can not evaluate {language} expression [expression={expression}, error={error}]")


class EvaluationTimeout(Exception):
    """An evaluation used up its time."""


_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_SAFE = re.compile(r"^(\w+ object|str|int|float|bool|dict|list|tuple|set|NoneType|[<>=!+*/.-]+)$")


def described(error: BaseException, expression: str) -> str:
    """The text of an error with every quoted piece removed that is not part of the expression itself."""
    if isinstance(error, EvaluationTimeout):
        return str(error)
    if isinstance(error, KeyError):
        return f"key {_masked(repr(error.args[0] if error.args else ''), expression)} not found"
    text = str(error).split(" for receiver ")[0]
    text = re.sub(r"Ambiguous (\w+).*", r"Ambiguous \1", text)
    return f"{_masked(text, expression)} ({type(error).__name__})"[:500]


def _masked(text: str, expression: str) -> str:
    def mask(found: re.Match[str]) -> str:
        inner = found.group(1) or found.group(2) or ""
        return found.group() if inner in expression or _SAFE.match(inner) else "'***'"

    return _QUOTED.sub(mask, text)
