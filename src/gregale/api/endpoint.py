"""Endpoints: what each takes and gives, declared once for routing, checking and the OpenAPI document."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gregale.api import problems
from gregale.api.call import Call, Services, known_only
from gregale.store.attributes import Resource

Handler = Callable[[Call], Awaitable[Any]]
H = TypeVar("H", bound=Handler)

PAGING = ("limit", "marker", "sort_keys", "sort_dirs", "fields")


class Listing(msgspec.Struct, frozen=True):
    """A reply that is a page of a collection, under `key`."""

    of: Resource
    key: str


class Endpoint(msgspec.Struct, frozen=True):
    """`rule`: the policy that must allow it, None for none. `open`: needs no authentication. `query`: the parameters it knows, beside
    those of a listing; `lenient`: it ignores others. `body`: `text` (a document), or the type of a JSON object. `reply`: what it
    answers with, None for nothing. `locked`: refused during maintenance."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    rule: str | None
    open: bool
    query: tuple[str, ...]
    lenient: bool
    body: Any
    reply: Any
    status: int
    locked: bool
    summary: str
    tag: str

    @property
    def parameters(self) -> tuple[str, ...]:
        if isinstance(self.reply, Listing) and self.method == "GET":
            return (*self.query, *self.reply.of.filters(), *PAGING)
        return self.query

    async def __call__(self, request: Request, services: Services, who: Any) -> Response:
        call = Call(request, services, who)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if isinstance(self.body, type) and kind not in ("", "application/json"):
            return problems.answer(415, f"The content type {kind} is not supported here: send application/json")
        if self.locked:
            await call.require_unlocked()
        if self.rule is not None:
            call.require(self.rule)
        if not self.lenient:
            known_only(call.query, self.parameters)
        value = await self.handler(call)
        if isinstance(value, Response):
            return value
        if value is None:
            return Response(status_code=self.status)
        media = "application/json;charset=utf-8" if self.body == "text" else "application/json"
        return Response(msgspec.json.encode(value), self.status, media_type=media)


_STATUS = {"GET": 200, "POST": 201, "PUT": 200, "DELETE": 204}


class Endpoints:
    """Those of one resource. The docstring of a handler is what the document says of it."""

    def __init__(self, tag: str):
        self.tag = tag
        self.all: list[Endpoint] = []

    def __call__(
        self,
        method: Literal["GET", "POST", "PUT", "DELETE"],
        *paths: str,
        rule: str | None = None,
        open: bool = False,  # noqa: A002 - what it is
        query: tuple[str, ...] = (),
        lenient: bool = False,
        body: Any = None,
        reply: Any = None,
        status: int | None = None,
        locked: bool = True,
    ) -> Callable[[H], H]:
        def declare(handler: H) -> H:
            for path in paths:
                self.all.append(
                    Endpoint(
                        method,
                        path,
                        handler,
                        rule,
                        open,
                        query,
                        lenient,
                        body,
                        reply,
                        status or _STATUS[method],
                        locked and method != "GET",
                        inspect.cleandoc(handler.__doc__ or ""),
                        self.tag,
                    )
                )
            return handler

        return declare
