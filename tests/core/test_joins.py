"""Joins: all, one, N; impossible routes; late arrivals; rounds (language spec 5.7)."""

from __future__ import annotations

import pytest

from gregale.core import ActionDone, Rerun, Skip
from tests.play import Error, play


def test_join_all_waits_for_every_inbound_task_and_merges_their_data() -> None:
    p = play(
        "wf: {tasks: {a: {publish: {x: 1}, on-success: j}, b: {action: std.async_noop, publish: {y: 2}, on-success: j}, j: {join: all}}}"
    )
    j = p.task("j")
    assert (j.state, j.state_info) == ("WAITING", "Task is waiting.")
    p.finish("b")
    assert p.state == "SUCCESS"
    assert p.output == {"x": 1, "y": 2}
    assert sorted(p.task("j").triggered_by) == sorted((p.task(n).id, "on-success") for n in "ab")


def test_join_all_fails_at_once_when_an_inbound_task_does_not_choose_it() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: j}, b: {action: std.fail, on-success: j}, slow: {action: std.async_noop, on-success: j}, j: {join: all}}}"
    )
    assert p.states()["j"] == "ERROR"
    assert p.task("j").state_info == "Failed by tasks: ['b']"
    assert p.task("j").triggered_by == ((p.task("b").id, "not triggered"),)


def test_join_all_fails_by_an_impossible_route() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: [b, {c: <% false %>}]}, b: {on-success: j}, c: {on-success: j}, j: {join: all}}}"
    )
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS", "j": "ERROR"}
    assert p.task("j").state_info == "Failed by tasks: ['c']"


def test_join_all_fails_by_a_deep_impossible_route() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: [b, {c: <% false %>}]}, b: {on-success: j}, c: {on-success: d}, d: {on-success: e}, e: {on-success: j}, j: {join: all}}}"
    )
    assert p.task("j").state_info == "Failed by tasks: ['e']"


def test_a_deep_route_that_fails_later_fails_the_waiting_join() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: j}, s: {action: std.async_noop, on-success: m, on-error: noop}, m: {on-success: j}, j: {join: all}}}"
    )
    assert p.states()["j"] == "WAITING"
    p.finish("s", error="no")
    assert p.states()["j"] == "ERROR"
    assert p.state == "ERROR"


@pytest.mark.parametrize(("join", "runs_after"), [("one", 1), (2, 2)])
def test_join_one_and_n_run_when_enough_have_come(join: object, runs_after: int) -> None:
    p = play(
        f"wf: {{tasks: {{a: {{action: std.async_noop, on-success: j}}, b: {{action: std.async_noop, on-success: j}}, c: {{action: std.async_noop, on-success: j}}, j: {{join: {join}}}}}}}"
    )
    for position, name in enumerate("abc"):
        p.finish(name)
        assert (p.states().get("j") == "SUCCESS") is (position + 1 >= runs_after)
    assert p.state == "SUCCESS"


def test_join_n_fails_when_too_many_are_lost_and_records_nobody() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: j}, b: {action: std.fail, on-success: j}, c: {action: std.fail, on-success: j}, j: {join: 2}}}"
    )
    assert p.states()["j"] == "ERROR"
    assert p.task("j").triggered_by == ()


def test_partial_join_lateness_the_join_action_runs_once() -> None:
    p = play(
        "wf: {tasks: {a: {publish: {x: 1}, on-success: j}, b: {action: std.async_noop, publish: {y: 2}, on-success: j}, j: {join: one, action: std.echo output=1}}}"
    )
    assert p.states()["j"] == "SUCCESS"
    p.finish("b")
    assert p.ran().count("j") == 1
    assert p.result("j") == 1
    assert p.state == "SUCCESS"


def test_join_context_holds_everything_that_has_chosen_it_by_its_completion() -> None:
    p = play(
        "wf: {tasks: {a: {publish: {x: 1}, on-success: j}, b: {publish: {y: 2}, on-success: j}, j: {join: one, action: std.async_noop, on-success: k}, k: {action: 'std.echo output=<% [$.x, $.y] %>'}}}"
    )
    p.finish("j")
    assert p.result("k") == [1, 2]


