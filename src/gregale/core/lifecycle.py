"""The workflow as a whole: its end and output, pause, resume and stop (language spec 4.7, 5.6 and 5.9)."""

from __future__ import annotations

from typing import Any

from gregale import expressions
from gregale.core import complete, context, joins, reverse, routing, start
from gregale.core.errors import WorkflowError
from gregale.core.events import Stop
from gregale.core.scope import ExecutionScope
from gregale.core.state import Child, StartExecution, State, Task, may_become
from gregale.core.work import Work, check_size, cut, jsonable, with_env


def set_state(work: Work, state: State, info: str | None) -> None:
    """Raises WorkflowError for a change that the table of spec 5.1 does not allow."""
    execution = work.execution
    if not may_become(execution.state, state):
        raise WorkflowError(
            f"Can't change workflow execution state from {execution.state.value} to {state.value}. "
            f"[workflow={execution.workflow_name}, execution_id={execution.id}]"
        )
    work.set_state(state)
    execution.state_info = cut(info)


def check(work: Work) -> None:
    """End the workflow if nothing in it can move any more (spec 5.6)."""
    execution = work.execution
    if execution.state is not State.RUNNING or not execution.started or execution.open or work.starting:
        return
    if execution.cancelled:
        names = [t.name for t in _in_order(work) if t.state is State.CANCELLED]
        _end(work, State.CANCELLED, f"Cancelled tasks: {', '.join(names)}")
    elif not execution.unhandled:
        succeed(work, None)
    else:
        fail(work, _failure(work))


def _in_order(work: Work) -> list[Task]:
    return sorted(work.execution.tasks.values(), key=lambda t: t.seq)


def _failure(work: Work) -> str:
    failed = [
        t
        for t in _in_order(work)
        if t.state is State.ERROR
        and not t.error_handled
        and not work.execution.spec.tasks[t.name].clause("on-error").transitions
    ]
    lines = ["Failure caused by error in tasks: " + ", ".join(t.name for t in failed), ""]
    for task in failed:
        lines += [f"  {task.name} [task_ex_id={task.id}] -> {task.state_info}"]
        for child in work.children_of(task):
            if child.accepted and child.state is State.ERROR:
                kind = "action" if child.kind == "ACTION" else "wf"
                lines += [f"    [{kind}_ex_id={child.id}, idx={child.index}]: {str(child.output)[:2000]}"]
        lines += [""]
    return "\n".join(lines)


def final_context(work: Work) -> context.Context:
    """What the tasks without successors have published, merged (spec 4.7)."""
    execution = work.execution
    if execution.spec.type == "reverse":
        target = work.latest(str(execution.params.get("task_name")))
        return work.layer(target.outbound) if target is not None else context.EMPTY
    ends = [t.outbound for t in _in_order(work) if t.state.completed and not t.has_next_tasks]
    distinct = [s for s in dict.fromkeys(ends) if s]
    if len(distinct) <= 1:
        return work.layer(distinct[0] if distinct else 0)
    return context.merge(execution.contexts, distinct, execution.next_context)


def succeed(work: Work, message: str | None) -> None:
    """SUCCESS with the output evaluated; a broken output makes it an ERROR."""
    final = final_context(work)
    spec = work.execution.spec
    try:
        if spec.output:
            output = jsonable(expressions.evaluate(spec.output, ExecutionScope(work, final)))
        else:
            output = dict(final.variables.items())
        too_large = check_size(output, "WorkflowExecution", "output", work.decision.settings.field_limit_kb)
        if too_large:
            raise WorkflowError(too_large)
    except (expressions.ExpressionError, WorkflowError) as e:
        fail(work, f"Failed to check and complete [error={e}, wf={work.execution.workflow_name}]")
        return
    _end(work, State.SUCCESS, message, output)


def fail(work: Work, message: str | None) -> None:
    """ERROR; the output holds the message, and what `output-on-error` or the branches give (spec 4.7)."""
    if work.execution.state.completed:
        return
    spec = work.execution.spec
    final = final_context(work)
    try:
        values = (
            jsonable(expressions.evaluate(spec.output_on_error, ExecutionScope(work, final)))
            if spec.output_on_error
            else dict(final.variables.items())
        )
    except expressions.ExpressionError as e:
        message = f"Failed to evaluate expression in output-on-error! Error: {e}, cause: {message}"
        values = {}
    output = {"result": message, **values}
    if check_size(output, "WorkflowExecution", "output", work.decision.settings.field_limit_kb):
        output = {"result": cut(message)}
    _end(work, State.ERROR, message, output)


def _end(work: Work, state: State, info: str | None, output: dict[str, Any] | None = None) -> None:
    set_state(work, state, info)
    execution = work.execution
    execution.output = {"result": info} if output is None else output
    execution.accepted = True
    execution.backlog = ()
    tell_parent(work)


def _parent(work: Work) -> tuple[Work, Task, Child] | None:
    execution = work.execution
    if execution.parent_id is None or execution.parent_task_id is None:
        return None
    parent = work.decision.work(execution.parent_id)
    child = parent.execution.children.get(execution.id)
    return None if child is None else (parent, parent.task(execution.parent_task_id), child)


def tell_parent(work: Work) -> None:
    """A finished sub-workflow is a child result of the task that called it."""
    found = _parent(work)
    if found is None:
        return
    parent, task, child = found
    if child.state.completed:
        return
    execution = work.execution
    info = execution.state_info
    if execution.state is State.ERROR and info is None:
        info = f"Failed subworkflow [execution_id={execution.id}]"
    if task.state is State.PAUSED and not _others_paused(parent, task, child):
        task = parent.update(task, state=State.RUNNING, state_info=None)
    complete.child_done(parent, task, child, execution.state, execution.output, info)


