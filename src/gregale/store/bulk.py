"""Many rows of a table in one statement and one round trip, in each database's own best way.

PostgreSQL reads the rows of a statement from one JSON parameter, so that its text never changes and stays prepared. SQLite gets
rows of parameters, a power of two at a time: few texts, and one step for all of them, where each step of its driver would hand
over the interpreter's lock. MariaDB's driver writes the values into the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from gregale.store.rows import Row

_PARAMETERS = 30_000
"""SQLite takes 32,766 of a statement."""
_MOST = 512
"""Rows of a statement."""


def insert(connection: Connection, table: sa.Table, values: Sequence[Row], known: bool = False) -> None:
    """Rows with the same columns each. With `known`, those whose key is there already are left out."""
    if values:
        _run(connection, table, tuple(values[0]), values, "known" if known else "insert", "")


def update(connection: Connection, table: sa.Table, values: Sequence[Row], only: str = "") -> int:
    """Set columns of the rows whose primary key is `key`, where `only` holds: a condition on `t`, the row, and `v`, its new values.
    Values that are not columns are numbers for that condition. Gives how many rows there were."""
    if not values:
        return 0
    return _run(connection, table, tuple(values[0]), values, "update", only)


def _run(
    connection: Connection, table: sa.Table, names: tuple[str, ...], values: Sequence[Row], verb: str, only: str
) -> int:
    dialect = connection.dialect.name
    if dialect == "postgresql":
        text = _from_json(table, names, verb, only)
        return connection.exec_driver_sql(text, (msgspec.json.encode(values).decode(),)).rowcount
    write = _with_parameters if dialect == "sqlite" else _with_literals
    mark = "?" if dialect == "sqlite" else "%s"
    found = 0
    for part in _parts(values, len(names), dialect == "sqlite"):
        text = write(table, names, verb, only, len(part), mark)
        given = tuple(row[name] for row in part for name in names)
        found += connection.exec_driver_sql(text, given).rowcount
    return found


def _parts(values: Sequence[Row], width: int, powers: bool) -> Iterator[Sequence[Row]]:
    start, left = 0, len(values)
    most = min(_MOST, _PARAMETERS // width)
    while left:
        size = min(left, most)
        if powers:
            size = 1 << (size.bit_length() - 1)
        yield values[start : start + size]
        start, left = start + size, left - size


def _key(table: sa.Table) -> str:
    [column] = table.primary_key.columns
    return column.name


@lru_cache(maxsize=200)
def _from_json(table: sa.Table, names: tuple[str, ...], verb: str, only: str) -> str:
    """PostgreSQL."""
    kinds = ", ".join(f'"{n}" {_kind(table, n)}' for n in names)
    source = f"json_to_recordset(%s::json) AS v({kinds})"
    quoted = ", ".join(f'"{n}"' for n in names)
    if verb == "update":
        changed = ", ".join(f'"{n}" = v."{n}"' for n in names if n in table.columns)
        return f'UPDATE {table.name} AS t SET {changed} FROM {source} WHERE t.{_key(table)} = v."key"{_and(only)}'
    ignore = " ON CONFLICT DO NOTHING" if verb == "known" else ""
    return f"INSERT INTO {table.name} ({quoted}) SELECT {quoted} FROM {source}{ignore}"


def _kind(table: sa.Table, name: str) -> str:
    """The type of a column, as PostgreSQL writes it."""
    if name == "key":
        name = _key(table)
    elif name not in table.columns:
        return "bigint"
    return str(table.columns[name].type.compile(postgresql.dialect()))  # type: ignore[no-untyped-call]


@lru_cache(maxsize=500)
def _with_parameters(table: sa.Table, names: tuple[str, ...], verb: str, only: str, number: int, mark: str) -> str:
    """SQLite."""
    quoted = ", ".join(f'"{n}"' for n in names)
    row = f"({', '.join([mark] * len(names))})"
    rows = ", ".join([row] * number)
    if verb == "update":
        renamed = ", ".join(f'column{i + 1} AS "{n}"' for i, n in enumerate(names))
        changed = ", ".join(f'"{n}" = v."{n}"' for n in names if n in table.columns)
        source = f"(SELECT {renamed} FROM (VALUES {rows})) AS v"
        return f'UPDATE {table.name} AS t SET {changed} FROM {source} WHERE t.{_key(table)} = v."key"{_and(only)}'
    ignore = "OR IGNORE " if verb == "known" else ""
    return f"INSERT {ignore}INTO {table.name} ({quoted}) VALUES {rows}"


@lru_cache(maxsize=2000)
def _with_literals(table: sa.Table, names: tuple[str, ...], verb: str, only: str, number: int, mark: str) -> str:
    """MariaDB."""
    quoted = ", ".join(f"`{n}`" for n in names)
    row = f"({', '.join([mark] * len(names))})"
    if verb == "update":
        first = f"SELECT {', '.join(f'{mark} AS `{n}`' for n in names)}"
        more = f" UNION ALL SELECT {', '.join([mark] * len(names))}" * (number - 1)
        changed = ", ".join(f"t.`{n}` = v.`{n}`" for n in names if n in table.columns)
        return (
            f"UPDATE {table.name} AS t JOIN ({first}{more}) AS v ON t.{_key(table)} = v.`key`{_and(only)} SET {changed}"
        )
    ignore = "IGNORE " if verb == "known" else ""
    return f"INSERT {ignore}INTO {table.name} ({quoted}) VALUES {', '.join([row] * number)}"


def _and(only: str) -> str:
    return f" AND {only}" if only else ""
