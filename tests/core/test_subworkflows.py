"""Sub-workflows, names and namespaces, ad-hoc actions, reverse workflows (language spec 5.8, 7.4 and 8)."""

from __future__ import annotations

import pytest

from gregale.core import WorkflowError
from tests.play import NEVER, play


def test_a_sub_workflow_gives_its_output_as_result_and_root_id_and_parameters_are_set() -> None:
    p = play(
        "wf: {tasks: {s: {workflow: sub x=3, publish: {got: <% task(s).result.y %>}}}}\nsub: {input: [x], output: {y: <% $.x + 1 %>}, tasks: {t: {action: std.noop}}}",
        params={"notify": [{"type": "noop"}]},
    )
    assert p.output == {"got": 4}
    sub = p.sub("s")
    assert (sub.root_id, sub.parent_task_id, sub.description) == (p.id, p.task("s").id, "sub-workflow execution")
    assert sub.params == {
        "root_execution_id": p.id,
        "task_execution_id": p.task("s").id,
        "index": 0,
        "namespace": "",
        "notify": [{"type": "noop"}],
        "env": {},
    }


def test_error_text_of_a_sub_workflow_bubbles_up_and_its_result_is_its_output() -> None:
    p = play(
        "wf: {tasks: {s: {workflow: sub, on-error: r}, r: {action: std.echo output=<% task(s).result.result %>}}}\nsub: {tasks: {t: {action: std.fail}}}"
    )
    assert p.state == "SUCCESS"
    assert "Failure caused by error in tasks: t" in p.result("r")
    assert "Failure caused by error in tasks: t" in (p.task("s").state_info or "")


@pytest.mark.parametrize("call", ["missing", "sub", "sub x=1 env='nope'"])
def test_a_sub_workflow_that_cannot_start_is_a_graceful_error(call: str) -> None:
    p = play(
        f"wf: {{tasks: {{s: {{workflow: {call}, on-error: e}}, e: {{action: std.noop}}}}}}\nsub: {{input: [x], tasks: {{t: {{action: std.noop}}}}}}"
    )
    assert p.states() == {"s": "ERROR", "e": "SUCCESS"}
    assert p.state == "SUCCESS"


def test_undeclared_inputs_become_start_parameters() -> None:
    p = play(
        """
        wf: {tasks: {call: {workflow: 'inner size=3 task_name="last" extra=5', publish: {got: <% task().result %>}}}}
        inner:
          type: reverse
          input: [size]
          output: {answer: <% $.n %>}
          tasks: {first: {action: std.noop}, last: {requires: first, publish: {n: <% $.size + execution().params.extra %>}}}
        """
    )
    assert p.output == {"got": {"answer": 8}}


def test_env_reads_the_environment_of_the_root() -> None:
    p = play(
        "wf: {tasks: {s: {workflow: sub, input: {env: {x: own}}}}}\nsub: {output: {x: <% env().x %>}, tasks: {t: {action: std.noop}}}",
        params={"env": {"x": "root"}},
    )
    assert p.result("s") == {"x": "root"}
    assert p.sub("s").params["env"] == {"x": "own"}


def test_workbook_local_names_win_over_global_ones() -> None:
    p = play(
        "",
        name="wb.main",
        workbook="""
        name: wb
        version: '2.0'
        actions: {act: {base: std.echo output="local"}}
        workflows:
          main: {tasks: {a: {action: act}, s: {workflow: sub}}}
          sub: {tasks: {x: {action: std.noop}}}
        """,
        actions="{version: '2.0', act: {base: std.echo output='global'}}",
    )
    assert p.calls[0][2] == {"output": "local"}
    assert p.sub("s").workflow_name == "wb.sub"


def test_namespaces_propagate_and_fall_back_to_the_default_one() -> None:
    from gregale.core import Start
    from tests.play import Play

    p = Play("wf: {tasks: {s: {workflow: sub}}}", namespace="ns", start=False)
    p.world.add_workflows("version: '2.0'\nsub: {tasks: {t: {workflow: leaf}}}", "")
    p.world.add_workflows("version: '2.0'\nleaf: {output: {ns: special}, tasks: {t: {action: std.noop}}}", "ns")
    p.world.add_workflows("version: '2.0'\nleaf: {output: {ns: default}, tasks: {t: {action: std.noop}}}", "")
    p.apply(Start())
    assert p.state == "SUCCESS"
    sub = p.sub("s")
    assert (sub.namespace, sub.params["namespace"]) == ("", "ns")
    leaf = p.world.executions_by_id[next(iter(sub.children))]
    assert leaf.output == {"ns": "special"}


def test_no_fallback_when_the_api_starts_a_workflow() -> None:
    with pytest.raises(KeyError):
        play("wf: {tasks: {t: {action: std.noop}}}", namespace="ns").world.create("wf", namespace="other")


