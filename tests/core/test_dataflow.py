"""Input, environment, vars, publishing, contexts, output (language spec 3.2, 3.3 and 4)."""

from __future__ import annotations

import pytest

from gregale.core import InvalidInput, Resume, Settings
from gregale.expressions import ExpressionError
from tests.play import Error, play

FORK = """
    wf:
      tasks:
        fork: {publish: {a: 0, m: {z: 0}}, on-success: [l, r]}
        l:    {publish: {a: L, m: {l: 1}}, on-success: j}
        r:    {publish: {a: R, m: {r: 1}}, on-success: r2}
        r2:   {publish: {a: R2}, on-success: j}
        j:    {join: all}
"""


def test_input_check_lists_missing_and_unexpected_and_stores_nothing() -> None:
    with pytest.raises(InvalidInput, match=r"Invalid input .*missing=\['a'\], unexpected=\['c'\]") as e:
        play("wf: {input: [a, {b: 1}], tasks: {t: {action: std.noop}}}", given={"c": 1})
    assert "name=wf" in str(e.value)


def test_defaults_null_overrides_and_a_map_replaces_the_whole_default_map() -> None:
    p = play(
        "wf: {input: [{a: 1}, {m: {x: 1, y: 2}}, {lit: <% 1 + 1 %>}], tasks: {t: {action: std.noop}}}",
        given={"a": None, "m": {"x": 5}},
    )
    assert p.execution.input == {"a": None, "m": {"x": 5}, "lit": "<% 1 + 1 %>"}  # defaults are literal [Q]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"env": {"k": "<% 1 + 1 %>", "l": "<% env().r %>", "r": 3}}, {"k": 2, "l": 3, "r": 3}),
        ({"env": {"k": "<% 1 + 1 %>"}, "evaluate_env": False}, {"k": "<% 1 + 1 %>"}),
        ({"env": "stored"}, {"host": "h"}),
        ({}, {}),
    ],
)
def test_env_by_name_by_value_evaluated_and_raw(params: dict, expected: dict) -> None:
    p = play(
        "wf: {output: {e: <% env() %>}, tasks: {t: {action: std.noop}}}",
        params=params,
        environments={"stored": {"host": "h"}},
    )
    assert p.output == {"e": expected}
    assert p.execution.params["env"] == expected


def test_env_unknown_or_of_a_wrong_type_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="Environment is not found"):
        play("wf: {tasks: {t: {action: std.noop}}}", params={"env": "nope"})
    with pytest.raises(InvalidInput, match="Unexpected value type for environment"):
        play("wf: {tasks: {t: {action: std.noop}}}", params={"env": 5})


def test_action_defaults_of_env_fill_only_absent_parameters_and_not_in_sub_workflows() -> None:
    env = {"__actions": {"std.echo": {"output": "default", "delay": 0}}}
    p = play(
        """
        wf: {tasks: {a: {action: std.echo}, b: {action: std.echo output="own"}, c: {workflow: sub}}}
        sub: {tasks: {d: {action: std.echo output="sub"}}}
        """,
        params={"env": env},
    )
    assert p.result("a") == "default"
    assert p.result("b") == "own"
    assert ("d", 0, {"output": "sub"}) in p.calls


def test_vars_are_computed_once_visible_everywhere_and_shadowed_by_publish() -> None:
    p = play(
        "wf: {input: [i], vars: {v: <% $.i + 1 %>}, output: {v: <% $.v %>, g: <% global(v) %>}, tasks: {a: {publish: {v: 9}}}}",
        given={"i": 1},
    )
    assert p.output == {"v": 9, "g": 2}


def test_vars_cannot_use_each_other() -> None:
    with pytest.raises(ExpressionError):
        play("wf: {vars: {a: 1, b: <% $.a %>}, tasks: {t: {action: std.noop}}}")


def test_scope_order_branch_beats_vars_beats_input_and_global_bypasses_the_branch() -> None:
    p = play(
        "wf: {input: [x, y, z], vars: {x: var, y: var}, output: {x: <% $.x %>, y: <% $.y %>, z: <% $.z %>, g: <% global(x) %>}, tasks: {a: {publish: {x: branch}}}}",
        given={"x": "in", "y": "in", "z": "in"},
    )
    assert p.output == {"x": "branch", "y": "var", "z": "in", "g": "var"}


