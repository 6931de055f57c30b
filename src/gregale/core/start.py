"""Starting a task: policies, input, and the actions or sub-workflows it runs (language spec 5.3 and 4.5)."""

from __future__ import annotations

from typing import Any

import msgspec

from gregale import expressions
from gregale.core import calls, complete, creation, policies
from gregale.core.errors import ForceFail, InvalidInput, Rejected
from gregale.core.scope import ExecutionScope
from gregale.core.state import Child, Items, RunAction, StartExecution, State, Task
from gregale.core.work import Work, check_size, jsonable
from gregale.language import TaskSpec

MAX_CHAIN = 30
"""Tasks that end as they start (no items, a sub-workflow that does not exist) may form chains, even endless ones; past this
length the next one waits, IDLE, for its own turn."""


class _Graceful(Exception):
    """The task ends in ERROR and its clauses decide."""


def start(work: Work, task: Task) -> None:
    """Start a task for the first time, or again by rerun or a new round of a join."""
    decision = work.decision
    if decision.depth >= MAX_CHAIN:
        work.commands.append(StartExecution(work.execution.id))
        return
    decision.depth += 1
    try:
        task = work.update(
            task,
            state=State.RUNNING,
            state_info=None,
            run=task.run + 1,
            attempt=task.attempt + 1,
            started_at=decision.now,
        )
        task = policies.before(work, task)
        if task.state is State.RUNNING:
            _run(work, task)
    except (ForceFail, expressions.ExpressionError, Rejected) as e:
        complete.force_fail(work, work.task(task.id), "Failed to run task", e)
    finally:
        decision.depth -= 1


def resume_start(work: Work, task: Task) -> None:
    """Run a task whose delay or pause is over; its before-policies were applied already."""
    started_at = work.decision.now if task.started_at is None else task.started_at
    task = work.update(task, state=State.RUNNING, state_info=None, started_at=started_at)
    try:
        _run(work, task)
    except (ForceFail, expressions.ExpressionError, Rejected) as e:
        complete.force_fail(work, work.task(task.id), "Failed to run task", e)


def _run(work: Work, task: Task) -> None:
    """Schedule the children of a task that is RUNNING."""
    spec = work.execution.spec.tasks[task.name]
    try:
        if spec.with_items is None:
            _schedule(work, task, spec, [(0, policies.scope_of(work, task))])
        else:
            begin_items(work, task, None)
    except _Graceful as e:
        complete.complete(work, work.task(task.id), State.ERROR, str(e))


def begin_items(work: Work, task: Task, only: tuple[int, ...] | None) -> None:
    """Start a with-items task over all items, or over some of them. Raises ForceFail, ExpressionError, _Graceful."""
    values = item_values(work, task)
    count = len(next(iter(values.values())))
    kept = [] if only is None else [c for c in work.children_of(task) if c.accepted]
    capacity = task.policies.get("concurrency")
    task = work.update(task, items=Items(count, capacity, only=only, done=len(kept)))
    if count == 0 or only == ():
        complete.complete(work, task, State.SUCCESS, None)
    else:
        schedule_items(work, task)


def rerun_items(work: Work, task: Task, only: tuple[int, ...]) -> None:
    """Run some items of a with-items task again."""
    try:
        begin_items(work, task, only)
    except _Graceful as e:
        complete.complete(work, work.task(task.id), State.ERROR, str(e))


def item_values(work: Work, task: Task) -> dict[str, list[Any]]:
    """The items of each variable, kept for the attempt: sources must be stable (spec 4.5). Raises ForceFail."""
    cached = work.execution.item_values.get(task.id)
    if cached is not None and cached[0] == task.attempt:
        return cached[1]
    sources = work.execution.spec.tasks[task.name].with_items or {}
    scope = policies.scope_of(work, task)
    values: dict[str, list[Any]] = {}
    for variable, source in sources.items():
        found = expressions.evaluate(source, scope)
        if not isinstance(found, list | dict | str | tuple | set):
            raise ForceFail(
                f"Wrong input format for: {variable}. Iterable type is expected for each value [got={type(found).__name__}]"
            )
        values[variable] = found if isinstance(found, list) else list(found)
    if len({len(v) for v in values.values()}) > 1:
        lengths = {name: len(v) for name, v in values.items()}
        raise ForceFail(f"Wrong input format for: {lengths}. All arrays must have the same length")
    work.execution.item_values[task.id] = (task.attempt, values)
    return values


def schedule_items(work: Work, task: Task) -> None:
    """Schedule as many items as the capacity allows, in index order."""
    items = task.items
    assert items is not None
    room = items.planned - items.next if items.capacity is None else min(items.capacity, items.planned - items.next)
    if room <= 0:
        return
    values = item_values(work, task)
    if len(next(iter(values.values()))) != items.count:
        raise ForceFail("Wrong input format for with-items: the number of items has changed while they were run")
    indexes = range(items.next, items.next + room) if items.only is None else items.only[items.next : items.next + room]
    spec = work.execution.spec.tasks[task.name]
    branch = work.layer(task.inbound)
    wanted = [(i, ExecutionScope(work, branch, task, {name: v[i] for name, v in values.items()})) for i in indexes]
    _schedule(work, task, spec, wanted)
    task = work.task(task.id)
    if task.items is None or task.state is not State.RUNNING:
        return
    left = None if items.capacity is None else items.capacity - room
    work.update(task, items=msgspec.structs.replace(task.items, next=items.next + room, capacity=left))


def items_after_revival(items: Items, kept: list[Child]) -> Items:
    """Progress of a with-items task of which one sub-workflow runs again: the others' results stay."""
    new: Items = msgspec.structs.replace(
        items,
        done=len(kept),
        failed=any(c.state is State.ERROR for c in kept),
        cancelled=any(c.state is State.CANCELLED for c in kept),
        capacity=None if items.capacity is None else max(0, items.capacity - 1),
    )
    return new


