"""Commits: the swap, the terminal guard, migrations, one process per file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import Connection

from gregale.core import Pause, Stop, Work, WorkflowError, decide
from gregale.language import read_actions, read_workflows
from gregale.language.read import read_workbook_document
from gregale.store import (
    Database,
    StoreError,
    SwapLost,
    Unavailable,
    commit,
    definitions,
    load,
    migrate,
    removal,
    upgrade,
)
from gregale.store.bulk import Writes
from gregale.store.ownership import Owner, Viewer, change_number
from gregale.store.schema import action_executions, contexts, executions, garbage, metadata, specs, tasks
from tests.play import Play, play


@pytest.fixture
def database(any_database: str) -> Iterator[Database]:
    made = Database(any_database)
    upgrade(made)
    yield made
    made.close()


def stored(database: Database, text: str = "wf: {tasks: {a: {action: std.async_noop}}}") -> Play:
    """A played execution, written as it is."""
    p = play(text)
    work = Work(p.execution, p.world.decision(), created=True)
    work.id_given = True
    work.tasks = dict(p.execution.tasks.items())
    work.children = dict(p.execution.children.items())
    work.original.tasks = type(p.execution.tasks)()
    work.original.children = type(p.execution.children)()
    database.write(commit, [work])
    return p


def test_migrations_give_exactly_the_schema(database: Database) -> None:
    upgrade(database)  # a second time changes nothing
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="use a newer Gregale"):
        upgrade(database)


def test_an_sqlite_file_serves_one_process(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/g.sqlite")
    database.hold()
    with pytest.raises(StoreError, match="Another Gregale process uses"):
        Database(database.url).hold()
    database.close()
    again = Database(database.url)
    again.hold()
    again.close()


def test_durability_is_what_was_asked_for(tmp_path: Path) -> None:
    for durability, number in (("full", 2), ("normal", 1)):
        made = Database(f"sqlite:///{tmp_path}/{durability}.sqlite", durability)  # type: ignore[arg-type]
        with made.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == number
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        made.close()


def test_the_loser_of_a_swap_writes_nothing_and_the_batch_is_rolled_back(database: Database) -> None:
    p = stored(database)
    [mine] = database.read(load, [p.id])
    first, second = Work(mine, p.world.decision()), Work(mine, p.world.decision())
    first.execution.state_info = "first"
    second.execution.state_info = "second"
    database.write(commit, [first])
    with pytest.raises(SwapLost) as e:
        database.write(commit, [second])
    assert e.value.execution_ids == {p.id}
    [now] = database.read(load, [p.id])
    assert (now.state_info, now.revision) == ("first", mine.revision + 1)


def test_terminal_is_terminal_in_the_guard_of_the_update_too(database: Database) -> None:
    p = stored(database)
    [seen] = database.read(load, [p.id])
    with database.engine.begin() as connection:  # somebody ended it without raising the revision
        connection.execute(executions.update().where(executions.c.id == p.id).values(state="CANCELLED"))
    late = Work(seen, p.world.decision())
    late.execution.state_info = "still running, I believe"
    with pytest.raises(SwapLost):
        database.write(commit, [late])


def test_a_body_is_stored_once_however_many_executions_run_it(database: Database) -> None:
    p = stored(database)
    database.write(removal.remove, p.id)
    while database.write(removal.collect):
        pass
    p = stored(database)
    with database.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(specs)) == 1
    assert database.read(load, [p.id])[0].spec.tasks["a"].action == "std.async_noop"


def test_loading_what_does_not_exist_gives_nothing(database: Database) -> None:
    assert database.read(load, ["nope"]) == []
    assert database.read(load, []) == []


def test_decisions_on_loaded_state_go_on_where_rows_ended(database: Database) -> None:
    p = stored(database)
    [loaded] = database.read(load, [p.id])
    p.world.executions_by_id[p.id] = loaded
    p.finish("a", {"x": 1})
    assert p.state == "SUCCESS"
    assert p.result("a") == {"x": 1}


def owner(project: str = "p", namespace: str = "", scope: str = "private") -> Owner:
    return Owner(project, 1.0, lambda: str(uuid.uuid4()), namespace, scope)


WF = "version: '2.0'\nwf: {tasks: {t: {action: std.noop}}}\n"


def test_definitions_are_unique_per_name_namespace_and_project(database: Database) -> None:
    from gregale.core import Conflict, NotFound

    document = read_workflows(WF)
    for o in (owner(), owner(namespace="n"), owner("q")):
        database.write(definitions.save_workflows, document, o, False)
    with pytest.raises(Conflict):
        database.write(definitions.save_workflows, document, owner(), False)
    with pytest.raises(NotFound):
        database.write(definitions.save_workflows, document, owner(namespace="other"), True)


def test_two_processes_that_start_at_once_bring_the_same_workflows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = read_workflows("version: '2.0'\nstd.w: {tasks: {a: {action: std.noop}}}")
    owner = Owner("p", 1.0, lambda: str(uuid.uuid4()), scope="public", system=True)
    save = definitions.save_specs
    others = [1] if database.is_server else []

    def while_another_comes_first(connection: Connection, bodies: dict[str, Any]) -> None:
        if others:
            others.pop()
            database.write(definitions.install, document, owner)
        save(connection, bodies)

    monkeypatch.setattr(definitions, "save_specs", while_another_comes_first)
    database.write(definitions.install, document, owner)
    database.write(definitions.install, document, owner)
    assert others == []
    with pytest.raises(WorkflowError, match="system workflow"):
        database.write(definitions.save_workflows, document, Owner("p", 2.0, lambda: "x"), True)


def test_own_definitions_come_before_public_ones_and_others_are_invisible(database: Database) -> None:
    document = read_workflows(WF)
    database.write(definitions.save_workflows, document, owner("other", scope="public"), False)
    assert database.read(definitions.definition, "wf", "", Viewer("me")).project_id == "other"  # type: ignore[union-attr]
    database.write(definitions.save_workflows, document, owner("me"), False)
    assert database.read(definitions.definition, "wf", "", Viewer("me")).project_id == "me"  # type: ignore[union-attr]
    database.write(definitions.save_workflows, document, owner("me", "hidden"), False)
    assert database.read(definitions.definition, "wf", "hidden", Viewer("other")) is None


def test_workbook_members_are_stored_by_their_full_name_and_updated_by_a_second_upload(database: Database) -> None:
    text = "{{name: wb, version: '2.0', actions: {{a: {{base: std.noop}}}}, workflows: {{w: {{tags: [{}], tasks: {{t: {{action: a}}}}}}}}}}"
    before = database.read(change_number)
    database.write(definitions.save_workbook, read_workbook_document(text.format("x")), text, owner(), False)
    database.write(definitions.save_workbook, read_workbook_document(text.format("y")), text, owner(), True)
    found = database.read(definitions.definition, "wb.w", "", Viewer("p"))
    assert found is not None
    assert (found.workbook, found.spec.tags) == ("wb", ("y",))
    assert database.read(definitions.find_action, "wb.a", "anywhere", Viewer("p")).name == "wb.a"
    assert database.read(change_number) > before


def test_adhoc_actions_are_stored_with_the_input_as_shown(database: Database) -> None:
    [row] = database.write(
        definitions.save_actions,
        read_actions("{version: '2.0', a: {base: std.noop, input: [s, {d: 5}, {z: q}]}}"),
        owner(),
        False,
    )
    assert row.input == 's, d=5, z="q"'


def test_deleting_takes_the_execution_at_once_and_collects_the_rest_in_steps(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_STEP", 1)
    p = stored(database, "wf: {tasks: {a: {action: std.async_noop}, b: {action: std.async_noop}}}")
    assert database.write(removal.remove, p.id) == [p.id]
    assert database.write(removal.remove, p.id) == []  # somebody else was faster
    counts = []
    with database.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(executions)) == 0
        counts.append(connection.scalar(sa.select(sa.func.count()).select_from(tasks)))
    steps = 0
    while database.write(removal.collect):
        steps += 1
    assert counts == [2]
    assert steps >= 4  # a row at a time
    with database.engine.connect() as connection:
        for table in (tasks, action_executions, contexts, garbage):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0, table.name


def test_an_id_is_not_used_again_before_what_its_predecessor_left_is_collected(database: Database) -> None:
    p = stored(database)
    database.write(removal.remove, p.id)
    with pytest.raises(SwapLost):
        stored(database)
    while database.write(removal.collect):
        pass
    stored(database)


def test_a_database_of_the_first_revision_is_brought_up_to_date_with_its_data(tmp_path: Path) -> None:
    made = Database(f"sqlite:///{tmp_path}/old.sqlite")
    config = migrate.config()
    with made.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    source = Database(f"sqlite:///{tmp_path}/new.sqlite")
    upgrade(source)
    p = stored(source, "wf: {tags: [w], tasks: {a: {tags: [t], action: std.async_noop}}}")
    for table in (specs, executions, tasks, action_executions, contexts):
        with made.engine.begin() as connection:
            old = sa.Table(table.name, sa.MetaData(), autoload_with=connection)
            with source.engine.connect() as reader:
                found = [dict(r) for r in reader.execute(sa.select(table)).mappings()]
            kept = [{k: v for k, v in row.items() if k in old.c} for row in found]
            if kept:
                connection.execute(old.insert(), kept)
    upgrade(made)
    with made.engine.connect() as connection:
        row = connection.execute(sa.select(tasks)).one()
        assert (row.project_id, json.loads(row.tags)) == (p.execution.project_id, ["t"])
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    [loaded] = made.read(load, [p.id])
    p.world.executions_by_id[p.id] = loaded
    p.finish("a")
    assert p.state == "SUCCESS"


def test_pausing_and_stopping_write_only_when_something_changes() -> None:
    p = play("wf: {tasks: {a: {action: std.async_noop}}}")
    p.apply(Pause())
    decision = p.world.decision()
    decide(decision, p.id, Pause())
    decide(decision, p.id, Stop("ERROR", "ignored"))
    assert not decision.works[p.id].changed()


def test_a_connection_that_breaks_within_a_transaction_is_an_outage_and_the_next_one_works(any_database: str) -> None:
    database = Database(any_database, patience=0.1)
    if not database.is_server:
        return  # a file has no connection that breaks
    ends = {"postgresql": "SELECT pg_terminate_backend(pg_backend_pid())", "mysql": "KILL CONNECTION_ID()"}

    def broken(connection: Any) -> None:
        connection.exec_driver_sql(ends["postgresql" if connection.dialect.name == "postgresql" else "mysql"])
        connection.exec_driver_sql("SELECT 1")

    for way in (database.write, database.write_once, database.read, database.glance):
        with pytest.raises(Unavailable):
            way(broken)
        assert way(lambda connection: connection.exec_driver_sql("SELECT 7").scalar()) == 7
    database.close()


def test_many_rows_are_written_as_one_by_one(database: Database) -> None:
    """Odd characters, nulls, truth values and numbers arrive as they are; only rows that meet the condition are changed."""
    names = ["plain", 'quotes " and \\ and %s', "ünï☃𝄞", "", "line\nbreak"]
    values = [
        {
            "id": f"a{i}",
            "execution_id": "e",
            "seq": i,
            "name": name,
            "project_id": "p",
            "tags": "[]",
            "type": "ACTION",
            "state": "RUNNING",
            "state_info": None if i % 2 else name,
            "inbound": 0,
            "outbound": 2**31 - 1,
            "published": None,
            "processed": bool(i % 2),
            "progress": "{}",
            "created_at": 1763733600.123456 + i / 7,
            "updated_at": 0.1,
            "started_at": None,
            "finished_at": 1e-9,
        }
        for i, name in enumerate(names * 13)
    ]

    def insert(connection: Any) -> None:
        writes = Writes()
        writes.insert(tasks, values)
        assert writes.make(connection) == {}

    def update(connection: Any) -> dict[Any, int]:
        writes = Writes()
        changes = [
            {"key": f"a{i}", "state": "ERROR", "state_info": f"{i}", "wanted": i % 2} for i in range(len(values) + 5)
        ]
        writes.update(tasks, changes, "v.wanted = 1")
        return writes.make(connection)

    def stored(connection: Any) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in connection.execute(sa.select(tasks).order_by(tasks.c.seq))]

    database.write(insert)
    assert database.read(stored) == values
    assert database.write(update) == {tasks: len(values) // 2}
    for i, row in enumerate(database.read(stored)):
        assert (row["state"], row["state_info"]) == (
            ("ERROR", str(i)) if i % 2 else ("RUNNING", values[i]["state_info"])
        )
