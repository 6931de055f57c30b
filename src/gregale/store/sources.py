"""Code sources, and the dynamic actions whose classes they hold."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import Conflict, NotFound
from gregale.store.ownership import Owner, Viewer, changed, find
from gregale.store.schema import code_sources, dynamic_actions


def code_source(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> Any:
    """Raises NotFound."""
    return find(connection, code_sources, "CodeSource", identifier, namespace, viewer)


def dynamic_action(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> Any:
    """Raises NotFound."""
    return find(connection, dynamic_actions, "DynamicAction", identifier, namespace, viewer)


def create_source(connection: Connection, name: str, content: str, owner: Owner) -> str:
    """Gives the id. Raises Conflict."""
    _absent(connection, code_sources, "CodeSource", name, owner)
    values = {"content": content, "version": 1, "tags": "[]", "scope": owner.scope}
    return _insert(connection, code_sources, name, values, owner)


def update_source(connection: Connection, identifier: str, content: str, owner: Owner, scope: str | None) -> str:
    """The next version of a source. Gives the id. Raises NotFound, NotAllowed."""
    found = code_source(connection, identifier, owner.namespace, owner.viewer)
    owner.viewer.require_own(found, "CodeSource")
    values = {"content": content, "version": found.version + 1, "updated_at": owner.now, "scope": scope or found.scope}
    connection.execute(code_sources.update().where(code_sources.c.id == found.id).values(values))
    changed(connection)
    return str(found.id)


def delete_source(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> None:
    """With its dynamic actions. Raises NotFound, NotAllowed."""
    found = code_source(connection, identifier, namespace, viewer)
    viewer.require_own(found, "CodeSource")
    connection.execute(dynamic_actions.delete().where(dynamic_actions.c.code_source_id == found.id))
    connection.execute(code_sources.delete().where(code_sources.c.id == found.id))
    changed(connection)


def create_action(connection: Connection, name: str, class_name: str, source: str, owner: Owner) -> str:
    """`source`: id or name of the code source. Gives the id. Raises Conflict, NotFound."""
    _absent(connection, dynamic_actions, "DynamicAction", name, owner)
    found = code_source(connection, source, owner.namespace, owner.viewer)
    values = {"class_name": class_name, "code_source_id": found.id, "scope": owner.scope}
    return _insert(connection, dynamic_actions, name, values, owner)


def update_action(
    connection: Connection, identifier: str, owner: Owner, values: dict[str, Any], source: str | None
) -> str:
    """Only what is given changes. Gives the id. Raises NotFound, NotAllowed."""
    found = dynamic_action(connection, identifier, owner.namespace, owner.viewer)
    owner.viewer.require_own(found, "DynamicAction")
    if source is not None:
        values = {**values, "code_source_id": code_source(connection, source, owner.namespace, owner.viewer).id}
    connection.execute(
        dynamic_actions.update().where(dynamic_actions.c.id == found.id).values(**values, updated_at=owner.now)
    )
    changed(connection)
    return str(found.id)


def delete_action(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> None:
    """Raises NotFound, NotAllowed."""
    found = dynamic_action(connection, identifier, namespace, viewer)
    viewer.require_own(found, "DynamicAction")
    connection.execute(dynamic_actions.delete().where(dynamic_actions.c.id == found.id))
    changed(connection)


def class_source(connection: Connection, dynamic_action_id: str) -> tuple[str, str, str, int]:
    """(class name, source text, source id, version) of a dynamic action. Raises NotFound."""
    found = connection.execute(
        sa.select(dynamic_actions.c.class_name, code_sources.c.content, code_sources.c.id, code_sources.c.version)
        .join(code_sources, code_sources.c.id == dynamic_actions.c.code_source_id)
        .where(dynamic_actions.c.id == dynamic_action_id)
    ).first()
    if found is None:
        raise NotFound(f"DynamicAction not found [id={dynamic_action_id}]")
    return found.class_name, found.content, found.id, found.version


def _absent(connection: Connection, table: sa.Table, kind: str, name: str, owner: Owner) -> None:
    where = (table.c.name == name, table.c.namespace == owner.namespace, table.c.project_id == owner.project_id)
    if connection.execute(sa.select(table.c.id).where(*where)).first() is not None:
        raise Conflict(
            f"{kind} already exists [name={name}, namespace={owner.namespace}, project_id={owner.project_id}]"
        )


def _insert(connection: Connection, table: sa.Table, name: str, values: dict[str, Any], owner: Owner) -> str:
    key = owner.new_id()
    fixed = {"id": key, "name": name, "namespace": owner.namespace, "project_id": owner.project_id}
    connection.execute(table.insert(), {**values, **fixed, "created_at": owner.now, "updated_at": None})
    changed(connection)
    return key
