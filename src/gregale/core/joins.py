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
    """`source` has chosen the join `name`."""
    join = work.latest(name)
    if join is None:
        join = work.new_task(name, State.WAITING, (), 0)
        join = work.update(join, state_info="Task is waiting.")
        join = _lose_impossible(work, join)
    if source.name in join.arrived and join.state is not State.WAITING:
        if not join.state.completed:
            work.update(join, again=(*join.again, (source.name, source.id, clause)))
            return
        join = _new_round(work, join)
    _record(work, join, source.name, source.id, clause)
    if join.state is State.WAITING:
        evaluate(work, work.task(join.id))


def _record(work: Work, join: Task, source_name: str, source_id: str, clause: str) -> Task:
    work.arrivals.append(Arrival(join.id, join.round, source_name, source_id, clause))
    return work.update(
        join,
        arrived=join.arrived.set(source_name, (source_id, clause)),
        lost=join.lost.delete(source_name) if source_name in join.lost else join.lost,
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
        join = work.update(join, triggered_by=tuple(by))
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
    sources = sorted((work.task(source_id) for source_id, _ in join.arrived.values()), key=lambda t: t.seq)
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
    join = _lose_impossible(work, work.task(join.id))
    evaluate(work, join)


def _lose_impossible(work: Work, join: Task) -> Task:
    """Mark inbound tasks that have ended without choosing the join, or that nothing can start any more."""
    lost = join.lost
    known: dict[str, bool] = {}
    for name in work.execution.spec.inbound[join.name]:
        if name in join.arrived or name in lost:
            continue
        task = work.latest(name)
        if task is None:
            if not _possible(work, name, known):
                lost = lost.set(name, "impossible route")
        elif task.state.completed and task.processed and not any(n == join.name for n, _ in task.next_tasks):
            lost = lost.set(name, "not triggered")
    return join if lost is join.lost else work.update(join, lost=lost)


def _possible(work: Work, name: str, known: dict[str, bool]) -> bool:
    """Whether a task that does not exist can still be started by one of its ancestors."""
    stack = [name]
    seen = {name}
    while stack:
        current = stack.pop()
        if known.get(current):
            return True
        for source in work.execution.spec.inbound.get(current, ()):
            task = work.latest(source)
            if task is None:
                if source not in seen:
                    seen.add(source)
                    stack.append(source)
            elif not task.state.completed or not task.processed or any(n == current for n, _ in task.next_tasks):
                known[name] = True
                return True
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
            )
            _lose_impossible(work, waiting)
        todo.extend(spec.targets(current))
