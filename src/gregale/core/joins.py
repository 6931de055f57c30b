"""Joins: one task execution per workflow and name, started once per round (language spec 5.7).

Arrivals are counted as they happen. An inbound task is `lost` when it has ended without choosing the join, or when no route can
start it any more; routes are looked at only when a task ends without taking one of them.
"""

from __future__ import annotations

from immutables import Map

from gregale.core import complete, start
from gregale.core.state import Arrival, State, Task
from gregale.core.work import Work


def arrive(work: Work, name: str, source: Task, clause: str) -> None:
    """`source` has chosen the join `name`. Twice by one completion counts once."""
    join = work.latest(name)
    first = join is None
    if join is None:
        join = work.new_task(name, State.WAITING, (), 0)
        join = work.update(join, state_info="Task is waiting.")
    known = join.arrived.get(source.name)
    if known is not None and (known[0], known[2]) == (source.id, source.attempt):
        evaluate(work, join)
        return
    if known is not None and join.state is not State.WAITING:
        if not join.state.completed:
            work.update(join, again=(*join.again, (source.name, source.id, clause)))
            return
        join, first = _new_round(work, join), True
    join = _record(work, join, source, clause)
    if join.state is State.WAITING:
        evaluate(work, _resolve(work, join) if first else join)
    else:  # recorded only: what might have followed from it will not come
        for target in work.execution.spec.targets(name):
            for other in _joins_after(work, target):
                recheck(work, other)


def _record(work: Work, join: Task, source: Task, clause: str) -> Task:
    """Of two executions of one inbound task the newer one speaks for it."""
    work.arrivals.append(Arrival(join.id, join.round, source.name, source.id, source.attempt, clause))
    known = join.arrived.get(source.name)
    if known is not None and work.task(known[0]).seq > source.seq:
        return join
    return work.update(
        join,
        arrived=join.arrived.set(source.name, (source.id, clause, source.attempt)),
        lost=join.lost.delete(source.name) if source.name in join.lost else join.lost,
    )


def _new_round(work: Work, join: Task) -> Task:
    """An inbound task that already contributed has completed again: the same task execution starts over."""
    return work.update(
        join,
        state=State.WAITING,
        state_info="Task is waiting.",
        round=join.round + 1,
        arrived=Map(),
        lost=Map(),
        processed=False,
        next_tasks=(),
        has_next_tasks=False,
        error_handled=False,
        started_at=None,
        finished_at=None,
        policies={},
        retries=0,
    )


def run_pending_round(work: Work, join: Task) -> None:
    """Arrivals that came while the join ran open the next round once it has ended."""
    if not join.again or work.execution.state.completed:
        return
    waiting = join.again
    work.update(join, again=())
    for _, source_id, clause in waiting:
        arrive(work, join.name, work.task(source_id), clause)


def evaluate(work: Work, join: Task) -> None:
    """Start the join, fail it, or leave it waiting."""
    if join.state is not State.WAITING or work.execution.state is not State.RUNNING:
        return
    if join.started_at is not None:
        return  # it has run and waits for its next attempt
    spec = work.execution.spec.tasks[join.name]
    total = len(work.execution.spec.inbound[join.name])
    needed = total if spec.join == "all" else int(spec.join or 0)
    if len(join.arrived) >= needed:
        by = sorted(join.arrived.values(), key=lambda a: work.task(a[0]).seq)
        join = work.update(join, triggered_by=tuple((source_id, clause) for source_id, clause, _ in by))
        start.start(work, refreshed(work, join))
    elif len(join.lost) > total - needed:
        failed = [n for n in work.execution.spec.inbound[join.name] if n in join.lost]
        known = [t for n in failed if (t := work.latest(n)) is not None] if spec.join == "all" else []
        join = work.update(join, triggered_by=tuple((t.id, "not triggered") for t in known))
        complete.complete(work, join, State.ERROR, f"Failed by tasks: {failed}")