def _schedule(work: Work, task: Task, spec: TaskSpec, wanted: list[tuple[int, ExecutionScope]]) -> None:
    """Create a child for each (index, scope); nothing is created if one of them cannot be."""
    if spec.workflow is not None:
        _sub_workflows(work, task, spec, wanted)
        return
    prepared = []
    for index, scope in wanted:
        name = expressions.evaluate(spec.action, scope) or "std.noop"
        given = _input(task, spec, scope)
        defaults = _action_defaults(work, spec)
        if defaults:
            given = {**{k: expressions.evaluate(v, scope) for k, v in defaults.items() if k not in given}, **given}
        try:
            call = calls.prepare(work, str(name), given, scope)
        except calls.ActionNotFound as e:
            if spec.with_items is not None or e.graceful:
                raise _Graceful(str(e)) from None
            raise ForceFail(str(e)) from None
        except calls.BrokenAdhoc as e:
            raise _Graceful(str(e)) from None
        too_large = check_size(call.input, "ActionExecution", "input", work.decision.settings.field_limit_kb)
        if too_large:
            raise _Graceful(too_large)
        target = expressions.evaluate(spec.target, _TargetScope(work, task, call.input)) if spec.target else None
        prepared.append((index, call, target))
    timeout = spec.own_timeout
    seconds = expressions.evaluate(timeout, policies.scope_of(work, task)) if timeout else None
    for index, call, target in prepared:
        task = _run_action(work, task, spec, index, call, target, seconds)


class _TargetScope(ExecutionScope):
    """`target` sees the action's input first (spec 3.4)."""

    def __init__(self, work: Work, task: Task, given: dict[str, Any]):
        super().__init__(work, work.layer(task.inbound), task)
        self._given = given

    def __getitem__(self, name: str) -> Any:
        return self._given[name] if name in self._given else super().__getitem__(name)


def _input(task: Task, spec: TaskSpec, scope: ExecutionScope) -> dict[str, Any]:
    given = expressions.evaluate(spec.input, scope)
    if not isinstance(given, dict):
        raise ForceFail(f"Wrong dynamic input for task: {task.name}: a map is expected, got {type(given).__name__}")
    result: dict[str, Any] = jsonable(given)
    return result


def _action_defaults(work: Work, spec: TaskSpec) -> dict[str, Any]:
    """`env.__actions.<literal name>` of this workflow's own parameters (spec 5.3)."""
    env = work.execution.params.get("env")
    actions = env.get("__actions") if isinstance(env, dict) else None
    defaults = actions.get(spec.action) if isinstance(actions, dict) else None
    return defaults if isinstance(defaults, dict) else {}


def _run_action(
    work: Work, task: Task, spec: TaskSpec, index: int, call: calls.Call, target: Any, timeout: Any
) -> Task:
    decision = work.decision
    child = Child(
        id=decision.new_id(),
        task_id=task.id,
        kind="ACTION",
        name=call.name,
        index=index,
        attempt=task.attempt,
        state=State.RUNNING,
        created_at=decision.now,
        updated_at=decision.now,
        input=call.input,
        is_sync=call.base.is_sync,
        safe_rerun=spec.policies.safe_rerun or call.base.idempotent,
        base=call.runs,
        target=None if target is None else str(target),
        timeout=timeout if isinstance(timeout, int) and timeout else None,
    )
    task = work.add_child(task, child)
    work.commands.append(run_action(work, child))
    return task


def run_action(work: Work, child: Child) -> RunAction:
    """The command for an action; it can be made again from the rows at any time."""
    action, given = child.base or (child.name, child.input)
    return RunAction(
        child.id,
        work.execution.id,
        child.task_id,
        work.execution.workflow_name,
        action,
        given,
        child.attempt,
        child.safe_rerun,
        child.is_sync,
        child.target,
        child.timeout,
    )


def _sub_workflows(work: Work, task: Task, spec: TaskSpec, wanted: list[tuple[int, ExecutionScope]]) -> None:
    decision = work.decision
    for index, scope in wanted:
        name = str(expressions.evaluate(spec.workflow, scope))
        given = _input(task, spec, scope)
        found = calls.find_workflow(work, name)
        if found is None:
            raise _Graceful(
                f"Failed to find workflow [name={name}] [namespace={work.execution.params.get('namespace', '')}]"
            )
        declared = found.spec.input
        inputs = {k: v for k, v in given.items() if k in declared}
        params = {k: v for k, v in given.items() if k not in declared}  # [Q 8] undeclared input becomes parameters
        params |= {
            "namespace": work.execution.params.get("namespace", ""),
            "root_execution_id": work.execution.root_id,
            "task_execution_id": task.id,
            "index": index,
        }
        if "notify" in work.execution.params:
            params.setdefault("notify", work.execution.params["notify"])
        try:
            sub = creation.create(
                decision,
                found,
                decision.new_id(),
                inputs,
                params,
                "sub-workflow execution",
                work.execution.project_id,
                parent=work.execution,
                parent_task_id=task.id,
            )
        except (InvalidInput, Rejected, expressions.ExpressionError) as e:
            raise _Graceful(f"Failed to start sub-workflow '{name}': {e}") from None
        task = work.add_child(
            task,
            Child(
                id=sub.execution.id,
                task_id=task.id,
                kind="WORKFLOW",
                name=found.name,
                index=index,
                attempt=task.attempt,
                state=State.RUNNING,
                created_at=decision.now,
                updated_at=decision.now,
                input=inputs,
            ),
        )
