"""Collections as the API shows them: each attribute with the column behind it, how it is filtered, sorted and shown.

One declaration per attribute serves lists, single records, `fields`, filters, sorting and the OpenAPI document alike.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from gregale.core import InvalidInput, NotFound
from gregale.core.scope import shown_time
from gregale.store import rows

MAX_PAGE = 1000
OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "nin", "has")

Kind = Literal["text", "id", "object", "flag", "time", "number", "tags"]


class Attribute(msgspec.Struct, frozen=True):
    """`column`: what is compared, and shown where `show` does not say otherwise; None for what can only be shown.

    `show`: makes the value from a row that holds `needs`. `listed`: in lists without being asked for. `filters` and `sorts`:
    whether lists may be filtered and sorted by it.
    """

    name: str
    kind: Kind = "text"
    column: Any = None
    show: Callable[[Any], Any] | None = None
    needs: tuple[Any, ...] = ()
    listed: bool = True
    filters: bool = True
    nullable: bool = True

    @property
    def sorts(self) -> bool:
        return self.column is not None and self.kind in ("text", "id", "flag", "time", "number")

    def columns(self) -> tuple[Any, ...]:
        return (self.column.label(self.name),) if self.show is None else self.needs

    def of(self, row: Any) -> Any:
        if self.show is not None:
            return self.show(row)
        value = getattr(row, self.name)
        if value is None or self.kind in ("text", "id", "object", "number"):
            return value
        return shown_time(value) if self.kind == "time" else bool(value) if self.kind == "flag" else rows.decode(value)


_MOST_SELECTS = 200
"""Kept for each resource: who asks chooses the fields."""


class Resource(msgspec.Struct, frozen=True):
    """A collection: `name` in paths and lists, `title` in errors; `source` is what its columns are selected from; `extra` columns
    are selected whatever is shown."""

    name: str
    title: str
    source: Any
    id: Any
    attributes: tuple[Attribute, ...]
    where: tuple[Any, ...] = ()
    extra: tuple[Any, ...] = ()
    sort: str = "created_at"
    _selects: dict[tuple[str, ...], sa.Select[Any]] = {}

    def attribute(self, name: str) -> Attribute | None:
        return next((a for a in self.attributes if a.name == name), None)

    def filters(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.attributes if a.filters and a.column is not None)

    def listed(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.attributes if a.listed)

    def wanted(self, fields: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
        """The attributes to show: `default` without `fields`. Raises InvalidInput."""
        unknown = [f for f in fields if self.attribute(f) is None]
        if unknown:
            known = ", ".join(a.name for a in self.attributes)
            raise InvalidInput(f"Some fields do not exist [unsupported_fields={', '.join(unknown)}]; known are {known}")
        return (
            tuple(a.name for a in self.attributes if a.name == "id" or a.name in fields) if fields else tuple(default)
        )

    def select(self, names: Sequence[str]) -> sa.Select[Any]:
        """The columns that these attributes need, and no other."""
        made = self._selects.get(key := tuple(names))
        if made is None:
            columns: dict[str, Any] = {c.name: c for c in self.extra}
            for name in ("id", *names):
                attribute = self.attribute(name)
                assert attribute is not None
                columns.update({c.name: c for c in attribute.columns()})
            made = sa.select(*columns.values()).select_from(self.source).where(*self.where)
            if len(self._selects) < _MOST_SELECTS:
                self._selects[key] = made
        return made

    def record(self, row: Any, names: Iterable[str]) -> dict[str, Any]:
        chosen = set(names)
        return {a.name: a.of(row) for a in self.attributes if a.name in chosen}


class Page(msgspec.Struct, frozen=True):
    """What of a collection is wanted. `filters`: attribute → `value` or `op:value` (API spec 1.1)."""

    limit: int = MAX_PAGE
    marker: str | None = None
    sort_keys: tuple[str, ...] = ()
    sort_dirs: tuple[str, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()


def page(
    connection: Connection, resource: Resource, wanted: Page, names: Sequence[str], *where: sa.ColumnElement[bool]
) -> list[Any]:
    """Rows of one page, in one query. Raises InvalidInput, NotFound for an unknown marker."""
    order = _order(resource, wanted)
    statement = resource.select(names).where(*where)
    for name, value in wanted.filters:
        statement = statement.where(condition(resource, name, value))
    if wanted.marker is not None:
        at = connection.execute(
            sa.select(*(a.column.label(f"k{i}") for i, (a, _) in enumerate(order)))
            .select_from(resource.source)
            .where(resource.id == wanted.marker)
        ).first()
        if at is None:
            _identifier(wanted.marker, "marker")
            raise NotFound(f"{resource.title} not found [marker={wanted.marker}]")
        statement = statement.where(_after(order, tuple(at)))
    for attribute, down in order:
        column = attribute.column
        if (
            attribute.nullable
        ):  # databases differ in where nulls go: here they come first, or last in a descending order
            statement = statement.order_by(
                sa.case((column.is_(None), 0), else_=1).desc() if down else sa.case((column.is_(None), 0), else_=1)
            )
        statement = statement.order_by(column.desc() if down else column.asc())
    return list(connection.execute(statement.limit(wanted.limit)).all())


def _order(resource: Resource, wanted: Page) -> list[tuple[Attribute, bool]]:
    order = []
    for position, key in enumerate(wanted.sort_keys or (resource.sort,)):
        direction = wanted.sort_dirs[position] if position < len(wanted.sort_dirs) else "asc"
        attribute = resource.attribute(key)
        if attribute is None or not attribute.sorts:
            known = ", ".join(a.name for a in resource.attributes if a.sorts)
            raise InvalidInput(f"Cannot sort by '{key}'; possible are {known}")
        order.append((attribute, direction == "desc"))
    if all(attribute.name != "id" for attribute, _ in order):
        order.append((Attribute("id", "id", resource.id, nullable=False), False))
    return order


def _after(order: list[tuple[Attribute, bool]], at: tuple[Any, ...]) -> sa.ColumnElement[bool]:
    """Rows that come after the marker's: for each key, equal in all keys before it and further in it."""
    alternatives: list[sa.ColumnElement[bool]] = []
    same: list[sa.ColumnElement[bool]] = []
    for (attribute, down), value in zip(order, at, strict=True):
        column = attribute.column
        if value is None:
            further = sa.false() if down else column.is_not(None)
            equal = column.is_(None)
        else:
            further = (
                (sa.or_(column < value, column.is_(None)) if attribute.nullable else column < value)
                if down
                else column > value
            )
            equal = column == value
        alternatives.append(sa.and_(*same, further))
        same.append(equal)
    first, down = order[0]
    bound = (
        () if first.nullable else ((first.column <= at[0]) if down else (first.column >= at[0]),)
    )  # lets an index be entered
    return sa.and_(*bound, sa.or_(*alternatives))


