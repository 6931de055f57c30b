"""/v2/actions: those of this server, ad-hoc ones, and dynamic ones, in one collection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from gregale.actions import ActionError, dynamic
from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.v2.workflows import SAVING, checked, document
from gregale.api.wire import fields_of, paged, wanted_page
from gregale.core import ActionInfo, InvalidInput, NotFound, WorkflowError
from gregale.language import read_actions
from gregale.store import definitions, search
from gregale.store.attributes import OPERATORS, Attribute, Resource, moment
from gregale.store.ownership import Viewer
from gregale.store.schema import actions, code_sources, dynamic_actions

_c = actions.c

ACTION = Resource(
    "actions",
    "Action",
    actions,
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("name", "text", _c.name, nullable=False),
        Attribute("is_system", "flag", sa.literal(False)),
        Attribute("input", "text", _c.input, nullable=False),
        Attribute("description", "text", _c.description),
        Attribute("tags", "tags", _c.tags),
        Attribute("definition", "text", _c.definition),
        Attribute("scope", "text", _c.scope, nullable=False),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at),
        Attribute("namespace", "text", _c.namespace, nullable=False),
    ),
    sort="name",
)
_ALL = tuple(a.name for a in ACTION.attributes)

api = Endpoints("actions")


async def _save(call: Call, update: bool) -> dict[str, Any]:
    found = await document(call, read_actions)
    identifier = call.request.path_params.get("identifier")
    owner = call.owner("actions")
    if identifier is not None:
        if len(found.actions) != 1:
            raise InvalidInput("More than one actions are not supported for update with identifier")
        old = await call.read(definitions.find_action, identifier, owner.namespace, call.viewer)
        if old.name != found.actions[0].name:
            raise WorkflowError(f"The definition is of '{found.actions[0].name}', the identifier of '{old.name}'")
    for action in found.actions:
        if any(a["name"] == action.name for a in call.services.system_actions()):
            raise WorkflowError(f"Attempt to modify a system action: {action.name}")
    saved = await call.write(definitions.save_actions, found, owner, update)
    rows = [await call.read(search.one, ACTION, row.id, _ALL) for row in saved]
    return {"actions": [ACTION.record(row, _ALL) for row in rows]}


@api(
    "POST",
    "/v2/actions",
    rule="actions:create",
    query=SAVING,
    lenient=True,
    body="text",
    reply=Listing(ACTION, "actions"),
)
async def create(call: Call) -> dict[str, Any]:
    """Create the ad-hoc actions of a document."""
    return await _save(call, update=False)


@api(
    "PUT",
    "/v2/actions",
    "/v2/actions/{identifier}",
    rule="actions:update",
    query=SAVING,
    lenient=True,
    body="text",
    reply=Listing(ACTION, "actions"),
)
async def update(call: Call) -> dict[str, Any]:
    """Replace ad-hoc actions by those of a document."""
    return await _save(call, update=True)


@api("POST", "/v2/actions/validate", lenient=True, body="text", reply={"type": "object"}, status=200, locked=False)
async def validate(call: Call) -> dict[str, Any]:
    """Whether a document of ad-hoc actions is valid, and what is wrong with it."""
    return await checked(call, read_actions)


def _namespace(call: Call) -> str:
    return call.request.path_params.get("namespace") or call.namespace


@api(
    "GET",
    "/v2/actions/{identifier}",
    "/v2/actions/{identifier}/{namespace}",
    rule="actions:get",
    query=("namespace", "fields"),
    reply=ACTION,
)
async def get(call: Call) -> dict[str, Any]:
    """One action, by id, or by name in a namespace or else in the default one."""
    identifier, names = call.path("identifier"), ACTION.wanted(fields_of(call), _ALL)
    return {k: v for k, v in (await _found(call, identifier)).items() if k in names}


async def _found(call: Call, identifier: str) -> dict[str, Any]:
    try:
        row = await call.read(definitions.find_action, identifier, _namespace(call), call.viewer)
        return ACTION.record(await call.read(search.one, ACTION, row.id, _ALL), _ALL)
    except NotFound:
        pass
    for action in (*call.services.system_actions(), *await call.read(_dynamic, call.viewer)):
        if identifier in (action["id"], action["name"]) and action["namespace"] in (_namespace(call), ""):
            return action
    raise NotFound(f"Action not found [name={identifier}, namespace={_namespace(call)}]")


@api("GET", "/v2/actions", rule="actions:list", reply=Listing(ACTION, "actions"))
async def listed(call: Call) -> dict[str, Any]:
    """All actions of a namespace, the default one without `namespace`: few enough to be put in order in memory."""
    asked = wanted_page(call, ACTION)
    names = ACTION.wanted(fields_of(call), _ALL)
    given = dict(asked.filters)
    namespace = given.get("namespace", "")
    rows = await call.read(_adhoc, call.viewer)
    items = [ACTION.record(row, _ALL) for row in rows]
    items += [*call.services.system_actions(), *await call.read(_dynamic, call.viewer)]
    for name, value in {**given, "namespace": namespace}.items():
        attribute = ACTION.attribute(name)
        assert attribute is not None
        items = [item for item in items if _fits(attribute, item[name], value)]
    for key, direction in reversed(list(zip(asked.sort_keys, asked.sort_dirs, strict=True))):
        attribute = ACTION.attribute(key)
        if attribute is None or not attribute.sorts:
            raise InvalidInput(
                f"Cannot sort by '{key}'; possible are {', '.join(a.name for a in ACTION.attributes if a.sorts)}"
            )
        items.sort(
            key=lambda item: (item[key] is not None, item[key] or "", str(item["id"])), reverse=direction == "desc"
        )
    if asked.marker is not None:
        positions = [i for i, item in enumerate(items) if asked.marker in (item["id"], item["name"])]
        if not positions:
            raise NotFound(f"Action not found [marker={asked.marker}]")
        items = items[positions[0] + 1 :]
    shown = [{k: v for k, v in item.items() if k in names} for item in items[: asked.limit]]
    if "limit" not in call.query:
        return {"actions": shown}
    return paged(call, ACTION, asked, shown, "actions")


def _adhoc(connection: Any, viewer: Viewer) -> list[Any]:
    return list(connection.execute(ACTION.select(_ALL).where(viewer.sees(actions))).all())


def _dynamic(connection: Any, viewer: Viewer) -> list[dict[str, Any]]:
    """Dynamic actions, shown like the others."""
    table = dynamic_actions
    found = connection.execute(
        sa.select(table, code_sources.c.content)
        .join(code_sources, code_sources.c.id == table.c.code_source_id)
        .where(viewer.sees(table))
    )
    return [_shown(row) for row in found]


def _shown(row: Any) -> dict[str, Any]:
    try:
        info = dynamic.described(row.name, row.id, row.content, row.class_name)
    except ActionError:
        info = ActionInfo(row.name)
    given = ", ".join(p.name for p in info.parameters)
    missing = {
        "is_system": False,
        "input": given,
        "description": f"class {row.class_name}",
        "tags": "[]",
        "definition": "",
    }
    values = {a.name: getattr(row, a.name) for a in ACTION.attributes if a.name not in missing}
    return ACTION.record(SimpleNamespace(**values, **missing), _ALL)


def _fits(attribute: Attribute, value: Any, condition: str) -> bool:
    operator, separator, wanted = condition.partition(":")
    if not separator or operator not in OPERATORS:
        operator, wanted = "eq", condition
    if attribute.kind == "tags":
        has = [tag in (value or ()) for tag in wanted.split(",")]
        return {"in": any(has), "nin": not any(has), "neq": not all(has)}.get(operator, all(has))
    if attribute.kind == "time":
        for one in wanted.split(","):
            moment(one, attribute.name)
    if attribute.kind == "flag":
        truths = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
            "": False,
        }
        if wanted.lower() not in truths:
            raise InvalidInput(f"{attribute.name}: '{wanted}' is neither true nor false")
        return (value is truths[wanted.lower()]) != (operator == "neq")
    text = "" if value is None else str(value)
    decide = {
        "eq": text == wanted,
        "neq": text != wanted,
        "gt": text > wanted,
        "gte": text >= wanted,
        "lt": text < wanted,
        "lte": text <= wanted,
        "in": text in wanted.split(","),
        "nin": text not in wanted.split(","),
        "has": wanted in text,
    }
    return decide[operator]


@api(
    "DELETE",
    "/v2/actions/{identifier}",
    "/v2/actions/{identifier}/{namespace}",
    rule="actions:delete",
    query=("namespace",),
)
async def delete(call: Call) -> None:
    """Delete an ad-hoc action."""
    identifier = call.path("identifier")
    if any(a["name"] == identifier for a in call.services.system_actions()):
        raise WorkflowError(f"Attempt to delete a system action: {identifier}")
    await call.write(definitions.delete_action, identifier, _namespace(call), call.viewer)
