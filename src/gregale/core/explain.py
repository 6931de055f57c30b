"""Why an execution or a task is where it is: what it waits for, since when, and what happens next. Words that a person acts on,
beside data that a program can use (design, rule 8). Never empty for what has not ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gregale.core.state import Child, Execution, State, Task


class Due(msgspec.Struct, frozen=True):
    """A timer of a task."""

    kind: str
    at: float


class Holder(msgspec.Struct, frozen=True):
    """The member that runs an action; times in seconds since the epoch."""

    name: str
    state: str
    since: float
    heartbeat: float


class Facts(msgspec.Struct, frozen=True):
    """What the execution itself does not know: timers by task, holders by action, states of sub-workflow executions by id."""

    now: float
    timers: Mapping[str, Sequence[Due]] = {}
    holders: Mapping[str, Holder] = {}
    below: Mapping[str, str] = {}
    sweep_every: float = 5.0
    heartbeat_timeout: float = 60.0


class Reason(msgspec.Struct, frozen=True):
    """`why` and `next` are for people. `waits_for` names what has to happen (`kind`, `id` or `name`, `state`); `due` when a timer does."""

    subject: str
    id: str
    name: str
    state: str
    why: str
    next: str
    since: float
    waits_for: tuple[dict[str, Any], ...] = ()
    due: float | None = None


def explain(e: Execution, facts: Facts) -> list[Reason]:
    """The execution's reason first, then one for each of its tasks that has not ended, in the order in which they came to be."""
    unfinished = [t for t in sorted(e.tasks.values(), key=lambda t: t.seq) if not t.state.completed]
    reasons = [_task(e, t, facts) for t in unfinished]
    return [_execution(e, unfinished, facts), *reasons]


def _execution(e: Execution, unfinished: Sequence[Task], facts: Facts) -> Reason:
    def reason(why: str, following: str, waits_for: tuple[dict[str, Any], ...] = ()) -> Reason:
        return Reason("execution", e.id, e.workflow_name, e.state.value, why, following, e.updated_at, waits_for)

    if e.state.completed:
        why = f"It has ended in {e.state.value}" + (f": {e.state_info.strip().splitlines()[0]}" if e.state_info else "")
        failed = [t.name for t in e.tasks.values() if t.state is State.ERROR and not t.error_handled]
        if e.state is State.ERROR and failed:
            return reason(why, f"Nothing, until somebody reruns or skips a failed task: {', '.join(failed)}")
        return reason(why, "Nothing: it is over")
    if e.state is State.PAUSED:
        why = "It is paused" + (f": {e.state_info}" if e.state_info else "")
        return reason(
            why, "Nothing new begins until somebody resumes it: PUT its state RUNNING, or gregale execution resume"
        )
    if not e.started:
        why = "It was created, and no engine has started it yet"
        return reason(why, f"An engine starts it; the sweep looks for such executions every {facts.sweep_every:g} s")
    if unfinished:
        waits = tuple({"kind": "task", "id": t.id, "name": t.name, "state": t.state.value} for t in unfinished)
        return reason(f"{len(unfinished)} of its {len(e.tasks)} tasks have not ended", "It goes on as they do", waits)
    why = "None of its tasks is unfinished, and its end has not been decided yet"
    return reason(why, f"The sweep, every {facts.sweep_every:g} s, has it decided again")


def _task(e: Execution, t: Task, facts: Facts) -> Reason:
    timers = list(facts.timers.get(t.id, ()))

    def reason(
        why: str, following: str, waits_for: tuple[dict[str, Any], ...] = (), due: float | None = None
    ) -> Reason:
        limit = next((timer for timer in timers if timer.kind == "timeout"), None)
        if limit is not None:
            following += f". Its timeout fails it in {max(0.0, limit.at - facts.now):.0f} s"
        return Reason("task", t.id, t.name, t.state.value, why, following, t.updated_at, waits_for, due)

    if e.state.completed:
        return reason(
            f"The workflow ended in {e.state.value} while it was {t.state.value}",
            "Nothing: what is left of it is ignored",
        )
    if t.state is State.WAITING:
        return reason(*_join(e, t))
    if t.state is State.DELAYED:
        return reason(*_delayed(t, timers, facts))
    if t.state is State.PAUSED:
        return reason(
            "It is paused" + (f": {t.state_info}" if t.state_info else ""), "It goes on when what it runs is resumed"
        )
    if t.state is State.IDLE:
        if e.state is State.PAUSED:
            return reason(
                "The workflow is paused, here or by the task's pause-before", "It starts when the workflow is resumed"
            )
        return reason(
            "It waits for its turn to be started", f"An engine starts it; the sweep looks every {facts.sweep_every:g} s"
        )
    return reason(*_running(e, t, facts))


