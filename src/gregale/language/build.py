"""Plain values → specs, reporting everything that is wrong on the way (language spec 1.2 to 1.7)."""

from __future__ import annotations

import re
from typing import Any

from gregale import expressions
from gregale.language import shapes, shorthand
from gregale.language.diagnostics import Report, did_you_mean, shown
from gregale.language.shape import Keys
from gregale.language.spec import (
    CLAUSES,
    ENGINE_COMMANDS,
    REQUIRED,
    ActionSpec,
    OnClause,
    Policies,
    Publish,
    RetrySpec,
    TaskSpec,
    Transition,
    WorkflowSpec,
)
from gregale.yamltext import Path

UUID = re.compile(r"^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$", re.IGNORECASE)
MAX_NAME = 255
MAX_JOIN_NAME = 208
"""A join's unique key is "join-task-<execution id>-<name>" in 255 characters (spec 1.3)."""


def workflow(name: str, body: Any, path: Path, report: Report) -> WorkflowSpec | None:
    """The spec of one workflow, or None when its shape is wrong; findings go to `report`."""
    check_name("workflow", name, path, report)
    before = len(report.found)
    shapes.WORKFLOW.check(body, path, report)
    tasks_body = body.get("tasks") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(tasks_body, dict):
        return None
    reverse = body.get("type") == "reverse"
    shape = shapes.REVERSE_TASK if reverse else shapes.DIRECT_TASK
    for task_name, task_body in tasks_body.items():
        _task_shape(task_name, task_body, shape, (*path, "tasks", task_name), report)
    wrong = [d.path[len(path) :] for d in report.found[before:]]
    body = _sound(body, wrong)
    tasks_body = body["tasks"]

    defaults = body.get("task-defaults") or {}
    for key in ("vars", "output"):
        expressions_in(body.get(key), (*path, key), report)
    default_policies = _policies(defaults, Policies(), (*path, "task-defaults"), report)
    default_clauses = {c: _clause(defaults.get(c), (*path, "task-defaults", c), report) for c in CLAUSES}
    tasks = {
        task_name: _task(
            task_name,
            task_body,
            reverse,
            default_policies,
            default_clauses,
            _names(defaults.get("requires")),
            (*path, "tasks", task_name),
            report,
        )
        for task_name, task_body in tasks_body.items()
        if task_name != "version"
    }
    spec = WorkflowSpec(
        name=name,
        type="reverse" if reverse else "direct",
        description=str(body.get("description") or ""),
        tags=tuple(body.get("tags") or ()),
        input=inputs(body.get("input")),
        vars=body.get("vars") or {},
        output=body.get("output") or {},
        output_on_error=body.get("output-on-error") or {},
        tasks=tasks,
        inbound=_inbound(tasks),
        body={**body, "name": name},
    )
    _graph(spec, path, report, whole=not any(_leads(p) for p in wrong))
    return spec


def _sound(body: dict[str, Any], wrong: list[Path]) -> dict[str, Any]:
    """What is left of a workflow without the keys and tasks that are wrong, so that the rest of it is checked as well."""
    if not wrong:
        return body
    body = {**body, "tasks": dict(body["tasks"])}
    tasks = body["tasks"]
    for found in wrong:
        if len(found) >= 3 and found[0] == "tasks" and isinstance(tasks.get(found[1]), dict):
            tasks[found[1]] = {k: v for k, v in tasks[found[1]].items() if k != found[2]}
        elif len(found) >= 2 and found[0] == "tasks":
            kept = tasks.get(found[1])
            sound = isinstance(found[1], str) and found[1]
            tasks[found[1]] = {k: v for k, v in kept.items() if k != "workflow"} if isinstance(kept, dict) else {}
            if not sound:
                del tasks[found[1]]
        elif found and found[0] != "tasks":
            body.pop(str(found[0]), None)
    return body