def test_publish_on_error_and_on_skip_take_the_clause_of_the_state() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.fail, publish: {x: ok}, publish-on-error: {x: bad}, on-error: b}, b: {action: std.echo output=<% $.x %>}}}"
    )
    assert p.result("b") == "bad"


def test_publish_priority_on_complete_beats_task_beats_on_success() -> None:
    p = play(
        """
        wf:
          tasks:
            a:
              publish: {x: task, y: task}
              on-success: {publish: {branch: {x: clause, y: clause, z: clause}}}
              on-complete: {publish: {branch: {x: complete}}}
        """
    )
    assert p.task("a").published == {"x": "complete", "y": "task", "z": "clause"}


def test_advanced_publish_unions_the_scopes_of_all_sources() -> None:
    p = play(
        """
        wf:
          output: {b: <% $.b %>, g: <% global(g) %>}
          tasks:
            a: {publish: {b: 1}, on-success: {publish: {global: {g: 2}, atomic: {t: 3}}}}
        """
    )
    assert p.output == {"b": 1, "g": 2}


def test_a_global_publish_into_a_nested_map_persists_and_is_seen_by_other_branches() -> None:
    p = play(
        """
        wf:
          vars: {m: {a: 1}}
          output: {m: <% global(m) %>, late: <% task(late).result %>}
          tasks:
            a: {on-success: {publish: {global: {m: {b: 2}}}, next: late}}
            late: {action: std.echo output=<% $.m.b %>}
        """
    )
    assert p.output == {"m": {"a": 1, "b": 2}, "late": 2}
    assert p.execution.context == {"m": {"a": 1, "b": 2}}


def test_values_published_by_a_clause_do_not_see_each_other() -> None:
    p = play("wf: {tasks: {a: {publish: {x: 1, y: <% $.x %>}}}}")
    assert p.state == "ERROR"


def test_join_merge_takes_the_higher_version_and_merges_maps() -> None:
    p = play(FORK)
    seen = p.seen("j")
    assert seen["a"] == "R2"
    assert seen["m"] == {"z": 0, "l": 1, "r": 1} or seen["m"] == {"l": 1, "r": 1}
    assert p.output["m"] == {"l": 1, "r": 1}


def test_sequential_publish_replaces_maps_and_a_join_deep_merges_them() -> None:
    p = play(
        "wf: {output: {m: <% $.m %>}, tasks: {a: {publish: {m: {x: 1}}, on-success: b}, b: {publish: {m: {y: 2}}}}}"
    )
    assert p.output == {"m": {"y": 2}}


def test_merge_strategy_merge_deep_merges_sequential_publishes() -> None:
    text = "wf: {output: {m: <% $.m %>}, tasks: {a: {publish: {m: {x: 1}}, on-success: b}, b: {publish: {m: {y: 2}}}}}"
    assert play(text, settings=Settings(deep_merge=True)).output == {"m": {"x": 1, "y": 2}}


def test_publishing_an_empty_map_in_a_branch_does_not_empty_it_after_a_join() -> None:
    p = play(
        "wf: {output: {m: <% $.m %>}, tasks: {f: {publish: {m: {a: 1}}, on-success: [l, r]}, l: {publish: {m: {}}, on-success: j}, r: {on-success: j}, j: {join: all}}}"
    )
    assert p.output == {"m": {"a": 1}}


def test_ties_at_a_join_keep_the_value_of_the_task_created_first() -> None:
    p = play(
        "wf: {output: {x: <% $.x %>}, tasks: {f: {on-success: [l, r]}, l: {action: std.async_noop, publish: {x: left}, on-success: j}, r: {publish: {x: right}, on-success: j}, j: {join: all}}}"
    )
    p.finish("l")
    assert p.output == {"x": "left"}


def test_output_expression_absent_and_broken() -> None:
    assert play("wf: {input: [{i: 1}], vars: {v: 2}, tasks: {a: {publish: {x: 1}}}}").output == {
        "x": 1
    }  # neither input nor vars
    broken = play("wf: {output: {o: <% $.nope %>}, tasks: {a: {action: std.noop}}}")
    assert broken.state == "ERROR"
    assert "Failed to check and complete" in broken.info


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("output-on-error: {why: <% $.x %>},", {"why": 1}),
        ("output-on-error: {result: mine},", {"result": "mine"}),
        ("", {"x": 1}),
    ],
)
def test_output_on_error_overlays_the_message(clause: str, expected: dict) -> None:
    p = play(f"wf: {{{clause} tasks: {{a: {{publish: {{x: 1}}, on-success: b}}, b: {{action: std.fail}}}}}}")
    assert p.output == {"result": p.info, **expected}


