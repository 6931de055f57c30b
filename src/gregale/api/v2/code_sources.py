"""/v2/code_sources and /v2/dynamic_actions: actions as Python text, for administrators."""

from __future__ import annotations

from typing import Any

import msgspec

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.wire import listing, record
from gregale.core import InvalidInput
from gregale.store import sources
from gregale.store.attributes import Attribute, Resource
from gregale.store.ownership import Owner
from gregale.store.schema import code_sources, dynamic_actions

_s, _d = code_sources.c, dynamic_actions.c

CODE_SOURCE = Resource(
    "code_sources",
    "CodeSource",
    code_sources,
    _s.id,
    (
        Attribute("id", "id", _s.id, nullable=False),
        Attribute("name", "text", _s.name, nullable=False),
        Attribute("namespace", "text", _s.namespace, nullable=False),
        Attribute("content", "text", _s.content, nullable=False),
        Attribute("version", "number", _s.version, nullable=False),
        Attribute("tags", "tags", _s.tags),
        Attribute("scope", "text", _s.scope, nullable=False),
        Attribute("project_id", "text", _s.project_id, nullable=False),
        Attribute("actions", "tags", None, lambda _: []),
        Attribute("created_at", "time", _s.created_at, nullable=False),
        Attribute("updated_at", "time", _s.updated_at),
    ),
)
DYNAMIC_ACTION = Resource(
    "dynamic_actions",
    "DynamicAction",
    dynamic_actions.join(code_sources, _s.id == _d.code_source_id),
    _d.id,
    (
        Attribute("id", "id", _d.id, nullable=False),
        Attribute("name", "text", _d.name, nullable=False),
        Attribute("namespace", "text", _d.namespace, nullable=False),
        Attribute("code_source_id", "id", _d.code_source_id, nullable=False),
        Attribute("code_source_name", "text", _s.name, nullable=False),
        Attribute("class_name", "text", _d.class_name, nullable=False),
        Attribute("scope", "text", _d.scope, nullable=False),
        Attribute("project_id", "text", _d.project_id, nullable=False),
        Attribute("created_at", "time", _d.created_at, nullable=False),
        Attribute("updated_at", "time", _d.updated_at),
    ),
)
_PATHS = ("/v2/code_sources", "/v2/code_sources/{identifier}")

api = Endpoints("code sources and dynamic actions")


class DynamicActionBody(msgspec.Struct, forbid_unknown_fields=True):
    """A class in a code source, which is named by id or by name."""

    name: str | None = None
    class_name: str | None = None
    code_source_id: str | None = None
    code_source_name: str | None = None
    scope: str | None = None
    namespace: str | None = None
    id: str | None = None
    created_at: Any = None
    updated_at: Any = None


@api(
    "POST",
    "/v2/code_sources",
    rule="code_sources:create",
    query=("name", "scope", "namespace"),
    lenient=True,
    body="text",
    reply=CODE_SOURCE,
)
async def create_source(call: Call) -> dict[str, Any]:
    """Store Python text under a name."""
    name = call.query.get("name")
    if not name or len(name) > 255:
        raise InvalidInput("The parameter 'name' is required: 1 to 255 characters")
    key = await call.write(sources.create_source, name, await call.text(), call.owner("code_sources"))
    return await record(call, CODE_SOURCE, key)


@api(
    "PUT",
    *_PATHS,
    rule="code_sources:update",
    query=("identifier", "scope", "namespace"),
    lenient=True,
    body="text",
    reply=CODE_SOURCE,
)
async def update_source(call: Call) -> dict[str, Any]:
    """Store the next version of a code source."""
    identifier = call.request.path_params.get("identifier") or call.query.get("identifier")
    if not identifier:
        raise InvalidInput("The parameter 'identifier' is required: the id or name of a code source")
    owner = call.owner("code_sources")
    key = await call.write(sources.update_source, identifier, await call.text(), owner, call.query.get("scope"))
    return await record(call, CODE_SOURCE, key)