def _leads(found: Path) -> bool:
    """Whether what is wrong may decide which task leads to which: joins and start tasks cannot be judged then."""
    return len(found) < 3 or found[2] in (*CLAUSES, "join", "requires") or found[0] == "task-defaults"


def check_name(what: str, name: Any, path: Path, report: Report) -> None:
    if not isinstance(name, str) or not name:
        report.error("name", f"A {what}'s name must be a non-empty string, not {shown(name)}", path)
        return
    if what == "workflow" and UUID.match(name):
        report.error("name", f"Workflow name cannot be in the format of UUID: {name}", path)
    if " " in name:
        report.error("name", f"Name '{name}' must not contain spaces", path)
    if len(name) > MAX_NAME:
        report.error("name", f"The name of a {what} has at most {MAX_NAME} characters; this one has {len(name)}", path)


def _task_shape(name: Any, body: Any, shape: Keys, path: Path, report: Report) -> None:
    if not isinstance(name, str) or not name:
        report.error("name", f"A task's name must be a non-empty string, not {shown(name)}", path)
        return
    if name == "version":
        return
    if body == {} and not re.fullmatch(r"\w+", name):  # [Q 1.3] such names escape the check for an empty body
        return
    shape.check(body, path, report)
    if not isinstance(body, dict):
        return
    if "action" in body and "workflow" in body:
        report.error(
            "action-and-workflow", f"Task '{name}' has both 'action' and 'workflow'; only one is allowed", path
        )
    limit = MAX_JOIN_NAME if body.get("join") else MAX_NAME
    if len(name) > limit:
        what = "a join task" if body.get("join") else "a task"
        report.error("name", f"The name of {what} has at most {limit} characters; this one has {len(name)}", path)


def inputs(items: Any) -> dict[str, Any]:
    """`[a, {b: 1}]` as a map of name to default, REQUIRED where there is none; the last of a repeated name wins."""
    result: dict[str, Any] = {}
    for item in items or ():
        if isinstance(item, dict):
            result.update(item)
        else:
            result[item] = REQUIRED
    return result


def expressions_in(value: Any, path: Path, report: Report) -> None:
    """Check the grammar of a string, or of the first-level strings of a map (spec 1.7: deeper ones wait for run time)."""
    if isinstance(value, str):
        wrong = expressions.check(value)
        if wrong is not None:
            report.error(wrong.kind, wrong.message, path, wrong.hint)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str):
                expressions_in(inner, (*path, key), report)


def _task(
    name: str,
    body: dict[str, Any],
    reverse: bool,
    default_policies: Policies,
    default_clauses: dict[str, OnClause],
    default_requires: tuple[str, ...],
    path: Path,
    report: Report,
) -> TaskSpec:
    called, params = command_in(body.get("workflow") or body.get("action") or "std.noop", path, report)
    given = body.get("input") or {}
    if isinstance(given, str) and params:
        report.error(
            "input", "Inline parameters cannot be combined with an 'input' that is one expression", (*path, "input")
        )
        given = {}
    for key in ("input", "publish", "publish-on-error", "publish-on-skip", "target", "fail-on", "pause-before"):
        expressions_in(body.get(key), (*path, key), report)
    own = {c: _clause(body.get(c), (*path, c), report) for c in CLAUSES} if not reverse else {}
    clauses = {c: _inherit(own[c], default_clauses[c], name) for c in own}
    join = body.get("join")
    requires = _names(body.get("requires")) if reverse else ()
    inherited = tuple(r for r in default_requires if r != name and r not in requires) if reverse else ()
    return TaskSpec(
        name=name,
        action=None if "workflow" in body else called,
        workflow=called if "workflow" in body else None,
        input=given if isinstance(given, str) else {**given, **params},
        with_items=_with_items(body.get("with-items"), (*path, "with-items"), report),
        publish=Publish(body.get("publish") or {}),
        publish_on_error=Publish(body.get("publish-on-error") or {}),
        publish_on_skip=Publish(body.get("publish-on-skip") or {}),
        clauses={c: clause for c, clause in clauses.items() if clause.transitions or clause.publish},
        policies=_policies(body, default_policies, path, report),
        own_timeout=body.get("timeout") or 0,
        keep_result=body.get("keep-result", True) is not False,
        target=body.get("target"),
        join=None if reverse else 1 if join == "one" else join or None,
        requires=requires + inherited,
        description=body.get("description") or "",
        tags=tuple(body.get("tags") or ()),
        body={**body, "name": name, "version": "2.0", "type": "reverse" if reverse else "direct"},
    )


