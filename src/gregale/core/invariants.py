"""What must hold for an execution after every decision. Used by tests and by whoever suspects a fault."""

from __future__ import annotations

from gregale.core.state import Execution, State


def broken(execution: Execution) -> list[str]:
    """Every invariant that does not hold, in words."""
    tasks = list(execution.tasks.values())
    found = []
    counted = {
        "open": sum(1 for t in tasks if not t.state.completed),
        "unhandled": sum(1 for t in tasks if t.state is State.ERROR and not t.error_handled),
        "cancelled": sum(1 for t in tasks if t.state is State.CANCELLED),
    }
    for name, number in counted.items():
        if getattr(execution, name) != number:
            found.append(f"{name} is {getattr(execution, name)}, a recount gives {number}")
    if execution.state is State.RUNNING and execution.started and not execution.open:
        found.append("nothing in it can move, and it is still RUNNING")
    for task in tasks:
        spec = execution.spec.tasks[task.name]
        if spec.join is not None and sum(1 for t in tasks if t.name == task.name) > 1:
            found.append(f"join '{task.name}' has more than one task execution")
        if task.state.completed and task.finished_at is None:
            found.append(f"task '{task.name}' is {task.state.value} and never finished")
        limit = task.policies.get("concurrency")
        if limit and task.items is not None:
            running = sum(
                1
                for i in range(len(task.children))
                if not (c := execution.children[task.children[i]]).state.completed and c.attempt == task.attempt
            )
            if running > limit:
                found.append(f"task '{task.name}' runs {running} items at once, allowed are {limit}")
    return list(dict.fromkeys(found))
