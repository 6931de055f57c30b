"""Results of children, and the end of a task (language spec 5.4, 5.6 and 5.10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gregale import expressions
from gregale.core import calls, joins, lifecycle, policies, routing, start
from gregale.core.context import merged_maps
from gregale.core.errors import ForceFail, Rejected, WorkflowError
from gregale.core.events import ActionDone
from gregale.core.state import Child, State, Task
from gregale.core.work import Work, check_size, cut, jsonable

_ITEM_STATES = {
    State.ERROR: "One or more actions had failed.",
    State.CANCELLED: "One or more actions was cancelled.",
}


def action_done(work: Work, event: ActionDone) -> None:
    """Take the result of an action. Results for actions that ended or are gone change nothing, but for a note."""
    child = work.execution.children.get(event.action_id)
    if child is None or child.kind != "ACTION":
        return
    if event.attempt is not None and event.attempt != child.attempt:
        return
    if child.state.completed:
        _note_late(work, child, event)
        return
    state = State.CANCELLED if event.cancel else State.ERROR if event.error is not None else State.SUCCESS
    value = None if event.cancel else event.error if event.error is not None else event.data
    task = work.task(child.task_id)
    failure: Exception | None = None
    info = None
    try:
        value = jsonable(value)
        if state is State.SUCCESS:
            value = _transformed(work, child, value)
        too_large = check_size(value, "ActionExecution", "output", work.decision.settings.field_limit_kb)
        if too_large:
            raise ForceFail(too_large)
    except (ForceFail, expressions.ExpressionError, Rejected) as e:
        failure, state, value, info = e, State.ERROR, str(e), str(e)
    child_done(work, task, child, state, value, info, failure)


LOST = "Lost"
"""How the reason of an action begins whose executor was lost."""
_LATE = " A result came late, and was not accepted: "


def _note_late(work: Work, child: Child, event: ActionDone) -> None:
    """An action that was given up reports after all: people who decide what to do next should know."""
    info = child.state_info or ""
    if not info.startswith(LOST) or _LATE in info or (isinstance(event.error, str) and event.error.startswith(LOST)):
        return
    said = (
        "it was cancelled"
        if event.cancel
        else f"it failed: {event.error}"
        if event.error is not None
        else "it succeeded"
    )
    work.change_child(child, state_info=cut(f"{info}{_LATE}{said}"))


def _transformed(work: Work, child: Child, value: Any) -> Any:
    if child.base is None:
        return value
    info = calls.find_action(work, child.name)

    def lookup(name: str) -> Any:
        return work.decision.view.action(name, work.execution.namespace, work.execution.project_id)

    return jsonable(calls.transform(info, value, lookup)) if info is not None else value


def child_done(
    work: Work, task: Task, child: Child, state: State, value: Any, info: str | None, failure: Exception | None = None
) -> None:
    """Record the end of a child and, if it counts, let its task go on."""
    counts = not task.state.completed and child.attempt == task.attempt
    child = work.change_child(
        child,
        state=state,
        output=value,
        has_output=True,
        accepted=counts,
        state_info=cut(info if info is not None else _text(value) if state is State.ERROR else None),
    )
    if not counts:
        return
    if failure is not None:
        force_fail(work, work.task(task.id), "Failed to handle action completion", failure, action=child.name)
        return
    guarded(work, task, lambda: _progress(work, work.task(task.id), child), child)


def guarded(work: Work, task: Task, run: Callable[[], None], child: Child | None = None) -> None:
    """Run a step of a task's end; structural errors in it fail the task and its workflow."""
    try:
        run()
    except (ForceFail, expressions.ExpressionError, Rejected) as e:
        what = "Failed to handle action completion" if child is not None else "Failed to complete task"
        force_fail(work, work.task(task.id), what, e, action=child.name if child is not None else None)