def command_in(text: str, path: Path, report: Report) -> tuple[str, dict[str, Any]]:
    try:
        name, params = shorthand.command(text)
    except shorthand.MalformedShorthand as e:
        report.error("shorthand", str(e), path)
        return text, {}
    expressions_in(name, path, report)
    expressions_in(params, path, report)
    return name, params


def _with_items(value: Any, path: Path, report: Report) -> dict[str, Any] | None:
    if value is None:
        return None
    result: dict[str, Any] = {}
    for text in [value] if isinstance(value, str) else value:
        try:
            variable, source = shorthand.with_items(text)
        except shorthand.MalformedShorthand as e:
            report.error("with-items", str(e), path)
            continue
        expressions_in(source, path, report)
        result[variable] = source
    return result


def _policies(body: dict[str, Any], defaults: Policies, path: Path, report: Report) -> Policies:
    for key in ("wait-before", "wait-after", "timeout", "concurrency", "fail-on", "pause-before"):
        expressions_in(body.get(key), (*path, key), report)
    retry = _retry(body.get("retry"), (*path, "retry"), report)
    safe = body.get("safe-rerun")
    return Policies(
        retry=retry or defaults.retry,
        wait_before=body.get("wait-before") or defaults.wait_before,
        wait_after=body.get("wait-after") or defaults.wait_after,
        timeout=body.get("timeout") or defaults.timeout,
        pause_before=body.get("pause-before") or defaults.pause_before,
        concurrency=body.get("concurrency") or defaults.concurrency,
        fail_on=body.get("fail-on") or defaults.fail_on,
        safe_rerun=defaults.safe_rerun if safe is None else safe is not False,  # an expression counts as true [Q 3.4]
    )


def _retry(value: Any, path: Path, report: Report) -> RetrySpec | None:
    if isinstance(value, str):
        value = shorthand.command("retry " + value)[1]
        trial = Report()
        shapes.RETRY.check(value, path, trial)
        report.found.extend(trial.found)
        if trial.found:
            return None
    if not value:
        return None
    expressions_in(value, path, report)
    return RetrySpec(value["count"], value["delay"], value.get("break-on"), value.get("continue-on"))


def _clause(value: Any, path: Path, report: Report) -> OnClause:
    """Every row of the table in spec 2.4."""
    publish = Publish()
    if isinstance(value, dict):
        if not value.keys() <= {"publish", "next"}:
            expressions_in(value, path, report)
            return OnClause()  # [Q] a guard map directly under the clause leads nowhere
        scopes = value.get("publish") or {}
        for scope, variables in scopes.items():
            expressions_in(variables, (*path, "publish", scope), report)
        publish = Publish(scopes.get("branch") or {}, scopes.get("global") or {})
        value, path = value.get("next"), (*path, "next")
        if isinstance(value, dict):
            return OnClause(
                (_transition(next(iter(value)), None, True, path, report),), publish
            )  # [Q] the guard is lost
    if isinstance(value, str):
        return OnClause((_transition(value, None, False, path, report),), publish)
    transitions = []
    for index, item in enumerate(value or ()):
        where = (*path, index)
        if isinstance(item, dict):
            (target, guard), *_ = item.items()
            expressions_in(guard, where, report)
            transitions.append(_transition(target, guard, True, where, report))
        else:
            transitions.append(_transition(item, None, False, where, report))
    return OnClause(tuple(transitions), publish)


