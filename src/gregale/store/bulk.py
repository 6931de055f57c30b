"""Many rows of many tables in few statements, in each database's own best way.

PostgreSQL takes all of them as one statement of data-modifying parts, each reading its rows from a JSON parameter: one round trip,
and few texts, which stay prepared. SQLite gets rows of parameters, a power of two at a time: few texts again, and one step for all of
them, where each step of its driver hands over the interpreter's lock. MariaDB's driver writes the values into the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from gregale.store.rows import Row

Verb = Literal["insert", "missing", "update"]

_PARAMETERS = 30_000
"""SQLite takes 32,766 of a statement."""
_MOST = 512
"""Rows of a statement."""


class _Write(msgspec.Struct, frozen=True):
    table: sa.Table
    verb: Verb
    only: str
    names: tuple[str, ...]
    values: Sequence[Row]

    def text(self) -> _Text:
        return self.table, self.verb, self.only, self.names


_Text = tuple[sa.Table, Verb, str, tuple[str, ...]]
"""What makes the text of a write, but the number of its rows."""


class Writes:
    """Writes that do not depend on each other, to be made together. All rows of one have the same columns."""

    def __init__(self) -> None:
        self._writes: list[_Write] = []

    def insert(self, table: sa.Table, values: Sequence[Row], missing: bool = False) -> None:
        """With `missing`, only rows whose key is not there yet."""
        self._add(table, "missing" if missing else "insert", "", values)

    def update(self, table: sa.Table, values: Sequence[Row], only: str = "") -> None:
        """Set columns of the rows whose primary key is `key`, where `only` holds: a condition on `t`, the row, and `v`, its new
        values. Values that are not columns are numbers for that condition."""
        self._add(table, "update", only, values)

    def _add(self, table: sa.Table, verb: Verb, only: str, values: Sequence[Row]) -> None:
        if values:
            self._writes.append(_Write(table, verb, only, tuple(values[0]), values))

    def make(self, connection: Connection) -> dict[sa.Table, int]:
        """Gives how many rows of each table were updated."""
        if not self._writes:
            return {}
        if connection.dialect.name == "postgresql":
            counts = self._at_once(connection)
        else:
            counts = [_one(connection, write) for write in self._writes]
        updated: dict[sa.Table, int] = {}
        for write, count in zip(self._writes, counts, strict=True):
            if write.verb == "update":
                updated[write.table] = updated.get(write.table, 0) + count
        return updated

    def _at_once(self, connection: Connection) -> Sequence[int]:
        text = _statement(tuple(write.text() for write in self._writes))
        given = tuple(msgspec.json.encode(write.values).decode() for write in self._writes)
        return connection.exec_driver_sql(text, given).one()


def _one(connection: Connection, write: _Write) -> int:
    sqlite = connection.dialect.name == "sqlite"
    compose = _with_parameters if sqlite else _with_literals
    found = 0
    for part in _parts(write.values, len(write.names), sqlite):
        given = tuple(row[name] for row in part for name in write.names)
        found += connection.exec_driver_sql(compose(write.text(), len(part)), given).rowcount
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


@lru_cache(maxsize=500)
def _statement(writes: tuple[_Text, ...]) -> str:
    """PostgreSQL."""
    parts = ", ".join(f"w{i} AS ({_part(write)} RETURNING 1)" for i, write in enumerate(writes))
    return f"WITH {parts} SELECT {', '.join(f'(SELECT count(*) FROM w{i})' for i in range(len(writes)))}"


def _part(write: _Text) -> str:
    table, verb, only, names = write
    kinds = ", ".join(f'"{n}" {_kind(table, n)}' for n in names)
    source = f"json_to_recordset(%s::json) AS v({kinds})"
    if verb == "update":
        changed = ", ".join(f'"{n}" = v."{n}"' for n in names if n in table.columns)
        return f'UPDATE {table.name} AS t SET {changed} FROM {source} WHERE t.{_key(table)} = v."key"{_and(only)}'
    quoted = ", ".join(f'"{n}"' for n in names)
    ignore = " ON CONFLICT DO NOTHING" if verb == "missing" else ""
    return f"INSERT INTO {table.name} ({quoted}) SELECT {quoted} FROM {source}{ignore}"


def _kind(table: sa.Table, name: str) -> str:
    """The type of a column, as PostgreSQL writes it."""
    if name == "key":
        name = _key(table)
    elif name not in table.columns:
        return "bigint"
    return str(table.columns[name].type.compile(postgresql.dialect()))  # type: ignore[no-untyped-call]


@lru_cache(maxsize=500)
def _with_parameters(write: _Text, number: int) -> str:
    """SQLite."""
    table, verb, only, names = write
    rows = ", ".join([f"({', '.join('?' * len(names))})"] * number)
    if verb == "update":
        renamed = ", ".join(f'column{i + 1} AS "{n}"' for i, n in enumerate(names))
        changed = ", ".join(f'"{n}" = v."{n}"' for n in names if n in table.columns)
        source = f"(SELECT {renamed} FROM (VALUES {rows})) AS v"
        return f'UPDATE {table.name} AS t SET {changed} FROM {source} WHERE t.{_key(table)} = v."key"{_and(only)}'
    quoted = ", ".join(f'"{n}"' for n in names)
    return f"INSERT {'OR IGNORE ' if verb == 'missing' else ''}INTO {table.name} ({quoted}) VALUES {rows}"


@lru_cache(maxsize=2000)
def _with_literals(write: _Text, number: int) -> str:
    """MariaDB."""
    table, verb, only, names = write
    marks = ", ".join(["%s"] * len(names))
    if verb == "update":
        first = f"SELECT {', '.join(f'%s AS `{n}`' for n in names)}"
        source = first + f" UNION ALL SELECT {marks}" * (number - 1)
        changed = ", ".join(f"t.`{n}` = v.`{n}`" for n in names if n in table.columns)
        return f"UPDATE {table.name} AS t JOIN ({source}) AS v ON t.{_key(table)} = v.`key`{_and(only)} SET {changed}"
    quoted = ", ".join(f"`{n}`" for n in names)
    ignore = "IGNORE " if verb == "missing" else ""
    return f"INSERT {ignore}INTO {table.name} ({quoted}) VALUES {', '.join([f'({marks})'] * number)}"


def _and(only: str) -> str:
    return f" AND {only}" if only else ""
