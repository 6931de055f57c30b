"""/v2/environments"""

from __future__ import annotations

from typing import Any

import msgspec

from gregale.api.call import Call
from gregale.api.endpoint import Endpoints, Listing
from gregale.api.wire import Encoded, listing, record
from gregale.core import InvalidInput
from gregale.store import environments as store
from gregale.store.attributes import Attribute, Resource
from gregale.store.schema import environments

_c = environments.c

ENVIRONMENT = Resource(
    "environments",
    "Environment",
    environments,
    _c.id,
    (
        Attribute("id", "id", _c.id, nullable=False),
        Attribute("name", "text", _c.name, nullable=False),
        Attribute("description", "text", _c.description),
        Attribute("variables", "object", _c.variables),
        Attribute("scope", "text", _c.scope, nullable=False),
        Attribute("project_id", "text", _c.project_id, nullable=False),
        Attribute("created_at", "time", _c.created_at, nullable=False),
        Attribute("updated_at", "time", _c.updated_at),
    ),
)

api = Endpoints("environments")


class EnvironmentBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`variables` replace the ones before as a whole."""

    name: str | None = None
    description: str | msgspec.UnsetType | None = msgspec.UNSET
    variables: Encoded = msgspec.UNSET
    scope: str | None = None


async def _save(call: Call, update: bool) -> dict[str, Any]:
    body = await call.json(EnvironmentBody)
    if not body.name or len(body.name) > 255:
        raise InvalidInput("'name' is required: 1 to 255 characters")
    values: dict[str, Any] = {"name": body.name}
    if body.description is not msgspec.UNSET:
        values["description"] = body.description
    if body.variables is not msgspec.UNSET:
        values["variables"] = call.obj(body.variables, "variables")
    owner = call.owner("environments", body.scope or "private")
    if body.scope is not None:
        values["scope"] = owner.scope
    return await record(call, ENVIRONMENT, await call.write(store.save, values, owner, update))


@api("POST", "/v2/environments", rule="environments:create", body=EnvironmentBody, reply=ENVIRONMENT)
async def create(call: Call) -> dict[str, Any]:
    """Create an environment."""
    return await _save(call, update=False)


@api("PUT", "/v2/environments", rule="environments:update", body=EnvironmentBody, reply=ENVIRONMENT)
async def update(call: Call) -> dict[str, Any]:
    """Change an environment: what is given, and nothing else."""
    return await _save(call, update=True)


@api("GET", "/v2/environments/{name}", rule="environments:get", query=("fields",), reply=ENVIRONMENT)
async def get(call: Call) -> dict[str, Any]:
    """One environment, by name."""
    found = await call.read(store.environment, call.path("name"), call.viewer)
    return await record(call, ENVIRONMENT, found.id)


@api("GET", "/v2/environments", rule="environments:list", reply=Listing(ENVIRONMENT, "environments"))
async def listed(call: Call) -> dict[str, Any]:
    """The environments of the project, and public ones."""
    return await listing(call, ENVIRONMENT, call.viewer.sees(environments))


@api("DELETE", "/v2/environments/{name}", rule="environments:delete")
async def delete(call: Call) -> None:
    """Delete an environment. What runs keeps the values it started with."""
    await call.write(store.delete, call.path("name"), call.viewer)