def _transition(text: str, guard: str | None, is_key: bool, path: Path, report: Report) -> Transition:
    """A target is a name as it stands, unless it is an engine command with parameters."""
    word = re.match(r"\w+", text)
    if word and word.group() in ENGINE_COMMANDS and (" " in text or is_key):
        name, params = shorthand.command(text, always=True)
        if name in ENGINE_COMMANDS:
            expressions_in(params, path, report)
            return Transition(name, guard, params)
    return Transition(text, guard)


def _inherit(own: OnClause, default: OnClause, name: str) -> OnClause:
    """A clause without targets takes those of task-defaults, itself left out; their publishing never applies [Q 1.4]."""
    if own.transitions:
        return own
    return OnClause(tuple(t for t in default.transitions if t.target != name), own.publish)


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _inbound(tasks: dict[str, TaskSpec]) -> dict[str, tuple[str, ...]]:
    sources: dict[str, dict[str, None]] = {}
    for name, task in tasks.items():
        for clause in task.clauses.values():
            for transition in clause.transitions:
                if not transition.is_command:
                    sources.setdefault(transition.target, {})[name] = None
    return {name: tuple(found) for name, found in sources.items()}


def _graph(spec: WorkflowSpec, path: Path, report: Report, whole: bool) -> None:
    """The semantic checks of spec 1.7 that need the graph; those of joins and start tasks only if it is `whole`."""
    lacking = []
    for name, task in spec.tasks.items():
        where = (*path, "tasks", name)
        for clause_name, clause in task.clauses.items():
            for transition in clause.transitions:
                if not transition.is_command and transition.target not in spec.tasks:
                    at = (*where, clause_name) if clause_name in task.body else (*path, "task-defaults", clause_name)
                    _unknown_task(transition.target, spec, at, report)
        for required in task.requires:
            if required not in spec.tasks:
                _unknown_task(required, spec, (*where, "requires"), report)
        if not whole:
            continue
        inbound = spec.inbound.get(name, ())
        if task.join == "all" and not inbound:
            lacking.append(f"No inbound tasks for task '{name}' with join: all")
        elif isinstance(task.join, int) and len(inbound) < task.join:
            lacking.append(f"Not enough inbound tasks for task '{name}': join: {task.join}, inbound: {len(inbound)}")
    if lacking:
        report.error("join", "; ".join(lacking), (*path, "tasks"))
    if whole and spec.type == "direct" and not spec.start_tasks:
        report.error(
            "start-task",
            f"Failed to find start tasks in direct workflow [workflow_name={spec.name}]",
            (*path, "tasks"),
            "every task is led to by another; leave one without inbound transitions",
        )


def _unknown_task(name: str, spec: WorkflowSpec, path: Path, report: Report) -> None:
    report.error("unknown-task", f"Task '{name}' not found", path, did_you_mean(name, {*spec.tasks, *ENGINE_COMMANDS}))


def action(name: str, body: Any, path: Path, report: Report) -> ActionSpec | None:
    """The spec of one ad-hoc action, or None when its shape is wrong."""
    check_name("action", name, path, report)
    trial = Report()
    shapes.ACTION.check(body, path, trial)
    report.found.extend(trial.found)
    if trial.found:
        return None
    base, params = command_in(body["base"], (*path, "base"), report)
    base_input = {**(body.get("base-input") or {}), **params}
    expressions_in(body.get("base-input"), (*path, "base-input"), report)
    if isinstance(body.get("output"), str):
        expressions_in(body["output"], (*path, "output"), report)
    return ActionSpec(
        name=name,
        base=base,
        base_input=base_input,
        input=inputs(body.get("input")),
        output=body.get("output"),
        has_output=body.get("output") is not None,
        description=body.get("description") or "",
        tags=tuple(body.get("tags") or ()),
        body={**body, "name": name},
    )
