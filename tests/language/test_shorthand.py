"""Inline syntax (language spec 2)."""

from __future__ import annotations

from typing import Any

import pytest

from gregale.language import read_workflows
from gregale.language.shorthand import MalformedShorthand, command, with_items


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("std.noop", "std.noop", {}),
        ("std.echo output=1", "std.echo", {"output": 1}),
        ('std.echo output="a b"', "std.echo", {"output": "a b"}),
        ("std.echo output='a \"b\"'", "std.echo", {"output": 'a "b"'}),
        ('std.echo output="1"', "std.echo", {"output": "1"}),
        ("std.echo output=<% $.x + 1 %>", "std.echo", {"output": "<% $.x + 1 %>"}),
        ("std.echo output={{ _.x }}", "std.echo", {"output": "{{ _.x }}"}),
        ("std.echo output=<% $.x %>glued", "std.echo", {"output": "<% $.x %>"}),
        ('std.echo output=["a", 1, {"b": 2}]', "std.echo", {"output": ["a", 1, {"b": 2}]}),
        ("std.echo a=[1] b=[2]", "std.echo", {"a": "[1] b=[2]"}),
        ("std.echo a=true b=false c=null d=42", "std.echo", {"a": True, "b": False, "c": None, "d": 42}),
        ("std.echo a=3.5", "std.echo", {"a": 3}),
        ("std.echo a=-5 b=True c=word d={x}", "std.echo", {}),
        ("std.http url=http://h/?a=1", "std.http", {"a": 1}),
        ("<% $.name %> a=1", "<% $.name %>", {"a": 1}),
        ("my-act a-b=1 c_d=2", "my-act", {"a-b": 1, "c_d": 2}),
        (
            'std.http url="http://svc/x?a=1" timeout=5 params=<% $.q %>',
            "std.http",
            {"url": "http://svc/x?a=1", "timeout": 5, "params": "<% $.q %>"},
        ),
    ],
)
def test_inline_parser_table_value_for_value(text: str, name: str, params: dict[str, Any]) -> None:
    assert command(text) == (name, params)


def test_inline_parser_refuses_what_has_no_name() -> None:
    with pytest.raises(MalformedShorthand):
        command("=x y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i in <% $.x %>", ("i", "<% $.x %>")),
        ("i in {{ _.x }}", ("i", "{{ _.x }}")),
        ('my-i in [1, "a"]', ("my-i", [1, "a"])),
        ("i in <% $.x %> and more", ("i", "<% $.x %>")),
    ],
)
def test_with_items_parser_string_list_and_json_list(text: str, expected: Any) -> None:
    assert with_items(text) == expected


@pytest.mark.parametrize("text", ["i in []", "i of <% $.x %>", "in <% $.x %>", "i in ['a']", "i in x"])
def test_with_items_parser_refuses_bad_json_and_bad_forms(text: str) -> None:
    with pytest.raises(MalformedShorthand):
        with_items(text)


def test_the_same_variable_twice_keeps_the_last_source() -> None:
    [wf] = read_workflows(
        "version: '2.0'\nwf: {tasks: {t: {with-items: ['i in <% $.a %>', 'i in <% $.b %>']}}}"
    ).workflows
    assert wf.tasks["t"].with_items == {"i": "<% $.b %>"}


def test_retry_string_equals_the_map_form() -> None:
    text = "version: '2.0'\nwf: {{tasks: {{t: {{retry: {}}}}}}}"
    short = read_workflows(text.format("count=3 delay=5 break-on=<% $.x = 1 %> continue-on=<% $.y %>")).workflows[0]
    long = read_workflows(
        text.format("{count: 3, delay: 5, break-on: <% $.x = 1 %>, continue-on: <% $.y %>}")
    ).workflows[0]
    assert short.tasks["t"].policies == long.tasks["t"].policies


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("a", [("a", None)]),
        ("[a, {b: <% $.c %>}]", [("a", None), ("b", "<% $.c %>")]),
        ("{b: <% $.c %>}", []),
        ("{publish: {branch: {x: 1}}, next: a}", [("a", None)]),
        ("{publish: {branch: {x: 1}}, next: [a, {b: <% $.c %>}]}", [("a", None), ("b", "<% $.c %>")]),
        ("{next: {b: <% $.c %>}}", [("b", None)]),
        ("{publish: {branch: {x: 1}}}", []),
    ],
)
def test_transitions_every_row_of_the_table(clause: str, expected: list[Any]) -> None:
    [wf] = read_workflows(
        f"version: '2.0'\nwf: {{tasks: {{t: {{on-success: {clause}}}, a: {{action: std.noop}}, b: {{action: std.noop}}}}}}"
    ).workflows
    assert [(t.target, t.guard) for t in wf.tasks["t"].clause("on-success").transitions] == expected


@pytest.mark.parametrize(
    ("item", "command_name", "params", "guard"),
    [
        ("- fail msg='quota hit'", "fail", {"msg": "quota hit"}, None),
        ("- fail(msg='quota hit'): <% $.x %>", "fail", {"msg": "quota hit"}, "<% $.x %>"),
        ("- 'fail(msg=\"x\")': <% $.x %>", "fail", {"msg": "x"}, "<% $.x %>"),
        ('- pause msg="waiting for <% $.who %>"', "pause", {"msg": "waiting for <% $.who %>"}, None),
        ("- succeed", "succeed", {}, None),
        ("- fail msg=word", "fail", {}, None),
    ],
)
def test_engine_commands_in_either_spelling(
    item: str, command_name: str, params: dict[str, Any], guard: str | None
) -> None:
    [wf] = read_workflows(f"version: '2.0'\nwf:\n  tasks:\n    t:\n      on-complete:\n        {item}\n").workflows
    [found] = wf.tasks["t"].clause("on-complete").transitions
    assert (found.target, found.params, found.guard, found.is_command) == (command_name, params, guard, True)
