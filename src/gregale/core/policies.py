"""Policies around a task (language spec 6): what holds it before it starts and after its children have ended."""

from __future__ import annotations

from typing import Any

from gregale import expressions
from gregale.core import lifecycle
from gregale.core.errors import ForceFail
from gregale.core.scope import ExecutionScope
from gregale.core.state import State, Task
from gregale.core.work import Work


def scope_of(work: Work, task: Task, items: dict[str, Any] | None = None) -> ExecutionScope:
    """What a task's expressions see: the outbound context, which is the inbound one until the task has published."""
    return ExecutionScope(work, work.layer(task.outbound), task, items)


def _whole_number(work: Work, task: Task, value: int | str, policy: str, field: str) -> int:
    found = expressions.evaluate(value, scope_of(work, task)) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise ForceFail(
            f"Invalid data type in {policy}: the value of '{field}' must be an integer of 0 or more [value={found!r:.100}]"
        )
    return found


def before(work: Work, task: Task) -> Task:
    """Apply pause-before, wait-before, timeout and concurrency. A task left RUNNING goes on. Raises ForceFail."""
    policies = work.execution.spec.tasks[task.name].policies
    state, info = task.state, task.state_info
    recorded = dict(task.policies)
    paused = expressions.evaluate(policies.pause_before, scope_of(work, task))
    if not isinstance(paused, bool):
        raise ForceFail(
            f"Invalid data type in PauseBeforePolicy: 'pause-before' must be a boolean [value={paused!r:.100}]"
        )
    delay = _whole_number(work, task, policies.wait_before, "WaitBeforePolicy", "wait-before")
    timeout = _whole_number(work, task, policies.timeout, "TimeoutPolicy", "timeout")
    concurrency = _whole_number(work, task, policies.concurrency, "ConcurrencyPolicy", "concurrency")
    if policies.retry is not None:
        recorded["retry_task_policy"] = {}
    if paused:
        state, info = State.IDLE, "Set by 'pause-before' policy"
    elif delay:
        state, info = State.DELAYED, f"Delayed by 'wait-before' policy [delay={delay}]"
        recorded["wait_before_policy"] = {"skip": True}
        work.schedule(task, "wait-before", delay)
    if timeout:
        work.schedule(task, "timeout", timeout)
    if concurrency:
        recorded["concurrency"] = concurrency
    if recorded != task.policies or state is not task.state or timeout != task.timeout:
        task = work.update(task, state=state, state_info=info, policies=recorded, timeout=timeout)
    if paused:
        lifecycle.pause(work, None)
        task = work.execution.tasks[task.id]
    return task


def after(work: Work, task: Task, state: State, info: str | None) -> tuple[Task, State, str | None] | None:
    """Apply wait-after, fail-on and retry to a task that would end in `state`.

    Gives the task with its final state, or None when the task is held back and goes on later. Raises ForceFail.
    """
    policies = work.execution.spec.tasks[task.name].policies
    if policies.wait_after and "wait_after_policy" not in task.policies:
        delay = _whole_number(work, task, policies.wait_after, "WaitAfterPolicy", "wait-after")
        if delay:
            work.update(
                task,
                state=State.DELAYED,
                state_info=f"Delayed by 'wait-after' policy [delay={delay}]",
                policies={**task.policies, "wait_after_policy": {"skip": True}},
                held=(state.value, info),
            )
            work.schedule(task, "wait-after", delay)
            return None
    if policies.fail_on and expressions.evaluate(policies.fail_on, scope_of(work, task)) and state is State.SUCCESS:
        state, info = State.ERROR, "Failed by 'fail-on' policy"
    if policies.retry is not None and state is not State.CANCELLED and _retry(work, task, state):
        return None
    return task, state, info


def _retry(work: Work, task: Task, state: State) -> bool:
    """Whether the task is run again (spec 6.3)."""
    retry = work.execution.spec.tasks[task.name].policies.retry
    assert retry is not None
    scope = scope_of(work, task)
    goes_on = expressions.evaluate(retry.continue_on, scope) if retry.continue_on is not None else None
    broken = expressions.evaluate(retry.break_on, scope) if retry.break_on is not None else None
    count = _whole_number(work, task, retry.count, "RetryPolicy", "count")
    delay = _whole_number(work, task, retry.delay, "RetryPolicy", "delay")
    if task.retries >= count:
        return False
    if retry.continue_on is not None and not goes_on:
        return False
    if state is State.SUCCESS and retry.continue_on is None:
        return False
    if state is State.ERROR and broken:
        return False
    unaccept(work, task)
    spec = work.execution.spec.tasks[task.name]
    task = work.update(
        task,
        state=State.WAITING if spec.join is not None else State.DELAYED,
        state_info=f"Delayed by 'retry' policy [delay={delay}]",
        policies={**task.policies, "retry_task_policy": {"retry_no": task.retries + 1}},
        retries=task.retries + 1,
        attempt=task.attempt + 1,
    )
    work.schedule(task, "retry", delay)
    return True


def with_concurrency(work: Work, task: Task) -> Task:
    """A task with its concurrency evaluated and recorded. Raises ForceFail."""
    limit = _whole_number(
        work, task, work.execution.spec.tasks[task.name].policies.concurrency, "ConcurrencyPolicy", "concurrency"
    )
    return work.update(task, policies={**task.policies, "concurrency": limit})


def unaccept(work: Work, task: Task, only: frozenset[State] | None = None) -> None:
    """Results of these children no longer count."""
    for child in work.children_of(task):
        if child.accepted and (only is None or child.state in only):
            work.change_child(child, accepted=False)
