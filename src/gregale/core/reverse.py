"""Reverse workflows: the target and everything it requires, each when its requirements are met (language spec 5.8)."""

from __future__ import annotations

from gregale.core import start
from gregale.core.state import State
from gregale.core.work import Work


def closure(work: Work) -> list[str]:
    """The target task and everything it needs, in the order the tasks are written."""
    tasks = work.execution.spec.tasks
    found: set[str] = set()
    todo = [str(work.execution.params.get("task_name"))]
    while todo:
        name = todo.pop()
        if name in tasks and name not in found:
            found.add(name)
            todo.extend(tasks[name].requires)
    return [name for name in tasks if name in found]


def advance(work: Work) -> None:
    """Start every task of the closure whose requirements are all SUCCESS and that has no execution yet."""
    with work.starting_several():
        _advance(work)


def _advance(work: Work) -> None:
    for name in closure(work):
        if work.execution.state.completed:
            return
        if work.latest(name) is not None:
            continue
        required = [work.latest(r) for r in work.execution.spec.tasks[name].requires]
        done = [r for r in required if r is not None and r.state is State.SUCCESS]
        if len(done) == len(required):
            sources = [r.outbound for r in sorted(done, key=lambda t: t.seq)]
            start.start(work, work.new_task(name, State.IDLE, (), work.merged_layer(sources)))