@api("GET", "/v2/code_sources/{identifier}", rule="code_sources:get", query=("namespace", "fields"), reply=CODE_SOURCE)
async def get_source(call: Call) -> dict[str, Any]:
    """One code source, by id, or by name in a namespace."""
    found = await call.read(sources.code_source, call.path("identifier"), call.namespace, call.viewer)
    return await record(call, CODE_SOURCE, found.id)


@api("GET", "/v2/code_sources", rule="code_sources:list", reply=Listing(CODE_SOURCE, "code_sources"))
async def list_sources(call: Call) -> dict[str, Any]:
    """Code sources."""
    return await listing(call, CODE_SOURCE, call.viewer.sees(code_sources))


@api("DELETE", "/v2/code_sources/{identifier}", rule="code_sources:delete", query=("namespace",))
async def delete_source(call: Call) -> None:
    """Delete a code source, and its dynamic actions with it."""
    await call.write(sources.delete_source, call.path("identifier"), call.namespace, call.viewer)


def _owner(call: Call, body: DynamicActionBody) -> Owner:
    scope = call.scope("dynamic_actions", body.scope)
    engine = call.engine
    return Owner(call.who.project_id, engine.clock(), engine.new_id, body.namespace or "", scope, call.who.admin)


@api("POST", "/v2/dynamic_actions", rule="dynamic_actions:create", body=DynamicActionBody, reply=DYNAMIC_ACTION)
async def create_action(call: Call) -> dict[str, Any]:
    """Make a class of a code source an action."""
    body = await call.json(DynamicActionBody)
    source = body.code_source_id or body.code_source_name
    if not source:
        raise InvalidInput("Either 'code_source_id' or 'code_source_name' is required")
    if not body.name or not body.class_name or len(body.name) > 255 or len(body.class_name) > 255:
        raise InvalidInput("'name' and 'class_name' are required: 1 to 255 characters each")
    key = await call.write(sources.create_action, body.name, body.class_name, source, _owner(call, body))
    return await record(call, DYNAMIC_ACTION, key)


@api("PUT", "/v2/dynamic_actions", rule="dynamic_actions:update", body=DynamicActionBody, reply=DYNAMIC_ACTION)
async def update_action(call: Call) -> dict[str, Any]:
    """Change a dynamic action, which the body names by id or name: what is given, and nothing else."""
    body = await call.json(DynamicActionBody)
    identifier = body.id or body.name
    if not identifier:
        raise InvalidInput("Either 'id' or 'name' is required")
    values = {}
    if body.id and body.name:
        values["name"] = body.name
    if body.class_name:
        values["class_name"] = body.class_name
    if body.scope:
        values["scope"] = body.scope
    source = body.code_source_id or body.code_source_name
    key = await call.write(sources.update_action, identifier, _owner(call, body), values, source)
    return await record(call, DYNAMIC_ACTION, key)


@api(
    "GET",
    "/v2/dynamic_actions/{identifier}",
    rule="dynamic_actions:get",
    query=("namespace", "fields"),
    reply=DYNAMIC_ACTION,
)
async def get_action(call: Call) -> dict[str, Any]:
    """One dynamic action, by id, or by name in a namespace."""
    found = await call.read(sources.dynamic_action, call.path("identifier"), call.namespace, call.viewer)
    return await record(call, DYNAMIC_ACTION, found.id)


@api("GET", "/v2/dynamic_actions", rule="dynamic_actions:list", reply=Listing(DYNAMIC_ACTION, "dynamic_actions"))
async def list_actions(call: Call) -> dict[str, Any]:
    """Dynamic actions."""
    return await listing(call, DYNAMIC_ACTION, call.viewer.sees(dynamic_actions))


@api("DELETE", "/v2/dynamic_actions/{identifier}", rule="dynamic_actions:delete", query=("namespace",))
async def delete_action(call: Call) -> None:
    """Delete a dynamic action; its code source stays."""
    await call.write(sources.delete_action, call.path("identifier"), call.namespace, call.viewer)
