"""Which documents are accepted (language spec 1)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gregale.language import InvalidDocument, read_actions, read_workbook, read_workflows, validate
from gregale.language.diagnostics import Severity
from gregale.language.read import dumped


def errors(text: str, kind: Any = None) -> list[str]:
    _, found = validate(text, kind)
    return [d.message for d in found if d.severity is Severity.ERROR]


def task(body: str) -> list[str]:
    """Errors of a direct workflow with task `t` of this body, beside tasks `a` and `b` that lead to it."""
    return errors(
        f"version: '2.0'\nwf:\n  tasks:\n    a: {{on-success: [t, b]}}\n    b: {{on-success: t}}\n    t: {{{body}}}\n"
    )


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        ("action: std.noop", None),
        ("description: d, tags: [x, y]", None),
        ("description: ''", "expected a non-empty string"),
        ("tags: []", "non-empty list"),
        ("tags: [x, x]", "stands here twice"),
        ("tags: x", "non-empty list"),
        ("acton: std.noop", "Additional properties are not allowed ('acton' was unexpected)"),
        ("action: std.noop, workflow: w", "both 'action' and 'workflow'"),
        ("action: null, workflow: w", "both 'action' and 'workflow'"),
        ("action: ''", "non-empty string"),
        ("input: {}", "non-empty map"),
        ("input: {x: null}", None),
        ("input: <% $.x %>", None),
        ("input: [x]", "expected"),
        ("action: std.echo output=1, input: <% $.x %>", "cannot be combined"),
        ("publish: {}", "non-empty map"),
        ("publish: {x: null}", None),
        ("wait-before: 3", None),
        ("wait-before: <% $.x %>", None),
        ("wait-before: true", "integer"),
        ("wait-before: '3'", "integer"),
        ("wait-before: -1", "integer"),
        ("wait-before: 1.5", "integer"),
        ("timeout: '{{ _.x }}'", None),
        ("pause-before: maybe", "true or false"),
        ("pause-before: <% $.x %>", None),
        ("keep-result: false", None),
        ("safe-rerun: 1", "true or false"),
        ("fail-on: <% $.x %>", None),
        ("target: h", None),
        ("join: all", None),
        ("join: one", None),
        ("join: 2", None),
        ("join: 3", "Not enough inbound tasks"),
        ("join: 0", None),
        ("join: some", "one of all, one"),
        ("join: -1", "integer"),
        ("requires: a", "Additional properties are not allowed ('requires' was unexpected)"),
        ("retry: {count: 1, delay: 2}", None),
        ("retry: {count: 1}", "'delay' is a required property"),
        ("retry: {count: 1, delay: 2, foo: 3}", "Additional properties"),
        ("retry: {count: 1, delay: 2, break-on: x}", "expected an expression"),
        ("retry: count=1 delay=2", None),
        ("retry: count=1", "'delay' is a required property"),
        ("retry: <% $.r %>", "expected a map with count and delay"),
        ("with-items: i in <% $.x %>", None),
        ("with-items: 'i in [1, 2]'", None),
        ("with-items: 'i in []'", "Wrong format of 'with-items'"),
        ("with-items: \"i in ['a']\"", "Invalid array in 'with-items'"),
        ("with-items: i of x", "Wrong format of 'with-items'"),
        ("with-items: ['i in <% $.x %>', 'j in <% $.y %>']", None),
        ("on-success: nope", "Task 'nope' not found"),
        ("on-success: fail", None),
        ("on-success: {publish: {branch: {x: 1}}}", None),
        ("on-success: {publish: {x: 1}}", "Additional properties"),
        ("on-success: {publish: {branch: {}}}", "non-empty map"),
        ("on-success: {publish: {atomic: {x: 1}}, next: b}", None),
        ("on-success: {a: <% $.x %>}", None),
        ("on-success: {a: yes}", "expected an expression"),
        ("on-success: [b, {b: <% $.x %>}]", None),
        ("on-success: [a, a]", "stands here twice"),
        ("on-success: [{b: <% 1 %>}, {b: <% 2 %>}]", None),
        ("on-success: [{a: '{% if x %}'}]", "expected an expression"),
        ("on-success: []", "non-empty list"),
        ("on-success: <% $.where %>", "Task '<% $.where %>' not found"),
        ("on-success: 'fail(msg=\"x\")'", "not found"),
        ("on-success: 'fail(msg=\"x y\")'", None),
        ("publish: {x: <% $. %>}", "Not a YAQL expression"),
        ("publish: {x: '{{ _. }}'}", "Not a Jinja expression"),
        ("publish: {x: '<% 1 %> {{ 2 }}'}", "cannot be mixed"),
        ("publish: {x: {y: <% $. %>}}", None),
        ("publish: {x: ['<% 1 %> {{ 2 }}']}", None),
    ],
)
def test_schema_vocabulary_of_a_task(body: str, phrase: str | None) -> None:
    found = task(body)
    if phrase is None:
        assert found == []
    else:
        assert any(phrase in message for message in found), found


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        ("tasks: {t: {action: std.noop}}", None),
        ("tasks: {t: {action: std.noop}}, description: [any], foo: bar", None),
        ("type: parallel, tasks: {t: {action: std.noop}}", "one of direct, reverse"),
        ("type: null, tasks: {t: {action: std.noop}}", "one of direct, reverse"),
        ("description: x", "'tasks' is a required property"),
        ("tasks: {}", "non-empty map"),
        ("input: [a, {a: 1}], tasks: {t: {action: std.noop}}", None),
        ("input: {a: 1}, tasks: {t: {action: std.noop}}", "non-empty list"),
        ("input: [{a: 1, b: 2}], tasks: {t: {action: std.noop}}", "one-key map"),
        ("vars: [a], tasks: {t: {action: std.noop}}", "non-empty map"),
        ("output: text, tasks: {t: {action: std.noop}}", "non-empty map"),
        ("output: {x: <% $. %>}, tasks: {t: {action: std.noop}}", "Not a YAQL"),
        ("output-on-error: {x: <% $. %>}, tasks: {t: {action: std.noop}}", None),
        ("task-defaults: {keep-result: true}, tasks: {t: {action: std.noop}}", "Additional properties"),
        ("task-defaults: {publish: {x: 1}}, tasks: {t: {action: std.noop}}", "Additional properties"),
        ("task-defaults: {requires: x}, tasks: {t: {action: std.noop}}", None),
        ("task-defaults: {on-error: nope}, tasks: {t: {action: std.noop}}", "Task 'nope' not found"),
        ("tasks: {t: null}", "non-empty map"),
        ("tasks: {5: {action: std.noop}}", "must be a non-empty string"),
        ("tasks: {'a-b': {}, 'x y': {}, 't3.x': {action: std.noop}}", None),
        ("tasks: {a: {}}", "non-empty map"),
        ("type: reverse, tasks: {t: {on-success: t}}", "Additional properties"),
        ("type: reverse, tasks: {t: {join: all}}", "Additional properties"),
        ("type: reverse, tasks: {t: {requires: nope}}", "Task 'nope' not found"),
        ("type: reverse, tasks: {t: {requires: t}}", None),
        ("type: reverse, tasks: {t: {requires: fail}}", "Task 'fail' not found"),
    ],
)
def test_schema_vocabulary_of_a_workflow(body: str, phrase: str | None) -> None:
    found = errors(f"version: '2.0'\nwf: {{{body}}}\n")
    if phrase is None:
        assert found == []
    else:
        assert any(phrase in message for message in found), found


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("wf: {tasks: {t: {action: std.noop}}}", "'version' is a required property"),
        ("version: '3.0'\nwf: {tasks: {t: {action: std.noop}}}", None),
        ("version: 2.0\nwf: {tasks: {t: {action: std.noop}}}", None),
        ("version: null\nwf: {tasks: {t: {action: std.noop}}}", "expected a version"),
        ("version: ''\nwf: {tasks: {t: {action: std.noop}}}", "expected a version"),
        ("version: '2.0'", "At least one item must be in the list"),
        ("", "'version' is a required property"),
        ("[1, 2]", "must be a map"),
        ("just text", "must be a map"),
        ("a: [", "Not valid YAML"),
        ("version: '2.0'\nversion2: x", "non-empty map"),
        ("version: '2.0'\n---\nx: 1", "Only one YAML document"),
    ],
)
def test_schema_vocabulary_of_a_document(text: str, phrase: str | None) -> None:
    found = errors(text, "workflows")
    if phrase is None:
        assert found == []
    else:
        assert any(phrase in message for message in found), found


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        ("base: std.echo", None),
        (
            "base: std.echo output='x', base-input: {output: y}, input: [a, {b: 1}], output: {x: <% $ %>}, tags: [t], description: d",
            None,
        ),
        ("input: [a]", "'base' is a required property"),
        ("base: std.echo, foo: 1", "Additional properties"),
        ("base: std.echo, base-input: {x: <% $. %>}", "Not a YAQL"),
        ("base: std.echo, output: <% $. %>", "Not a YAQL"),
        ("base: std.echo, output: [<% $. %>]", None),
        ("base: '=x y'", "Invalid action/workflow task property"),
    ],
)
def test_schema_vocabulary_of_an_adhoc_action(body: str, phrase: str | None) -> None:
    found = errors(f"version: any\nact: {{{body}}}\n", "actions")
    if phrase is None:
        assert found == []
    else:
        assert any(phrase in message for message in found), found


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("{name: wb, version: '2.0'}", None),
        ("{name: wb, version: 2.0, workflows: {version: '2.0', w: {tasks: {t: {action: std.noop}}}}}", None),
        ("{name: wb, version: 2}", None),
        ("{name: wb, version: '2'}", None),
        ("{name: wb, version: '3.0'}", "Unsupported DSL version"),
        ("{version: '2.0', workflows: {w: {tasks: {t: {action: std.noop}}}}}", "'name' is a required property"),
        ("{name: wb, version: '2.0', foo: 1}", "Additional properties"),
        (
            "{name: wb, version: '2.0', workflows: {'a.b': {tasks: {t: {action: std.noop}}}}}",
            "not a valid name in a workbook",
        ),
        ("{name: wb, version: '2.0', actions: {a: {input: [x]}}}", "'base' is a required property"),
    ],
)
def test_schema_vocabulary_of_a_workbook(text: str, phrase: str | None) -> None:
    found = errors(text, "workbook")
    if phrase is None:
        assert found == []
    else:
        assert any(phrase in message for message in found), found


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("123e4567-e89b-12d3-a456-426614174000", "UUID"),
        ("'x y'", "must not contain spaces"),
        ("w" * 256, "at most 255 characters"),
        ("w" * 255, None),
    ],
)
def test_name_checks_of_a_workflow(name: str, phrase: str | None) -> None:
    found = errors(f"version: '2.0'\n{name}: {{tasks: {{t: {{action: std.noop}}}}}}\n")
    assert (found == []) if phrase is None else any(phrase in m for m in found)


@pytest.mark.parametrize(
    ("length", "join", "ok"), [(255, False, True), (256, False, False), (208, True, True), (209, True, False)]
)
def test_name_checks_of_tasks_and_joins(length: int, join: bool, ok: bool) -> None:
    name = "t" * length
    found = errors(
        f"version: '2.0'\nwf: {{tasks: {{a: {{on-success: {name}}}, {name}: {{{'join: all' if join else 'action: std.noop'}}}}}}}\n"
    )
    assert (found == []) is ok


def test_a_pure_cycle_has_no_start_task() -> None:
    with pytest.raises(InvalidDocument, match="Failed to find start tasks") as e:
        read_workflows("version: '2.0'\nwf: {tasks: {a: {on-success: b}, b: {on-success: a}}}")
    assert e.value.kind == "DSLParsingException"


def test_joins_at_upload_are_all_reported_together() -> None:
    [found] = errors("version: '2.0'\nwf: {tasks: {a: {on-success: j}, j: {join: 2}, k: {join: all}}}")
    assert "Not enough inbound tasks for task 'j'" in found
    assert "No inbound tasks for task 'k'" in found


def test_all_errors_of_a_document_come_at_once_with_line_column_path_and_hint() -> None:
    text = "version: '2.0'\nwf:\n  tasks:\n    a:\n      acton: std.noop\n      on-success: [b2]\n    b:\n      wait-before: soon\n"
    _, found = validate(text)
    assert [(d.line, d.column, d.code) for d in found] == [
        (5, 7, "unknown-key"),
        (6, 7, "unknown-task"),
        (8, 7, "type"),
    ]
    assert found[0].path == ("wf", "tasks", "a", "acton")
    assert "did you mean 'action'?" in found[0].hint
    assert (found[1].message, found[1].hint) == ("Task 'b2' not found", "did you mean 'b'?")


def test_errors_of_shape_hide_none_of_grammar_or_graph_and_invent_none() -> None:
    text = """version: '2.0'