def _join(e: Execution, t: Task) -> tuple[str, str, tuple[dict[str, Any], ...]]:
    inbound = e.spec.inbound.get(t.name, ())
    wanted = e.spec.tasks[t.name].join
    needed = len(inbound) if wanted == "all" or wanted is None else int(wanted)
    missing = [name for name in inbound if name not in t.arrived and name not in t.lost]
    waits = []
    for name in missing:
        task = e.tasks.get(e.latest.get(name, ""))
        waits.append(
            {
                "kind": "task",
                "name": name,
                "id": task.id if task else None,
                "state": task.state.value if task else "not begun",
            }
        )
    why = f"It joins {needed} of {len(inbound)} tasks; {len(t.arrived)} have arrived"
    if t.lost:
        why += f", {', '.join(sorted(t.lost))} will not come"
    return (
        why,
        f"It starts when {needed - len(t.arrived)} more of {', '.join(missing) or 'none'} lead to it",
        tuple(waits),
    )


def _delayed(t: Task, timers: Sequence[Due], facts: Facts) -> tuple[str, str, tuple[dict[str, Any], ...], float | None]:
    due = min((timer for timer in timers if timer.kind != "timeout"), key=lambda timer: timer.at, default=None)
    if due is None:
        return (
            "It is delayed, and its timer is gone",
            f"The sweep, every {facts.sweep_every:g} s, has it decided again",
            (),
            None,
        )
    whys = {
        "wait-before": "It waits before it starts (wait-before)",
        "wait-after": "It has ended, and waits before the workflow goes on (wait-after)",
        "retry": f"It failed, and is tried again for the {t.retries + 1}. time (retry)",
    }
    left = due.at - facts.now
    following = f"It goes on in {left:.0f} s" if left > 0 else "Its time has come; it goes on now"
    return whys.get(due.kind, f"It waits ({due.kind})"), following, ({"kind": "timer", "name": due.kind},), due.at


def _running(e: Execution, t: Task, facts: Facts) -> tuple[str, str, tuple[dict[str, Any], ...]]:
    children = [e.children[key] for key in t.children.values()]
    mine = [c for c in children if not c.state.completed and c.attempt == t.attempt]
    if not mine:
        return (
            "Nothing that it runs is unfinished",
            f"The sweep, every {facts.sweep_every:g} s, has it decided again",
            (),
        )
    waits = tuple(_waits_for(c, facts) for c in mine)
    first = mine[0]
    why, following = _child(first, facts)
    if t.items is not None:
        why = (
            f"{t.items.done} of {t.items.count} items have ended, {len(mine)} are under way; the first of these: {why}"
        )
    return why, following, waits


def _waits_for(c: Child, facts: Facts) -> dict[str, Any]:
    holder = facts.holders.get(c.id)
    state = facts.below.get(c.id, c.state.value)
    kind = "execution" if c.kind == "WORKFLOW" else "action"
    return {"kind": kind, "id": c.id, "name": c.name, "state": state, "holder": holder.name if holder else None}


def _child(c: Child, facts: Facts) -> tuple[str, str]:
    if c.kind == "WORKFLOW":
        state = facts.below.get(c.id)
        if state is None:
            return f"its sub-workflow {c.name} is gone", "Cancel the execution, or rerun the task when it has failed"
        return f"its sub-workflow {c.name} is {state}", f"It goes on with that: gregale explain {c.id}"
    if c.state is State.PAUSED:
        return (
            f"the action {c.name} is paused",
            f"Somebody has to resume it: PUT /v2/action_executions/{c.id} with state RUNNING",
        )
    holder = facts.holders.get(c.id)
    if not c.is_sync and holder is not None:
        return (
            f"the asynchronous action {c.name} was started and waits for its answer",
            f"Whoever was asked has to answer: PUT /v2/action_executions/{c.id} with its state and output",
        )
    if holder is None:
        where = f" named '{c.target}'" if c.target else ""
        return (
            f"no executor{where} has said yet that it runs the action {c.name}",
            f"It runs when an executor takes it; the sweep sends the request again (every {facts.sweep_every:g} s)",
        )
    silent = facts.now - holder.heartbeat
    why = f"the executor '{holder.name}' runs the action {c.name}, last heard of {max(0.0, silent):.0f} s ago"
    if holder.state in ("lost", "gone") or silent > facts.heartbeat_timeout:
        again = "run again elsewhere" if c.safe_rerun else "ended as lost, because it is not safe to run twice"
        return f"{why}; it is {holder.state}", f"The sweep has it {again}"
    return why, f"It goes on when that ends; {facts.heartbeat_timeout:g} s of silence count as a lost executor"
