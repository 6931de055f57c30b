"""Forks, guards, clauses, engine commands, errors handled and not (language spec 5.4 to 5.6)."""

from __future__ import annotations

import pytest

from gregale.core import Resume
from tests.play import Error, play


def test_fork_n_targets_give_n_parallel_tasks() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: [b, c, d]}, b: {action: std.noop}, c: {action: std.noop}, d: {action: std.noop}}}"
    )
    assert p.states() == dict.fromkeys("abcd", "SUCCESS")
    assert p.state == "SUCCESS"


def test_false_guards_create_nothing() -> None:
    p = play(
        "wf: {tasks: {a: {publish: {x: 1}, on-success: [{b: <% $.x > 1 %>}, {c: <% $.x = 1 %>}]}, b: {action: std.noop}, c: {action: std.noop}}}"
    )
    assert p.states() == {"a": "SUCCESS", "c": "SUCCESS"}


def test_clause_order_on_success_goes_before_on_complete_and_succeed_ends_the_list() -> None:
    p = play(
        "wf: {tasks: {t: {on-success: [a, succeed], on-complete: [b, fail]}, a: {action: std.noop}, b: {action: std.noop}}}"
    )
    assert p.state == "SUCCESS"
    assert "b" not in p.states()
    assert "a" in p.states()


@pytest.mark.parametrize(
    ("clause", "state"),
    [
        ("on-error: b", "SUCCESS"),
        ("on-error: noop", "SUCCESS"),
        ("description: none", "ERROR"),
        ("on-complete: b", "ERROR"),
    ],
)
def test_error_handling_decides_how_the_workflow_ends(clause: str, state: str) -> None:
    p = play(f"wf: {{tasks: {{a: {{action: std.fail, {clause}}}, b: {{action: std.noop}}}}}}")
    assert p.state == state


def test_on_error_with_all_guards_false_is_unhandled_and_names_nobody() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.fail, on-error: [{b: <% false %>}]}, b: {action: std.noop, on-success: [{a: <% false %>}]}, s: {on-success: a}}}"
    )
    assert p.state == "ERROR"
    assert p.info.startswith("Failure caused by error in tasks: \n")


def test_an_error_does_not_stop_parallel_branches_and_the_message_names_the_task() -> None:
    p = play("wf: {tasks: {a: {action: std.fail}, b: {on-success: c}, c: {action: std.noop}}}")
    assert p.states() == {"a": "ERROR", "b": "SUCCESS", "c": "SUCCESS"}
    assert p.state == "ERROR"
    assert "Failure caused by error in tasks: a" in p.info
    assert "Fail action expected exception." in p.info


def test_force_fail_by_a_bad_publish_passes_on_error_by() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, publish: {x: <% $.nope %>}, on-error: b}, b: {action: std.noop}, c: {on-success: d}, d: {action: std.noop}}}"
    )
    assert p.states()["a"] == "ERROR"
    assert "b" not in p.states()
    assert p.children("a")[0].state == "SUCCESS"
    assert p.state == "ERROR"
    assert "Failed to handle action completion [error=" in p.info
    assert "wf=wf, task=a, action=std.noop" in p.info


def test_force_fail_by_a_bad_guard() -> None:
    p = play("wf: {tasks: {a: {on-success: [{b: <% $.nope %>}], on-error: b}, b: {action: std.noop}}}")
    assert p.state == "ERROR"
    assert "b" not in p.states()


def test_force_fail_lets_running_siblings_finish_and_trigger_nothing() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, publish: {x: <% $.nope %>}}, slow: {action: std.async_noop, on-success: after}, after: {action: std.noop}}}"
    )
    assert p.state == "ERROR"
    p.finish("slow", {"r": 1})
    assert p.states() == {"a": "ERROR", "slow": "SUCCESS"}


@pytest.mark.parametrize(
    ("command", "state", "info"),
    [
        ("fail msg='quota hit'", "ERROR", "quota hit"),
        ('succeed msg="all <% $.x %>"', "SUCCESS", "all 7"),
        ("fail(msg='a b')", "ERROR", "a b"),
        ("fail msg=<% {why => $.x} %>", "ERROR", '{"why": 7}'),
        ("fail msg=word", "ERROR", ""),
    ],
)
def test_engine_command_messages_end_in_state_info(command: str, state: str, info: str) -> None:
    p = play(f"wf:\n  tasks:\n    a:\n      publish: {{x: 7}}\n      on-complete:\n        - {command}\n")
    assert (p.state, p.info) == (state, info)


def test_a_command_with_a_guard_and_parentheses_is_a_map_key() -> None:
    p = play(
        "wf:\n  tasks:\n    a:\n      on-complete:\n        - fail(msg='over'): <% 1 > 2 %>\n        - succeed(msg=\"under\"): <% 1 < 2 %>\n"
    )
    assert (p.state, p.info) == ("SUCCESS", "under")


def test_pause_command_keeps_the_tail_and_resume_runs_it() -> None:
    p = play("wf: {tasks: {a: {on-success: [b, pause, c]}, b: {action: std.noop}, c: {action: std.noop}}}")
    assert p.state == "PAUSED"
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS"}
    p.apply(Resume())
    assert p.states()["c"] == "SUCCESS"
    assert p.state == "SUCCESS"


def test_a_fail_after_pause_happens_on_resume() -> None:
    p = play("wf: {tasks: {a: {on-success: [pause, fail msg='now']}}}")
    assert p.state == "PAUSED"
    p.apply(Resume())
    assert (p.state, p.info) == ("ERROR", "now")