SHOUT = """
version: '2.0'
shout:
  base: std.echo
  base-input: {output: "<% $.text %>!"}
  input: [text, {lang: en}]
  output: {said: <% $ %>, by: shout}
louder:
  base: shout text="<% $.t %>!"
  input: [t]
  output: {loud: <% $.said %>}
wait: {base: std.async_noop}
loop_a: {base: loop_b}
loop_b: {base: loop_a}
nobase: {base: no.such}
std.noop: {base: std.echo output="shadowed"}
falsy: {base: std.echo output=0, output: "<% $ + 1 %>"}
"""


def test_adhoc_defaults_nested_output_and_the_stored_name_and_input() -> None:
    p = play('wf: {tasks: {a: {action: shout text="hi"}, b: {action: louder t="hey"}}}', actions=SHOUT)
    assert p.result("a") == {"said": "hi!", "by": "shout"}
    assert p.result("b") == {"loud": "hey!!"}
    assert (p.children("b")[0].name, p.children("b")[0].input) == ("louder", {"t": "hey"})
    assert p.children("b")[0].base == ("std.echo", {"output": "hey!!"})


def test_adhoc_sees_env_and_enforces_its_input() -> None:
    p = play("wf: {tasks: {a: {action: shout}}}", actions=SHOUT)
    assert "missing=['text']" in p.info
    env = play(
        "wf: {tasks: {a: {action: host}}}",
        actions="{version: '2.0', host: {base: std.echo output=<% env().h %>}}",
        params={"env": {"h": "x"}},
    )
    assert env.result("a") == "x"


def test_adhoc_async_follows_the_innermost_base() -> None:
    p = play("wf: {tasks: {a: {action: wait}}}", actions=SHOUT)
    assert p.states() == {"a": "RUNNING"}
    assert not p.children("a")[0].is_sync


@pytest.mark.parametrize("name", ["nobase", "loop_a"])
def test_adhoc_with_a_missing_base_or_a_cycle_is_a_graceful_error(name: str) -> None:
    p = play(f"wf: {{tasks: {{a: {{action: {name}, on-error: b}}, b: {{action: std.echo output=1}}}}}}", actions=SHOUT)
    assert p.states() == {"a": "ERROR", "b": "SUCCESS"}


def test_adhoc_shadows_built_ins_and_an_output_over_a_falsy_result_is_literal() -> None:
    p = play("wf: {tasks: {a: {action: std.noop}, b: {action: falsy}}}", actions=SHOUT)
    assert p.result("a") == "shadowed"
    assert p.result("b") == "<% $ + 1 %>"


REVERSE = """
    wf:
      type: reverse
      task-defaults: {requires: base}
      output: {x: <% $.get(x) %>}
      tasks:
        base: {publish: {x: 1}}
        a: {action: std.noop}
        b: {requires: [a], publish: {x: <% $.x + 1 %>}}
        other: {action: std.noop}
"""


def test_reverse_runs_the_closure_only_in_order_with_default_requires() -> None:
    p = play(REVERSE, params={"task_name": "b"})
    assert p.ran() == ["base", "a", "b"]
    assert p.output == {"x": 2}


def test_reverse_needs_a_task_name_that_exists() -> None:
    for params in ({}, {"task_name": "nope"}):
        with pytest.raises(WorkflowError, match="task_name"):
            play(REVERSE, params=params)


def test_reverse_errors_end_in_error_after_independent_branches() -> None:
    p = play(
        "wf: {type: reverse, tasks: {a: {action: std.fail}, b: {action: std.async_noop}, c: {requires: [a, b]}}}",
        params={"task_name": "c"},
    )
    assert p.state == "RUNNING"
    p.finish("b")
    assert p.state == "ERROR"
    assert p.states() == {"a": "ERROR", "b": "SUCCESS"}


def test_reverse_with_an_unreachable_cycle_runs_nothing_and_succeeds() -> None:
    p = play("wf: {type: reverse, tasks: {a: {requires: b}, b: {requires: a}}}", params={"task_name": "a"})
    assert (p.state, p.states(), p.output) == ("SUCCESS", {}, {})


def test_executions_function_gives_maps() -> None:
    p = play(
        "wf: {output: {n: <% executions(root_execution_id => execution().id).len() %>}, tasks: {s: {workflow: sub}}}\nsub: {tasks: {t: {action: std.noop}}}"
    )
    assert p.output == {"n": 1}


def test_starting_again_with_never_ending_actions_keeps_running() -> None:
    p = play("wf: {tasks: {a: {action: std.noop}}}", outcomes={"a": NEVER})
    assert (p.state, p.execution.open) == ("RUNNING", 1)
