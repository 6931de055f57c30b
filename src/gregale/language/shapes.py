"""Every document, workflow, task, policy and clause of the language as shapes (language spec 1.2 to 1.6 and 2.4)."""

from __future__ import annotations

from typing import Any

from gregale.language.shape import (
    Anything,
    Bool,
    Either,
    Expr,
    Int,
    Keys,
    ListOf,
    Map,
    OneKey,
    OneOf,
    Shape,
    Str,
    Version,
)

STR = Str()
MAP = Map()
EXPR = Expr()
ANY = Anything()
WORDS = ListOf(STR)
INPUT = ListOf(Either(STR, OneKey(ANY, "a one-key map {name: default}")))
EXPR_OR_INT = Either(EXPR, Int())
EXPR_OR_BOOL = Either(EXPR, Bool())

RETRY = Keys(
    {"count": EXPR_OR_INT, "delay": EXPR_OR_INT, "break-on": EXPR, "continue-on": EXPR},
    ["count", "delay"],
    expected="a map with count and delay",
)
TARGETS = Either(STR, ListOf(Either(STR, OneKey(EXPR, "a one-key map {task: guard}"))))
GUARD_MAP = OneKey(EXPR, "a one-key map {task: guard}")
SCOPES = Keys({"branch": MAP, "global": MAP, "atomic": MAP}, expected="a map with branch, global or atomic")
CLAUSE = Either(
    STR,
    TARGETS.options[1],
    Keys({"publish": SCOPES, "next": Either(*TARGETS.options, GUARD_MAP)}, expected="a map with publish and next"),
    GUARD_MAP,
)
CLAUSES: dict[str, Shape] = dict.fromkeys(("on-success", "on-error", "on-complete", "on-skip"), CLAUSE)
REQUIRES = Either(STR, WORDS)

POLICIES: dict[str, Shape] = {
    "retry": Either(RETRY, STR),
    "wait-before": EXPR_OR_INT,
    "wait-after": EXPR_OR_INT,
    "timeout": EXPR_OR_INT,
    "pause-before": EXPR_OR_BOOL,
    "concurrency": EXPR_OR_INT,
    "fail-on": EXPR_OR_BOOL,
    "safe-rerun": EXPR_OR_BOOL,
}
COMMON_TASK: dict[str, Shape] = {
    "name": ANY,
    "type": ANY,
    "version": ANY,
    "description": STR,
    "tags": WORDS,
    "action": STR,
    "workflow": STR,
    "input": Either(MAP, STR),
    "with-items": Either(STR, WORDS),
    "publish": MAP,
    "publish-on-error": MAP,
    "publish-on-skip": MAP,
    "keep-result": EXPR_OR_BOOL,
    "target": STR,
    **POLICIES,
}
DIRECT_TASK = Keys({**COMMON_TASK, "join": Either(OneOf("all", "one"), Int()), **CLAUSES}, expected="a non-empty map")
REVERSE_TASK = Keys({**COMMON_TASK, "requires": REQUIRES}, expected="a non-empty map")
TASK_DEFAULTS = Keys({**POLICIES, **CLAUSES, "requires": REQUIRES}, expected="a non-empty map")


class _Tasks:
    """Tasks by name; the body's shape depends on the workflow's type, so `read` checks the bodies."""

    expected = "a non-empty map of tasks"

    def __init__(self) -> None:
        self.check = MAP.check

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"anyOf": [{"$ref": "#/$defs/task"}, {"$ref": "#/$defs/reverse-task"}]},
        }


WORKFLOW = Keys(
    {
        "type": OneOf("direct", "reverse"),
        "description": ANY,
        "tags": WORDS,
        "input": INPUT,
        "vars": MAP,
        "output": MAP,
        "output-on-error": MAP,
        "task-defaults": TASK_DEFAULTS,
        "tasks": _Tasks(),
    },
    ["tasks"],
    extra=ANY,
    expected="a non-empty map",
)
ACTION = Keys(
    {
        "name": ANY,
        "version": ANY,
        "base": STR,
        "base-input": MAP,
        "input": INPUT,
        "output": ANY,
        "description": STR,
        "tags": WORDS,
    },
    ["base"],
    expected="a non-empty map",
)
VERSION = Version()
WORKFLOWS_DOCUMENT = Keys({"version": VERSION}, ["version"], extra=WORKFLOW, expected="a map of workflows")
WORKBOOK = Keys(
    {
        "name": STR,
        "version": VERSION,
        "description": STR,
        "tags": WORDS,
        "workflows": MAP,
        "actions": MAP,
    },
    ["name", "version"],
    expected="a workbook",
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of workbooks and of documents of workflows, for editors."""
    member = {"type": "object", "properties": {"version": VERSION.schema()}}
    workbook = WORKBOOK.schema()
    workbook["properties"]["workflows"] = {**member, "additionalProperties": {"$ref": "#/$defs/workflow"}}
    workbook["properties"]["actions"] = {**member, "additionalProperties": {"$ref": "#/$defs/action"}}
    workflows = WORKFLOWS_DOCUMENT.schema()
    workflows["additionalProperties"] = {"$ref": "#/$defs/workflow"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Gregale workflow language (Mistral DSL v2)",
        "if": {
            "anyOf": [
                {"required": ["workflows"]},
                {"required": ["actions"]},
                {"properties": {"name": {"type": "string"}}, "required": ["name"]},
            ]
        },
        "then": workbook,
        "else": workflows,
        "$defs": {
            "workflow": WORKFLOW.schema(),
            "task": DIRECT_TASK.schema(),
            "reverse-task": REVERSE_TASK.schema(),
            "action": ACTION.schema(),
        },
    }
