"""Health and metrics of a process that has no REST API: an engine, or an executor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale import metrics
from gregale.api import problems

NotReady = Callable[[], Awaitable[str | None]]


def health_application(not_ready: NotReady) -> Starlette:
    """GET /healthz: 200 while the process lives; /readyz: while it takes work; /metrics for Prometheus."""

    async def healthz(request: Request) -> Response:
        del request
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        del request
        reason = await not_ready()
        if reason is not None:
            return problems.response(problems.NotReady(reason))
        return JSONResponse({"status": "ready"})

    async def measured(request: Request) -> Response:
        del request
        text, kind = metrics.text()
        return Response(text, media_type=kind)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", measured)])