def test_a_broken_output_on_error_keeps_the_error_with_both_causes() -> None:
    p = play("wf: {output-on-error: {o: <% $.nope %>}, tasks: {a: {action: std.fail}}}")
    assert p.state == "ERROR"
    assert "Failed to evaluate expression in output-on-error!" in p.info
    assert "Failure caused by error in tasks: a" in p.info


def test_succeed_after_a_task_drops_the_publishes_of_the_current_task() -> None:
    p = play("wf: {tasks: {a: {publish: {x: 1}, on-success: [b, succeed]}, b: {action: std.async_noop}}}")
    assert (p.state, p.output) == ("SUCCESS", {})


def test_dollar_shows_the_internal_keys_and_no_start_task_has_versions() -> None:
    p = play(
        "wf: {tasks: {a: {publish: {x: 1}, on-success: b}, b: {action: std.echo output=<% $ %>}}}",
        params={"env": {"e": 1}},
    )
    seen = p.result("b")
    assert seen["__env"] == {"e": 1}
    assert seen["__execution"] == {"id": p.id}
    assert seen["__task_execution"] == {"id": p.task("b").id, "name": "b"}
    assert seen["__versions"] == {"x": 1}
    assert p.seen("a") == {}


def test_yaql_reaches_internal_keys_as_variables_of_their_own() -> None:
    p = play(
        "wf: {tasks: {a: {action: 'std.echo output=<% [$__env.e, $__execution.id, $__task_execution.name] %>'}}}",
        params={"env": {"e": 1}},
    )
    assert p.result("a") == [1, p.id, "a"]


@pytest.mark.parametrize("field", ["input", "params", "published", "output"])
def test_size_limits_of_the_four_fields(field: str) -> None:
    big = "x" * 3000
    limit = Settings(field_limit_kb=2)
    if field in ("input", "params"):
        given, params = ({"i": big}, {}) if field == "input" else ({"i": 1}, {"p": big})
        with pytest.raises(InvalidInput, match="Field size limit exceeded"):
            play("wf: {input: [i], tasks: {a: {action: std.noop}}}", given=given, params=params, settings=limit)
        return
    if field == "output":
        p = play(
            "wf: {tasks: {a: {action: std.noop, on-error: b}, b: {action: std.noop}}}",
            outcomes={"a": big},
            settings=limit,
        )
        assert p.children("a")[0].state == "ERROR"
    else:
        half = "x" * 1500
        p = play(
            "wf: {tasks: {a: {action: std.noop, publish: {x: '<% [task().result, task().result] %>'}}}}",
            outcomes={"a": half},
            settings=limit,
        )
    assert p.states()["a"] == "ERROR"
    assert p.state == "ERROR"
    assert "Field size limit exceeded" in p.info


def test_size_limit_of_an_action_input_is_a_graceful_error() -> None:
    p = play(
        "wf: {input: [i], tasks: {a: {action: std.echo output=<% $.i + $.i %>, on-error: b}, b: {action: std.noop}}}",
        given={"i": "x" * 1500},
        settings=Settings(field_limit_kb=2),
    )
    assert p.state == "SUCCESS"
    assert "Field size limit exceeded" in (p.task("a").state_info or "")


def test_state_info_is_cut() -> None:
    p = play("wf: {tasks: {a: {action: std.fail}}}", outcomes={"a": Error("e" * 100_000)})
    assert len(p.task("a").state_info or "") == 65_500


def test_each_function_task_has_its_key_set_and_edge_cases() -> None:
    p = play(
        """
        wf:
          output:
            keys: <% task(a).keys().orderBy($) %>
            none: <% task(never) %>
            result: <% task(a).result %>
            jinja: "{{ task('a').result }}"
            other: "{{ _|task('a') }}"
          tasks:
            a: {action: std.echo output=1, publish: {self: <% task().name %>}, on-success: [{never: <% false %>}]}
            never: {action: std.noop}
        """
    )
    assert p.output["keys"] == sorted(
        [
            "id",
            "name",
            "spec",
            "state",
            "state_info",
            "result",
            "published",
            "type",
            "workflow_execution_id",
            "created_at",
            "updated_at",
        ]
    )
    assert p.output["none"] is None
    assert p.output["result"] == p.output["jinja"] == p.output["other"]["result"] == 1
    assert p.task("a").published == {"self": "a"}


