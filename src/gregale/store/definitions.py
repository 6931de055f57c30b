"""Workflows, workbooks and ad-hoc actions: kept by (name, namespace, project)."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import Conflict, Definition, InvalidInput, NotAllowed, NotFound, WorkflowError
from gregale.language import ActionSpec, Document, WorkflowSpec
from gregale.language.spec import REQUIRED
from gregale.store import rows, triggers
from gregale.store.commit import save_specs
from gregale.store.load import specs_of
from gregale.store.ownership import Owner, Viewer, changed, find
from gregale.store.schema import actions, shares, workbooks, workflows


def spec_hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(rows.encode(body).encode()).hexdigest()


def _own(connection: Connection, table: sa.Table, name: str, owner: Owner) -> Any:
    return connection.execute(
        sa.select(table).where(
            table.c.name == name, table.c.namespace == owner.namespace, table.c.project_id == owner.project_id
        )
    ).first()


def save_workflows(connection: Connection, document: Document, owner: Owner, update: bool) -> list[Any]:
    """Create workflows, or replace existing ones. Raises Conflict, NotFound. Gives their rows in the order written."""
    ids = [_save_workflow(connection, s.name, s, document.texts[s.name], owner, "", update) for s in document.workflows]
    changed(connection)
    return [connection.execute(sa.select(workflows).where(workflows.c.id == i)).one() for i in ids]


def _save_workflow(
    connection: Connection, name: str, spec: WorkflowSpec, text: str, owner: Owner, workbook: str, update: bool | None
) -> str:
    body_hash = spec_hash(spec.body)
    save_specs(connection, {body_hash: spec.body})
    values = {
        "scope": owner.scope,
        "tags": rows.encode(spec.tags),
        "definition": text,
        "spec_hash": body_hash,
        "workbook": workbook,
        "is_system": owner.system,
        "checksum": None if workbook else hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
    }
    return _save(connection, workflows, "Workflow", name, values, owner, update)


def _save(
    connection: Connection,
    table: sa.Table,
    kind: str,
    name: str,
    values: dict[str, Any],
    owner: Owner,
    update: bool | None,
) -> str:
    """`update` None: create or replace."""
    found = _own(connection, table, name, owner)
    if found is None and update is True:
        found = find(connection, table, kind, name, owner.namespace, owner.viewer)
        owner.viewer.require_own(found, kind)
    if found is not None:
        _require_changeable(connection, table, found, owner)
    if found is not None and update is False:
        raise Conflict(
            f"{kind} already exists [name={name}, namespace={owner.namespace}, project_id={owner.project_id}]"
        )
    if found is not None:
        connection.execute(table.update().where(table.c.id == found.id).values(**values, updated_at=owner.now))
        return str(found.id)
    new_id = owner.new_id()
    connection.execute(
        table.insert(),
        {
            "id": new_id,
            "name": name,
            "namespace": owner.namespace,
            "project_id": owner.project_id,
            "created_at": owner.now,
            "updated_at": None,
            **values,
        },
    )
    return new_id


def _require_changeable(connection: Connection, table: sa.Table, found: Any, owner: Owner) -> None:
    """Raises WorkflowError for what came with Gregale, NotAllowed for taking away what triggers of other projects use."""
    if table is not workflows:
        return
    if found.is_system and not owner.system:
        raise WorkflowError(f"Attempt to modify a system workflow: {found.name}")
    if found.scope == "public" and owner.scope == "private":
        foreign = triggers.using(connection, found.id, found.project_id)
        if foreign:
            raise NotAllowed(
                f"The workflow '{found.name}' cannot be made private: triggers of other projects use it [triggers={', '.join(foreign)}]"
            )


def save_actions(connection: Connection, document: Document, owner: Owner, update: bool) -> list[Any]:
    """Create or replace ad-hoc actions. Raises Conflict, NotFound."""
    ids = [_save_action(connection, s.name, s, document.texts[s.name], owner, update) for s in document.actions]
    changed(connection)
    return [connection.execute(sa.select(actions).where(actions.c.id == i)).one() for i in ids]


def _save_action(
    connection: Connection, name: str, spec: ActionSpec, text: str, owner: Owner, update: bool | None
) -> str:
    values = {
        "scope": owner.scope,
        "tags": rows.encode(spec.tags),
        "definition": text,
        "body": rows.encode(spec.body),
        "input": shown_input(spec.input),
        "description": spec.description,
    }
    return _save(connection, actions, "Action", name, values, owner, update)


def shown_input(declared: dict[str, Any]) -> str:
    """`a, b=1` as an action's input is shown (API spec 1.4)."""
    return ", ".join(n if d is REQUIRED else f"{n}={rows.encode(d)}" for n, d in declared.items())


