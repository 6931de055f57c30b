"""Expressions: YAQL `<% %>` and Jinja2 `{{ }}`, found once, compiled once per text, evaluated within bounds.

`evaluate(value, scope)` resolves every expression inside a value (language spec 3.1). The common shapes of YAQL run as
compiled Python; everything else runs in the library, under a time, iteration and memory budget.
"""

from gregale.expressions.errors import EvaluationTimeout, ExpressionError, GrammarError
from gregale.expressions.evaluate import check, evaluate, is_expression, is_pure, variables
from gregale.expressions.scope import MapScope, Scope
from gregale.expressions.settings import Settings, configure, settings

__all__ = [
    "EvaluationTimeout",
    "ExpressionError",
    "GrammarError",
    "MapScope",
    "Scope",
    "Settings",
    "check",
    "configure",
    "evaluate",
    "is_expression",
    "is_pure",
    "settings",
    "variables",
]
