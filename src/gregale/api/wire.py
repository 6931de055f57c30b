"""Lists and records in the exact format of the wire (API spec 1.1)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request

from gregale.api.call import Call
from gregale.core import InvalidInput
from gregale.store import search
from gregale.store.attributes import OPERATORS, Page, Resource, page

Encoded = Annotated[
    Any,
    msgspec.Meta(
        description="A JSON object, or a string that holds one; null or empty means {}.",
        extra_json_schema={"anyOf": [{"type": "object"}, {"type": "string"}, {"type": "null"}]},
    ),
]
"""An attribute of a request that is JSON inside JSON."""


def encoded(value: Any) -> str:
    """JSON inside JSON: these fields are strings that hold JSON."""
    return msgspec.json.encode(value).decode()


def base_url(request: Request, trust_proxy: bool) -> str:
    """Scheme, host and prefix as the caller knows them."""
    if not trust_proxy:
        return str(request.base_url).rstrip("/")
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", request.url.scheme)
    host = headers.get("x-forwarded-host", request.url.netloc)
    return f"{scheme}://{host}/{headers.get('x-forwarded-prefix', '').strip('/')}".rstrip("/")


def is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def fields_of(call: Call) -> list[str]:
    return [f for f in call.query.get("fields", "").split(",") if f]


async def record(call: Call, resource: Resource, key: str, *where: Any) -> dict[str, Any]:
    """One record with the attributes asked for. Raises NotFound, InvalidInput."""
    names = resource.wanted(fields_of(call), [a.name for a in resource.attributes])
    return resource.record(await call.glance(search.one, resource, key, names, *where), names)


def wanted_page(call: Call, resource: Resource) -> Page:
    """The page that a list request asks for. Raises InvalidInput."""
    query = call.query
    keys = tuple(dict.fromkeys(k for k in query.get("sort_keys", "").split(",") if k)) or (resource.sort,)
    dirs = tuple(d for d in query.get("sort_dirs", "").split(",") if d)
    if len(dirs) > len(keys):
        raise InvalidInput("Length of sort_keys must be equal or greater than sort_dirs")
    for direction in dirs:
        if direction not in ("asc", "desc"):
            raise InvalidInput(f"Unknown sort direction: {direction}; possible are asc and desc")
    return Page(
        limit=_limit(query.get("limit"), call.services.settings.max_limit),
        marker=query.get("marker") or None,
        sort_keys=keys,
        sort_dirs=dirs + ("asc",) * (len(keys) - len(dirs)),
        filters=tuple((name, query[name]) for name in resource.filters() if name in query),
    )


def _limit(text: str | None, most: int) -> int:
    if not text:
        return most
    try:
        number = int(text)
    except ValueError:
        raise InvalidInput(f"limit: unable to convert to int: {text[:50]}") from None
    if number < 1:
        raise InvalidInput(f"Limit must be positive: {number}")
    return min(number, most)


async def listing(
    call: Call,
    resource: Resource,
    *where: Any,
    key: str | None = None,
    more: Sequence[str] = (),
    always: Sequence[str] = (),
    within: tuple[tuple[str, str], ...] = (),
    finish: Callable[[Any, dict[str, Any]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A page of a collection. `more`: attributes shown beside the usual ones, `always`: whatever is asked for. `within`: filters that the path stands for.

    `finish` has the last word on an item, given its row. Raises InvalidInput, NotFound.
    """
    asked = wanted_page(call, resource)
    fields = fields_of(call)
    names = (*resource.wanted(fields, (*resource.listed(), *more)), *always)
    limits = msgspec.structs.replace(asked, filters=(*within, *asked.filters))
    read = call.glance if limits.marker is None else call.read
    rows = await read(page, resource, limits, names, *where)
    items = [resource.record(row, names) for row in rows]
    if finish is not None:
        items = [finish(row, item) for row, item in zip(rows, items, strict=True)]
    return paged(call, resource, limits, items, key or resource.name)


def paged(call: Call, resource: Resource, asked: Page, items: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """`next` is there when the page is full."""
    body: dict[str, Any] = {key: items}
    if items and len(items) == asked.limit:
        body["next"] = _next(call, resource, asked, str(items[-1]["id"]))
    return body


def _next(call: Call, resource: Resource, asked: Page, marker: str) -> str:
    keys, dirs = list(asked.sort_keys), list(asked.sort_dirs)
    if "id" not in keys:
        keys.append("id")
        dirs.append("asc")
    parts = [f"sort_keys={','.join(keys)}", f"sort_dirs={','.join(dirs)}"]
    for name, value in asked.filters:
        text = value if value.partition(":")[0] in OPERATORS and ":" in value else f"eq:{value}"
        parts.append(f"{name}={quote(text, safe=',:')}")
    parts += [f"limit={asked.limit}", f"marker={quote(marker, safe='')}"]
    for name in ("include_output", "all_projects", "nulls", "fields"):
        if name in call.query:
            parts.append(f"{name}={quote(call.query[name], safe=',')}")
    base = base_url(call.request, call.services.settings.trust_proxy)
    return f"{base}/v2/{resource.name}?{'&'.join(parts)}"
