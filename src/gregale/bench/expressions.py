"""Compiled YAQL against the library, expression by expression."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gregale.expressions import MapScope, yaql_engine

EXPRESSIONS = (
    "$.a.b.c",
    "task(t).result.x",
    "$.count < 10",
    "$.a.b.c = 1 and not $.flag or $.name != other",
    "42",
    "[$.count, 2, three]",
    "{x => $.a.b.c, y => [1, 2]}",
    "$.get(name, nobody)",
    "$.count + 1",
    "$.list.len() > 2",
    "$.items.where($.n > 1).select($.n)",
)
GOAL = 20
"""Times the library's speed for the shapes that are compiled; the last expression is the library's in both columns."""

_DATA: dict[str, Any] = {
    "a": {"b": {"c": 1}},
    "flag": False,
    "name": "n",
    "count": 3,
    "list": [1, 2, 3],
    "items": [{"n": n} for n in range(5)],
}


class _Scope(MapScope):
    def task(self, name: str | None = None) -> dict[str, Any] | None:
        return {"id": "1", "name": name, "result": {"x": 1}}


def per_call(run: Callable[[], object], seconds: float = 0.2) -> float:
    """Seconds per call, the best of three."""
    run()
    best = float("inf")
    for _ in range(3):
        calls, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds / 3:
            for _ in range(10):
                run()
            calls += 10
        best = min(best, spent / calls)
    return best


def measure() -> list[dict[str, Any]]:
    scope = _Scope(_DATA)
    result = []
    for text in EXPRESSIONS:
        quick, slow = yaql_engine.expression(text), yaql_engine.library(text)
        assert quick(scope) == slow(scope), text
        fast_us, slow_us = per_call(lambda q=quick: q(scope)) * 1e6, per_call(lambda s=slow: s(scope)) * 1e6  # type: ignore[misc]
        result.append({"expression": text, "compiled_us": fast_us, "library_us": slow_us, "ratio": slow_us / fast_us})
    return result


def main(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Compiled YAQL against the library."""
    found = measure()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table(title="YAQL: compiled against the library")
    for name in ("expression", "compiled µs", "library µs", "ratio"):
        table.add_column(name, justify="left" if name == "expression" else "right")
    for row in found:
        table.add_row(
            row["expression"], f"{row['compiled_us']:.2f}", f"{row['library_us']:.0f}", f"{row['ratio']:.0f} ×"
        )
    Console().print(table)