wf:
  input: {a: 1}
  vars: {v: <% $. %>}
  tasks:
    5: {action: std.noop}
    n: null
    both: {action: std.noop, workflow: w, on-success: nowhere}
    t: {retry: {count: 1}, publish: {x: <% $. %>}, on-success: [j]}
    u: {on-success: {j: soon}}
    j: {join: 2}
"""
    codes = sorted(d.code for d in validate(text)[1])
    assert codes == sorted(
        ["type", "yaql", "name", "type", "action-and-workflow", "unknown-task", "required", "yaql", "type"]
    )


def test_multi_workflow_document_keeps_each_as_its_own_text_with_the_order_of_keys() -> None:
    text = "version: '2.0'\nb: {tasks: {z: {action: std.noop}, a: {action: std.noop}}}\na: {tasks: {t: {action: std.noop}}}\n"
    document = read_workflows(text)
    assert [w.name for w in document.workflows] == ["b", "a"]
    assert (
        document.texts["b"]
        == "version: '2.0'\nb:\n  tasks:\n    z:\n      action: std.noop\n    a:\n      action: std.noop\n"
    )
    single = "version: '2.0'\n# a comment\nb: {tasks: {z: {action: std.noop}}}\n"
    assert read_workflows(single).texts["b"] == single


def test_anchors_aliases_and_at_signs_are_plain_text_and_the_last_duplicate_key_wins() -> None:
    document = read_workflows(
        "version: '2.0'\nwf: {vars: {a: &x 1, b: *x, c: '@y', d: 1, d: 2}, tasks: {t: {action: std.noop}}}"
    )
    assert document.workflows[0].vars == {"a": "&x 1", "b": "*x", "c": "@y", "d": 2}


def test_dates_stay_text_and_numbers_and_booleans_are_read() -> None:
    document = read_workflows(
        "version: '2.0'\nwf: {vars: {a: 2026-01-31, b: 1.5, c: yes, d: ~, e: 0x10}, tasks: {t: {action: std.noop}}}"
    )
    assert document.workflows[0].vars == {"a": "2026-01-31", "b": 1.5, "c": True, "d": None, "e": 16}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\n"


@pytest.mark.parametrize(
    ("hostile", "phrase"),
    [
        (BOMB, "required property"),
        ("[" * 5000, "Nested deeper"),
        ("{a: " * 3000, "Nested deeper"),
        ("x: " + "y" * 10_000_000, "bytes; at most"),
        (b"\xff\xfe\x00bad", "not UTF-8"),
        ("? [a]\n: b", "cannot be a key"),
        ("a: !!python/object:os.system x", "is not accepted"),
        ("a: !!binary x", "is not accepted"),
        ("a: \x00", "Not valid YAML"),
        ("\t- x", "Not valid YAML"),
        ("a: b: c", "Not valid YAML"),
    ],
)
def test_hostile_input_gets_a_clear_error_in_bounded_time(hostile: Any, phrase: str) -> None:
    _, found = validate(hostile)
    assert any(phrase in d.message for d in found), found
    assert len(found) <= 1000


PUBLISH = "version: '2.0'\nwf: {{tasks: {{t: {{publish: {{x: '{}'}}}}}}}}"


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        (PUBLISH.format("<% " * 500_000), None),
        (PUBLISH.format("{{" * 500_000), None),
        (PUBLISH.format("%> " + "<% " * 500_000), None),
        (PUBLISH.format("<% " + "(" * 100_000 + "%>"), "at most 16384 characters"),
        (PUBLISH.format("<% " + "not " * 1000 + "1 %>"), "levels deep"),
        (PUBLISH.format("{{ " + "1+" * 20_000 + "1 }}"), None),
        (PUBLISH.format("{{ " + "(" * 20_000 + "1 }}"), "Jinja"),
        ("version: '2.0'\nwf: {tasks: {t: {action: 'std.echo " + "a=[" * 300_000 + "'}}}", "at most 8192 characters"),
        (
            "version: '2.0'\nwf: {tasks: {t: {on-success: [" + ",".join(f"t{i}" for i in range(20_000)) + "]}}}",
            "not found",
        ),
    ],
)
def test_hostile_expressions_and_names_cost_no_more_than_their_length(text: str, phrase: str | None) -> None:
    started = time.monotonic()
    _, found = validate(text)
    assert time.monotonic() - started < 20
    messages = [d.message for d in found if d.severity is Severity.ERROR]
    assert (messages == []) if phrase is None else any(phrase in m for m in messages)


def test_linting_a_large_workflow_takes_seconds_not_minutes() -> None:
    body = "".join(f"    t{i}: {{action: std.echo output=<% $.x %>, on-success: [t{i + 1}, j]}}\n" for i in range(5000))
    started = time.monotonic()
    _, found = validate(f"version: '2.0'\nwf:\n  tasks:\n{body}    t5000: {{on-success: j}}\n    j: {{join: all}}\n")
    assert time.monotonic() - started < 30
    assert {d.code for d in found} == {"unknown-variable"}


def test_a_thousand_errors_stay_a_thousand() -> None:
    text = "version: '2.0'\nwf:\n  tasks:\n" + "".join(f"    t{i}: {{foo: 1, bar: 2}}\n" for i in range(3000))
    _, found = validate(text)
    assert len(found) == 1000
    with pytest.raises(InvalidDocument, match="and 980 more"):
        read_workflows(text)


def test_a_large_document_is_read_in_linear_time() -> None:
    text = (
        "version: '2.0'\nwf:\n  tasks:\n"
        + "".join(f"    t{i}: {{on-success: t{i + 1}}}\n" for i in range(5000))
        + "    t5000: {action: std.noop}\n"
    )
    assert len(read_workflows(text).workflows[0].tasks) == 5001


def test_readers_give_specs_with_defaults_and_inline_forms_resolved() -> None:
    [action] = read_actions(
        "{version: '2.0', a: {base: std.http url='x' timeout=3, base-input: {timeout: 9, method: GET}}}"
    ).actions
    assert action.base_input == {"timeout": 3, "method": "GET", "url": "x"}
    book = read_workbook(
        "{name: wb, version: '2.0', description: d, tags: [x], workflows: {w: {tasks: {t: {action: std.noop}}}}}"
    )
    assert (book.name, book.tags, list(book.workflows)) == ("wb", ("x",), ["w"])
    spec = book.workflows["w"].tasks["t"]
    assert (spec.action, spec.policies.safe_rerun, spec.keep_result) == ("std.noop", False, True)


def test_the_json_schema_agrees_with_the_reader() -> None:
    import jsonschema
    import yaml

    from gregale.language.shapes import json_schema

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator(schema)
    good = [
        "version: '2.0'\nwf: {tasks: {t: {action: std.noop, on-success: [{x: <% 1 %>}], retry: {count: 1, delay: 1}}, x: {join: all}}}",
        "{name: wb, version: '2.0', workflows: {w: {type: reverse, tasks: {t: {requires: [t]}}}}}",
    ]
    bad = [
        "version: '2.0'\nwf: {tasks: {t: {acton: std.noop}}}",
        "wf: {tasks: {t: {action: std.noop}}}",
        "{name: wb, version: '2.0', foo: 1}",
        "version: '2.0'\nwf: {tasks: {t: {wait-before: soon}}}",
    ]
    assert all(checker.is_valid(yaml.safe_load(text)) for text in good)
    assert not any(checker.is_valid(yaml.safe_load(text)) for text in bad)


KEYS = st.sampled_from(
    ["tasks", "action", "workflow", "on-success", "on-error", "publish", "next", "branch", "join", "retry", "count", "delay", "with-items", "input",
     "vars", "output", "type", "task-defaults", "requires", "a", "b", "version", "fail", "wait-before", "tags"]
)  # fmt: skip
LEAVES = st.sampled_from([None, True, 0, 1, -1, 1.5, "", "a", "b", "all", "reverse", "direct", "std.noop", "<% $.x %>", "<% $. %>", "{{ _.x }}", "i in <% [1] %>", "fail msg=x", "2.0"])  # fmt: skip
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, st.integers(0, 3)), inner, max_size=5)
    ),
    max_leaves=25,
)


@given(st.dictionaries(KEYS, BODIES, max_size=5), st.dictionaries(KEYS, BODIES, max_size=4))
def test_whatever_shape_a_document_has_there_is_a_verdict_and_no_crash(body: Any, tasks: Any) -> None:
    text = dumped({"version": "2.0", "wf": {**body, "tasks": tasks or {"a": {"action": "std.noop"}}}})
    for kind in ("workflows", "workbook", "actions"):
        _, found = validate(text, kind)
        if kind == "workflows" and not any(d.severity is Severity.ERROR for d in found):
            assert read_workflows(text).workflows


def test_halves_of_a_character_are_joined_and_one_alone_is_refused() -> None:
    made = read_workflows(
        '{"version": "2.0", "wf": {"description": "\\ud83d\\ude00", "tasks": {"t": {"action": "std.noop"}}}}'
    )
    assert made.workflows[0].description == "\N{GRINNING FACE}"
    with pytest.raises(InvalidDocument, match="half of a character"):
        read_workflows('{"version": "2.0", "wf": {"description": "\\ud83d", "tasks": {"t": {"action": "std.noop"}}}}')