def condition(resource: Resource, name: str, text: str) -> sa.ColumnElement[bool]:
    """A filter `name=text` as SQL. Raises InvalidInput."""
    attribute = resource.attribute(name)
    if attribute is None or attribute.column is None or not attribute.filters:
        raise InvalidInput(f'Unknown argument: "{name}"')
    operator, separator, value = text.partition(":")
    if not separator or operator not in OPERATORS:
        operator, value = "eq", text
    column = attribute.column
    if attribute.kind == "tags":
        return _tags(column, operator, value.split(","))
    if operator == "has":
        return sa.cast(column, sa.Text).contains(value, autoescape=True)
    if operator in ("in", "nin"):
        found = sa.or_(*(_compare(attribute, column, "eq", v) for v in value.split(",")))
        return found if operator == "in" else sa.not_(found)
    return _compare(attribute, column, operator, value)


def _tags(column: Any, operator: str, values: list[str]) -> sa.ColumnElement[bool]:
    """A tag is in a JSON list of texts where its own JSON text is; quotes inside a text are escaped there."""
    each = [column.contains(rows.encode(v), autoescape=True) for v in values]
    if operator in ("in", "nin"):
        return sa.or_(*each) if operator == "in" else sa.not_(sa.or_(*each))
    return sa.not_(sa.and_(*each)) if operator == "neq" else sa.and_(*each)


def _compare(attribute: Attribute, column: Any, operator: str, text: str) -> sa.ColumnElement[bool]:
    if attribute.kind == "time":  # shown in whole seconds, stored more finely
        start = moment(text, attribute.name)
        end = start + 1
        inside = sa.and_(column >= start, column < end)
        options: dict[str, sa.ColumnElement[bool]] = {
            "eq": inside,
            "neq": sa.not_(inside),
            "gt": column >= end,
            "gte": column >= start,
            "lt": column < start,
            "lte": column < end,
        }
        return options[operator]
    if attribute.kind == "object" and operator in ("eq", "neq"):
        same: sa.ColumnElement[bool] = json_equal(column, _json(text, attribute.name))
        return same if operator == "eq" else sa.not_(same)
    value = typed(attribute, text)
    if operator == "eq":
        return column == value  # type: ignore[no-any-return]
    compare = {
        "neq": column != value,
        "gt": column > value,
        "gte": column >= value,
        "lt": column < value,
        "lte": column <= value,
    }
    return compare[operator]  # type: ignore[no-any-return]


def typed(attribute: Attribute, text: str) -> Any:
    """A filter's text as a value of the attribute's kind. Raises InvalidInput."""
    if attribute.kind == "id" and attribute.name != "id":
        return _identifier(text, attribute.name)
    if attribute.kind == "flag":
        if text.lower() in ("true", "1", "yes", "on"):
            return True
        if text.lower() in ("false", "0", "no", "off", ""):
            return False
        raise InvalidInput(f"{attribute.name}: '{text}' is neither true nor false")
    if attribute.kind == "number":
        try:
            number = int(text)
        except ValueError:
            number = 2**63
        if abs(number) >= 2**63:
            raise InvalidInput(f"{attribute.name}: unable to convert to int: {text}")
        return number
    return text


def _identifier(text: str, name: str) -> str:
    """Raises InvalidInput for what is not like a UUID; one without dashes gets them."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise InvalidInput(f"{name}: expected a UUID, got '{text}'") from None


def moment(text: str, name: str) -> float:
    """Seconds since the epoch for a time of day in UTC. Raises InvalidInput."""
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    raise InvalidInput(f"{name}: '{text}' is not a time: write YYYY-MM-DD HH:MM:SS")


def _json(text: str, name: str) -> str:
    try:
        return rows.encode(msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidInput(f"{name}: expected JSON, got '{text[:200]}'") from None


class json_equal(GenericFunction[bool]):
    """Whether two JSON texts hold the same value, whatever the order of their keys."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(json_equal, "postgresql")
def _postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    left, right = (compiler.process(c, **kw) for c in element.clauses)
    return f"(CAST({left} AS JSONB) = CAST({right} AS JSONB))"


@compiles(json_equal, "mysql")
@compiles(json_equal, "mariadb")
def _mariadb(element: Any, compiler: Any, **kw: Any) -> str:
    left, right = (compiler.process(c, **kw) for c in element.clauses)
    return f"JSON_EQUALS({left}, {right})"


def same_json(left: str | None, right: str | None) -> bool | None:
    """`json_equal` on SQLite, which has no such function."""
    if left is None or right is None:
        return None
    return left == right or bool(msgspec.json.decode(left) == msgspec.json.decode(right))