def _others_paused(parent: Work, task: Task, child: Child) -> bool:
    return any(c.state is State.PAUSED and c.id != child.id for c in parent.children_of(task))


# Pause and resume ------------------------------------------------------------------------------------------------------


def pause(work: Work, message: str | None) -> None:
    """Pause the sub-workflows, then this workflow, then tell the parent (spec 5.9). A paused one stays as it is."""
    execution = work.execution
    if execution.state is State.PAUSED:
        return
    set_state(work, State.PAUSED, message)
    for child in list(execution.children.values()):
        if child.kind == "WORKFLOW" and not child.state.completed:
            below = work.decision.work(child.id)
            if below.execution.state is State.RUNNING:
                pause(below, message)
    found = _parent(work)
    if found is None:
        return
    parent, task, child = found
    if not child.state.completed:
        parent.change_child(child, state=State.PAUSED)
    if not task.state.completed:
        parent.update(task, state=State.PAUSED)
    if parent.execution.state is State.RUNNING:
        pause(parent, message)


def resume(work: Work, env: dict[str, Any] | None) -> None:
    """Resume the sub-workflows, then this workflow, then the parent if nothing else of it is paused."""
    execution = work.execution
    if execution.state is not State.PAUSED and execution.state is not State.IDLE:
        return
    if env:
        execution.params = with_env(execution.params, env)
    _resume_down(work)
    _resume_up(work)


def _resume_down(work: Work) -> None:
    execution = work.execution
    for child in sorted(execution.children.values(), key=lambda c: c.seq):
        if child.kind == "WORKFLOW" and not child.state.completed:
            below = work.decision.work(child.id)
            if below.execution.state is State.PAUSED:
                _resume_down(below)
                _mark_resumed(below)
    set_state(work, State.RUNNING, None)
    _go_on(work)


def _mark_resumed(work: Work) -> None:
    """The parent's link and task of a resumed sub-workflow run again, unless another child of the task is paused."""
    found = _parent(work)
    if found is None:
        return
    parent, task, child = found
    if child.state is State.PAUSED:
        parent.change_child(child, state=State.RUNNING)
    task = parent.task(task.id)
    if task.state is State.PAUSED and not any(c.state is State.PAUSED for c in parent.children_of(task)):
        parent.update(task, state=State.RUNNING, state_info=None)


def _resume_up(work: Work) -> None:
    _mark_resumed(work)
    found = _parent(work)
    if found is None:
        return
    parent = found[0]
    if parent.execution.state is State.PAUSED and not any(
        t.state is State.PAUSED for t in parent.execution.tasks.values()
    ):
        set_state(parent, State.RUNNING, None)
        _go_on(parent)
        _resume_up(parent)


def _go_on(work: Work) -> None:
    """What a resumed workflow has to catch up with (spec 5.9)."""
    with work.starting_several():
        _catch_up(work)
    check(work)


def _catch_up(work: Work) -> None:
    execution = work.execution
    if not execution.started:
        work.commands.append(StartExecution(execution.id))
        return
    for task in _in_order(work):
        if execution.state is not State.RUNNING:
            return
        task = work.task(task.id)
        if task.state is State.IDLE:
            start.resume_start(work, task)
        elif task.state.completed and not task.processed:
            try:
                found = [c for c in routing.commands(work, task) if not (c.is_command and c.target == "pause")]
            except expressions.ExpressionError as e:
                complete.force_fail(work, task, "Failed to complete task", e)
                continue
            task = work.update(routing.recorded(work, task, found), processed=True)
            routing.dispatch(work, found)
            joins.source_completed(work, work.task(task.id))
    backlog, execution.backlog = execution.backlog, ()
    routing.dispatch(work, [routing.Next(*entry) for entry in backlog])
    for task in _in_order(work):
        if task.state is State.WAITING and task.arrived:
            joins.evaluate(work, task)
    if execution.spec.type == "reverse" and execution.state is State.RUNNING:
        reverse.advance(work)


# Stop ------------------------------------------------------------------------------------------------------------------


def stop(work: Work, event: Stop) -> None:
    """The table of spec 5.9. Raises WorkflowError."""
    execution = work.execution
    state = State(event.state)
    if state is State.CANCELLED:
        cancel(work, event.message)
    elif state is State.SUCCESS:
        if execution.state is State.SUCCESS:
            execution.accepted = True
            execution.state_info = cut(event.message)
            _reevaluate_output(work)
            return
        if not may_become(execution.state, State.SUCCESS):
            set_state(work, State.SUCCESS, None)
        succeed(work, event.message)
    elif execution.state is State.RUNNING or (execution.state is State.PAUSED and event.if_paused):
        fail(work, event.message)


def _reevaluate_output(work: Work) -> None:
    spec = work.execution.spec
    if spec.output:
        try:
            work.execution.output = jsonable(
                expressions.evaluate(spec.output, ExecutionScope(work, final_context(work)))
            )
        except expressions.ExpressionError as e:
            raise WorkflowError(
                f"Failed to check and complete [error={e}, wf={work.execution.workflow_name}]"
            ) from None


def cancel(work: Work, message: str | None) -> None:
    """Cancel this workflow and every unfinished one below it; running actions are left alone."""
    execution = work.execution
    if not execution.state.completed:
        _end(work, State.CANCELLED, message)
    for child in sorted(execution.children.values(), key=lambda c: c.seq):
        if child.kind == "WORKFLOW":
            below = work.decision.work(child.id)
            if not below.execution.state.completed:
                cancel(below, message)
