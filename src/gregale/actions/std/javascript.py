"""std.javascript and std.js: a function body in a sandbox. Needs the extra `gregale[javascript]`."""

from __future__ import annotations

import json
from typing import Any

from gregale.actions.contract import ActionError, action

SECONDS = 10
BYTES = 128 * 1024 * 1024


@action("std.javascript", idempotent=True)
def javascript(script: str, context_: Any = None) -> Any:
    """Runs `script` as a function body with `$` as the context; the result is what it returns."""
    return _evaluate(script, context_)


@action("std.js", idempotent=True)
def js(script: str, context_: Any = None) -> Any:
    """The same as std.javascript."""
    return _evaluate(script, context_)


def _evaluate(script: str, value: Any) -> Any:
    try:
        import quickjs
    except ImportError:
        raise ActionError("JavaScript needs the package quickjs-ng: install gregale[javascript]") from None
    engine = quickjs.Context()
    engine.set_memory_limit(BYTES)
    engine.set_time_limit(SECONDS)
    engine.set("__input", json.dumps(value))
    code = f"(function() {{ var $ = JSON.parse(__input); var r = (function() {{ {script}\n }})(); return JSON.stringify(r === undefined ? null : r); }})()"
    try:
        return json.loads(engine.eval(code))
    except quickjs.JSException as e:
        raise ActionError(f"Failed to evaluate JavaScript: {e}") from None
