"""Carrying requests out over HTTP: once and for all for both kinds of client, but for who waits how."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from gregale.client import api
from gregale.client.errors import ApiError, ClientError, ConnectionLost
from gregale.client.records import Execution, Happening
from gregale.client.request import Request

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8989/v2"
_TRIES = 4


class _Base:
    """What both clients know: where, as whom, and how patiently.

    `token`: sent as X-Auth-Token. `project`, `roles`: sent as they are, for servers that believe them. A request that may be
    repeated is, `tries` times in all, when the server is away or asks to wait.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        project: str | None = None,
        roles: str | None = None,
        timeout: float = 60.0,
        tries: int = _TRIES,
    ):
        self.url = url.rstrip("/")
        given = {"X-Auth-Token": token, "X-Project-Id": project, "X-Roles": roles}
        self._headers = {name: value for name, value in given.items() if value}
        self._timeout = timeout
        self._tries = tries

    def _options(self, request: Request[Any], query: dict[str, str] | None) -> dict[str, Any]:
        content, kind = request.content()
        return {
            "method": request.method,
            "url": self.url + request.path,
            "params": request.query if query is None else query,
            "content": content,
            "headers": {"Content-Type": kind} if kind else None,
        }

    def _again(self, request: Request[Any], error: ClientError, attempt: int) -> float | None:
        """How long to wait before the next try, None to give up."""
        if attempt + 1 >= self._tries:
            return None
        if isinstance(error, ApiError):
            if error.status not in (429, 503):
                return None
            return error.retry_after or 1.0
        return None if not request.repeatable else 0.1 * 2**attempt * (0.5 + random.random())  # noqa: S311 - jitter