def test_a_join_after_pause_stays_a_join_on_resume() -> None:
    p = play("wf: {tasks: {a: {on-success: [pause, j]}, b: {action: std.async_noop, on-success: j}, j: {join: all}}}")
    p.apply(Resume())
    assert p.states()["j"] == "WAITING"
    p.finish("b")
    assert p.state == "SUCCESS"
    assert p.ran().count("j") == 1


def test_a_guard_map_directly_under_a_clause_leads_nowhere_and_in_next_loses_its_guard() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: {b: <% true %>}}, b: {action: std.noop}, c: {on-success: {next: {d: <% false %>}}}, d: {action: std.noop}}}"
    )
    assert p.task("b").triggered_by == ()  # it is a start task of its own
    assert "d" in p.states()


def test_a_task_named_like_a_command_loses_its_transitions_to_the_command() -> None:
    p = play("wf: {tasks: {a: {on-success: fail}, fail: {action: std.noop}}}")
    assert p.state == "ERROR"


def test_a_task_in_two_clauses_runs_twice_and_triggered_by_records_the_events() -> None:
    p = play("wf: {tasks: {a: {on-success: b, on-complete: b}, b: {action: std.noop}}}")
    assert [t.triggered_by[0][1] for t in p.tasks("b")] == ["on-success", "on-complete"]
    assert {t.triggered_by[0][0] for t in p.tasks("b")} == {p.task("a").id}


def test_loop_variables_a_counter_of_21_rounds_ends_with_21() -> None:
    p = play(
        """
        wf:
          output: {n: <% $.n %>, last: <% task(step).result %>}
          tasks:
            begin: {publish: {n: 0}, on-success: step}
            step: {action: std.echo output=<% $.n + 1 %>, publish: {n: <% task().result %>}, on-success: [{step: <% $.n < 21 %>}]}
        """
    )
    assert p.output == {"n": 21, "last": 21}
    assert len(p.tasks("step")) == 21


def test_next_tasks_and_error_handled_are_recorded() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.fail, on-error: [b, noop], on-complete: c}, b: {action: std.noop}, c: {action: std.noop}}}"
    )
    a = p.task("a")
    assert a.next_tasks == (("b", "on-error"), ("c", "on-complete"))
    assert a.has_next_tasks
    assert a.error_handled
    assert a.processed


def test_an_unknown_action_force_fails_and_a_null_name_runs_noop() -> None:
    assert (
        "Failed to find action [action_name=no.such, namespace=]"
        in play("wf: {tasks: {a: {action: no.such, on-error: b}, b: {action: std.noop}}}").info
    )
    p = play("wf: {input: [{n: null}], tasks: {a: {action: <% $.n %>}}}")
    assert p.state == "SUCCESS"


def test_unknown_and_missing_parameters_force_fail() -> None:
    p = play("wf: {tasks: {a: {action: std.echo outptu=1, on-error: b}, b: {action: std.noop}}}")
    assert "missing=['output']" in p.info
    assert "unexpected=['outptu']" in p.info
    assert "b" not in p.states()


@pytest.mark.parametrize("how", ["wait-before: 1", "join: all"])
def test_wrong_parameters_on_a_delayed_or_join_task_fail_it(how: str) -> None:
    p = play(f"wf: {{tasks: {{s: {{on-success: a}}, a: {{action: std.echo outptu=1, {how}}}}}}}")
    assert p.state == "ERROR"
    assert p.states()["a"] == "ERROR"


def test_default_on_error_does_not_loop_on_the_task_it_names() -> None:
    p = play(
        "wf: {task-defaults: {on-error: cleanup}, tasks: {a: {action: std.fail, on-success: cleanup}, cleanup: {action: std.fail}}}"
    )
    assert p.states() == {"a": "ERROR", "cleanup": "ERROR"}


def test_an_endless_chain_of_tasks_that_end_as_they_start_does_not_hang_a_decision() -> None:
    p = play("wf: {tasks: {s: {on-success: a}, a: {workflow: missing, on-error: a}}}", start=False)
    with pytest.raises(RuntimeError, match="still moves"):
        p.world.run(max_steps=50)
    assert len(p.tasks("a")) > 100


def test_a_failed_action_with_a_map_as_error_shows_it() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, publish-on-error: {e: <% task().result.code %>}, on-error: noop}}}",
        outcomes={"a": Error({"code": 5})},
    )
    assert p.task("a").published == {"e": 5}
    assert p.task("a").state_info == "{'code': 5}"


@pytest.mark.parametrize(
    "tasks",
    [
        "bad: {workflow: missing}, good: {action: std.noop}, more: {on-success: good2}, good2: {action: std.noop}",
        "s: {on-success: [bad, good]}, bad: {workflow: missing}, good: {action: std.noop}",
    ],
)
def test_a_task_that_ends_as_it_starts_does_not_end_the_workflow_before_its_siblings_exist(tasks: str) -> None:
    p = play(f"wf: {{tasks: {{{tasks}}}}}")
    assert p.state == "ERROR"
    assert p.states()["good"] == "SUCCESS"
    empty = play(
        "wf: {tasks: {s: {on-success: [none, good]}, none: {with-items: 'i in <% list() %>', action: std.noop}, good: {action: std.noop}}}"
    )
    assert empty.states() == {"s": "SUCCESS", "none": "SUCCESS", "good": "SUCCESS"}
