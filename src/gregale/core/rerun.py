"""Rerun and skip of a failed task, up through every workflow around it (language spec 5.9)."""

from __future__ import annotations

from gregale.core import complete, joins, lifecycle, policies, start
from gregale.core.errors import WorkflowError
from gregale.core.events import Rerun, Skip
from gregale.core.state import StartExecution, State, Task
from gregale.core.work import Work, with_env

_FAILED = frozenset((State.ERROR, State.CANCELLED))


def rerun(work: Work, event: Rerun) -> None:
    """Run a task in ERROR or CANCELLED again. Raises WorkflowError before anything is touched."""
    task = work.task(event.task_id)
    if work.execution.state is State.PAUSED:
        return
    _require(work, task, (State.ERROR, State.CANCELLED), "rerun")
    spec = work.execution.spec.tasks[task.name]
    if not event.reset and spec.with_items is None:
        raise WorkflowError(f"Only with-items task has the option to not reset [task={task.name}]")
    _revive(work, event.env)
    keep_items = not event.reset and task.items is not None
    only: tuple[int, ...] = ()
    if keep_items and task.items is not None:
        done = {c.index for c in work.children_of(task) if c.accepted and c.state is State.SUCCESS}
        only = tuple(i for i in range(task.items.count) if i not in done)
        policies.unaccept(work, task, _FAILED)
    else:
        policies.unaccept(work, task)
    task = work.update(
        task,
        state=State.IDLE,
        state_info=None,
        processed=False,
        next_tasks=(),
        has_next_tasks=False,
        error_handled=False,
        finished_at=None,
        policies={},
        retries=0,
        timed_out=False,
        items=None,
        outbound=task.inbound,
        held=None,
        published=None,
    )
    joins.rearm(work, task)
    if keep_items:
        task = work.update(
            task, state=State.RUNNING, run=task.run + 1, attempt=task.attempt + 1, started_at=work.decision.now
        )
        concurrency = spec.policies.concurrency
        if concurrency:
            task = policies.with_concurrency(work, task)
        complete.guarded(work, task, lambda: start.rerun_items(work, task, only))
    else:
        start.start(work, task)


def skip(work: Work, event: Skip) -> None:
    """Leave a failed task behind and go on after it. Raises WorkflowError."""
    task = work.task(event.task_id)
    if work.execution.state is State.PAUSED:
        return
    _require(work, task, (State.ERROR,), "skip")
    _revive(work, event.env)
    task = work.update(task, attempt=task.attempt + 1)  # skipping is a completion of its own
    joins.rearm(work, task)
    complete.guarded(
        work, task, lambda: complete.complete_now(work, task, State.SKIPPED, "Task was skipped.", skipped=True)
    )


def _require(work: Work, task: Task, states: tuple[State, ...], what: str) -> None:
    if task.state not in states:
        raise WorkflowError(
            f"The current task execution must be in ERROR for {what}. Only updating task to rerun or skip is supported "
            f"[task={task.name}, state={task.state.value}]"
        )
    if work.execution.state is State.SUCCESS:
        raise WorkflowError(
            f"Can't change workflow execution state from SUCCESS to RUNNING. [execution_id={work.execution.id}]"
        )


def _wake(work: Work) -> None:
    """Tasks whose turn passed while the workflow had ended get it now."""
    for task in work.execution.tasks.values():
        if task.state is State.DELAYED:
            kind = "wait-after" if task.held is not None else "retry" if task.retries else "wait-before"
            work.schedule(task, kind, 0)
        elif task.state.completed and not task.processed:
            work.update(task, processed=True)  # it failed the workflow by itself; nothing follows it any more
        elif task.state is State.IDLE:
            work.commands.append(StartExecution(work.execution.id))


def _revive(work: Work, env: dict[str, object] | None) -> None:
    """Set the workflow and all that contain it RUNNING again."""
    execution = work.execution
    if env:
        execution.params = with_env(execution.params, env)
    if execution.state is not State.RUNNING:
        lifecycle.set_state(work, State.RUNNING, None)
        _wake(work)
    execution.state_info = None
    execution.accepted = False
    if execution.parent_id is None or execution.parent_task_id is None:
        return
    parent = work.decision.work(execution.parent_id)
    child = parent.execution.children.get(execution.id)
    if child is None:
        return
    task = parent.task(execution.parent_task_id)
    if child.accepted or child.state.completed:
        parent.change_child(child, state=State.RUNNING, accepted=False, state_info=None, attempt=task.attempt)
    if task.state.completed:
        items = task.items
        if items is not None:
            others = [c for c in parent.children_of(task) if c.accepted]
            items = start.items_after_revival(items, others)
        task = parent.update(
            task,
            state=State.RUNNING,
            state_info=None,
            processed=False,
            next_tasks=(),
            has_next_tasks=False,
            error_handled=False,
            finished_at=None,
            items=items,
        )
        joins.rearm(parent, task)
    _revive(parent, None)
