"""Warnings for what is legal and yet hardly meant: the oddities that language spec marks [Q], each with what really
happens and how to write what was probably meant. The graph and data-flow findings are in `lint_graph`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from gregale import expressions
from gregale.language import lint_graph, shapes, shorthand
from gregale.language.diagnostics import Report, did_you_mean
from gregale.language.spec import CLAUSES, ENGINE_COMMANDS, WorkflowSpec
from gregale.yamltext import Path

if TYPE_CHECKING:
    from gregale.language.read import Document

_POLICY_ZERO = ("wait-before", "wait-after", "timeout", "concurrency", "pause-before", "fail-on")
_WORKFLOW_KEYS = {*shapes.WORKFLOW.fields, "name", "version"}


def document(data: Any, read: Document, known_actions: Collection[str], report: Report) -> None:
    """Lint everything that `data` was read into."""
    book = read.workbook
    prefix: Path = ("workflows",) if book else ()
    if not book and "version" in data and str(data["version"]) not in ("2", "2.0"):
        report.warn(
            "version",
            f"version {data['version']!r} is accepted and read as '2.0'",
            ("version",),
            "write version: '2.0'",
        )
    siblings = {w.name: w for w in read.workflows}
    own_actions = {a.name for a in read.actions}
    if book:
        siblings |= {f"{book.name}.{name}": w for name, w in siblings.items()}
        own_actions |= {f"{book.name}.{name}" for name in own_actions}
    section = (data.get("workflows") or {}) if book else data
    for spec in read.workflows:
        path = (*prefix, spec.name)
        _workflow(spec, section[spec.name], path, report)
        lint_graph.workflow(spec, path, report)
        _calls(spec, path, siblings, book.name if book else "", report)
        _actions(spec, path, own_actions, known_actions, report)
    for action in read.actions:
        _inline(
            action.body["base"],
            {**(action.body.get("base-input") or {})},
            (*(("actions",) if book else ()), action.name, "base"),
            report,
        )


def _workflow(spec: WorkflowSpec, body: dict[str, Any], path: Path, report: Report) -> None:
    for key in body:
        if key not in _WORKFLOW_KEYS:
            hint = did_you_mean(key, _WORKFLOW_KEYS) or "remove it"
            report.warn("ignored-key", f"the key {key!r} is not known on a workflow and is ignored", (*path, key), hint)
    _inputs(spec, body, path, report)
    defaults = body.get("task-defaults") or {}
    for clause in CLAUSES:
        _clause(defaults.get(clause), (*path, "task-defaults", clause), report)
        if isinstance(defaults.get(clause), dict) and defaults[clause].get("publish"):
            report.warn(
                "default-publish",
                f"publishing in the default {clause} is never applied",
                (*path, "task-defaults", clause, "publish"),
                "write the publish in each task",
            )
    for name, task_body in body["tasks"].items():
        where = (*path, "tasks", name)
        if name == "version":
            report.warn("task-vanishes", "a task called 'version' silently disappears", where, "give it another name")
            continue
        if name in ENGINE_COMMANDS:
            report.warn(
                "task-named-as-command",
                f"a transition to '{name}' runs the engine command, not this task",
                where,
                "give the task another name",
            )
        _task(spec, name, task_body or {}, defaults, where, report)


def _inputs(spec: WorkflowSpec, body: dict[str, Any], path: Path, report: Report) -> None:
    seen: set[str] = set()
    for index, item in enumerate(body.get("input") or ()):
        for name, default in item.items() if isinstance(item, dict) else [(item, None)]:
            where = (*path, "input", index)
            if name in seen:
                report.warn(
                    "duplicate-input", f"input '{name}' is declared twice; the last one counts", where, "remove one"
                )
            seen.add(name)
            if expressions.is_expression(default):
                report.warn(
                    "literal-default",
                    f"the default of '{name}' is taken literally: expressions in defaults are not evaluated",
                    where,
                    f"leave it out and compute it in vars: {name}: … under another name",
                )
            if name in spec.vars:
                report.warn(
                    "shadowed-input",
                    f"vars.{name} hides the input '{name}' everywhere",
                    (*path, "vars", name),
                    "rename one of them",
                )


def _task(
    spec: WorkflowSpec, name: str, body: dict[str, Any], defaults: dict[str, Any], path: Path, report: Report
) -> None:
    _inline(
        body.get("action") or body.get("workflow"),
        body.get("input"),
        (*path, "workflow" if "workflow" in body else "action"),
        report,
    )
    for clause in CLAUSES:
        _clause(body.get(clause), (*path, clause), report)
    if body.get("join") == 0 and "join" in body and body["join"] is not False:
        report.warn(
            "join-zero",
            "join: 0 is no join: the task runs once for each task that leads to it",
            (*path, "join"),
            "remove it, or write join: all",
        )
    for key in _POLICY_ZERO:
        if key in body and not body[key] and defaults.get(key):
            report.warn(
                "default-stays",
                f"{key}: {body[key]!r} does not switch off the default {defaults[key]!r}",
                (*path, key),
                "take the policy out of task-defaults",
            )
    for key in ("keep-result", "safe-rerun"):
        if isinstance(body.get(key), str):
            report.warn(
                "never-evaluated",
                f"{key} is not evaluated: any expression counts as true",
                (*path, key),
                "write true or false",
            )
    if isinstance(body.get("retry"), str):
        _inline("retry " + body["retry"], None, (*path, "retry"), report)
    _published_twice(spec, name, path, report)
    for where, text in _strings(body, path):
        _text(text, where, report)
    items = [body["with-items"]] if isinstance(body.get("with-items"), str) else body.get("with-items") or []
    for text in items:
        tail = text[len(found.group()) :] if (found := shorthand.ITEMS.match(text)) else ""
        if tail.strip():
            report.warn(
                "ignored-text", f"{tail.strip()!r} after the source is ignored", (*path, "with-items"), "remove it"
            )
    for clause_targets in [spec.tasks[name].clauses]:
        after = (
            {t.target for t in clause_targets["on-complete"].transitions} if "on-complete" in clause_targets else set()
        )
        for clause in ("on-success", "on-error"):
            for t in spec.tasks[name].clause(clause).transitions:
                if t.target in after and not t.is_command and spec.tasks[t.target].join is None:
                    report.warn(
                        "runs-twice",
                        f"'{t.target}' stands in {clause} and in on-complete: it runs twice",
                        (*path, clause),
                        "keep it in one of them",
                    )


def _published_twice(spec: WorkflowSpec, name: str, path: Path, report: Report) -> None:
    """Who wins is the reverse of what upstream's manual says [Q 4.4]."""
    task = spec.tasks[name]
    for clause, level in (
        ("on-success", task.publish),
        ("on-error", task.publish_on_error),
        ("on-skip", task.publish_on_skip),
    ):
        specific = task.clause(clause).publish
        winner = task.clause("on-complete").publish
        for variable in {**specific.branch, **level.branch}:
            if variable in winner.branch:
                report.warn(
                    "publish-priority",
                    f"'{variable}' of on-complete wins over the one published for {clause}",
                    (*path, "on-complete"),
                    "publish it in one place",
                )
            elif variable in specific.branch and variable in level.branch:
                report.warn(
                    "publish-priority",
                    f"the task's own publish of '{variable}' wins over that of {clause}",
                    (*path, clause),
                    "publish it in one place",
                )


