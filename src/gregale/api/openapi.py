"""The OpenAPI document, made from the endpoints themselves, and a page to read it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gregale import __version__
from gregale.api.endpoint import PAGING, Endpoint, Listing
from gregale.api.problems import STATUSES
from gregale.store.attributes import Attribute, Resource

_KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": ["string", "null"]},
    "id": {"type": ["string", "null"]},
    "object": {"type": ["string", "object", "null"], "description": "JSON as text"},
    "flag": {"type": ["boolean", "null"]},
    "time": {"type": ["string", "null"], "description": "UTC, YYYY-MM-DD HH:MM:SS"},
    "number": {"type": ["integer", "null"]},
    "tags": {"type": ["array", "null"], "items": {"type": "string"}},
}
_QUERY = {
    "limit": ("At most so many items, 1 or more", {"type": "integer", "minimum": 1}),
    "marker": ("The id of the last item of the page before", {"type": "string"}),
    "sort_keys": ("Attributes to sort by, with commas", {"type": "string"}),
    "sort_dirs": (
        "asc or desc for each of them, with commas",
        {"type": "string", "pattern": "^(asc|desc)(,(asc|desc))*$"},
    ),
    "fields": ("Show only these attributes, with commas", {"type": "string"}),
    "namespace": ("The namespace of a definition", {"type": "string"}),
    "scope": ("private or public", {"type": "string", "enum": ["private", "public"]}),
    "max_depth": ("Levels below; negative is no bound", {"type": "integer"}),
    "last_event_id": ("Begin after this event; 0 is the oldest kept", {"type": "string", "pattern": "^[0-9]{1,9}$"}),
}
_FLAGS = ("include_output", "all_projects", "force", "errors_only", "statistics_only", "skip_validation")
_FAULT = {
    "type": "object",
    "required": ["faultstring"],
    "properties": {
        "faultcode": {"type": "string", "enum": ["Client", "Server"]},
        "faultstring": {"type": "string"},
        "debuginfo": {"type": "null"},
    },
}


def schema_of(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document as a value (OpenAPI 3.1)."""
    components: dict[str, Any] = {"Fault": _FAULT}
    bodies = {e.body for e in endpoints if isinstance(e.body, type)}
    _, made = msgspec.json.schema_components(list(bodies), ref_template="#/components/schemas/{name}")
    components |= made
    paths: dict[str, Any] = {}
    for e in endpoints:
        for resource in _resources(e.reply):
            components[resource.title] = _record(resource)
        paths.setdefault(e.path, {})[e.method.lower()] = _operation(e)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gregale",
            "version": __version__,
            "description": "The workflow service for work that must finish.",
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _resources(reply: Any) -> list[Resource]:
    if isinstance(reply, Listing):
        return [reply.of]
    if isinstance(reply, list):
        return list(reply)
    return [reply] if isinstance(reply, Resource) else []


def _record(resource: Resource) -> dict[str, Any]:
    return {"type": "object", "properties": {a.name: _KINDS[a.kind] for a in resource.attributes}}


def _operation(e: Endpoint) -> dict[str, Any]:
    first, _, rest = e.summary.partition("\n")
    described: dict[str, Any] = {
        "operationId": f"{e.method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', e.path)}",
        "tags": [e.tag],
        "summary": first,
        "parameters": [
            *(
                {"name": n, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for n in re.findall(r"{(\w+)}", e.path)
            ),
            *(_parameter(e, name) for name in e.parameters),
        ],
        "responses": {
            str(e.status): _reply(e),
            **{str(s): _fault(s) for s in STATUSES},
        },
    }
    if rest.strip():
        described["description"] = " ".join(rest.split())
    if e.body == "text":
        described["requestBody"] = {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}
    elif e.body is not None:
        reference = {"$ref": f"#/components/schemas/{e.body.__name__}"}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    if e.open:
        described["security"] = []
    return described


def _parameter(e: Endpoint, name: str) -> dict[str, Any]:
    attribute = e.reply.of.attribute(name) if isinstance(e.reply, Listing) else None
    if attribute is not None and name not in PAGING and name not in e.query:
        return {"name": name, "in": "query", "description": _filter(attribute), "schema": {"type": "string"}}
    if name in _FLAGS:
        return {"name": name, "in": "query", "schema": {"type": "boolean"}}
    description, schema = _QUERY.get(name, ("", {"type": "string"}))
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _filter(attribute: Attribute) -> str:
    if attribute.kind == "tags":
        return "Tags with commas: those that have all of them"
    value = "YYYY-MM-DD HH:MM:SS" if attribute.kind == "time" else "value"
    return f"{value}, or eq: neq: gt: gte: lt: lte: in: nin: has: before it"


def _reply(e: Endpoint) -> dict[str, Any]:
    if e.reply is None:
        return {"description": "Done" if e.status == 204 else "See there"}
    if isinstance(e.reply, dict):
        for kind in ("text/event-stream", "text/plain"):
            if kind in e.reply:
                return {"description": "Text", "content": {kind: {"schema": {"type": "string"}}}}
    return {"description": "Done", "content": {"application/json": {"schema": _shape(e.reply)}}}


def _shape(reply: Any) -> dict[str, Any]:
    if isinstance(reply, Resource):
        return {"$ref": f"#/components/schemas/{reply.title}"}
    if isinstance(reply, dict):
        return reply
    resource, key = (reply.of, reply.key) if isinstance(reply, Listing) else (reply[0], reply[0].name)
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{resource.title}"}}
    return {
        "type": "object",
        "required": [key],
        "properties": {key: items, "next": {"type": "string", "format": "uri"}},
    }


def _fault(status: int) -> dict[str, Any]:
    return {
        "description": _REASONS[status],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}},
    }


_REASONS = {
    400: "The request is wrong; faultstring says what",
    401: "Who asks is not known",
    403: "Not allowed to this caller, or not in this state",
    404: "There is none, or none that this caller may see",
    405: "Not possible here",
    409: "It exists already",
    410: "Not kept any more",
    413: "The body is too large",
    415: "The content type is not supported",
    423: "The cluster is in maintenance",
    429: "Too many requests of this project; see Retry-After",
    503: "Something that is needed is away; see Retry-After",
}

_PAGE = Path(__file__).parent / "docs.html"


def document(endpoints: Sequence[Endpoint]) -> Callable[[Request], Awaitable[Response]]:
    whole = msgspec.json.encode(schema_of(endpoints))

    async def openapi_json(request: Request) -> Response:
        del request
        return Response(whole, media_type="application/json")

    return openapi_json


async def page(request: Request) -> Response:
    """The document for people."""
    del request
    return HTMLResponse(_PAGE.read_text(encoding="utf-8"))
