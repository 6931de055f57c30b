"""The application: routes, and one place where every error becomes an answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gregale.api import problems
from gregale.api.v2 import action_executions, actions, environments, executions, tasks, workbooks, workflows
from gregale.api.wire import MAX_BODY, base_url
from gregale.engine import Engine

log = logging.getLogger("gregale.api")

Lookup = Callable[[], list[dict[str, object]]]


def application(engine: Engine, system_actions: Lookup, run_inline: Callable[..., Awaitable[object]]) -> Starlette:
    """`system_actions`: what the registry offers, as the API shows it. `run_inline`: runs an action in place (spec 7.3)."""
    app = Starlette(
        routes=[
            Route("/", _versions),
            Route("/healthz", _health),
            Route("/v2", lambda request: RedirectResponse(str(request.url.replace(path=request.url.path + "/")), 302)),
            Route("/v2/", _root),
            *workflows.routes,
            *workbooks.routes,
            *actions.routes,
            *environments.routes,
            *executions.routes,
            *tasks.routes,
            *action_executions.routes,
        ],
        exception_handlers={HTTPException: problems.http_exception, Exception: problems.unexpected},
        middleware=[],
    )
    app.router.redirect_slashes = False
    app.state.engine = engine
    app.state.database = engine.database
    app.state.system_actions = system_actions
    app.state.run_inline = run_inline
    app.add_middleware(_Guard)
    return app


class _Guard:
    """A trailing slash is always accepted; bodies are bounded; refusals of the core become 4xx (API spec 1.1, 1.2)."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self._app = app

    async def __call__(self, scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"])
        if path.endswith("/") and path not in ("/", "/v2/"):
            scope["path"] = path.rstrip("/") or "/"
        response = _refused(scope)
        if response is not None:
            await response(scope, receive, send)  # type: ignore[arg-type]
            return
        try:
            await self._app(scope, receive, send)
        except problems.KNOWN as e:
            await problems.response(e)(scope, receive, send)  # type: ignore[arg-type]


def _refused(scope: dict[str, object]) -> Response | None:
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}  # type: ignore[attr-defined]
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY:
        return problems.answer(413, f"The body has {length} bytes; at most {MAX_BODY} are accepted")
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in ("text/xml", "application/xml") or kind.endswith("+xml"):
        return problems.answer(415, f"The content type {kind} is not supported")
    return None


async def _versions(request: Request) -> Response:
    link = {"href": f"{base_url(request)}/v2", "target": "v2", "rel": "self"}
    return JSONResponse({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})


async def _root(request: Request) -> Response:
    return JSONResponse({"uri": f"{base_url(request)}/v2"})


async def _health(request: Request) -> Response:
    """200 while the database answers."""
    from gregale.store import definitions

    await request.app.state.database.reading(definitions.change_number)
    return JSONResponse({"status": "ok"})
