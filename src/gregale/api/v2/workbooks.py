"""/v2/workbooks"""

from __future__ import annotations

from typing import Any

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.v2.workflows import SAVING, checked, document
from gregale.api.wire import listing, record
from gregale.language.read import read_workbook_document
from gregale.store import definitions
from gregale.store.attributes import Attribute, Resource
from gregale.store.ownership import find
from gregale.store.schema import workbooks

_c = workbooks.c

WORKBOOK = Resource(
    "workbooks",
    "Workbook",
    workbooks,
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("name", "text", _c.name, nullable=False),
        Attribute("namespace", "text", _c.namespace, nullable=False),
        Attribute("definition", "text", _c.definition, nullable=False),
        Attribute("tags", "tags", _c.tags),
        Attribute("scope", "text", _c.scope, nullable=False),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at),
    ),
)

api = Endpoints("workbooks")


async def _save(call: Call, update: bool) -> dict[str, Any]:
    text = await call.text()
    found = await document(call, read_workbook_document, text)
    row = await call.write(definitions.save_workbook, found, text, call.owner("workbooks"), update)
    return await record(call, WORKBOOK, row.id)


@api("POST", "/v2/workbooks", rule="workbooks:create", query=SAVING, lenient=True, body="text", reply=WORKBOOK)
async def create(call: Call) -> dict[str, Any]:
    """Create a workbook, and its workflows and actions with it."""
    return await _save(call, update=False)


@api("PUT", "/v2/workbooks", rule="workbooks:update", query=SAVING, lenient=True, body="text", reply=WORKBOOK)
async def update(call: Call) -> dict[str, Any]:
    """Replace a workbook, and its workflows and actions with it."""
    return await _save(call, update=True)


@api("POST", "/v2/workbooks/validate", lenient=True, body="text", reply={"type": "object"}, status=200, locked=False)
async def validate(call: Call) -> dict[str, Any]:
    """Whether a workbook is valid, and what is wrong with it."""
    return await checked(call, read_workbook_document)


@api("GET", "/v2/workbooks/{name}", rule="workbooks:get", query=("namespace", "fields"), reply=WORKBOOK)
async def get(call: Call) -> dict[str, Any]:
    """One workbook, by name in a namespace."""
    found = await call.read(find, workbooks, "Workbook", call.path("name"), call.namespace, call.viewer)
    return await record(call, WORKBOOK, found.id)


@api("GET", "/v2/workbooks", rule="workbooks:list", reply=Listing(WORKBOOK, "workbooks"))
async def listed(call: Call) -> dict[str, Any]:
    """The workbooks of the project, and public ones."""
    return await listing(call, WORKBOOK, call.viewer.sees(workbooks))


@api("DELETE", "/v2/workbooks/{name}", rule="workbooks:delete", query=("namespace",))
async def delete(call: Call) -> None:
    """Delete a workbook; the workflows and actions that came with it stay."""
    await call.write(definitions.delete_workbook, call.path("name"), call.namespace, call.viewer)
