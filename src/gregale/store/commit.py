"""One batch in one transaction: the changes of many executions, each guarded by its revision."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.core import Work
from gregale.core.partition import partition_of
from gregale.core.state import COMPLETED
from gregale.store import rows
from gregale.store.bulk import Writes
from gregale.store.schema import (
    action_executions,
    arrivals,
    contexts,
    events,
    executions,
    garbage,
    specs,
    tasks,
    timers,
)

_TERMINAL = tuple(sorted(s.value for s in COMPLETED))


class SwapLost(Exception):
    """Other commits came first for these executions; nothing of the batch was written."""

    def __init__(self, execution_ids: Sequence[str]):
        self.execution_ids = frozenset(execution_ids)
        super().__init__(", ".join(execution_ids))


def committed(connection: Connection, works: Iterable[Work], tag: str) -> bool:
    """Whether the commit of that tag has been made: for who did not hear. It is one transaction, so one row of it tells."""
    ids = [w.execution.id for w in works]
    found = sa.select(executions.c.id).where(executions.c.id.in_(ids[:500]), executions.c.tag == tag).limit(1)
    return connection.scalar(found) is not None


def commit(
    connection: Connection, works: Iterable[Work], tag: str | None = None, told: Sequence[rows.Row] = ()
) -> None:
    """Write everything that changed, or nothing. Raises SwapLost: the transaction is then to be rolled back.

    Each execution's revision is compared and raised in the same UPDATE; a completed execution takes no other state but by a
    rerun. The works' revisions are raised by the caller when this has returned. Rows are written in the order of their ids,
    so that two commits wait for each other in one order only. `tag`: a name of this commit alone; `told`: rows of the events stream.
    """
    changed = sorted((w for w in works if w.changed()), key=lambda w: w.execution.id)
    created = [w for w in changed if w.created]
    updated = [w for w in changed if not w.created]
    tag = tag or str(uuid.uuid4())
    _require_collected(connection, [w.execution.id for w in created if w.id_given])
    if created:
        save_specs(connection, {w.execution.spec_hash: w.execution.spec.body for w in created})
    _drop_timers(connection, changed)
    writes = Writes()
    for group in _swaps(updated, tag):
        writes.update(executions, group, _STILL)
    writes.insert(executions, [{**rows.execution_row(w.execution), "revision": 1, "tag": tag} for w in created])
    _tasks(writes, changed)
    _children(writes, changed)
    layers = [(w.execution.id, c) for w in changed for c in w.contexts]
    writes.insert(contexts, [rows.context_row(execution_id, layer) for execution_id, layer in layers])
    writes.insert(arrivals, [rows.arrival_row(w.execution.id, a) for w in changed for a in w.arrivals])
    writes.insert(
        timers,
        [rows.timer_row(t, partition_of(w.execution.root_id)) for w in changed for t in w.timers],
        missing=True,
    )
    writes.insert(events, told)
    if writes.make(connection).get(executions, 0) != len(updated):
        raise SwapLost(_losers(connection, [w.execution.id for w in updated], tag))


def _require_collected(connection: Connection, ids: list[str]) -> None:
    """An id that is used again must not find what its predecessor has left. Raises SwapLost."""
    left: list[str] = []
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        left += connection.scalars(sa.select(garbage.c.execution_id).where(garbage.c.execution_id.in_(chunk)))
    if left:
        raise SwapLost(left)


_STILL = f"t.revision = v.seen AND (v.allowed = 1 OR t.state NOT IN ({', '.join(map(repr, _TERMINAL))}))"


def _swaps(updated: list[Work], tag: str) -> Iterable[list[rows.Row]]:
    """New rows of executions, grouped by the columns that they change."""
    groups: dict[tuple[str, ...], list[rows.Row]] = {}
    for work in updated:
        new, old = work.execution, work.original
        row = rows.execution_state(new)
        for name in ("params", "context", "output"):
            value = getattr(new, name)
            if value is not getattr(old, name):
                row[name] = None if value is None else rows.encode(value)
        row |= {
            "revision": old.revision + 1,
            "tag": tag,
            "key": new.id,
            "seen": old.revision,
            "allowed": int(new.state in COMPLETED or old.state in COMPLETED),
        }
        groups.setdefault(tuple(row), []).append(row)
    return groups.values()


def _losers(connection: Connection, ids: list[str], tag: str) -> list[str]:
    """Those whose row does not bear this commit's tag."""
    found: set[str] = set()
    for start in range(0, len(ids), 500):
        mine = sa.select(executions.c.id).where(executions.c.id.in_(ids[start : start + 500]), executions.c.tag == tag)
        found.update(connection.scalars(mine))
    return [i for i in ids if i not in found]


def save_specs(connection: Connection, bodies: dict[str, dict[str, Any]]) -> None:
    """Store bodies that are not stored yet, by the hash of their content. A connection remembers those that it has seen stored."""
    seen: set[str] = connection.info.setdefault("gregale.specs", set())
    asked = [h for h in bodies if h not in seen]
    if not asked:
        return
    known = set(connection.scalars(sa.select(specs.c.hash).where(specs.c.hash.in_(asked))))
    if len(seen) > _MOST_SEEN:
        seen.clear()
    seen |= known
    writes = Writes()
    new = [{"hash": h, "body": rows.encode(bodies[h])} for h in asked if h not in known]
    writes.insert(specs, new, missing=True)  # another process may just be storing the same
    writes.make(connection)


_MOST_SEEN = 10_000
_FIXED = ("id", "execution_id", "seq", "name", "project_id", "tags", "type", "created_at")


def _tasks(writes: Writes, changed: list[Work]) -> None:
    new, old = [], []
    for work in changed:
        for task in work.tasks.values():
            row = rows.task_row(work.execution, task)
            if task.id in work.original.tasks:
                row["key"] = row["id"]
                for name in _FIXED:
                    del row[name]
                old.append(row)
            else:
                new.append(row)
    writes.insert(tasks, new)
    writes.update(tasks, old)


def _children(writes: Writes, changed: list[Work]) -> None:
    new, old = [], []
    for work in changed:
        for child in work.children.values():
            if child.id in work.original.children:
                old.append(rows.child_update(child))
            else:
                new.append(rows.child_row(work.execution, child))
    writes.insert(action_executions, new)
    writes.update(action_executions, old)


def _drop_timers(connection: Connection, changed: list[Work]) -> None:
    done = [(key, work) for work in changed for key in work.timers_done]
    if done:
        connection.execute(
            timers.delete().where(
                timers.c.task_id == sa.bindparam("t"),
                timers.c.kind == sa.bindparam("k"),
                timers.c.stamp == sa.bindparam("s"),
            ),
            [{"t": key[0], "k": key[1], "s": key[2]} for key, _ in done],
        )
