"""Workflows, workbooks, ad-hoc actions and environments: kept by (name, namespace, project)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import Conflict, Definition, InvalidInput, NotFound
from gregale.language import ActionSpec, Document, WorkflowSpec
from gregale.language.spec import REQUIRED
from gregale.store import rows
from gregale.store.commit import save_specs
from gregale.store.load import spec_of
from gregale.store.schema import actions, changes, environments, specs, workbooks, workflows


class Owner(msgspec.Struct, frozen=True):
    """Whose a definition is, and where it is kept. `now` in seconds; `new_id` gives fresh ids."""

    project_id: str
    now: float
    new_id: Callable[[], str]
    namespace: str = ""
    scope: str = "private"


def change_number(connection: Connection) -> int:
    """Grows with every change of a definition."""
    found = connection.scalar(sa.select(changes.c.number).where(changes.c.what == "definitions"))
    return int(found or 0)


def _changed(connection: Connection) -> None:
    updated = connection.execute(
        changes.update().where(changes.c.what == "definitions").values(number=changes.c.number + 1)
    )
    if updated.rowcount == 0:
        connection.execute(changes.insert(), {"what": "definitions", "number": 1})


def spec_hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(rows.encode(body).encode()).hexdigest()


def visible(table: sa.Table, project_id: str) -> sa.ColumnElement[bool]:
    return sa.or_(table.c.project_id == project_id, table.c.scope == "public")


def _own(connection: Connection, table: sa.Table, name: str, owner: Owner) -> Any:
    return connection.execute(
        sa.select(table).where(
            table.c.name == name, table.c.namespace == owner.namespace, table.c.project_id == owner.project_id
        )
    ).first()


def save_workflows(connection: Connection, document: Document, owner: Owner, update: bool) -> list[Any]:
    """Create workflows, or replace existing ones. Raises Conflict, NotFound. Gives their rows in the order written."""
    ids = [_save_workflow(connection, s.name, s, document.texts[s.name], owner, "", update) for s in document.workflows]
    _changed(connection)
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
    if found is not None and update is False:
        raise Conflict(
            f"{kind} already exists [name={name}, namespace={owner.namespace}, project_id={owner.project_id}]"
        )
    if found is None and update is True:
        raise NotFound(f"{kind} not found [name={name}, namespace={owner.namespace}]")
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


def save_actions(connection: Connection, document: Document, owner: Owner, update: bool) -> list[Any]:
    """Create or replace ad-hoc actions. Raises Conflict, NotFound."""
    ids = [_save_action(connection, s.name, s, document.texts[s.name], owner, update) for s in document.actions]
    _changed(connection)
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
    _changed(connection)
    return connection.execute(sa.select(workbooks).where(workbooks.c.id == new_id)).one()


def find(connection: Connection, table: sa.Table, kind: str, identifier: str, namespace: str, project_id: str) -> Any:
    """A definition by id, or by name in a namespace; the caller's own before a public one. Raises NotFound."""
    found = connection.execute(
        sa.select(table)
        .where(
            visible(table, project_id),
            sa.or_(table.c.id == identifier, sa.and_(table.c.name == identifier, table.c.namespace == namespace)),
        )
        .order_by(sa.case((table.c.project_id == project_id, 0), else_=1))
        .limit(1)
    ).first()
    if found is None:
        raise NotFound(f"{kind} not found [name={identifier}, namespace={namespace}]")
    return found


def find_workflow(connection: Connection, identifier: str, namespace: str, project_id: str) -> Any:
    return find(connection, workflows, "Workflow", identifier, namespace, project_id)


def definition(connection: Connection, identifier: str, namespace: str, project_id: str) -> Definition | None:
    """A workflow ready to run, or None."""
    try:
        row = find_workflow(connection, identifier, namespace, project_id)
    except NotFound:
        return None
    body = connection.scalar(sa.select(specs.c.body).where(specs.c.hash == row.spec_hash))
    assert body is not None
    return Definition(
        row.id, row.name, row.namespace, spec_of(row.spec_hash, body), row.spec_hash, row.workbook, row.project_id
    )


def adhoc(connection: Connection, name: str, namespace: str, project_id: str) -> Any:
    """An ad-hoc action's row by name, in the namespace or else in the default one; None when there is none."""
    for candidate in dict.fromkeys((namespace, "")):
        try:
            return find(connection, actions, "Action", name, candidate, project_id)
        except NotFound:
            continue
    return None


def delete(
    connection: Connection, table: sa.Table, kind: str, identifier: str, namespace: str, project_id: str
) -> None:
    """Raises NotFound."""
    found = find(connection, table, kind, identifier, namespace, project_id)
    if found.project_id != project_id:
        raise NotFound(f"{kind} not found [name={identifier}, namespace={namespace}]")
    connection.execute(table.delete().where(table.c.id == found.id))
    _changed(connection)


def environment(connection: Connection, name: str, project_id: str) -> Any:
    """Raises NotFound."""
    found = connection.execute(
        sa.select(environments)
        .where(environments.c.name == name, visible(environments, project_id))
        .order_by(sa.case((environments.c.project_id == project_id, 0), else_=1))
        .limit(1)
    ).first()
    if found is None:
        raise NotFound(f"Environment not found [name={name}]")
    return found


def save_environment(connection: Connection, values: dict[str, Any], owner: Owner, update: bool) -> Any:
    """`values`: name, and description, variables, scope where given. Raises Conflict, NotFound."""
    name = values["name"]
    found = connection.execute(
        sa.select(environments).where(environments.c.name == name, environments.c.project_id == owner.project_id)
    ).first()
    if "variables" in values:
        values = {**values, "variables": rows.encode(values["variables"])}
    if update:
        if found is None:
            raise NotFound(f"Environment not found [name={name}]")
        connection.execute(
            environments.update().where(environments.c.id == found.id).values(**values, updated_at=owner.now)
        )
        key = found.id
    else:
        if found is not None:
            raise Conflict(f"Environment already exists [name={name}, project_id={owner.project_id}]")
        key = owner.new_id()
        fixed = {"id": key, "project_id": owner.project_id, "created_at": owner.now, "updated_at": None}
        connection.execute(
            environments.insert(), {"scope": "private", "variables": "{}", "description": None, **values, **fixed}
        )
    _changed(connection)
    return connection.execute(sa.select(environments).where(environments.c.id == key)).one()


def delete_environment(connection: Connection, name: str, project_id: str) -> None:
    """Raises NotFound."""
    found = environment(connection, name, project_id)
    connection.execute(environments.delete().where(environments.c.id == found.id))
    _changed(connection)
