"""Answers for the core: executions and definitions that are loaded. What is not loaded is asked for as Missing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.actions import ActionError, dynamic
from gregale.core import ActionInfo, Decision, Definition, Execution, Missing, NotFound
from gregale.core.calls import adhoc_info
from gregale.core.partition import partition_of
from gregale.core.scope import execution_map, task_map
from gregale.core.work import Work
from gregale.language import ActionSpec, build
from gregale.store import definitions, environments, load, rows, sources
from gregale.store.attributes import moment
from gregale.store.ownership import Viewer, change_number
from gregale.store.removal import subtree_ids
from gregale.store.schema import executions, tasks

CHANGES = ("changes",)
"""The question for the number of changes of definitions; its answer comes with every answer that is a definition."""
NEVER = -1
"""Before any definition was asked for."""
_ABSENT = object()
_MOST_ANSWERS = 10_000
_NO_DEFINITION = ("execution", "tasks", "executions", "subtree")


class Cache:
    """Executions by id, bounded by count; definitions until one changes. None: known not to exist."""

    def __init__(self, size: int):
        self.executions: OrderedDict[str, Execution | None] = OrderedDict()
        self.answers: dict[tuple[Any, ...], Any] = {}
        self.change_number = NEVER
        self._size = size
        self._trees: dict[str, set[str]] = {}

    def keep(self, execution: Execution) -> None:
        self.executions[execution.id] = execution
        self.executions.move_to_end(execution.id)
        self._trees.setdefault(execution.root_id, set()).add(execution.id)
        while len(self.executions) > self._size:
            self.forget(next(iter(self.executions)))

    def forget(self, execution_id: str) -> None:
        execution = self.executions.pop(execution_id, None)
        if execution is not None:
            tree = self._trees[execution.root_id]
            tree.discard(execution_id)
            if not tree:
                del self._trees[execution.root_id]

    def forget_tree(self, root_id: str) -> None:
        for execution_id in list(self._trees.get(root_id, ())):
            self.forget(execution_id)
        self.executions.pop(root_id, None)

    def forget_partitions(self, partitions: Collection[int]) -> None:
        for root_id in [r for r in self._trees if partition_of(r) in partitions]:
            self.forget_tree(root_id)

    def seen(self, change_number: int) -> None:
        """Forget definitions when they have changed."""
        if change_number != self.change_number:
            self.change_number = change_number
            self.answers.clear()

    def trim(self) -> None:
        """Forget definitions when too many were asked for."""
        if len(self.answers) > _MOST_ANSWERS:
            self.answers.clear()


class CachedView:
    """The core's View for one batch: `transient` holds answers that only this decision may use. `used_definitions`: whether any
    answer was one that is remembered."""

    def __init__(
        self, cache: Cache, registry: Callable[[str], ActionInfo | None], transient: dict[tuple[Any, ...], Any]
    ):
        self._cache = cache
        self._registry = registry
        self._transient = transient
        self.used_definitions = False

    def execution(self, execution_id: str) -> Execution | None:
        found = self._cache.executions.get(execution_id, _ABSENT)
        if found is _ABSENT:
            raise Missing("execution", execution_id)
        return found  # type: ignore[return-value]

    def workflow(self, name: str, namespace: str, project_id: str, admin: bool = False) -> Definition | None:
        found: Definition | None = self._answer("workflow", name, namespace, project_id, admin)
        return found

    def action(self, name: str, namespace: str, project_id: str) -> ActionInfo | None:
        def find(wanted: str) -> ActionSpec | ActionInfo | None:
            spec: ActionSpec | None = self._answer("adhoc", wanted, namespace, project_id)
            if spec is not None:
                return spec
            known = self._registry(wanted)
            return known if known is not None else self._answer("dynamic", wanted, namespace, project_id)

        found = find(name)
        return adhoc_info(name, found, find) if isinstance(found, ActionSpec) else found

    def environment(self, name: str, project_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._answer("environment", name, project_id)
        return found

    def tasks(self, project_id: str) -> list[dict[str, Any]]:
        return self._once("tasks", project_id)  # type: ignore[no-any-return]

    def executions(self, project_id: str, filters: tuple[tuple[str, Any], ...]) -> list[dict[str, Any]]:
        return self._once("executions", project_id, filters)  # type: ignore[no-any-return]

    def subtree(self, execution_id: str) -> list[Execution]:
        return self._once("subtree", execution_id)  # type: ignore[no-any-return]

    def _answer(self, *question: Any) -> Any:
        found = self._cache.answers.get(question, _ABSENT)
        if found is _ABSENT:
            raise Missing(*question)
        self.used_definitions = True
        return found

    def _once(self, *question: Any) -> Any:
        found = self._transient.get(question, _ABSENT)
        if found is _ABSENT:
            raise Missing(*question)
        return found


def answer(connection: Connection, questions: list[tuple[Any, ...]], deep_merge: bool) -> dict[tuple[Any, ...], Any]:
    """Answers from the database. Executions that do not exist are None."""
    result: dict[tuple[Any, ...], Any] = {}
    wanted = [q[1] for q in questions if q[0] == "execution"]
    if wanted:
        found = {e.id: e for e in load(connection, wanted, deep_merge)}
        result.update({("execution", i): found.get(i) for i in wanted})
    if any(q[0] not in _NO_DEFINITION for q in questions):
        result[CHANGES] = change_number(connection)
    for question in questions:
        kind, *rest = question
        if kind == "workflow":
            result[question] = definitions.definition(connection, rest[0], rest[1], Viewer(rest[2], rest[3]))
        elif kind == "adhoc":
            result[question] = _action_spec(connection, *rest)
        elif kind == "dynamic":
            result[question] = _dynamic(connection, *rest)
        elif kind == "environment":
            result[question] = _environment(connection, rest[0], rest[1])
        elif kind == "tasks":
            result[question] = _tasks(connection, rest[0])
        elif kind == "executions":
            result[question] = _executions(connection, rest[0], dict(rest[1]))
        elif kind == "subtree":
            result[question] = load(connection, subtree_ids(connection, rest[0]), deep_merge)
    return result


def _action_spec(connection: Connection, name: str, namespace: str, project_id: str) -> ActionSpec | None:
    from gregale.language.diagnostics import Report

    try:
        row = definitions.find_action(connection, name, namespace, Viewer(project_id))
    except NotFound:
        return None
    body = rows.decode(row.body)
    spec = build.action(row.name, {k: v for k, v in body.items() if k != "name"}, (), Report())
    assert spec is not None
    return spec


def _dynamic(connection: Connection, name: str, namespace: str, project_id: str) -> ActionInfo | None:
    for candidate in dict.fromkeys((namespace, "")):
        try:
            row = sources.dynamic_action(connection, name, candidate, Viewer(project_id))
            class_name, content, *_ = sources.class_source(connection, row.id)
            return dynamic.described(row.name, row.id, content, class_name)
        except NotFound:
            continue
        except ActionError:
            return ActionInfo(
                row.name, any_parameters=True, runs_as=dynamic.PREFIX + row.id
            )  # the executor says what is wrong
    return None


def _environment(connection: Connection, name: str, project_id: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = rows.decode(environments.environment(connection, name, Viewer(project_id)).variables)
    except NotFound:
        return None
    return found


def _tasks(connection: Connection, project_id: str) -> list[dict[str, Any]]:
    """Every task that the project can see (spec 3.2), as expressions show them."""
    ids = list(
        connection.scalars(
            sa.select(executions.c.id).where(executions.c.project_id == project_id).order_by(executions.c.created_at)
        )
    )
    order = list(
        connection.scalars(
            sa.select(tasks.c.id)
            .join(executions, executions.c.id == tasks.c.execution_id)
            .where(executions.c.project_id == project_id)
            .order_by(tasks.c.created_at, tasks.c.seq)
        )
    )
    maps: dict[str, dict[str, Any]] = {}
    for execution in load(connection, ids):
        work = Work(execution, Decision(_NoView(), 0.0, str))
        maps.update({t.id: task_map(work, t) for t in execution.tasks.values()})
    return [maps[i] for i in order if i in maps]


class _NoView:
    """For records that need no questions answered."""

    def __getattr__(self, name: str) -> Any:
        raise LookupError(name)


def _executions(connection: Connection, project_id: str, filters: dict[str, Any]) -> list[dict[str, Any]]:
    columns = {"id": executions.c.id, "root_execution_id": executions.c.root_id, "state": executions.c.state}
    where = [executions.c.project_id == project_id]
    where += [column == str(filters[name]) for name, column in columns.items() if name in filters]
    if "from_time" in filters:
        where.append(executions.c.created_at >= moment(str(filters["from_time"]), "from_time"))
    if "to_time" in filters:
        where.append(executions.c.created_at < moment(str(filters["to_time"]), "to_time"))
    ids = list(connection.scalars(sa.select(executions.c.id).where(*where).order_by(executions.c.created_at)))
    return [
        {
            **execution_map(e),
            "state": e.state.value,
            "state_info": e.state_info,
            "output": e.output,
            "workflow_name": e.workflow_name,
        }
        for e in sorted(load(connection, ids), key=lambda e: e.created_at)
    ]