def test_join_failure_handling_on_error_of_the_join_runs_and_the_workflow_succeeds() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.fail, on-success: j, on-error: noop}, b: {on-success: j}, j: {join: all, on-error: k}, k: {action: std.noop}}}"
    )
    assert p.states()["k"] == "SUCCESS"
    assert p.state == "SUCCESS"


def test_an_unhandled_join_failure_is_rescued_by_a_default_on_error() -> None:
    p = play(
        "wf: {task-defaults: {on-error: k}, tasks: {a: {action: std.fail, on-success: j}, b: {on-success: j}, j: {join: all}, k: {action: std.noop}}}"
    )
    assert p.state == "SUCCESS"


def test_join_after_join_and_diamond() -> None:
    p = play(
        """
        wf:
          tasks:
            s: {on-success: [a, b, c]}
            a: {on-success: j1}
            b: {on-success: j1}
            c: {on-success: j2}
            j1: {join: all, on-success: j2}
            j2: {join: all, on-success: [d, e]}
            d: {on-success: end}
            e: {on-success: end}
            end: {join: all}
        """
    )
    assert set(p.states().values()) == {"SUCCESS"}
    assert p.state == "SUCCESS"


def test_the_same_source_twice_counts_once() -> None:
    p = play("wf: {tasks: {a: {on-success: j, on-complete: j}, j: {join: all}}}")
    assert p.state == "SUCCESS"
    assert p.ran().count("j") == 1
    assert len(p.tasks("j")) == 1


def test_an_inbound_task_that_runs_twice_opens_a_round_that_ends_too() -> None:
    p = play("wf: {tasks: {a: {on-success: [b, c, j]}, b: {on-success: c}, c: {on-success: j}, j: {join: all}}}")
    assert len(p.tasks("c")) == 2
    assert p.state == "SUCCESS"


def test_a_join_that_waits_for_what_only_runs_after_it_fails_and_does_not_hang() -> None:
    p = play("wf: {tasks: {a: {on-success: j}, j: {join: all, on-success: b}, b: {on-success: j}}}")
    assert p.task("j").state_info == "Failed by tasks: ['b']"
    assert p.state == "ERROR"


def test_branches_of_a_loop_that_differ_in_length_meet_again_in_every_round() -> None:
    p = play(
        """
        wf:
          tasks:
            s: {publish: {n: 0}, on-success: fork}
            fork: {publish: {n: <% $.n + 1 %>}, on-success: [a, x]}
            a: {on-success: j}
            x: {on-success: y}
            y: {on-success: b}
            b: {on-success: j}
            j: {join: all, action: std.echo output=<% $.n %>, on-success: [{fork: <% $.n < 3 %>}]}
        """
    )
    assert p.state == "SUCCESS"
    assert p.result("j") == [1, 2, 3]


def test_join_in_loop_has_one_task_execution_and_one_run_per_round() -> None:
    p = play(
        """
        wf:
          tasks:
            s: {publish: {n: 0}, on-success: fork}
            fork: {publish: {n: <% $.n + 1 %>}, on-success: [a, b]}
            a: {on-success: j}
            b: {on-success: j}
            j: {join: all, action: std.echo output=<% $.n %>, on-success: [{fork: <% $.n < 3 %>}]}
        """
    )
    assert p.state == "SUCCESS"
    assert len(p.tasks("j")) == 1
    assert p.ran().count("j") == 3
    assert p.result("j") == [1, 2, 3]  # results of all rounds accumulate [Q]


def test_a_loop_that_comes_to_the_join_later_is_not_lost_for_it() -> None:
    p = play(
        """
        wf:
          tasks:
            s: {publish: {n: 0}, on-success: [a, count]}
            a: {on-success: j}
            count: {publish: {n: <% $.n + 1 %>}, on-success: [{count: <% $.n < 3 %>}, {j: <% $.n >= 3 %>}]}
            j: {join: all, action: std.echo output=<% $.n %>}
        """
    )
    assert p.state == "SUCCESS"
    assert p.result("j") == 3