def _clause(value: Any, path: Path, report: Report) -> None:
    if isinstance(value, dict) and not value.keys() <= {"publish", "next"}:
        (target, guard), *_ = value.items()
        report.warn(
            "guard-map",
            f"a guarded map directly under {path[-1]} leads nowhere: '{target}' is not started from here",
            path,
            f"write a list: {path[-1]}: [{{{target}: {guard}}}]",
        )
        return
    if isinstance(value, dict):
        if "atomic" in (value.get("publish") or {}):
            report.warn(
                "atomic",
                "the scope 'atomic' is ignored",
                (*path, "publish", "atomic"),
                "publish under branch or global",
            )
        if isinstance(value.get("next"), dict):
            (target, guard), *_ = value["next"].items()
            report.warn(
                "guard-lost",
                f"the guard is ignored here: '{target}' is always started",
                (*path, "next"),
                f"write a list: next: [{{{target}: {guard}}}]",
            )
        value, path = value.get("next"), (*path, "next")
    items = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    for index, item in enumerate(items):
        text = item if isinstance(item, str) else next(iter(item))
        _inline(text, None, (*path, index) if isinstance(value, list) else path, report)
        word = text.split("(")[0].split(" ")[0]
        if word in ("fail", "succeed") and isinstance(item, str) and index + 1 < len(items):
            report.warn(
                "after-end",
                f"what follows '{word}' in this list never happens",
                (*path, index + 1),
                f"move it before '{word}'",
            )


