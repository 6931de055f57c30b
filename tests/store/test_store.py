"""Commits: the swap, the terminal guard, migrations, one process per file."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from gregale.core import Pause, Stop, Work, decide
from gregale.language import read_actions, read_workflows
from gregale.language.read import read_workbook_document
from gregale.store import Database, StoreError, SwapLost, commit, definitions, load, search, upgrade
from gregale.store.schema import executions, metadata, specs, tasks, workflows
from tests.play import Play, play


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path}/g.sqlite")
    upgrade(made)
    return made


def stored(database: Database, text: str = "wf: {tasks: {a: {action: std.async_noop}}}") -> Play:
    """A played execution, written as it is."""
    p = play(text)
    work = Work(p.execution, p.world.decision(), created=True)
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


def test_an_sqlite_file_serves_one_process(database: Database) -> None:
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
    database.write(search.delete_execution, p.id)
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


def owner(project: str = "p", namespace: str = "", scope: str = "private") -> definitions.Owner:
    import uuid

    return definitions.Owner(project, 1.0, lambda: str(uuid.uuid4()), namespace, scope)


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


def test_own_definitions_come_before_public_ones_and_others_are_invisible(database: Database) -> None:
    document = read_workflows(WF)
    database.write(definitions.save_workflows, document, owner("other", scope="public"), False)
    assert database.read(definitions.definition, "wf", "", "me").project_id == "other"  # type: ignore[union-attr]
    database.write(definitions.save_workflows, document, owner("me"), False)
    assert database.read(definitions.definition, "wf", "", "me").project_id == "me"  # type: ignore[union-attr]
    database.write(definitions.save_workflows, document, owner("me", "hidden"), False)
    assert database.read(definitions.definition, "wf", "hidden", "other") is None


def test_workbook_members_are_stored_by_their_full_name_and_updated_by_a_second_upload(database: Database) -> None:
    text = "{{name: wb, version: '2.0', actions: {{a: {{base: std.noop}}}}, workflows: {{w: {{tags: [{}], tasks: {{t: {{action: a}}}}}}}}}}"
    before = database.read(definitions.change_number)
    database.write(definitions.save_workbook, read_workbook_document(text.format("x")), text, owner(), False)
    database.write(definitions.save_workbook, read_workbook_document(text.format("y")), text, owner(), True)
    found = database.read(definitions.definition, "wb.w", "", "p")
    assert found is not None
    assert (found.workbook, found.spec.tags) == ("wb", ("y",))
    assert database.read(definitions.adhoc, "wb.a", "anywhere", "p").name == "wb.a"
    assert database.read(definitions.change_number) > before


def test_adhoc_actions_are_stored_with_the_input_as_shown(database: Database) -> None:
    [row] = database.write(
        definitions.save_actions,
        read_actions("{version: '2.0', a: {base: std.noop, input: [s, {d: 5}, {z: q}]}}"),
        owner(),
        False,
    )
    assert row.input == 's, d=5, z="q"'


def test_pages_follow_markers_in_both_directions_without_loss(database: Database) -> None:
    for number in range(25):
        text = WF.replace("wf:", f"w{number % 5}_{number}:")
        database.write(definitions.save_workflows, read_workflows(text), owner(), False)
    for direction in ("asc", "desc"):
        seen: list[str] = []
        marker = None
        while True:
            page = search.Page(10, marker, ("created_at", "name"), (direction, direction))
            found = database.read(search.page, workflows, list(workflows.c), page)
            seen += [row.name for row in found]
            if len(found) < 10:
                break
            marker = found[-1].id
        assert len(seen) == len(set(seen)) == 25
        assert seen == sorted(seen, reverse=direction == "desc")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("eq:RUNNING", 1),
        ("RUNNING", 1),
        ("neq:RUNNING", 1),
        ("in:RUNNING,ERROR", 2),
        ("nin:RUNNING,ERROR", 0),
        ("has:UNN", 1),
        ("gt:ERROR", 1),
        ("lte:ERROR", 1),
    ],
)
def test_filters_have_operators(database: Database, condition: str, expected: int) -> None:
    stored(database)
    with database.engine.begin() as connection:
        row = dict(connection.execute(sa.select(executions)).mappings().one())
        connection.execute(executions.insert(), {**row, "id": "second", "state": "ERROR"})
    found = database.read(search.page, executions, [executions.c.id], search.Page(filters=(("state", condition),)))
    assert len(found) == expected


def test_deleting_an_execution_takes_everything_inside_and_below(database: Database) -> None:
    p = stored(database)
    database.write(search.delete_execution, p.id)
    with database.engine.connect() as connection:
        for table in (executions, tasks):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_pausing_and_stopping_write_only_when_something_changes() -> None:
    p = play("wf: {tasks: {a: {action: std.async_noop}}}")
    p.apply(Pause())
    decision = p.world.decision()
    decide(decision, p.id, Pause())
    decide(decision, p.id, Stop("ERROR", "ignored"))
    assert not decision.works[p.id].changed()
