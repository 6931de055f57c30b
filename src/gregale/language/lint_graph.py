"""Warnings that need the whole graph: what can never run, never meet or never end, and what is read before it is there."""

from __future__ import annotations

from typing import Any

from gregale import expressions
from gregale.language.diagnostics import Report, did_you_mean
from gregale.language.spec import CLAUSES, REQUIRED, TaskSpec, WorkflowSpec
from gregale.yamltext import Path

__all__ = ["REQUIRED", "workflow"]

_MOST_TASKS = 500
_MOST_STEPS = 5_000_000
"""Larger graphs are checked for what takes time linear in their size."""

_INTERNAL = {"__env", "__execution", "__task_execution", "__versions", "openstack"}


def workflow(spec: WorkflowSpec, path: Path, report: Report) -> None:
    edges = {name: spec.tasks[name].requires if spec.type == "reverse" else spec.targets(name) for name in spec.tasks}
    components = _components(edges)
    if spec.type == "reverse":
        for group in components:
            report.warn(
                "requires-cycle",
                f"{_list(group)} require each other: none of them can ever run",
                (*path, "tasks", group[0], "requires"),
                "break the cycle",
            )
        _variables(spec, _closure(edges), path, report)
        return
    reachable = _reachable(spec, edges)
    for name in spec.tasks:
        if name not in reachable:
            report.warn(
                "never-runs",
                f"task '{name}' can never run: nothing that runs leads to it",
                (*path, "tasks", name),
                "lead to it, or remove it",
            )
    _joins(spec, reachable, edges, path, report)
    for group in components:
        if not _has_exit(spec, set(group)):
            report.warn(
                "endless-loop",
                f"the loop of {_list(group)} has no exit but an error",
                (*path, "tasks", group[0]),
                "guard a transition: on-success: [{task: <% … %>}]",
            )
    _variables(spec, _closure(_reversed(edges)), path, report)


def _list(names: list[str]) -> str:
    return ", ".join(f"'{n}'" for n in names)


