"""Errors as clients of this API read them: JSON with `faultstring`, never a stack trace (API spec 1.2)."""

from __future__ import annotations

import logging

import msgspec
from sqlalchemy.exc import DataError, DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gregale.api.auth import Unauthenticated, Unreachable
from gregale.core import Conflict, InvalidInput, NotAllowed, NotFound, WorkflowError
from gregale.expressions import ExpressionError
from gregale.language import InvalidDocument
from gregale.store import Unavailable

log = logging.getLogger("gregale.api")


class Forbidden(Exception):
    """The policy does not let this caller do this (403)."""


class TooLarge(Exception):
    """A body beyond the limit (413)."""


class TooMany(Exception):
    """More requests than this project may make (429). `wait` in seconds."""

    def __init__(self, message: str, wait: float):
        self.wait = wait
        super().__init__(message)


class NotReady(Exception):
    """This process does not take work just now (503)."""


class InMaintenance(Exception):
    """The cluster takes no changes for now (423)."""


class Gone(Exception):
    """What was there is not kept any more (410)."""


_STATUS: dict[type[Exception], int] = {
    NotFound: 404,
    Conflict: 409,
    NotAllowed: 403,
    Forbidden: 403,
    InvalidInput: 400,
    WorkflowError: 400,
    InvalidDocument: 400,
    ExpressionError: 400,
    DataError: 400,
    Unauthenticated: 401,
    TooLarge: 413,
    InMaintenance: 423,
    TooMany: 429,
    Gone: 410,
    Unreachable: 503,
    NotReady: 503,
    Unavailable: 503,
}
KNOWN = tuple(_STATUS)
STATUSES = tuple(sorted({*_STATUS.values(), 405, 415}))
_IN_HEADER = (401, 415, 423)
"""Statuses whose text old clients read from a header (API spec 1.2)."""


def answer(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    message = message.encode("utf-8", "replace").decode()  # an error may quote what cannot be sent
    body = {"faultcode": "Server" if status >= 500 else "Client", "faultstring": message, "debuginfo": None}
    headers = dict(headers or {})
    if status in _IN_HEADER:
        first = (message.splitlines() or [""])[0][:200]
        headers["Server-Error-Message"] = "".join(
            c if " " <= c <= "~" else "?" for c in first
        )  # what a header may hold
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), status, headers, "application/json")


def response(error: Exception) -> Response:
    status = next(s for kind, s in _STATUS.items() if isinstance(error, kind))
    headers = {}
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(max(1, round(error.wait)))
    elif isinstance(error, Unreachable | NotReady | Unavailable):
        headers["Retry-After"] = "1"
    if isinstance(error, DataError):  # its own words are the database's, with the statement
        return answer(status, "A value is too long for what it is for, or holds a character that cannot be stored")
    return answer(status, str(error), headers)


async def http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = (
        f"{error.detail}: {request.method} {request.url.path}" if error.status_code in (404, 405) else str(error.detail)
    )
    return answer(error.status_code, text, dict(error.headers or {}))


async def unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: logged whole, told to the caller without detail."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    if isinstance(error, DBAPIError):
        return answer(503, "The service is temporarily unavailable: its database does not answer", {"Retry-After": "1"})
    return answer(500, "The server failed to answer this request; its log has the details")
