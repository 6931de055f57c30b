"""What a change of state is called by those who are told of it (API spec 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

from gregale.core.state import State
from gregale.core.work import Transition

_ENDS = {
    State.SUCCESS: "SUCCEEDED",
    State.ERROR: "FAILED",
    State.CANCELLED: "CANCELLED",
    State.PAUSED: "PAUSED",
    State.SKIPPED: "SKIPPED",
}
_AGAIN = {
    State.IDLE: "RESUMED",
    State.PAUSED: "RESUMED",
    State.WAITING: "RESUMED",
    State.ERROR: "RERUN",
    State.CANCELLED: "RERUN",
}


def named(transitions: Sequence[Transition]) -> list[tuple[Transition, str | None]]:
    """Each transition of one decision with its event, None for those that nobody is told of."""
    failed: set[str | None] = set()
    result = []
    for t in transitions:
        if t.old in (State.ERROR, State.CANCELLED) and t.new is State.IDLE:
            failed.add(t.task_id)  # a rerun passes through IDLE
        result.append((t, _name(t, t.task_id in failed)))
    return result


def _name(t: Transition, failed: bool) -> str | None:
    if t.new is not State.RUNNING:
        name = _ENDS.get(t.new)
    elif t.first or t.old is None:
        name = "LAUNCHED"
    else:
        name = "RERUN" if failed else _AGAIN.get(t.old)
    return None if name is None else f"{'WORKFLOW' if t.task_id is None else 'TASK'}_{name}"
