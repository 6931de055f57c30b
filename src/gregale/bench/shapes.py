"""The seven reference workflows, with about n tasks each."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]


def _task(*follow: str, publish: str | None = None, **more: Any) -> Body:
    body: Body = {"action": "std.noop", **more}
    if follow:
        body["on-success"] = list(follow)
    if publish:
        body["publish"] = {publish: "<% $.seed + 1 %>"}
    return body


def sequence(n: int, prefix: str = "t", last: tuple[str, ...] = ()) -> Body:
    """n tasks one after the other, each publishing the same variable."""
    return {f"{prefix}{i}": _task(*((f"{prefix}{i + 1}",) if i + 1 < n else last), publish="x") for i in range(n)}


def parallel(n: int) -> Body:
    """n tasks at once."""
    return {f"t{i}": _task(publish=f"p{i % 10}") for i in range(n)}


def parallel_sequences(n: int, width: int = 10) -> Body:
    """`width` sequences at once."""
    return {name: body for w in range(width) for name, body in sequence(max(1, n // width), f"s{w}_").items()}


def parallel_joined(n: int) -> Body:
    """A fork, n tasks that each publish a variable of their own, a join."""
    forked = {f"t{i}": _task("join", publish=f"v{i}") for i in range(n)}
    return {"fork": _task(*forked), **forked, "join": _task(join="all")}


def sequences_joined(n: int, width: int = 10) -> Body:
    """`width` sequences that meet in a join."""
    length = max(1, n // width)
    body = {name: b for w in range(width) for name, b in sequence(length, f"s{w}_", ("join",)).items()}
    return {**body, "join": _task(join="all")}


def with_items(n: int) -> Body:
    """One task over n elements, which are its input."""
    del n
    return {
        "items": {
            "action": "std.noop",
            "with-items": "i in <% $.elements %>",
            "publish": {"count": "<% task().result.len() %>"},
        }
    }


def combined(n: int) -> Body:
    """Sequences into a join, then with-items, then parallel tasks into a second join."""
    part = max(1, n // 3)
    body = sequences_joined(part, 10)
    body["join"] = {**body["join"], "on-success": ["items"]}
    forked = {f"f{i}": _task("end", publish=f"w{i}") for i in range(part)}
    items = {"items": {"action": "std.noop", "with-items": "i in <% $.elements %>", "on-success": list(forked)}}
    return {**body, **items, **forked, "end": _task(join="all")}


SHAPES = {
    "sequence": sequence,
    "parallel": parallel,
    "parallel sequences": parallel_sequences,
    "parallel joined": parallel_joined,
    "sequences joined": sequences_joined,
    "with-items": with_items,
    "all combined": combined,
}


def elements(name: str, n: int) -> int:
    """How many elements the with-items task of a shape is given."""
    return n if name == "with-items" else max(1, n // 3) if name == "all combined" else 0
