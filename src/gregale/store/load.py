"""Rows → state: executions with everything inside them, many at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import sqlalchemy as sa
from immutables import Map
from sqlalchemy.engine import Connection

from gregale.core import context
from gregale.core.state import Child, Execution, State, Task
from gregale.language import WorkflowSpec, workflow_from_body
from gregale.store import rows
from gregale.store.schema import action_executions, arrivals, contexts, executions, specs, tasks

_CHUNK = 500


def load(connection: Connection, execution_ids: Sequence[str], deep_merge: bool = False) -> list[Execution]:
    """The executions that exist of those asked for, as the last commit left them."""
    result: list[Execution] = []
    for start in range(0, len(execution_ids), _CHUNK):
        result += _load(connection, execution_ids[start : start + _CHUNK], deep_merge)
    return result


def _load(connection: Connection, ids: Sequence[str], deep_merge: bool) -> list[Execution]:
    found = connection.execute(sa.select(executions).where(executions.c.id.in_(ids))).all()
    specs_by_hash = specs_of(connection, {row.spec_hash for row in found})
    known = [row.id for row in found if row.started]
    if not known:  # there is nothing inside yet
        empty = context.rebuild([], deep_merge)
        return [_execution(row, specs_by_hash[row.spec_hash], [], [], empty) for row in found]
    by_task: dict[str, list[Child]] = defaultdict(list)
    children: dict[str, list[Child]] = defaultdict(list)
    for row in connection.execute(
        sa.select(action_executions)
        .where(action_executions.c.execution_id.in_(known))
        .order_by(action_executions.c.seq)
    ):
        child = rows.child_from(row)
        children[row.execution_id].append(child)
        by_task[child.task_id].append(child)
    task_rows: dict[str, list[Any]] = defaultdict(list)
    seqs: dict[str, int] = {}
    for row in connection.execute(sa.select(tasks).where(tasks.c.execution_id.in_(known)).order_by(tasks.c.seq)):
        task_rows[row.execution_id].append(row)
        seqs[row.id] = row.seq
    arrived: dict[str, dict[int, dict[str, tuple[str, str, int]]]] = defaultdict(lambda: defaultdict(dict))
    found_arrivals = connection.execute(sa.select(arrivals).where(arrivals.c.execution_id.in_(known))).all()
    for row in sorted(found_arrivals, key=lambda r: (seqs[r.source_id], r.attempt)):  # the newest speaks for its name
        arrived[row.join_id][row.round][row.source_name] = (row.source_id, row.clause, row.attempt)
    layer_rows: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(
        sa.select(contexts).where(contexts.c.execution_id.in_(known)).order_by(contexts.c.seq)
    ):
        layer_rows[row.execution_id].append((row.seq, tuple(rows.decode(row.parents)), rows.decode(row.own)))
    result = []
    for row in found:
        made = []
        for t in task_rows[row.id]:
            mine = arrived[t.id][rows.progress_of(t.progress).round] if t.id in arrived else {}
            made.append(rows.task_from(t, Map(mine), Map({i: c.id for i, c in enumerate(by_task[t.id])})))
        result.append(
            _execution(
                row,
                specs_by_hash[row.spec_hash],
                made,
                children[row.id],
                context.rebuild(layer_rows[row.id], deep_merge),
            )
        )
    return result


def unstarted(row: str, deep_merge: bool = False) -> Execution | None:
    """A new execution from the text of its row. None when its spec is not known here."""
    values = rows.decode(row)
    spec = _parsed.get(values["spec_hash"])
    if spec is None or values["started"]:
        return None
    return _execution(SimpleNamespace(**values), spec, [], [], context.rebuild([], deep_merge))


def _execution(
    row: Any, spec: WorkflowSpec, made: list[Task], children: list[Child], layers: context.Layers
) -> Execution:
    return Execution(
        id=row.id,
        root_id=row.root_id,
        workflow_id=row.workflow_id,
        workflow_name=row.workflow_name,
        namespace=row.namespace,
        spec=spec,
        spec_hash=row.spec_hash,
        input=rows.decode(row.input),
        params=rows.decode(row.params),
        created_at=row.created_at,
        updated_at=row.updated_at,
        state=State(row.state),
        state_info=row.state_info,
        output=rows.decode(row.output),
        context=rows.decode(row.context),
        description=row.description,
        tags=tuple(rows.decode(row.tags)),
        project_id=row.project_id,
        parent_id=row.parent_id,
        parent_task_id=row.parent_task_id,
        workbook=row.workbook,
        started=bool(row.started),
        accepted=bool(row.accepted),
        backlog=tuple(tuple(entry) for entry in rows.decode(row.backlog)),
        revision=row.revision,
        tasks=Map({t.id: t for t in made}),
        latest=Map({t.name: t.id for t in made}),
        children=Map({c.id: c for c in children}),
        contexts=layers,
        next_seq=1 + max((t.seq for t in made), default=0),
        next_context=1 + max(layers.keys(), default=0),
        next_child=1 + max((c.seq for c in children), default=0),
        open=sum(1 for t in made if not t.state.completed),
        unhandled=sum(1 for t in made if t.state is State.ERROR and not t.error_handled),
        cancelled=sum(1 for t in made if t.state is State.CANCELLED),
    )


_MOST_SPECS = 1000
_parsed: dict[str, WorkflowSpec] = {}
"""By the hash of their bodies."""


def specs_of(connection: Connection, hashes: set[str]) -> dict[str, WorkflowSpec]:
    """Specs by the hash of their bodies, which are read once in the life of a process: some have ten thousand tasks."""
    found = {h: spec for h in hashes if (spec := _parsed.get(h)) is not None}
    missing = [h for h in hashes if h not in found]
    if missing:
        for row in connection.execute(sa.select(specs.c.hash, specs.c.body).where(specs.c.hash.in_(missing))):
            found[row.hash] = spec_of(row.hash, row.body)
    return found


def spec_of(spec_hash: str, body: str) -> WorkflowSpec:
    """The spec for a stored body; parsed once per content."""
    found = _parsed.get(spec_hash)
    if found is None:
        plain = msgspec.json.decode(body)
        found = workflow_from_body(plain["name"], {k: v for k, v in plain.items() if k != "name"})
        for oldest in list(_parsed)[: max(0, len(_parsed) + 1 - _MOST_SPECS)]:
            _parsed.pop(oldest, None)
        _parsed[spec_hash] = found
    return found
