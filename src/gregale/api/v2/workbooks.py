"""/v2/workbooks"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale.api.v2.workflows import owner
from gregale.api.wire import collection, project, text_body, wanted, when
from gregale.core import InvalidInput
from gregale.language import InvalidDocument, read_workbook
from gregale.language.read import read_workbook_document
from gregale.store import definitions, rows, search
from gregale.store.schema import workbooks

_FILTERS = ("name", "namespace", "definition", "tags", "scope", "created_at", "updated_at")


def shown(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "namespace": row.namespace,
        "definition": row.definition,
        "tags": rows.decode(row.tags),
        "scope": row.scope,
        "project_id": row.project_id,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


async def _save(request: Request, update: bool) -> Response:
    text = await text_body(request)
    document = read_workbook_document(text)
    row = await request.app.state.database.writing(definitions.save_workbook, document, text, owner(request), update)
    return JSONResponse(shown(row), 200 if update else 201)


async def create(request: Request) -> Response:
    return await _save(request, update=False)


async def update(request: Request) -> Response:
    return await _save(request, update=True)


async def get(request: Request) -> Response:
    namespace = request.query_params.get("namespace") or ""
    row = await request.app.state.database.reading(
        definitions.find, workbooks, "Workbook", request.path_params["name"], namespace, project(request)
    )
    return JSONResponse(shown(row))


async def listed(request: Request) -> Response:
    page = wanted(request, _FILTERS)
    found = await request.app.state.database.reading(
        search.page, workbooks, list(workbooks.c), page, definitions.visible(workbooks, project(request))
    )
    return collection(request, "workbooks", page, found, shown)


async def delete(request: Request) -> Response:
    namespace = request.query_params.get("namespace") or ""
    await request.app.state.database.writing(
        definitions.delete, workbooks, "Workbook", request.path_params["name"], namespace, project(request)
    )
    return Response(status_code=204)


async def validate(request: Request) -> Response:
    try:
        read_workbook(await text_body(request))
    except (InvalidDocument, InvalidInput) as e:
        return JSONResponse({"valid": False, "error": str(e)})
    return JSONResponse({"valid": True})


routes = [
    Route("/v2/workbooks", listed, methods=["GET"]),
    Route("/v2/workbooks", create, methods=["POST"]),
    Route("/v2/workbooks", update, methods=["PUT"]),
    Route("/v2/workbooks/validate", validate, methods=["POST"]),
    Route("/v2/workbooks/{name}", get, methods=["GET"]),
    Route("/v2/workbooks/{name}", delete, methods=["DELETE"]),
]
