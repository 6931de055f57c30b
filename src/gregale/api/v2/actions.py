"""/v2/actions: those of this server, and ad-hoc ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale.api.v2.workflows import owner
from gregale.api.wire import collection, project, text_body, wanted, when
from gregale.core import InvalidInput, NotFound, WorkflowError
from gregale.language import InvalidDocument, read_actions
from gregale.store import definitions, rows, search
from gregale.store.schema import actions
from gregale.store.search import Page

_FILTERS = ("name", "scope", "tags", "description", "definition", "namespace", "created_at", "updated_at")


def shown(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "is_system": False,
        "input": row.input,
        "description": row.description,
        "tags": rows.decode(row.tags),
        "definition": row.definition,
        "scope": row.scope,
        "project_id": row.project_id,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
        "namespace": row.namespace,
    }


async def _save(request: Request, update: bool) -> Response:
    document = read_actions(await text_body(request))
    identifier = request.path_params.get("identifier")
    if identifier is not None and len(document.actions) != 1:
        raise InvalidInput("More than one actions are not supported for update by identifier")
    found = await request.app.state.database.writing(definitions.save_actions, document, owner(request), update)
    return JSONResponse({"actions": [shown(row) for row in found]}, 200 if update else 201)


async def create(request: Request) -> Response:
    return await _save(request, update=False)


async def update(request: Request) -> Response:
    return await _save(request, update=True)


def _namespace(request: Request) -> str:
    return request.path_params.get("namespace") or request.query_params.get("namespace") or ""


async def get(request: Request) -> Response:
    identifier = request.path_params["identifier"]
    for namespace in dict.fromkeys((_namespace(request), "")):
        try:
            row = await request.app.state.database.reading(
                definitions.find, actions, "Action", identifier, namespace, project(request)
            )
            return JSONResponse(shown(row))
        except NotFound:
            continue
    for action in request.app.state.system_actions():
        if action["name"] == identifier:
            return JSONResponse(action)
    raise NotFound(f"Action not found [name={identifier}]")


async def listed(request: Request) -> Response:
    """Actions of the server and ad-hoc ones in one list: few enough to be put in order here."""
    page = wanted(request, _FILTERS, sort="name")
    namespace = dict(page.filters).get("namespace", "")
    found = await request.app.state.database.reading(
        search.page,
        actions,
        list(actions.c),
        Page(sort_keys=("name",)),
        definitions.visible(actions, project(request)),
        actions.c.namespace == namespace,
    )
    items = [*map(shown, found), *(request.app.state.system_actions() if namespace == "" else ())]
    for name, value in page.filters:
        if name != "namespace":
            items = [item for item in items if _fits(str(item[name]), value)]
    for key, direction in reversed(list(zip(page.sort_keys, page.sort_dirs, strict=True))):
        if key not in _SORTABLE:
            raise InvalidInput(f"Cannot sort by '{key}': known are {', '.join(_SORTABLE)}")
        items.sort(key=lambda item: (str(item[key] or ""), str(item["name"])), reverse=direction == "desc")
    if page.marker is not None:
        positions = [i for i, item in enumerate(items) if page.marker in (item["id"], item["name"])]
        if not positions:
            raise NotFound(f"No such marker: {page.marker}")
        items = items[positions[0] + 1 :]
    rest = [SimpleNamespace(**item) for item in items[: page.limit]]
    return collection(request, "actions", page, rest, vars)


_SORTABLE = ("id", "name", "description", "scope", "created_at", "updated_at", "namespace", "input")


def _fits(text: str, condition: str) -> bool:
    operator, _, value = condition.partition(":")
    decide = {
        "eq": text == value,
        "neq": text != value,
        "gt": text > value,
        "gte": text >= value,
        "lt": text < value,
        "lte": text <= value,
        "in": text in value.split(","),
        "nin": text not in value.split(","),
        "has": value in text,
    }
    return decide.get(operator, text == condition)


async def delete(request: Request) -> Response:
    identifier = request.path_params["identifier"]
    if any(a["name"] == identifier for a in request.app.state.system_actions()):
        raise WorkflowError(f"A system action cannot be deleted: {identifier}")
    await request.app.state.database.writing(
        definitions.delete, actions, "Action", identifier, _namespace(request), project(request)
    )
    return Response(status_code=204)


async def validate(request: Request) -> Response:
    try:
        read_actions(await text_body(request))
    except (InvalidDocument, InvalidInput) as e:
        return JSONResponse({"valid": False, "error": str(e)})
    return JSONResponse({"valid": True})


routes = [
    Route("/v2/actions", listed, methods=["GET"]),
    Route("/v2/actions", create, methods=["POST"]),
    Route("/v2/actions", update, methods=["PUT"]),
    Route("/v2/actions/validate", validate, methods=["POST"]),
    Route("/v2/actions/{identifier}", get, methods=["GET"]),
    Route("/v2/actions/{identifier}", update, methods=["PUT"]),
    Route("/v2/actions/{identifier}", delete, methods=["DELETE"]),
    Route("/v2/actions/{identifier}/{namespace}", get, methods=["GET"]),
    Route("/v2/actions/{identifier}/{namespace}", delete, methods=["DELETE"]),
]
