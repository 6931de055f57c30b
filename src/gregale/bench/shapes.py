"""The seven reference workflows: what each does, what it is given, and how it has to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

Body = dict[str, Any]


class Reference(msgspec.Struct, frozen=True):
    """A workflow of `units` tasks, items counted as tasks, and `tasks` task executions; `output` is what it must give."""

    name: str
    body: Body
    units: int
    tasks: int
    input: Body
    output: Body

    def document(self, name: str) -> str:
        """The definition under that name; JSON is YAML."""
        return json.dumps({"version": "2.0", name: self.body})


def _sequence(length: int, action: Body, prefix: str = "t", last: tuple[str, ...] = ()) -> Body:
    """Tasks one after the other, that count the variable `prefix`."""
    tasks = {}
    for i in range(length):
        follow = (f"{prefix}{i + 1}",) if i + 1 < length else last
        task = {**action, "publish": {prefix: f"<% $.{prefix} + 1 %>"}}
        tasks[f"{prefix}{i}"] = {**task, "on-success": list(follow)} if follow else task
    return tasks


def _sequences(length: int, width: int, action: Body, last: tuple[str, ...] = ()) -> Body:
    found = {}
    for w in range(width):
        found.update(_sequence(length, action, f"s{w}_", last))
    return found


def _counters(width: int) -> Body:
    return {f"s{w}_": 0 for w in range(width)}


def _shown(names: Body) -> Body:
    return {name: f"<% $.{name} %>" for name in names}


def sequence(n: int, x: int, action: Body) -> Reference:
    """n tasks one after the other, each publishing the same variable."""
    del x
    body = {"vars": {"t": 0}, "tasks": _sequence(n, action), "output": {"t": "<% $.t %>"}}
    return Reference("sequence", body, n, n, {}, {"t": n})


def parallel(n: int, x: int, action: Body) -> Reference:
    """n tasks at once."""
    del x
    tasks = {f"t{i}": {**action, "publish": {f"p{i % 10}": "<% $.seed + 1 %>"}} for i in range(n)}
    names = {f"p{i}": 2 for i in range(min(n, 10))}
    return Reference("parallel", {"vars": {"seed": 1}, "tasks": tasks, "output": _shown(names)}, n, n, {}, names)


def parallel_sequences(n: int, x: int, action: Body) -> Reference:
    """x sequences of n tasks at once."""
    counters = _counters(x)
    body = {"vars": counters, "tasks": _sequences(n, x, action), "output": _shown(counters)}
    return Reference("parallel-sequences", body, n * x, n * x, {}, dict.fromkeys(counters, n))


def parallel_joined(n: int, x: int, action: Body) -> Reference:
    """A fork, n tasks that each publish a variable of their own, a join."""
    del x
    forked = {
        f"t{i}": {**action, "publish": {f"v{i}": f"<% $.seed + {i} %>"}, "on-success": ["meet"]} for i in range(n)
    }
    tasks = {"fork": {**action, "on-success": list(forked)}, **forked, "meet": {**action, "join": "all"}}
    body = {"vars": {"seed": 1}, "tasks": tasks, "output": {"first": "<% $.v0 %>", "last": f"<% $.v{n - 1} %>"}}
    return Reference("parallel-joined", body, n + 2, n + 2, {}, {"first": 1, "last": n})


def sequences_joined(n: int, x: int, action: Body) -> Reference:
    """x sequences of n tasks that meet in a join."""
    counters = _counters(x)
    tasks = {**_sequences(n, x, action, ("meet",)), "meet": {**action, "join": "all"}}
    body = {"vars": counters, "tasks": tasks, "output": _shown(counters)}
    return Reference("sequences-joined", body, n * x + 1, n * x + 1, {}, dict.fromkeys(counters, n))


def with_items(n: int, x: int, action: Body) -> Reference:
    """One task over n elements."""
    del x
    items = {**action, "with-items": "i in <% $.elements %>", "publish": {"count": "<% task().result.len() %>"}}
    body = {"input": ["elements"], "tasks": {"items": items}, "output": {"count": "<% $.count %>"}}
    return Reference("with-items", body, n, 1, {"elements": list(range(n))}, {"count": n})


def combined(n: int, x: int, action: Body) -> Reference:
    """All of these, with about n tasks: sequences into a join, then with-items, then parallel tasks into a second join."""
    part = max(1, n // 3)
    length = max(1, part // x)
    counters = _counters(x)
    forked = {
        f"f{i}": {**action, "publish": {f"v{i}": f"<% $.s0_ + {i} %>"}, "on-success": ["end"]} for i in range(part)
    }
    tasks = {
        **_sequences(length, x, action, ("meet",)),
        "meet": {**action, "join": "all", "on-success": ["items"]},
        "items": {
            **action,
            "with-items": "i in <% $.elements %>",
            "publish": {"count": "<% task().result.len() %>"},
            "on-success": list(forked),
        },
        **forked,
        "end": {**action, "join": "all"},
    }
    body = {
        "vars": counters,
        "input": ["elements"],
        "tasks": tasks,
        "output": {**_shown(counters), "count": "<% $.count %>", "last": f"<% $.v{part - 1} %>"},
    }
    number = length * x + part + 3
    output = {**dict.fromkeys(counters, length), "count": part, "last": length + part - 1}
    return Reference("combined", body, number + part - 1, number, {"elements": list(range(part))}, output)


NOOP: Body = {"action": "std.noop"}

SHAPES: dict[str, Callable[[int, int, Body], Reference]] = {
    "sequence": sequence,
    "parallel": parallel,
    "parallel-sequences": parallel_sequences,
    "parallel-joined": parallel_joined,
    "sequences-joined": sequences_joined,
    "with-items": with_items,
    "combined": combined,
}

WIDE = ("parallel-sequences", "sequences-joined")
"""The shapes that have x times n tasks."""


def about(name: str, n: int, x: int = 10, action: Body = NOOP) -> Reference:
    """A shape with about n tasks in all, whatever it is made of."""
    return SHAPES[name](max(1, n // x) if name in WIDE else n, x, action)