def refreshed(work: Work, join: Task) -> Task:
    """The join with the contexts of everything that has chosen it by now, merged in task creation order."""
    if not join.arrived or work.execution.spec.tasks[join.name].join is None:
        return join
    sources = sorted((work.task(source_id) for source_id, _, _ in join.arrived.values()), key=lambda t: t.seq)
    wanted = [s.outbound for s in sources]
    distinct = tuple(s for s in dict.fromkeys(wanted) if s) or (0,)
    if (len(distinct) == 1 and join.inbound == distinct[0]) or work.layer(join.inbound).parents == distinct:
        return join
    merged = work.merged_layer(wanted)
    return work.update(join, inbound=merged, outbound=merged)


def source_completed(work: Work, task: Task) -> None:
    """A task has ended: joins that it did not choose, or can no longer lead to, may have become impossible."""
    spec = work.execution.spec
    chosen = {name for name, _ in task.next_tasks}
    latest = work.latest(task.name)
    if latest is not None and latest.id != task.id:
        return  # a loop has started it again: the newest execution speaks for it
    for target in spec.targets(task.name):
        if target in chosen:
            continue
        if spec.tasks[target].join is not None:
            _lose(work, target, task.name)
        for join in _joins_after(work, target):
            recheck(work, join)


def _lose(work: Work, name: str, source_name: str) -> None:
    join = work.latest(name)
    if join is None or join.state is not State.WAITING or source_name in join.arrived or source_name in join.lost:
        return
    join = work.update(join, lost=join.lost.set(source_name, "not triggered"))
    evaluate(work, join)


def _joins_after(work: Work, name: str) -> list[Task]:
    """Existing joins that can be reached from a task, itself included, and still wait."""
    spec = work.execution.spec
    seen: set[str] = set()
    todo = [name]
    result = []
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        todo.extend(spec.targets(current))
        if spec.tasks[current].join is not None:
            join = work.latest(current)
            if join is not None and join.state is State.WAITING:
                result.append(join)
    return result


def recheck(work: Work, join: Task) -> None:
    """Look at every route to a waiting join again."""
    join = work.task(join.id)
    if join.started_at is None:  # else it has run and waits for its next attempt
        evaluate(work, _resolve(work, join))


def _resolve(work: Work, join: Task) -> Task:
    """Settle what can be known of inbound tasks that have not arrived in this round.

    Lost: one that has ended without choosing the join, or that nothing can start any more. Arrived: one that chose it in an
    earlier round and that nothing can start again.
    """
    for name in work.execution.spec.inbound[join.name]:
        if name in join.arrived or name in join.lost:
            continue
        task = work.latest(name)
        if task is None:
            if not _possible(work, name, join.name):
                join = work.update(join, lost=join.lost.set(name, "impossible route"))
        elif task.state.completed and task.processed:
            clause = next((c for n, c in task.next_tasks if n == join.name), None)
            if clause is None:
                join = work.update(join, lost=join.lost.set(name, "not triggered"))
            elif join.round and not _possible(work, name, join.name):
                join = _record(work, join, task, clause)
    return join


def _possible(work: Work, name: str, join: str) -> bool:
    """Whether some ancestor can still start a task, or start it again; ways through the join itself do not count."""
    stack = [name]
    seen = {name, join}
    while stack:
        current = stack.pop()
        exists = work.latest(current) is not None
        for source in work.execution.spec.inbound.get(current, ()):
            if source in seen:
                continue
            seen.add(source)
            task = work.latest(source)
            if task is not None and (not task.state.completed or not task.processed):
                return True
            if task is not None and not exists and any(n == current for n, _ in task.next_tasks):
                return True
            if task is None or exists:
                stack.append(source)
    return False


def rearm(work: Work, task: Task) -> None:
    """A task is run again: joins after it that failed for want of it wait once more (spec 5.9)."""
    spec = work.execution.spec
    seen: set[str] = set()
    todo = list(spec.targets(task.name))
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        join = work.latest(current)
        if spec.tasks[current].join is not None and join is not None and join.state is State.ERROR and join.lost:
            waiting = work.update(
                join,
                state=State.WAITING,
                state_info="Task is waiting.",
                lost=Map(),
                processed=False,
                next_tasks=(),
                has_next_tasks=False,
                error_handled=False,
                finished_at=None,
                started_at=None,
                triggered_by=(),
                attempt=join.attempt + 1,  # it may fail again without a start, and that is another completion
            )
            _resolve(work, waiting)
        todo.extend(spec.targets(current))
