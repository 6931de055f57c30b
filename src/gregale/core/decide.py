"""`decide`: one event applied to one execution (and, where it reaches further, to the others of its tree)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gregale.core import complete, joins, lifecycle, rerun, routing, start
from gregale.core.creation import create as create_execution
from gregale.core.errors import NotAllowed, NotFound, WorkflowError
from gregale.core.events import (
    ActionDone,
    ActionUpdate,
    Event,
    Pause,
    Rerun,
    Resume,
    Skip,
    Start,
    Stop,
    Sweep,
    TimerFired,
    UpdateEnv,
)
from gregale.core.state import State, Task
from gregale.core.work import Decision, Settings, Work, with_env

__all__ = ["Decision", "Settings", "Work", "create_execution", "decide"]


def decide(decision: Decision, execution_id: str, event: Event) -> None:
    """Apply `event`; the changes are in `decision.works` afterwards.

    Raises Rejected when it cannot be done, Missing when the view has to load something first. After any exception the
    decision is spoilt: throw it away; the executions it started from are untouched.
    """
    work = decision.work(execution_id)
    _HANDLERS[type(event)](work, event)
    for touched in decision.works.values():
        if touched.changed():
            touched.execution.updated_at = decision.now


def _start(work: Work, _: Start) -> None:
    execution = work.execution
    if not execution.started and execution.state is State.RUNNING:
        execution.started = True
        routing.start_first(work)
    else:
        _idle_tasks(work)


def _idle_tasks(work: Work) -> None:
    """Tasks that wait for their own turn, after a long chain of tasks that ended as they started."""
    if work.execution.state is State.RUNNING:
        for task in sorted(work.execution.tasks.values(), key=lambda t: t.seq):
            if task.state is State.IDLE and work.execution.state is State.RUNNING:
                start.start(work, task)


def _action_done(work: Work, event: ActionDone) -> None:
    if event.attempt is None:
        child = work.execution.children.get(event.action_id)
        if child is None:
            raise NotFound(f"Action execution not found [id={event.action_id}]")
        complete.require_running(child)
    complete.action_done(work, event)


def _action_update(work: Work, event: ActionUpdate) -> None:
    child = work.execution.children.get(event.action_id)
    if child is None:
        raise NotFound(f"Action execution not found [id={event.action_id}]")
    complete.require_running(child)
    if child.is_sync:
        raise WorkflowError(
            f"Transition to the PAUSED state is only supported for asynchronous action execution [action={child.name}]"
            if event.state == "PAUSED"
            else f"Only an asynchronous action execution can be resumed [action={child.name}]"
        )
    state = State(event.state)
    if child.state is state:
        return
    work.change_child(child, state=state)
    task = work.task(child.task_id)
    if state is State.PAUSED:
        if not task.state.completed:
            work.update(task, state=State.PAUSED)
        if work.execution.state is State.RUNNING:
            lifecycle.pause(work, None)
    else:
        if task.state is State.PAUSED and not any(c.state is State.PAUSED for c in work.children_of(task)):
            work.update(task, state=State.RUNNING, state_info=None)
        if not any(t.state is State.PAUSED for t in work.execution.tasks.values()):
            lifecycle.resume(work, None)


def _timer(work: Work, event: TimerFired) -> None:
    work.timers_done.append((event.task_id, event.kind, event.stamp))
    task = work.execution.tasks.get(event.task_id)
    if task is None or event.stamp != (task.run if event.kind == "timeout" else task.attempt):
        return
    if event.kind == "timeout":
        _timeout(work, task)
    elif task.state not in (State.DELAYED, State.WAITING) or work.execution.state.completed:
        return
    elif event.kind == "wait-after" and task.held is not None:
        complete.continue_held(work, task)
    elif event.kind in ("wait-before", "retry"):
        if task.timed_out:  # the timer covers all attempts until it fires; each one after that gets its own (spec 6.3)
            task = work.update(task, run=task.run + 1)
            work.schedule(task, "timeout", task.timeout)
        start.resume_start(work, task)


def _timeout(work: Work, task: Task) -> None:
    """Late results of the attempt no longer count: they carry an older number."""
    if not task.state.completed:
        task = work.update(task, timed_out=True, attempt=task.attempt + 1)
        complete.complete(work, task, State.ERROR, f"Task timed out [timeout(s)={task.timeout}].")


def _pause(work: Work, event: Pause) -> None:
    lifecycle.pause(work, event.message)


def _resume(work: Work, event: Resume) -> None:
    lifecycle.resume(work, event.env)


def _stop(work: Work, event: Stop) -> None:
    lifecycle.stop(work, event)


def _rerun(work: Work, event: Rerun) -> None:
    rerun.rerun(work, event)


def _skip(work: Work, event: Skip) -> None:
    rerun.skip(work, event)


def _update_env(work: Work, event: UpdateEnv) -> None:
    state = work.execution.state
    if state not in (State.IDLE, State.PAUSED, State.ERROR):
        raise NotAllowed(
            f"Updating env to workflow execution is only permitted if it is in IDLE, PAUSED, or ERROR state [state={state.value}]"
        )
    work.execution.params = with_env(work.execution.params, event.env)


def _sweep(work: Work, _: Sweep) -> None:
    """Set going again what the rows say should be in flight: starts, idle tasks, actions, ended children, the end itself."""
    execution = work.execution
    if not execution.started:
        _start(work, Start())
        return
    for child in sorted(execution.children.values(), key=lambda c: c.seq):
        if child.kind == "WORKFLOW" and not child.state.completed:
            below = work.decision.work(child.id)
            if below.execution.state.completed:
                lifecycle.tell_parent(below)
    if execution.state is not State.RUNNING:
        return
    _idle_tasks(work)
    for task in list(execution.tasks.values()):
        if work.task(task.id).state is State.WAITING:
            joins.recheck(work, task)
    lifecycle.check(work)


_HANDLERS: dict[type, Callable[[Work, Any], None]] = {
    Start: _start,
    ActionDone: _action_done,
    ActionUpdate: _action_update,
    TimerFired: _timer,
    Pause: _pause,
    Resume: _resume,
    Stop: _stop,
    Rerun: _rerun,
    Skip: _skip,
    UpdateEnv: _update_env,
    Sweep: _sweep,
}
