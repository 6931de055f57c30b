"""Inputs that were marked as secret: shown to who asks for one record, never in a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from gregale.store import rows
from gregale.store.schema import executions

MASK = "***"
_SHORTEST = 4
"""Shorter texts are hidden where they were given, but not looked for elsewhere: they would be found everywhere."""

_roots = executions.alias("roots")


def _root(column: Any) -> Any:
    return sa.select(column).where(_roots.c.id == executions.c.root_id).scalar_subquery()


COLUMNS = (
    executions.c.secrets.label("own_secrets"),
    sa.case((executions.c.secrets.is_not(None), executions.c.input)).label("own_input"),
    _root(_roots.c.secrets).label("root_secrets"),
    _root(sa.case((_roots.c.secrets.is_not(None), _roots.c.input))).label("root_input"),
)
"""What masking needs, for sources that hold `executions`."""


def masked(row: Any, item: dict[str, Any]) -> dict[str, Any]:
    """The item of a list without the secrets of its execution, or of the root of that."""
    if row.own_secrets is None and row.root_secrets is None:
        return item
    texts = {
        t
        for names, given in ((row.own_secrets, row.own_input), (row.root_secrets, row.root_input))
        for t in _texts(names, given)
    }
    forms = sorted(
        {f for t in texts for f in (t, rows.encode(t)[1:-1], rows.encode(rows.encode(t))[2:-2])}, key=len, reverse=True
    )
    return {name: _without(value, forms) for name, value in _own_input(row, item).items()}


def _own_input(row: Any, item: dict[str, Any]) -> dict[str, Any]:
    """An execution's own input, with the marked names hidden whatever they hold."""
    if row.own_secrets is None or "workflow_id" not in item or not isinstance(item.get("input"), str):
        return item
    hidden = dict.fromkeys(rows.decode(row.own_secrets), MASK)
    given = rows.decode(item["input"])
    return {**item, "input": rows.encode({k: hidden.get(k, v) for k, v in given.items()})}


def _texts(names: str | None, given: str | None) -> Iterator[str]:
    if names is None or given is None:
        return
    values = rows.decode(given)
    for name in rows.decode(names):
        yield from (t for t in _inside(values.get(name)) if len(t) >= _SHORTEST)


def _inside(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _inside(one)
    elif isinstance(value, list):
        for one in value:
            yield from _inside(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield msgspec.json.encode(value).decode()


def _without(value: Any, forms: list[str]) -> Any:
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, MASK)
    return value
