"""/v2/workflows"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.v2.executions import across_projects
from gregale.api.wire import encoded, fields_of, listing
from gregale.core import InvalidInput, WorkflowError
from gregale.language import Document, InvalidDocument, read_workflows
from gregale.language.spec import REQUIRED
from gregale.store import definitions, search
from gregale.store.attributes import Attribute, Resource
from gregale.store.load import spec_of
from gregale.store.ownership import Owner
from gregale.store.schema import specs, workflows

_c = workflows.c


def _input(row: Any) -> str:
    declared = spec_of(row.spec_hash, row.body).input
    return ", ".join(n if d is REQUIRED else f'{n}="{d}"' for n, d in declared.items())


def _interface(row: Any) -> str:
    spec = spec_of(row.spec_hash, row.body)
    return encoded(
        {
            "input": [n if d is REQUIRED else {n: d} for n, d in spec.input.items()],
            "output": list(spec.output),
        }
    )


_SPEC = (_c.spec_hash, specs.c.body)

WORKFLOW = Resource(
    "workflows",
    "Workflow",
    workflows.join(specs, _c.spec_hash == specs.c.hash),
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("name", "text", _c.name, nullable=False),
        Attribute("namespace", "text", _c.namespace, nullable=False),
        Attribute("input", "text", None, _input, _SPEC),
        Attribute("interface", "object", None, _interface, _SPEC),
        Attribute("definition", "text", _c.definition, nullable=False),
        Attribute("checksum", "text", _c.checksum),
        Attribute("tags", "tags", _c.tags),
        Attribute("scope", "text", _c.scope, nullable=False),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at),
    ),
)
_ALL = tuple(a.name for a in WORKFLOW.attributes)
SAVING = ("scope", "namespace", "skip_validation")

api = Endpoints("workflows")


async def document(call: Call, read: Callable[..., Document], text: str | None = None) -> Document:
    """The document of a request. Raises InvalidDocument, InvalidInput."""
    validation = call.services.settings.validation
    skip = validation == "disabled" or (validation == "enabled" and "skip_validation" in call.query)
    given = await call.text() if text is None else text
    return await asyncio.to_thread(
        read, given, lenient=skip
    )  # ten thousand tasks take seconds; others are answered meanwhile


async def checked(call: Call, read: Callable[..., Document]) -> dict[str, Any]:
    """What `validate` answers: always 200."""
    try:
        await asyncio.to_thread(read, await call.text())
    except (InvalidDocument, InvalidInput) as e:
        return {"valid": False, "error": str(e)}
    return {"valid": True}


async def _shown(call: Call, ids: list[str]) -> list[dict[str, Any]]:
    """As replies to POST and PUT show them: the interface is an object there."""
    result = []
    for key in ids:
        row = await call.read(search.one, WORKFLOW, key, _ALL)
        item = WORKFLOW.record(row, _ALL)
        result.append({**item, "interface": msgspec.json.decode(item["interface"])})
    return result


@api(
    "POST",
    "/v2/workflows",
    rule="workflows:create",
    query=SAVING,
    lenient=True,
    body="text",
    reply=Listing(WORKFLOW, "workflows"),
)
async def create(call: Call) -> dict[str, Any]:
    """Create the workflows of a document."""
    found = await document(call, read_workflows)
    saved = await call.write(definitions.save_workflows, found, call.owner("workflows"), False)
    return {"workflows": await _shown(call, [row.id for row in saved])}


@api(
    "PUT",
    "/v2/workflows",
    rule="workflows:update",
    query=SAVING,
    lenient=True,
    body="text",
    reply=Listing(WORKFLOW, "workflows"),
)
async def update(call: Call) -> dict[str, Any]:
    """Replace existing workflows by those of a document. Without `scope` they become private."""
    found = await document(call, read_workflows)
    saved = await call.write(definitions.save_workflows, found, call.owner("workflows"), True)
    return {"workflows": await _shown(call, [row.id for row in saved])}


@api("POST", "/v2/workflows/validate", lenient=True, body="text", reply={"type": "object"}, status=200, locked=False)
async def validate(call: Call) -> dict[str, Any]:
    """Whether a document of workflows is valid, and what is wrong with it."""
    return await checked(call, read_workflows)


@api(
    "PUT",
    "/v2/workflows/{identifier}",
    rule="workflows:update",
    query=SAVING,
    lenient=True,
    body="text",
    reply=WORKFLOW,
)
async def update_one(call: Call) -> dict[str, Any]:
    """Replace one workflow, which stays in its namespace."""
    given = await document(call, read_workflows)
    if len(given.workflows) != 1:
        raise InvalidInput(
            f"More than one workflows are not supported for update with identifier. [count={len(given.workflows)}]"
        )
    owner = call.owner("workflows")
    found = await call.read(definitions.find_workflow, call.path("identifier"), owner.namespace, call.viewer)
    call.viewer.require_own(found, "Workflow")
    if given.workflows[0].name != found.name:
        raise WorkflowError(f"The definition is of '{given.workflows[0].name}', the identifier of '{found.name}'")
    kept = Owner(found.project_id, owner.now, owner.new_id, found.namespace, owner.scope, owner.admin)
    await call.write(definitions.save_workflows, given, kept, True)
    return (await _shown(call, [found.id]))[0]


@api("GET", "/v2/workflows/{identifier}", rule="workflows:get", query=("namespace", "fields"), reply=WORKFLOW)
async def get(call: Call) -> dict[str, Any]:
    """One workflow, by id, or by name in a namespace."""
    names = _with_interface(call, WORKFLOW.wanted(fields_of(call), _ALL))
    found = await call.read(definitions.find_workflow, call.path("identifier"), call.namespace, call.viewer)
    return WORKFLOW.record(await call.read(search.one, WORKFLOW, found.id, names), names)


def _with_interface(call: Call, names: tuple[str, ...]) -> tuple[str, ...]:
    return (*names, "interface") if "input" in fields_of(call) and "interface" not in names else names


@api(
    "GET", "/v2/workflows", rule="workflows:list", query=("all_projects", "input"), reply=Listing(WORKFLOW, "workflows")
)
async def listed(call: Call) -> dict[str, Any]:
    """The workflows of the project, public ones, and those that others share with it."""
    across_projects(call, "workflows")
    if "input" in call.query:
        raise InvalidInput(
            "Workflows cannot be filtered by 'input', which is made from the definition; filter 'definition' with has:"
        )
    always = ("interface",) if "input" in fields_of(call) else ()
    return await listing(call, WORKFLOW, call.viewer.sees(workflows), always=always)


@api("DELETE", "/v2/workflows/{identifier}", rule="workflows:delete", query=("namespace",))
async def delete(call: Call) -> None:
    """Delete a workflow that no trigger uses. What runs goes on."""
    await call.write(definitions.delete_workflow, call.path("identifier"), call.namespace, call.viewer)
