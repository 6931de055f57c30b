"""/v2/environments"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale.api.v2.workflows import owner
from gregale.api.wire import collection, json_body, obj, project, wanted, when
from gregale.core import InvalidInput
from gregale.store import definitions, search
from gregale.store.schema import environments

_KEYS = ("name", "description", "variables", "scope")
_FILTERS = ("name", "description", "variables", "scope", "created_at", "updated_at")


def shown(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "variables": row.variables,
        "scope": row.scope,
        "project_id": row.project_id,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


async def _save(request: Request, update: bool) -> Response:
    body = await json_body(request, _KEYS)
    if not isinstance(body.get("name"), str) or not body["name"]:
        raise InvalidInput("'name' is required: a non-empty string")
    if body.get("scope", "private") not in ("private", "public"):
        raise InvalidInput("scope must be private or public")
    if "variables" in body:
        body["variables"] = obj(body["variables"], "variables")
    row = await request.app.state.database.writing(definitions.save_environment, body, owner(request), update)
    return JSONResponse(shown(row), 200 if update else 201)


async def create(request: Request) -> Response:
    return await _save(request, update=False)


async def update(request: Request) -> Response:
    return await _save(request, update=True)


async def get(request: Request) -> Response:
    row = await request.app.state.database.reading(
        definitions.environment, request.path_params["name"], project(request)
    )
    return JSONResponse(shown(row))


async def listed(request: Request) -> Response:
    page = wanted(request, _FILTERS)
    found = await request.app.state.database.reading(
        search.page, environments, list(environments.c), page, definitions.visible(environments, project(request))
    )
    return collection(request, "environments", page, found, shown)


async def delete(request: Request) -> Response:
    await request.app.state.database.writing(
        definitions.delete_environment, request.path_params["name"], project(request)
    )
    return Response(status_code=204)


routes = [
    Route("/v2/environments", listed, methods=["GET"]),
    Route("/v2/environments", create, methods=["POST"]),
    Route("/v2/environments", update, methods=["PUT"]),
    Route("/v2/environments/{name}", get, methods=["GET"]),
    Route("/v2/environments/{name}", delete, methods=["DELETE"]),
]
