"""Requests in, records out, in the exact format of the wire (API spec 1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gregale.core import InvalidInput
from gregale.core.scope import shown_time
from gregale.store.search import MAX_PAGE, Page

MAX_BODY = 16 * 1024 * 1024
DEFAULT_PROJECT = "<default-project>"


def project(request: Request) -> str:
    """Without authentication everything belongs to one project."""
    del request
    return DEFAULT_PROJECT


def base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def encoded(value: Any) -> str:
    """JSON inside JSON: these fields are strings that hold JSON."""
    return msgspec.json.encode(value).decode()


def when(seconds: float | None) -> str | None:
    return None if seconds is None else shown_time(seconds)


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("true", "1", "yes", "on")


async def text_body(request: Request) -> str:
    """Raw text whatever the content type says. Raises InvalidInput."""
    raw = await request.body()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise InvalidInput(f"The body is not UTF-8 text: byte {e.start} cannot be decoded") from None


async def json_body(request: Request, allowed: Iterable[str]) -> dict[str, Any]:
    """One JSON object with known attributes. Raises InvalidInput."""
    raw = await request.body()
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as e:
        raise InvalidInput(f"The body is not JSON: {e}") from None
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object")
    known = set(allowed)
    for name in value:
        if name not in known:
            raise InvalidInput(f'Unknown attribute for argument: "{name}"; known are {", ".join(sorted(known))}')
    return value


def obj(value: Any, name: str) -> dict[str, Any]:
    """An attribute that is an object, or a string that holds one; anything falsy is empty. Raises InvalidInput."""
    if isinstance(value, str) and value:
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError) as e:
            raise InvalidInput(f"'{name}' is not JSON: {e}") from None
    if not value:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"'{name}' must be a JSON object, not {type(value).__name__}")
    return value


_PAGING = ("limit", "marker", "sort_keys", "sort_dirs", "fields")


def wanted(request: Request, filters: Iterable[str], flags: Iterable[str] = (), sort: str = "created_at") -> Page:
    """The page that a list request asks for. Raises InvalidInput."""
    query = request.query_params
    known = {*filters, *flags, *_PAGING, ""}
    for name in query:
        if name not in known:
            raise InvalidInput(f'Unknown argument: "{name}"')
    keys = tuple(dict.fromkeys(k for k in query.get("sort_keys", sort).split(",") if k))
    dirs = tuple(d for d in query.get("sort_dirs", "").split(",") if d)
    if len(dirs) > len(keys):
        raise InvalidInput("Length of sort_keys must be equal or greater than sort_dirs")
    for direction in dirs:
        if direction not in ("asc", "desc"):
            raise InvalidInput(f"Unknown sort direction: {direction}; it is asc or desc")
    return Page(
        limit=_limit(query.get("limit")),
        marker=query.get("marker") or None,
        sort_keys=keys or (sort,),
        sort_dirs=dirs + ("asc",) * (len(keys) - len(dirs)),
        filters=tuple((name, query[name]) for name in filters if name in query),
    )


def _limit(text: str | None) -> int:
    if not text:
        return MAX_PAGE
    try:
        number = int(text)
    except ValueError:
        raise InvalidInput(f"limit: unable to convert to int: {text}") from None
    if number < 1:
        raise InvalidInput(f"Limit must be positive: {number}")
    return min(number, MAX_PAGE)


def collection(
    request: Request,
    name: str,
    page: Page,
    rows: Sequence[Any],
    show: Callable[[Any], dict[str, Any]],
    path: str | None = None,
) -> Response:
    """A list, with `next` when the page is full (API spec 1.1)."""
    items = [show(row) for row in rows]
    fields = [f for f in request.query_params.get("fields", "").split(",") if f]
    if fields and items:
        unknown = [f for f in fields if f not in items[0]]
        if unknown:
            raise InvalidInput(f"Some fields do not exist [fields={', '.join(unknown)}]")
        items = [{k: v for k, v in item.items() if k == "id" or k in fields} for item in items]
    body: dict[str, Any] = {name: items}
    if "limit" in request.query_params and len(rows) == page.limit:
        body["next"] = _next(request, page, rows[-1].id, path or name)
    return JSONResponse(body)


def _next(request: Request, page: Page, marker: str, path: str) -> str:
    keys, dirs = list(page.sort_keys), list(page.sort_dirs)
    if "id" not in keys:
        keys.append("id")
        dirs.append("asc")
    parts = [f"sort_keys={','.join(keys)}", f"sort_dirs={','.join(dirs)}"]
    for name, value in page.filters:
        has_operator = value.split(":")[0] in ("eq", "neq", "gt", "gte", "lt", "lte", "in", "nin", "has")
        parts.append(f"{name}={quote(value if has_operator else 'eq:' + value, safe=',:')}")
    parts += [f"limit={page.limit}", f"marker={marker}"]
    for name in ("include_output", "fields"):
        if name in request.query_params:
            parts.append(f"{name}={quote(request.query_params[name], safe=',')}")
    return f"{base_url(request)}/v2/{path}?{'&'.join(parts)}"