def _reachable(spec: WorkflowSpec, edges: dict[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    todo = list(spec.start_tasks)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(edges[name])
    return found


def _joins(
    spec: WorkflowSpec, reachable: set[str], edges: dict[str, tuple[str, ...]], path: Path, report: Report
) -> None:
    joins = [name for name, task in spec.tasks.items() if task.join is not None and name in reachable]
    if len(joins) * len(spec.tasks) > _MOST_STEPS:
        return
    for name in joins:
        join = spec.tasks[name].join
        needed = len(spec.inbound[name]) if join == "all" else int(join or 0)
        free = _without(spec, edges, name)
        sources = [s for s in spec.inbound[name] if s in free]
        exclusive = _exclusive(spec, sources) if join == "all" else None
        where = (*path, "tasks", name, "join")
        if exclusive:
            message = f"join '{name}' can never be met: '{exclusive[0]}' and '{exclusive[1]}' exclude each other"
            report.warn("join-never-met", message, where, "write join: one")
        elif len(sources) < needed and any(s in reachable and s not in free for s in spec.inbound[name]):
            message = f"join '{name}' waits for a task that only runs after the join itself"
            report.warn("join-never-met", message, where, "write join: one")
        elif len(sources) < needed:
            message = f"join '{name}' waits for {needed} tasks, and only {len(sources)} of them can run"
            report.warn("join-never-met", message, where, "lower the number, or lead to the others")


def _without(spec: WorkflowSpec, edges: dict[str, tuple[str, ...]], join: str) -> set[str]:
    """The tasks that some way leads to which does not pass through `join`."""
    seen: set[str] = set()
    todo = [n for n in spec.start_tasks if n != join]
    while todo:
        name = todo.pop()
        if name not in seen and name != join:
            seen.add(name)
            todo.extend(edges[name])
    return seen


def _exclusive(spec: WorkflowSpec, sources: list[str]) -> tuple[str, str] | None:
    """Two of `sources` that hang only on clauses of one task of which just one can fire."""
    origin: dict[str, tuple[str, str]] = {}
    for source in sources:
        before = spec.inbound.get(source, ())
        if len(before) == 1:
            clauses = [
                c for c in CLAUSES if any(t.target == source for t in spec.tasks[before[0]].clause(c).transitions)
            ]
            if len(clauses) == 1 and clauses[0] != "on-complete":
                origin[source] = (before[0], clauses[0])
    first: dict[str, tuple[str, str]] = {}
    for source, (task, clause) in origin.items():
        other, other_clause = first.setdefault(task, (source, clause))
        if other_clause != clause:
            return other, source
    return None


def _has_exit(spec: WorkflowSpec, group: set[str]) -> bool:
    for name in group:
        for clause in spec.tasks[name].clauses.values():
            for transition in clause.transitions:
                if transition.guard is not None or transition.target not in group:
                    return True
    return False


def _components(edges: dict[str, tuple[str, ...]]) -> list[list[str]]:
    """Strongly connected components that hold a cycle (Tarjan, without recursion)."""
    order = {name: position for position, name in enumerate(edges)}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    result: list[list[str]] = []
    for root in edges:
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in edges:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.append(member)
                        if member == node:
                            break
                    if len(group) > 1 or node in edges[node]:
                        result.append(sorted(group, key=order.__getitem__))
    return result


def _reversed(edges: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    result: dict[str, list[str]] = {name: [] for name in edges}
    for name, targets in edges.items():
        for target in targets:
            if target in result:
                result[target].append(name)
    return {name: tuple(sources) for name, sources in result.items()}


def _closure(edges: dict[str, tuple[str, ...]]) -> dict[str, set[str]] | None:
    """Per task, everything its edges lead to; None for graphs so large that it would cost seconds."""
    if len(edges) > _MOST_TASKS:
        return None
    result: dict[str, set[str]] = {}
    for start in edges:
        found: set[str] = set()
        todo = list(edges[start])
        while todo:
            name = todo.pop()
            if name not in found and name in edges:
                found.add(name)
                todo.extend(edges[name])
        result[start] = found
    return result


def _variables(spec: WorkflowSpec, before: dict[str, set[str]] | None, path: Path, report: Report) -> None:
    """Variables that no path to the place of use can have published."""
    base = {*spec.input, *spec.vars, *_INTERNAL}
    published: dict[str, set[str]] = {}
    for name, task in spec.tasks.items():
        branch: set[str] = set()
        for publish in [
            task.publish,
            task.publish_on_error,
            task.publish_on_skip,
            *(c.publish for c in task.clauses.values()),
        ]:
            branch |= publish.branch.keys()
            base |= publish.globals.keys()
        published[name] = branch
    everything = base.union(*published.values()) if published else base
    for name, task in spec.tasks.items():
        inbound = everything if before is None else base.union(*(published[b] for b in before[name]))
        items = set(task.with_items or ())
        where = (*path, "tasks", name)
        for key, value, known in _uses(task, inbound, items, inbound | published[name]):
            _check(value, known, everything, (*where, key), report)
    for key, value in (("output", spec.output), ("output-on-error", spec.output_on_error)):
        _check(value, everything, everything, (*path, key), report)
    _check(spec.vars, {*spec.input, *_INTERNAL}, everything, (*path, "vars"), report)


def _uses(task: TaskSpec, inbound: set[str], items: set[str], outbound: set[str]) -> list[tuple[str, Any, set[str]]]:
    body = task.body
    uses = [(key, body.get(key), inbound | items) for key in ("input", "action", "workflow", "target")]
    uses += [
        (key, body.get(key), inbound)
        for key in ("with-items", "wait-before", "timeout", "publish", "publish-on-error", "publish-on-skip")
    ]
    return uses + [(key, body.get(key), outbound) for key in (*CLAUSES, "fail-on", "retry", "wait-after")]


def _check(value: Any, known: set[str], everything: set[str], path: Path, report: Report) -> None:
    if isinstance(value, str):
        for name in sorted(expressions.variables(value) - known):
            if name in everything:
                message, hint = (
                    f"'{name}' is read here, but no path to this place publishes it",
                    "use $.get(name) if it may be absent",
                )
            else:
                message, hint = f"nothing declares or publishes '{name}'", did_you_mean(name, everything)
            report.warn("unknown-variable", message, path, hint)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(key, str) and "<%" in key:
                _check(key, known, everything, path, report)
            _check(inner, known, everything, (*path, key), report)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check(inner, known, everything, (*path, index), report)
