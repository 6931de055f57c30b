"""The application: every endpoint behind the same checks, and one place where every error becomes an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gregale import metrics
from gregale.api import openapi, problems, root
from gregale.api.admission import Admission
from gregale.api.auth import Authenticator, Identity, authenticator
from gregale.api.auth.policy import Policy
from gregale.api.call import Services, Trusts
from gregale.api.endpoint import Endpoint
from gregale.api.health import NotReady
from gregale.api.rate import Rate
from gregale.api.settings import ApiSettings
from gregale.api.v2 import (
    action_executions,
    actions,
    cluster,
    code_sources,
    cron_triggers,
    environments,
    event_triggers,
    events,
    executions,
    explain,
    members,
    notifications,
    stuck,
    tasks,
    workbooks,
    workflows,
)
from gregale.engine import Engine
from gregale.store import Unavailable

_MODULES = (
    root,
    workflows,
    members,
    workbooks,
    actions,
    code_sources,
    environments,
    executions,
    explain,
    tasks,
    action_executions,
    cron_triggers,
    event_triggers,
    events,
    notifications,
    stuck,
    cluster,
)
ENDPOINTS: tuple[Endpoint, ...] = tuple(e for module in _MODULES for e in module.api.all)

_PREFIX = "/workflowv2"
_CUT_OFF = 1.0
"""Seconds without the database after which requests are refused."""
Asgi = Callable[..., Awaitable[None]]


def application(
    engine: Engine,
    system_actions: Callable[[], list[dict[str, Any]]],
    run_inline: Callable[..., Awaitable[object]],
    settings: ApiSettings | None = None,
    telling_apart: Authenticator | None = None,
    trusts: Trusts | None = None,
    not_ready: NotReady | None = None,
    cut_off: Callable[[], float] = float,
) -> Starlette:
    """`system_actions`: what the registry offers, as the API shows it. `run_inline`: runs an action in place (spec 7.3).

    Raises BadPolicy, and ValueError for settings that do not fit together.
    """
    settings = settings or ApiSettings()
    policy = Policy.from_file(settings.auth.policy_file)
    services = Services(
        engine,
        settings,
        policy,
        system_actions,
        run_inline,
        trusts or Trusts(),
        Admission(engine, settings),
        not_ready or _always_ready,
        cut_off,
    )
    gate = _Gate(services, telling_apart or authenticator(settings.auth))
    # a fixed path goes before one with a parameter in its place
    ordered = sorted(ENDPOINTS, key=lambda e: [("{" in part, part) for part in e.path.split("/")])
    app = Starlette(
        routes=[
            *(Route(e.path, gate.route(e), methods=[e.method]) for e in ordered),
            Route("/openapi.json", openapi.document(ENDPOINTS)),
            Route("/docs", openapi.page),
        ],
        exception_handlers={HTTPException: problems.http_exception, Exception: problems.unexpected},
    )
    app.router.redirect_slashes = False
    app.state.wakers = events.Wakers()
    engine.listen(app.state.wakers.wake)
    app.add_middleware(_Tolerance, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "PUT", "POST", "DELETE", "PATCH"],
            allow_headers=["*"],
        )
    return app


async def _always_ready() -> str | None:
    return None


class _Gate:
    """Who asks, and whether they ask too often: before any endpoint."""

    def __init__(self, services: Services, telling_apart: Authenticator):
        self._services = services
        self._telling_apart = telling_apart
        self._rate = Rate(services.settings.rate, services.settings.burst, services.engine.clock)

    def route(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            began = time.perf_counter()
            response = await answered(request)
            took = time.perf_counter() - began
            metrics.REQUESTS.labels(endpoint.method, endpoint.path, response.status_code).observe(took)
            return response

        async def answered(request: Request) -> Response:
            try:
                if endpoint.open:
                    return await endpoint(request, self._services, Identity(""))
                return await self._unless_cut_off(self._identified(request, endpoint))
            except problems.KNOWN as e:
                return problems.response(e)

        return handle

    async def _identified(self, request: Request, endpoint: Endpoint) -> Response:
        who = await self._telling_apart.identify(request.headers)
        self._rate.require(who.project_id)
        return await endpoint(request, self._services, who)

    async def _unless_cut_off(self, answering: Coroutine[Any, Any, Response]) -> Response:
        """No request waits for a database that is away longer than it takes to notice. Raises Unavailable.

        One look is not enough: a process that had no CPU for a while has not heard from the database either.
        """
        task = asyncio.create_task(answering)
        looks = 0
        try:
            while looks < 2:
                looks = looks + 1 if self._services.cut_off() >= _CUT_OFF else 0
                done, _ = await asyncio.wait({task}, timeout=_CUT_OFF / 2)
                if done:
                    return task.result()
        finally:
            task.cancel()
        raise Unavailable("The database does not answer; whether a change that was under way was made is not known")


class _Tolerance:
    """What old clients send: a trailing slash, and XML, which is refused before anything else (API spec 1.1)."""

    def __init__(self, app: Asgi, settings: ApiSettings):
        self._app = app
        self._settings = settings

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"])
        if path.startswith(f"{_PREFIX}/"):  # where OpenStack's own deployments put this API
            scope["root_path"] = _PREFIX
        if path.endswith("/") and path.removeprefix(_PREFIX) not in ("/", "/v2/"):
            scope["path"] = path.rstrip("/") or "/"
        response = self._refused(scope)
        if response is not None:
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refused(self, scope: dict[str, Any]) -> Response | None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._settings.max_body:
            return problems.answer(413, f"The body has {length} bytes; at most {self._settings.max_body} are accepted")
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if kind in ("text/xml", "application/xml") or kind.endswith("+xml"):
            return problems.answer(415, f"The content type {kind} is not supported")
        return None