def test_join_zero_is_no_join() -> None:
    p = play("wf: {tasks: {a: {on-success: j}, b: {on-success: j}, j: {join: 0}}}")
    assert len(p.tasks("j")) == 2


def test_a_join_that_nobody_reaches_never_exists() -> None:
    p = play("wf: {tasks: {a: {on-success: [{b: <% false %>}]}, b: {on-success: j}, j: {join: all}}}")
    assert p.states() == {"a": "SUCCESS"}
    assert p.state == "SUCCESS"


@pytest.mark.parametrize("policy", ["wait-before: 5", "pause-before: true", "timeout: 5", "concurrency: 1"])
def test_joins_honour_policies_before_start(policy: str) -> None:
    action = (
        "action: std.async_noop"
        if "timeout" in policy
        else 'action: std.noop, with-items: "i in <% [1, 2] %>"'
        if "concurrency" in policy
        else "action: std.noop"
    )
    p = play(f"wf: {{tasks: {{a: {{on-success: j}}, b: {{on-success: j}}, j: {{join: all, {policy}, {action}}}}}}}")
    began = p.task("j")
    if "pause" in policy:
        assert (p.state, began.state) == ("PAUSED", "IDLE")
    elif "wait" in policy:
        assert p.world.now - (began.started_at or 0) >= 0
        assert began.policies["wait_before_policy"] == {"skip": True}
    elif "timeout" in policy:
        assert began.state_info == "Task timed out [timeout(s)=5]."
    else:
        assert began.policies["concurrency"] == 1
        assert p.state == "SUCCESS"


def test_a_join_of_thousands_is_not_quadratic() -> None:
    n = 3000
    tasks = ", ".join(f"t{i}: {{on-success: j}}" for i in range(n))
    p = play(f"wf: {{tasks: {{{tasks}, j: {{join: all}}}}}}")
    assert p.state == "SUCCESS"
    assert len(p.task("j").triggered_by) == n


def test_an_arrival_while_a_join_waits_for_its_next_attempt_does_not_start_it() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: j}, b: {action: std.async_noop, on-success: j}, j: {join: one, action: std.noop, retry: count=1 delay=9}}}",
        outcomes={"j": [Error(), "ok"]},
        start=False,
    )
    began = p.world.now
    p.world.run(until=began + 1)
    assert (p.states()["j"], p.ran().count("j")) == ("WAITING", 1)
    p.apply(ActionDone(p.children("b")[0].id), run=False)
    p.world.run(until=began + 2)
    assert (p.states()["j"], p.ran().count("j")) == ("WAITING", 1)
    p.world.run()
    assert (p.state, p.ran().count("j"), p.world.now) == ("SUCCESS", 2, began + 9)


def test_joins_that_fail_again_after_a_rerun_before_them_are_counted_again() -> None:
    p = play(
        """
        wf:
          tasks:
            a: {on-success: b, on-error: j1}
            b: {on-success: j1, on-error: [j2, j3]}
            j1: {join: all, on-success: j2, on-error: j2}
            j2: {join: all, on-success: j3, on-error: j3}
            j3: {join: all}
        """
    )
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS", "j1": "ERROR", "j2": "ERROR", "j3": "ERROR"}
    p.apply(Rerun(p.task("j1").id))
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS", "j1": "SUCCESS", "j2": "ERROR", "j3": "ERROR"}
    assert p.state == "ERROR"


def test_a_skipped_join_is_counted_by_the_join_after_it_once_more() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: b, on-error: j1}, b: {on-success: j1, on-error: j2}, j1: {join: all, on-success: j2, on-error: j2}, j2: {join: all}}}"
    )
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS", "j1": "ERROR", "j2": "ERROR"}
    p.apply(Skip(p.task("j1").id))
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS", "j1": "SKIPPED", "j2": "ERROR"}
    assert p.state == "ERROR"
