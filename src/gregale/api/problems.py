"""Errors as clients of this API read them: JSON with `faultstring`, never a stack trace (API spec 1.2)."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gregale.core import Conflict, InvalidInput, NotAllowed, NotFound, WorkflowError
from gregale.expressions import ExpressionError
from gregale.language import InvalidDocument

log = logging.getLogger("gregale.api")

_STATUS: dict[type[Exception], int] = {
    NotFound: 404,
    Conflict: 409,
    NotAllowed: 403,
    InvalidInput: 400,
    WorkflowError: 400,
    InvalidDocument: 400,
    ExpressionError: 400,
}
KNOWN = tuple(_STATUS)


def answer(status: int, message: str) -> Response:
    body = {"faultcode": "Server" if status >= 500 else "Client", "faultstring": message, "debuginfo": None}
    headers = (
        {"Server-Error-Message": message.splitlines()[0][:200].encode("ascii", "replace").decode()}
        if status in (401, 415, 423)
        else None
    )
    return JSONResponse(body, status, headers)


def response(error: Exception) -> Response:
    status = next(s for kind, s in _STATUS.items() if isinstance(error, kind))
    return answer(status, str(error))


async def http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = (
        f"{error.detail}: {request.method} {request.url.path}" if error.status_code in (404, 405) else str(error.detail)
    )
    return answer(error.status_code, text)


async def unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: logged whole, told to the caller without detail."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(500, "The server failed to answer this request; its log has the details")
