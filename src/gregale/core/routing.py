"""What follows a task: clauses, guards, engine commands, the backlog of a paused workflow (language spec 5.4 and 5.5)."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from gregale import expressions
from gregale.core import joins, lifecycle, policies, reverse, start
from gregale.core.state import State, Task
from gregale.core.work import Work
from gregale.language import OnClause


class Next(NamedTuple):
    """One thing to do: run a task, or an engine command with its message."""

    target: str
    clause: str
    source_id: str
    is_command: bool = False
    message: str | None = None


def after_completion(work: Work, task: Task) -> None:
    """Steps 4 to 7 of spec 5.4 for a task that has just ended."""
    execution = work.execution
    if execution.spec.type == "reverse":
        task = work.update(task, processed=execution.state is not State.PAUSED)
        if execution.state is State.RUNNING:
            reverse.advance(work)
            lifecycle.check(work)
        return
    found = [] if execution.state.completed else commands(work, task)
    task = recorded(work, task, found)
    if execution.state is State.PAUSED:
        work.update(task, processed=False)
        return
    task = work.update(task, processed=True)
    dispatch(work, found)
    task = work.task(task.id)
    joins.source_completed(work, task)
    joins.run_pending_round(work, task)
    lifecycle.check(work)


def recorded(work: Work, task: Task, found: list[Next]) -> Task:
    kept = []
    for command in found:
        if command.target in ("fail", "succeed") and command.is_command:
            break
        if not command.is_command:
            kept.append((command.target, command.clause))
    handled = task.state is State.ERROR and any(c.clause == "on-error" for c in found)
    return work.update(task, next_tasks=tuple(kept), has_next_tasks=bool(kept), error_handled=handled)


def commands(work: Work, task: Task) -> list[Next]:
    """Everything the clauses of a completed task ask for, in order (spec 5.4, step 4)."""
    spec = work.execution.spec.tasks[task.name]
    if task.state is State.ERROR:
        result = _clause(work, task, "on-error", spec.clause("on-error"))
    elif task.state is State.SKIPPED:
        return _clause(work, task, "on-skip", spec.clause("on-skip")) or _clause(
            work, task, "on-success", spec.clause("on-success")
        )
    elif task.state is State.SUCCESS:
        result = _clause(work, task, "on-success", spec.clause("on-success"))
    else:
        return []
    return result + _clause(work, task, "on-complete", spec.clause("on-complete"))


def _clause(work: Work, task: Task, name: str, clause: OnClause) -> list[Next]:
    if not clause.transitions:
        return []
    scope = policies.scope_of(work, task)
    result = []
    for transition in clause.transitions:
        if transition.guard is not None and not expressions.evaluate(transition.guard, scope):
            continue
        message = None
        if transition.is_command and "msg" in transition.params:
            message = _message(expressions.evaluate(transition.params["msg"], scope))
        result.append(Next(transition.target, name, task.id, transition.is_command, message))
    return result


def _message(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def dispatch(work: Work, found: list[Next]) -> None:
    """Carry out commands in order until the workflow has ended; while it is paused, keep them for later."""
    with work.starting_several():
        _dispatch(work, found)


def _dispatch(work: Work, found: list[Next]) -> None:
    execution = work.execution
    for command in found:
        if execution.state.completed:
            return
        if command.is_command and command.target == "noop":
            continue
        if execution.state is State.PAUSED:
            execution.backlog = (*execution.backlog, tuple(command))
        elif not command.is_command:
            run_task(work, command)
        elif command.target == "pause":
            lifecycle.pause(work, command.message)
        elif command.target == "succeed":
            lifecycle.succeed(work, command.message)
        else:
            lifecycle.fail(work, command.message)


def run_task(work: Work, command: Next) -> None:
    """Start the target of a transition: a join gets an arrival, anything else a task execution of its own."""
    source = work.task(command.source_id)
    if work.execution.spec.tasks[command.target].join is not None:
        joins.arrive(work, command.target, source, command.clause)
        return
    task = work.new_task(command.target, State.IDLE, ((source.id, command.clause),), source.outbound)
    start.start(work, task)


def start_first(work: Work) -> None:
    """The first tasks of a started execution."""
    if work.execution.spec.type == "reverse":
        reverse.advance(work)
    else:
        with work.starting_several():
            for name in work.execution.spec.start_tasks:
                if work.execution.state.completed:
                    return
                start.start(work, work.new_task(name, State.IDLE, (), 0))
    lifecycle.check(work)
