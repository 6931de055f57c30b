"""Warnings: each oddity says what really happens and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from gregale.language import Severity, validate


def warnings(text: str, **options: object) -> dict[str, str]:
    _, found = validate("version: '2.0'\n" + text, **options)  # type: ignore[arg-type]
    assert [d for d in found if d.severity is Severity.ERROR] == []
    return {d.code: f"{d.message} | {d.hint}" for d in found}


def flow(tasks: str, more: str = "") -> dict[str, str]:
    return warnings(f"wf: {{{more} tasks: {{{tasks}}}}}")


@pytest.mark.parametrize(
    ("tasks", "more", "code", "says"),
    [
        ("a: {on-success: {b: <% 1 %>}}, b: {action: std.noop}", "", "guard-map", "[{b: <% 1 %>}]"),
        ("a: {on-success: {next: {b: <% 1 %>}}}, b: {action: std.noop}", "", "guard-lost", "always started"),
        ("a: {action: std.echo output=word}", "", "inline-value", "is dropped"),
        ("a: {action: std.echo output=3.5}", "", "inline-value", "becomes 3"),
        ("a: {action: std.echo output=-5}", "", "inline-value", "is dropped"),
        ("a: {action: std.echo output=1, input: {output: 2}}", "", "inline-wins", "wins"),
        ("a: {on-success: fail msg=word}", "", "inline-value", "msg=word"),
        (
            "a: {action: std.noop}",
            "task-defaults: {on-error: {publish: {branch: {x: 1}}}},",
            "default-publish",
            "never applied",
        ),
        ("a: {publish: {x: 1}, on-success: {publish: {branch: {x: 2}}}}", "", "publish-priority", "task's own publish"),
        ("a: {publish: {x: 1}, on-complete: {publish: {branch: {x: 2}}}}", "", "publish-priority", "on-complete wins"),
        ("a: {on-success: {publish: {atomic: {x: 1}}}}", "", "atomic", "ignored"),
        ("version: {action: std.noop}, a: {action: std.noop}", "", "task-vanishes", "disappears"),
        ("fail: {action: std.noop}", "", "task-named-as-command", "engine command"),
        ("a: {action: std.noop}", "foo: 1,", "ignored-key", "ignored"),
        ("a: {action: std.noop}", "input: [{x: <% 1 %>}],", "literal-default", "literally"),
        ("a: {action: std.noop}", "input: [x, {x: 1}],", "duplicate-input", "the last one counts"),
        ("a: {action: std.noop}", "input: [x], vars: {x: 1},", "shadowed-input", "hides the input"),
        ("a: {on-success: j}, j: {join: 0}", "", "join-zero", "no join"),
        ("a: {wait-before: 0}", "task-defaults: {wait-before: 3},", "default-stays", "does not switch off"),
        ("a: {keep-result: <% false %>}", "", "never-evaluated", "any expression counts as true"),
        ("a: {publish: {x: ' <% 1 %>'}}", "", "becomes-text", "text"),
        ('a: {publish: {x: "<% 1 +\\n 1 %>"}}', "", "split-expression", "literal text"),
        ("a: {with-items: 'i in <% [1] %> junk'}", "", "ignored-text", "junk"),
        ("a: {on-success: b, on-complete: b}, b: {action: std.noop}", "", "runs-twice", "runs twice"),
        ("a: {on-success: [fail, b]}, b: {action: std.noop}", "", "after-end", "never happens"),
        ("a: {action: std.noop}, b: {on-success: c}, c: {on-success: b}", "", "never-runs", "can never run"),
        (
            "a: {on-success: b, on-error: c}, b: {on-success: j}, c: {on-success: j}, j: {join: all}",
            "",
            "join-never-met",
            "exclude each other",
        ),
        (
            "a: {on-success: j}, j: {join: all, on-success: b}, b: {on-success: j}",
            "",
            "join-never-met",
            "after the join itself",
        ),
        ("s: {on-success: a}, a: {on-success: b}, b: {on-success: a}", "", "endless-loop", "no exit"),
        ("a: {publish: {x: <% $.nope %>}}", "", "unknown-variable", "nothing declares or publishes 'nope'"),
        (
            "a: {publish: {x: 1}}, b: {publish: {y: <% $.x %>}}",
            "",
            "unknown-variable",
            "no path to this place publishes it",
        ),
        ("a: {publish: {y: '{{ _.nope }}'}}", "", "unknown-variable", "nope"),
    ],
)
def test_lint_finds(tasks: str, more: str, code: str, says: str) -> None:
    found = flow(tasks, more)
    assert code in found, found
    assert says in found[code]


def test_lint_of_reverse_cycles_and_versions() -> None:
    assert "requires-cycle" in warnings("wf: {type: reverse, tasks: {a: {requires: b}, b: {requires: a}}}")
    _, found = validate("version: '3.0'\nwf: {tasks: {a: {action: std.noop}}}")
    assert [d.code for d in found] == ["version"]


def test_lint_of_sub_workflow_calls_within_the_document() -> None:
    found = warnings(
        "wf: {tasks: {a: {workflow: sub y=1}, b: {workflow: subb}}}\nsub: {input: [x], tasks: {t: {action: std.noop}}}"
    )
    assert "declares no input 'y'" in found["undeclared-input"]
    assert "needs the input x" in found["missing-input"]
    assert "did you mean 'sub'?" in found["unknown-workflow"]


def test_lint_of_unknown_actions() -> None:
    found = warnings("wf: {tasks: {a: {action: std.ehco output=1}}}", known_actions=["std.echo", "std.noop"])
    assert "did you mean 'std.echo'?" in found["unknown-action"]
    assert warnings("wf: {tasks: {a: {action: std.noop}}}", known_actions=["std.noop"]) == {}


@pytest.mark.parametrize(
    "tasks",
    [
        "a: {on-success: [{a2: <% $.get(x) %>}]}, a2: {publish: {x: <% task(a).result.where($.y > 1).z %>}}",
        "s: {publish: {n: 0}, on-success: a}, a: {publish: {n: <% $.n + 1 %>}, on-success: [{a: <% $.n < 3 %>}]}",
        "a: {with-items: 'i in <% [1] %>', action: std.echo output=<% $.i %>}",
        "a: {on-success: j}, b: {on-success: j}, j: {join: all}",
        "a: {publish: {x: '{{ _.y|default(1) }}'}}",
        "a: {on-success: {publish: {global: {g: 1}}, next: b}}, b: {action: std.echo output=<% $.g %>}",
    ],
)
def test_sound_workflows_have_no_warnings(tasks: str) -> None:
    assert flow(tasks) == {}


def test_every_example_is_free_of_findings() -> None:
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
    flows = [e for e in examples if not e.name.endswith("_test.yaml")]
    assert len(flows) >= 8
    for file in flows:
        assert validate(file.read_bytes())[1] == [], file.name
