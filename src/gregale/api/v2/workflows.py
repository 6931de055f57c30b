"""/v2/workflows"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale.api.wire import collection, encoded, project, text_body, wanted, when
from gregale.core import InvalidInput, WorkflowError
from gregale.language import InvalidDocument, read_workflows
from gregale.language.spec import REQUIRED
from gregale.store import definitions, rows, search
from gregale.store.load import spec_of
from gregale.store.schema import specs, workflows

_FILTERS = ("name", "namespace", "definition", "tags", "scope", "project_id", "created_at", "updated_at")


def owner(request: Request) -> definitions.Owner:
    scope = request.query_params.get("scope") or "private"
    if scope not in ("private", "public"):
        raise InvalidInput(f"scope must be private or public, not {scope}")
    return definitions.Owner(
        project(request),
        time.time(),
        request.app.state.engine.new_id,
        request.query_params.get("namespace") or "",
        scope,
    )


def shown(row: Any, as_text: bool = True) -> dict[str, Any]:
    spec = spec_of(row.spec_hash, row.body)
    declared = spec.input
    interface = {
        "input": [n if d is REQUIRED else {n: d} for n, d in declared.items()],
        "output": list(spec.output),
    }
    return {
        "id": row.id,
        "name": row.name,
        "namespace": row.namespace,
        "input": ", ".join(n if d is REQUIRED else f'{n}="{d}"' for n, d in declared.items()),
        "interface": encoded(interface) if as_text else interface,
        "definition": row.definition,
        "checksum": row.checksum,
        "tags": rows.decode(row.tags),
        "scope": row.scope,
        "project_id": row.project_id,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


_COLUMNS = [*workflows.c, specs.c.body]
_JOINED = workflows.c.spec_hash == specs.c.hash


async def _save(request: Request, update: bool) -> Response:
    document = read_workflows(await text_body(request))
    database = request.app.state.database
    saved = await database.writing(definitions.save_workflows, document, owner(request), update)
    items = [shown(await database.reading(_one, row.id, "", project(request)), as_text=False) for row in saved]
    return JSONResponse({"workflows": items}, 200 if update else 201)


async def create(request: Request) -> Response:
    return await _save(request, update=False)


async def update(request: Request) -> Response:
    return await _save(request, update=True)


async def update_one(request: Request) -> Response:
    document = read_workflows(await text_body(request))
    if len(document.workflows) != 1:
        raise InvalidInput("More than one workflows are not supported for update by identifier")
    database = request.app.state.database
    mine = owner(request)
    found = await database.reading(
        definitions.find_workflow, request.path_params["identifier"], mine.namespace, mine.project_id
    )
    if document.workflows[0].name != found.name:
        raise WorkflowError(f"The definition is of '{document.workflows[0].name}', the identifier of '{found.name}'")
    kept = definitions.Owner(mine.project_id, mine.now, mine.new_id, found.namespace, mine.scope)
    await database.writing(definitions.save_workflows, document, kept, True)
    return JSONResponse(shown(await database.reading(_one, found.id, "", project(request)), as_text=False))


def _one(connection: Any, identifier: str, namespace: str, project_id: str) -> Any:
    found = definitions.find_workflow(connection, identifier, namespace, project_id)
    return connection.execute(sa.select(*_COLUMNS).where(_JOINED, workflows.c.id == found.id)).one()


async def get(request: Request) -> Response:
    namespace = request.query_params.get("namespace") or ""
    row = await request.app.state.database.reading(_one, request.path_params["identifier"], namespace, project(request))
    return JSONResponse(shown(row))


async def listed(request: Request) -> Response:
    page = wanted(request, _FILTERS, ("all_projects",))
    found = await request.app.state.database.reading(
        search.page, workflows, _COLUMNS, page, _JOINED, definitions.visible(workflows, project(request))
    )
    return collection(request, "workflows", page, found, shown)


async def delete(request: Request) -> Response:
    namespace = request.query_params.get("namespace") or ""
    await request.app.state.database.writing(
        definitions.delete, workflows, "Workflow", request.path_params["identifier"], namespace, project(request)
    )
    return Response(status_code=204)


async def validate(request: Request) -> Response:
    try:
        read_workflows(await text_body(request))
    except (InvalidDocument, InvalidInput) as e:
        return JSONResponse({"valid": False, "error": str(e)})
    return JSONResponse({"valid": True})


routes = [
    Route("/v2/workflows", listed, methods=["GET"]),
    Route("/v2/workflows", create, methods=["POST"]),
    Route("/v2/workflows", update, methods=["PUT"]),
    Route("/v2/workflows/validate", validate, methods=["POST"]),
    Route("/v2/workflows/{identifier}", get, methods=["GET"]),
    Route("/v2/workflows/{identifier}", update_one, methods=["PUT"]),
    Route("/v2/workflows/{identifier}", delete, methods=["DELETE"]),
]