def save_workbook(connection: Connection, document: Document, text: str, owner: Owner, update: bool) -> Any:
    """Create or replace a workbook and, with it, its members. Raises Conflict, NotFound, InvalidInput."""
    book = document.workbook
    assert book is not None
    if " " in book.name:
        raise InvalidInput(f"Name '{book.name}' must not contain spaces")
    values = {"scope": owner.scope, "tags": rows.encode(book.tags), "definition": text}
    new_id = _save(connection, workbooks, "Workbook", book.name, values, owner, update)
    for name, action in book.actions.items():
        _save_action(connection, f"{book.name}.{name}", action, document.texts[name], owner, None)
    for name, workflow in book.workflows.items():
        _save_workflow(connection, f"{book.name}.{name}", workflow, document.texts[name], owner, book.name, None)
    changed(connection)
    return connection.execute(sa.select(workbooks).where(workbooks.c.id == new_id)).one()


def find_workflow(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> Any:
    """Raises NotFound."""
    return find(connection, workflows, "Workflow", identifier, namespace, viewer)


def definition(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> Definition | None:
    """A workflow ready to run, or None."""
    try:
        row = find_workflow(connection, identifier, namespace, viewer)
    except NotFound:
        return None
    spec = specs_of(connection, {row.spec_hash})[row.spec_hash]
    return Definition(row.id, row.name, row.namespace, spec, row.spec_hash, row.workbook, row.project_id)


def find_action(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> Any:
    """An ad-hoc action in the namespace or else in the default one. Raises NotFound."""
    for candidate in dict.fromkeys((namespace, "")):
        try:
            return find(connection, actions, "Action", identifier, candidate, viewer)
        except NotFound:
            continue
    raise NotFound(f"Action not found [name={identifier}, namespace={namespace}]")


def delete_workflow(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> None:
    """Raises NotFound, NotAllowed, WorkflowError while a trigger of any project uses it."""
    found = find_workflow(connection, identifier, namespace, viewer)
    viewer.require_own(found, "Workflow")
    if found.is_system and not viewer.admin:
        raise WorkflowError(f"Attempt to delete a system workflow: {found.name}")
    used = triggers.using(connection, found.id)
    if used:
        raise WorkflowError(
            f"Can't delete workflow '{found.name}' that has triggers associated [triggers={', '.join(used)}]"
        )
    connection.execute(shares.delete().where(shares.c.workflow_id == found.id))
    connection.execute(workflows.delete().where(workflows.c.id == found.id))
    changed(connection)


def delete_action(connection: Connection, identifier: str, namespace: str, viewer: Viewer) -> None:
    """Raises NotFound, NotAllowed."""
    found = find_action(connection, identifier, namespace, viewer)
    viewer.require_own(found, "Action")
    connection.execute(actions.delete().where(actions.c.id == found.id))
    changed(connection)


def delete_workbook(connection: Connection, name: str, namespace: str, viewer: Viewer) -> None:
    """Its workflows and actions stay. Raises NotFound, NotAllowed."""
    found = find(connection, workbooks, "Workbook", name, namespace, viewer)
    viewer.require_own(found, "Workbook")
    connection.execute(workbooks.delete().where(workbooks.c.id == found.id))
    changed(connection)


def install(connection: Connection, document: Document, owner: Owner) -> None:
    """Public workflows that come with Gregale; those that are there already are brought up to date."""
    for spec in document.workflows:
        _save_workflow(connection, spec.name, spec, document.texts[spec.name], owner, "", None)
    changed(connection)