def _checked(response: httpx.Response) -> bytes:
    """The body of a reply. Raises ApiError."""
    if response.is_success:
        return response.content
    try:
        message = str(msgspec.json.decode(response.content)["faultstring"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = response.text[:500] or response.reason_phrase
    wait = response.headers.get("retry-after", "")
    raise ApiError(response.status_code, message, float(wait) if wait.isdigit() else None)


def _understood(request: Request[T], raw: bytes) -> T:
    try:
        return request.reply(raw)
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as e:
        raise ClientError(f"The reply to {request.method} {request.path} is not what this client knows: {e}") from None


def _lost(error: Exception) -> ConnectionLost:
    return ConnectionLost(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


class _Reader:
    """Server-sent events, line by line; keeps the position of the last one."""

    def __init__(self, after: str | None):
        self.position = after
        self._id = ""

    def headers(self) -> dict[str, str]:
        return {"Last-Event-ID": self.position} if self.position is not None else {}

    def line(self, text: str) -> Happening | None:
        name, _, value = text.partition(": ")
        if name == "id":
            self._id = value
        elif name == "data":
            self.position = self._id
            return msgspec.convert({**msgspec.json.decode(value), "position": self._id}, Happening)
        return None


def _wanted(**query: str | None) -> dict[str, str]:
    return {k: v for k, v in query.items() if v is not None}


class Client(_Base):
    """`client(request)` carries a request out and gives what it promises. Raises ApiError, ConnectionLost."""

    def __enter__(self) -> Client:
        self._http = httpx.Client(headers=self._headers, timeout=self._timeout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def __call__(self, request: Request[T]) -> T:
        return _understood(request, self._raw(request, None))

    def _raw(self, request: Request[Any], query: dict[str, str] | None) -> bytes:
        attempt = 0
        while True:
            error: ClientError
            try:
                return _checked(self._http.request(**self._options(request, query)))
            except httpx.TransportError as e:
                error = _lost(e)
            except ApiError as e:
                error = e
            wait = self._again(request, error, attempt)
            if wait is None:
                raise error
            time.sleep(wait)
            attempt += 1

    def pages(self, request: Request[list[T]]) -> Iterator[T]:
        """Every item of a list, page after page."""
        query: dict[str, str] | None = request.query
        while query is not None:
            raw = self._raw(request, query)
            yield from _understood(request, raw)
            query = request.next_page(raw)

    def events(
        self,
        execution: str | None = None,
        workflow: str | None = None,
        project: str | None = None,
        after: str | None = None,
    ) -> Iterator[Happening]:
        """Changes as they happen; without end. After a broken connection it goes on where it was, without loss or repeat."""
        query = _wanted(execution=execution, workflow=workflow, project=project)
        reader = _Reader(after)
        broken = 0
        while True:
            try:
                timeout = httpx.Timeout(self._timeout, read=45)
                with self._http.stream(
                    "GET", f"{self.url}/events", params=query, headers=reader.headers(), timeout=timeout
                ) as response:
                    if not response.is_success:
                        response.read()
                        _checked(response)
                    for line in response.iter_lines():
                        found = reader.line(line)
                        if found is not None:
                            broken = 0
                            yield found
                error: ClientError = ConnectionLost("the stream ended")
            except httpx.TransportError as e:
                error = _lost(e)
            broken += 1
            if broken >= self._tries or reader.position is None:
                raise error
            time.sleep(0.2 * 2**broken)

    def wait(self, execution_id: str, timeout: float | None = None) -> Execution:
        """An execution once it has ended. Raises TimeoutError, in seconds, and what asking for it raises."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.02
        while True:
            found = self(api.execution(execution_id))
            if found.ended:
                return found
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"The execution {execution_id} is still {found.state}")
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)


class AsyncClient(_Base):
    """`await client(request)` carries a request out and gives what it promises. Raises ApiError, ConnectionLost."""

    async def __aenter__(self) -> AsyncClient:
        self._http = httpx.AsyncClient(headers=self._headers, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def __call__(self, request: Request[T]) -> T:
        return _understood(request, await self._raw(request, None))

    async def _raw(self, request: Request[Any], query: dict[str, str] | None) -> bytes:
        attempt = 0
        while True:
            error: ClientError
            try:
                return _checked(await self._http.request(**self._options(request, query)))
            except httpx.TransportError as e:
                error = _lost(e)
            except ApiError as e:
                error = e
            wait = self._again(request, error, attempt)
            if wait is None:
                raise error
            await asyncio.sleep(wait)
            attempt += 1

    async def pages(self, request: Request[list[T]]) -> AsyncIterator[T]:
        """Every item of a list, page after page."""
        query: dict[str, str] | None = request.query
        while query is not None:
            raw = await self._raw(request, query)
            for item in _understood(request, raw):
                yield item
            query = request.next_page(raw)

    async def events(
        self,
        execution: str | None = None,
        workflow: str | None = None,
        project: str | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Happening]:
        """Changes as they happen; without end. After a broken connection it goes on where it was, without loss or repeat."""
        query = _wanted(execution=execution, workflow=workflow, project=project)
        reader = _Reader(after)
        broken = 0
        while True:
            try:
                timeout = httpx.Timeout(self._timeout, read=45)
                async with self._http.stream(
                    "GET", f"{self.url}/events", params=query, headers=reader.headers(), timeout=timeout
                ) as response:
                    if not response.is_success:
                        await response.aread()
                        _checked(response)
                    async for line in response.aiter_lines():
                        found = reader.line(line)
                        if found is not None:
                            broken = 0
                            yield found
                error: ClientError = ConnectionLost("the stream ended")
            except httpx.TransportError as e:
                error = _lost(e)
            broken += 1
            if broken >= self._tries or reader.position is None:
                raise error
            await asyncio.sleep(0.2 * 2**broken)

    async def wait(self, execution_id: str, timeout: float | None = None) -> Execution:
        """An execution once it has ended. Raises TimeoutError, in seconds, and what asking for it raises."""
        pause = 0.02
        async with asyncio.timeout(timeout):
            while True:
                found = await self(api.execution(execution_id))
                if found.ended:
                    return found
                await asyncio.sleep(pause)
                pause = min(1.0, pause * 1.5)