def _inline(text: Any, given: Any, path: Path, report: Report) -> None:
    if not isinstance(text, str):
        return
    for name, written, what in shorthand.dropped(text):
        report.warn(
            "inline-value",
            f"the inline value {name}={written} {what}",
            path,
            f'quote it ({name}="{written}") or write it under input',
        )
    if isinstance(given, dict):
        try:
            _, params = shorthand.command(text)
        except shorthand.MalformedShorthand:
            return
        for name in params.keys() & given.keys():
            report.warn(
                "inline-wins", f"the inline '{name}' wins over the one under input", path, "give it in one place"
            )


def _text(text: str, path: Path, report: Report) -> None:
    """Strings whose expressions will not do what they look like [Q 3.1]."""
    if "\n" in text.strip() and ("<%" in text or "{{" in text) and not expressions.is_expression(text):
        report.warn(
            "split-expression",
            "an expression split over lines is literal text",
            path,
            "write it on one line, or fold the text with >-",
        )
    elif text != text.strip() and expressions.is_pure(text.strip()):
        report.warn(
            "becomes-text",
            "white space around the expression turns its value into text",
            path,
            "remove the white space",
        )
    elif "<%" in text and expressions.is_expression(text) and ("{{" in text or "{%" in text) and len(path) > 5:
        report.warn(
            "mixed", "Jinja renders the whole string; the YAQL part stays text", path, "use one language in a string"
        )


def _strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, (*path, index))


def _calls(spec: WorkflowSpec, path: Path, siblings: dict[str, WorkflowSpec], book: str, report: Report) -> None:
    """Sub-workflow calls that can be checked within the document."""
    for name, task in spec.tasks.items():
        called = task.workflow
        if called is None or expressions.is_expression(called):
            continue
        where = (*path, "tasks", name, "workflow")
        target = siblings.get(called)
        if target is None:
            hint = did_you_mean(called, siblings)
            if called.rpartition(".")[0] == book or (not book and hint):
                report.warn(
                    "unknown-workflow",
                    f"no workflow '{called}' in this document",
                    where,
                    hint or "it must exist when the task runs",
                )
            continue
        if isinstance(task.input, str):
            continue
        for given in task.input:
            if given not in target.input and given not in ("task_name", "env", "evaluate_env", "notify", "namespace"):
                report.warn(
                    "undeclared-input",
                    f"'{called}' declares no input '{given}': it becomes a start parameter",
                    (*path, "tasks", name),
                    did_you_mean(given, target.input),
                )
        lacking = [n for n, default in target.input.items() if default is lint_graph.REQUIRED and n not in task.input]
        if lacking:
            report.warn(
                "missing-input",
                f"'{called}' needs the input {', '.join(lacking)}: the task will fail",
                (*path, "tasks", name),
                "give it under input",
            )


def _actions(spec: WorkflowSpec, path: Path, own: set[str], known: Collection[str], report: Report) -> None:
    if not known:
        return
    for name, task in spec.tasks.items():
        called = task.action
        if called and called not in known and called not in own and not expressions.is_expression(called):
            hint = did_you_mean(called, {*known, *own}) or "it must be known when the task runs"
            report.warn(
                "unknown-action", f"the action '{called}' is not known here", (*path, "tasks", name, "action"), hint
            )
