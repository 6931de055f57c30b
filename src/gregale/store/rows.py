"""Records of the core as rows and back."""

from __future__ import annotations

from typing import Any

import msgspec
from immutables import Map

from gregale.core.context import Context
from gregale.core.partition import partition_of
from gregale.core.state import Arrival, Child, Execution, Items, State, Task, Timer

Row = dict[str, Any]


def encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def decode(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


class _Progress(msgspec.Struct, frozen=True, omit_defaults=True, array_like=False):
    """The columns' worth of a task that nobody but the core reads."""

    triggered_by: tuple[tuple[str, str], ...] = ()
    next_tasks: tuple[tuple[str, str], ...] = ()
    has_next_tasks: bool = False
    error_handled: bool = False
    run: int = 0
    round: int = 0
    attempt: int = 0
    retries: int = 0
    timeout: int = 0
    timed_out: bool = False
    policies: dict[str, Any] = {}
    held: tuple[str, str | None] | None = None
    items: Items | None = None
    lost: dict[str, str] = {}
    again: tuple[tuple[str, str, str], ...] = ()


_progress = msgspec.json.Decoder(_Progress)


def task_row(execution: Execution, t: Task) -> Row:
    progress = _Progress(
        t.triggered_by,
        t.next_tasks,
        t.has_next_tasks,
        t.error_handled,
        t.run,
        t.round,
        t.attempt,
        t.retries,
        t.timeout,
        t.timed_out,
        t.policies,
        t.held,
        t.items,
        dict(t.lost.items()) if t.lost else {},
        t.again,
    )
    return {
        "id": t.id,
        "execution_id": execution.id,
        "seq": t.seq,
        "name": t.name,
        "project_id": execution.project_id,
        "tags": _tags(execution.spec.tasks[t.name].tags),
        "type": t.type,
        "state": t.state.value,
        "state_info": t.state_info,
        "inbound": t.inbound,
        "outbound": t.outbound,
        "published": None if t.published is None else encode(t.published),
        "processed": t.processed,
        "progress": encode(progress),
        "created_at": t.created_at,
        "updated_at": t.updated_at,
        "started_at": t.started_at,
        "finished_at": t.finished_at,
    }


def progress_of(text: str) -> _Progress:
    return _progress.decode(text)


def task_from(row: Any, arrived: Map[str, tuple[str, str, int]], children: Map[int, str]) -> Task:
    p = progress_of(row.progress)
    return Task(
        id=row.id,
        name=row.name,
        seq=row.seq,
        type=row.type,
        state=State(row.state),
        created_at=row.created_at,
        updated_at=row.updated_at,
        state_info=row.state_info,
        inbound=row.inbound,
        outbound=row.outbound,
        published=decode(row.published),
        triggered_by=p.triggered_by,
        processed=bool(row.processed),
        next_tasks=p.next_tasks,
        has_next_tasks=p.has_next_tasks,
        error_handled=p.error_handled,
        started_at=row.started_at,
        finished_at=row.finished_at,
        run=p.run,
        round=p.round,
        attempt=p.attempt,
        retries=p.retries,
        timeout=p.timeout,
        timed_out=p.timed_out,
        policies=p.policies,
        held=p.held,
        items=p.items,
        arrived=arrived,
        lost=Map(p.lost),
        again=p.again,
        children=children,
    )


def child_row(execution: Execution, c: Child) -> Row:
    return {
        "id": c.id,
        "execution_id": execution.id,
        "task_id": c.task_id,
        "kind": c.kind,
        "name": c.name,
        "project_id": execution.project_id,
        "seq": c.seq,
        "item": c.index,
        "attempt": c.attempt,
        "state": c.state.value,
        "state_info": c.state_info,
        "accepted": c.accepted,
        "input": encode(c.input),
        "output": encode(c.output) if c.has_output else None,
        "base": None if c.base is None else encode(c.base),
        "is_sync": c.is_sync,
        "safe_rerun": c.safe_rerun,
        "target": c.target,
        "timeout": c.timeout,
        "description": None,
        "holder": None,
        "held_since": None,
        "heartbeat": None,
        "created_at": c.created_at,
        "updated_at": c.updated_at,
    }


def child_update(c: Child) -> Row:
    """What of a child can change."""
    return {
        "key": c.id,
        "state": c.state.value,
        "state_info": c.state_info,
        "accepted": c.accepted,
        "attempt": c.attempt,
        "output": encode(c.output) if c.has_output else None,
        "updated_at": c.updated_at,
    }


def child_from(row: Any) -> Child:
    base = decode(row.base)
    return Child(
        id=row.id,
        task_id=row.task_id,
        kind=row.kind,
        name=row.name,
        index=row.item,
        attempt=row.attempt,
        state=State(row.state),
        created_at=row.created_at,
        updated_at=row.updated_at,
        state_info=row.state_info,
        accepted=bool(row.accepted),
        input=decode(row.input),
        output=decode(row.output),
        has_output=row.output is not None,
        is_sync=bool(row.is_sync),
        safe_rerun=bool(row.safe_rerun),
        base=None if base is None else (base[0], base[1]),
        target=row.target,
        timeout=row.timeout,
        seq=row.seq,
    )


def _tags(tags: tuple[str, ...]) -> str:
    return encode(tags) if tags else "[]"


def secrets_of(e: Execution) -> list[str]:
    """Inputs that lists and logs never show: those named by the parameter `secrets`, and by tags `secret:NAME` of the workflow."""
    named = e.params.get("secrets")
    names = {n for n in named if isinstance(n, str)} if isinstance(named, list) else set()
    return sorted(names | {t.removeprefix("secret:") for t in e.tags if t.startswith("secret:")})


def execution_row(e: Execution) -> Row:
    return {
        "id": e.id,
        "root_id": e.root_id,
        "parent_id": e.parent_id,
        "parent_task_id": e.parent_task_id,
        "partition": partition_of(e.root_id),
        "workflow_id": e.workflow_id,
        "workflow_name": e.workflow_name,
        "namespace": e.namespace,
        "workbook": e.workbook,
        "spec_hash": e.spec_hash,
        "project_id": e.project_id,
        "description": e.description,
        "tags": encode(e.tags),
        "input": encode(e.input),
        "secrets": encode(secrets) if (secrets := secrets_of(e)) else None,
        "created_at": e.created_at,
        **execution_state(e),
        **execution_values(e),
    }


def execution_state(e: Execution) -> Row:
    """The small columns that change."""
    return {
        "state": e.state.value,
        "state_info": e.state_info,
        "started": e.started,
        "accepted": e.accepted,
        "backlog": encode(e.backlog),
        "updated_at": e.updated_at,
        "revision": e.revision,
    }


def execution_values(e: Execution) -> Row:
    """The columns that can be large, written only when they have changed."""
    return {
        "params": encode(e.params),
        "context": encode(e.context),
        "output": None if e.output is None else encode(e.output),
    }


def context_row(execution_id: str, layer: Context) -> Row:
    return {
        "execution_id": execution_id,
        "seq": layer.seq,
        "parents": encode(layer.parents),
        "own": encode(layer.own),
    }


def arrival_row(execution_id: str, a: Arrival) -> Row:
    return {
        "execution_id": execution_id,
        "join_id": a.join_id,
        "round": a.round,
        "source_id": a.source_id,
        "attempt": a.attempt,
        "source_name": a.source_name,
        "clause": a.clause,
    }


def timer_row(t: Timer, partition: int) -> Row:
    return {
        "task_id": t.task_id,
        "kind": t.kind,
        "stamp": t.stamp,
        "execution_id": t.execution_id,
        "partition": partition,
        "due": t.due,
    }