def _progress(work: Work, task: Task, child: Child) -> None:
    items = task.items
    if items is None:
        complete_now(work, task, child.state, child.state_info if child.state is not State.SUCCESS else None)
        return
    items = msgspec.structs.replace(
        items,
        done=items.done + 1,
        capacity=None if items.capacity is None else items.capacity + 1,
        failed=items.failed or child.state is State.ERROR,
        cancelled=items.cancelled or child.state is State.CANCELLED,
    )
    task = work.update(task, items=items)
    if items.cancelled:
        complete_now(work, task, State.CANCELLED, _ITEM_STATES[State.CANCELLED])
    elif items.done >= items.count:
        state = State.ERROR if items.failed else State.SUCCESS
        complete_now(work, task, state, _ITEM_STATES.get(state))
    elif items.next < items.planned and task.state is State.RUNNING:
        start.schedule_items(work, task)


def complete(work: Work, task: Task, state: State, info: str | None) -> None:
    """End a task; structural errors on the way fail it and its workflow."""
    guarded(work, task, lambda: complete_now(work, task, state, info))


def complete_now(work: Work, task: Task, state: State, info: str | None, skipped: bool = False) -> None:
    """The algorithm of spec 5.4. Raises ForceFail and ExpressionError."""
    if task.state.completed and not skipped:
        return
    task = joins.refreshed(work, task)
    task = _publish(work, task, state)
    if not work.execution.spec.tasks[task.name].keep_result:
        _drop_results(work, task)
    if not skipped:
        held = policies.after(work, task, state, info)
        if held is None:
            return
        task, state, info = held
    task = work.update(
        task,
        state=state,
        state_info=cut(info),
        finished_at=work.decision.now,
        held=None,
    )
    routing.after_completion(work, task)


def continue_held(work: Work, task: Task) -> None:
    """A task's wait-after is over: end it in the state it was held in, publishing once more [Q 6.2]."""
    assert task.held is not None
    state, info = task.held
    task = work.update(task, state=State.RUNNING, state_info=None)
    complete(work, task, State(state), info)


def _publish(work: Work, task: Task, state: State) -> Task:
    publish = work.execution.spec.tasks[task.name].publishing(state.value)
    if not publish:
        return task if state is State.SKIPPED else work.update(task, outbound=task.inbound, published=task.published)
    base = msgspec.structs.replace(task, outbound=task.inbound)
    scope = policies.scope_of(work, base)
    branch = jsonable(expressions.evaluate(publish.branch, scope))
    shared = jsonable(expressions.evaluate(publish.globals, scope))
    too_large = check_size(branch, "TaskExecution", "published", work.decision.settings.field_limit_kb)
    if too_large:
        raise ForceFail(too_large)
    if shared:
        work.execution.context = merged_maps(work.execution.context, shared)
    if not publish.branch and state is State.SKIPPED:
        return task
    outbound = work.published_layer(task.inbound, branch, task.outbound)
    return work.update(task, outbound=outbound, published=branch)


def _drop_results(work: Work, task: Task) -> None:
    for child in work.children_of(task):
        if child.kind == "ACTION" and child.accepted and child.output is not None:
            work.change_child(child, output=None)


def force_fail(work: Work, task: Task, what: str, error: Exception, action: str | None = None) -> None:
    """A structural error: no publishing, no policies, no clauses; the workflow fails at once (spec 5.6)."""
    where = f"wf={work.execution.workflow_name}, task={task.name}" + (f", action={action}" if action else "")
    message = f"{what} [error={error}, {where}]"
    work.update(
        task,
        state=State.ERROR,
        state_info=cut(message),
        processed=False,
        finished_at=work.decision.now,
        held=None,
    )
    if work.execution.state is not State.PAUSED:
        lifecycle.fail(work, message)


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else str(value)


def require_running(child: Child) -> None:
    """Raises WorkflowError when an action has ended already (spec 5.10)."""
    if child.state.completed:
        raise WorkflowError(
            f"The action execution {child.id} has ended already in {child.state.value}; its result stays as it is"
        )