def test_each_function_execution_env_uuid_and_dumps() -> None:
    p = play(
        """
        wf:
          input: [i]
          output:
            keys: <% execution().keys().orderBy($) %>
            in: <% execution().input %>
            root: <% execution().root_execution_id %>
            id: <% uuid().len() %>
            json: <% json_parse(json_dump({a => [1]})) %>
            dump: <% json_dump({a => 1}) %>
            yaml: <% yaml_parse(yaml_dump({b => 1, a => 2})) %>
            text: <% yaml_dump({b => 1, a => 2}) %>
          tasks: {a: {action: std.noop}}
        """,
        given={"i": 1},
    )
    assert p.output["keys"] == sorted(
        ["id", "name", "spec", "input", "params", "created_at", "updated_at", "root_execution_id"]
    )
    assert p.output["in"] == {"i": 1}
    assert p.output["root"] is None
    assert p.output["id"] == 36
    assert p.output["json"] == {"a": [1]}
    assert p.output["dump"] == '{\n    "a": 1\n}'
    assert p.output["yaml"] == {"a": 2, "b": 1}
    assert p.output["text"] == "a: 2\nb: 1\n"


def test_each_function_tasks_crosses_executions_filters_and_descends() -> None:
    p = play(
        """
        wf:
          output:
            own: <% tasks(execution().id).name %>
            deep: <% tasks(execution().id, true).name %>
            errors: <% tasks(execution().id, true, ERROR).name %>
            flat: <% tasks(execution().id, true, null, true).name %>
            all: <% tasks().len() %>
          tasks: {s: {workflow: sub, on-complete: e}, e: {action: std.fail, on-error: noop}}
        sub: {tasks: {x: {action: std.noop}}}
        """
    )
    assert p.output == {"own": ["s", "e"], "deep": ["s", "x", "e"], "errors": ["e"], "flat": ["x", "e"], "all": 3}


def test_keep_result_false_clears_the_output_right_after_publish() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.echo output=1, keep-result: false, publish: {x: <% task().result %>}, on-success: [{b: <% task().result = null %>}]}, b: {action: std.noop}}}"
    )
    assert p.task("a").published == {"x": 1}
    assert p.states()["b"] == "SUCCESS"
    kept = play("wf: {tasks: {a: {action: std.echo output=1, keep-result: <% false %>}}}")
    assert kept.result("a") == 1  # never evaluated: any expression counts as true [Q]


def test_a_task_without_accepted_children_has_an_empty_list_as_result() -> None:
    p = play("wf: {tasks: {a: {workflow: missing, on-error: b}, b: {action: std.echo output=<% task(a).result %>}}}")
    assert p.result("b") == []


def test_dynamic_names_action_workflow_and_whole_input_from_expressions() -> None:
    p = play(
        """
        wf:
          input: [act, wf_name, args]
          tasks: {a: {action: <% $.act %>, input: <% $.args %>}, b: {workflow: <% $.wf_name %>}}
        sub: {tasks: {x: {action: std.noop}}}
        """,
        given={"act": "std.echo", "wf_name": "sub", "args": {"output": 5}},
    )
    assert p.result("a") == 5
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS"}
    wrong = play("wf: {input: [args], tasks: {a: {action: std.echo, input: <% $.args %>}}}", given={"args": 5})
    assert "Wrong dynamic input for task" in wrong.info


def test_inline_parameters_beat_the_same_key_of_input() -> None:
    p = play("wf: {tasks: {a: {action: std.echo output=1, input: {output: 2, delay: 0}}}}")
    assert p.calls[0][2] == {"output": 1, "delay": 0}


def test_env_changed_on_resume_is_used() -> None:
    p = play(
        "wf: {tasks: {a: {pause-before: true, action: std.echo output=<% env().x %>}}}",
        params={"env": {"x": 1, "y": 1}},
    )
    p.apply(Resume({"x": 2}))
    assert p.result("a") == 2
    assert p.execution.params["env"] == {"x": 2, "y": 1}
