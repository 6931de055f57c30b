"""Policies (language spec 6)."""

from __future__ import annotations

import pytest

from gregale.core import Resume
from tests.play import CANCEL, NEVER, Error, play


@pytest.mark.parametrize("value", ["3", "<% $.n %>", '"{{ _.n }}"'])
def test_wait_before_literal_and_expression(value: str) -> None:
    p = play(f"wf: {{input: [{{n: 3}}], tasks: {{a: {{action: std.noop, wait-before: {value}}}}}}}", start=False)
    began = p.world.now
    p.world.step()
    assert p.states() == {"a": "DELAYED"}
    assert p.task("a").state_info == "Delayed by 'wait-before' policy [delay=3]"
    p.world.run()
    assert p.world.now == began + 3
    assert p.task("a").policies == {"wait_before_policy": {"skip": True}}


def test_zero_means_no_policy() -> None:
    p = play("wf: {tasks: {a: {action: std.noop, wait-before: 0, wait-after: 0, timeout: 0}}}")
    assert p.state == "SUCCESS"
    assert p.task("a").policies == {}


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        ("wait-before: <% $.bad %>", "WaitBeforePolicy"),
        ("wait-after: <% $.bad %>", "WaitAfterPolicy"),
        ("timeout: <% $.bad %>", "TimeoutPolicy"),
        ("concurrency: <% $.bad %>", "ConcurrencyPolicy"),
        ("pause-before: <% $.bad %>", "PauseBeforePolicy"),
        ("retry: {count: <% $.bad %>, delay: 1}", "RetryPolicy"),
    ],
)
@pytest.mark.parametrize("bad", [-1, "text", 1.5])
def test_a_wrong_type_or_a_negative_number_after_evaluation_force_fails(policy: str, name: str, bad: object) -> None:
    p = play(
        f"wf: {{input: [bad], tasks: {{a: {{action: std.fail, {policy}, on-error: b}}, b: {{action: std.noop}}}}}}",
        given={"bad": bad},
    )
    assert p.state == "ERROR"
    assert f"Invalid data type in {name}" in p.info
    assert "b" not in p.states()


def test_wait_after_holds_completion_publishes_twice_and_runs_once_across_retries() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, wait-after: 5, publish: {x: <% uuid() %>}, retry: {count: 2, delay: 1}, on-error: noop}}}",
        outcomes={"a": [Error(), Error(), "ok"]},
        start=False,
    )
    began = p.world.now
    p.world.run()
    assert p.states() == {"a": "SUCCESS"}
    assert p.world.now == began + 5 + 1 + 1
    assert p.task("a").policies["wait_after_policy"] == {"skip": True}


def test_wait_after_comes_before_fail_on_and_keeps_the_original_state() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, wait-after: 5, fail-on: true, publish: {x: 1}, on-error: noop}}}",
        start=False,
    )
    p.world.step()
    p.world.step()
    assert p.states() == {"a": "DELAYED"}
    assert p.task("a").published == {"x": 1}
    p.world.run()
    assert p.task("a").state_info == "Failed by 'fail-on' policy"


def test_fail_on_fires_after_publish_and_takes_anything_truthy() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.echo output=1, publish: {x: 1}, fail-on: <% task().result %>, on-error: b}, b: {action: std.echo output=<% $.x %>}}}"
    )
    assert p.states()["a"] == "ERROR"
    assert p.result("b") == 1


def test_fail_on_is_evaluated_on_failed_tasks_too_and_can_force_fail_them() -> None:
    p = play("wf: {tasks: {a: {action: std.fail, fail-on: <% task().result.x = 1 %>, on-error: noop}}}")
    assert p.state == "ERROR"
    assert "Can not evaluate YAQL expression" in p.info


def test_retry_count_are_extra_attempts_and_the_last_state_stands() -> None:
    p = play("wf: {tasks: {a: {action: std.noop, retry: {count: 2, delay: 3}}}}", outcomes={"a": Error()}, start=False)
    began = p.world.now
    p.world.run()
    assert len(p.calls) == 3
    assert p.world.now == began + 6
    assert p.states() == {"a": "ERROR"}
    assert p.task("a").policies["retry_task_policy"] == {"retry_no": 2}
    assert [c.accepted for c in p.children("a")] == [False, False, True]


def test_retry_that_succeeds_publishes_the_last_attempt_and_never_repeated_records_nothing() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, publish: {x: <% task().result %>}, retry: count=3 delay=0}}}",
        outcomes={"a": [Error(), "ok"]},
    )
    assert p.output == {"x": "ok"}
    assert p.task("a").policies["retry_task_policy"] == {"retry_no": 1}
    assert play("wf: {tasks: {a: {retry: count=3 delay=1}}}").task("a").policies["retry_task_policy"] == {}


def test_retry_timestamps_are_those_of_one_run() -> None:
    p = play("wf: {tasks: {a: {action: std.noop, retry: count=1 delay=5}}}", outcomes={"a": [Error(), "ok"]})
    a = p.task("a")
    assert (a.finished_at or 0) - (a.started_at or 0) == 5


@pytest.mark.parametrize(
    ("fields", "outcomes", "calls", "state"),
    [
        ("continue-on: <% task().result = busy %>", ["busy", "busy", "done"], 3, "SUCCESS"),
        ("continue-on: <% task().result = busy %>", ["busy"], 4, "SUCCESS"),
        ("continue-on: <% false %>", [Error()], 1, "ERROR"),
        ("break-on: <% true %>", [Error()], 1, "ERROR"),
        ("break-on: <% false %>", [Error(), "ok"], 2, "SUCCESS"),
    ],
)
def test_retry_break_on_and_continue_on(fields: str, outcomes: list, calls: int, state: str) -> None:
    p = play(
        f"wf: {{tasks: {{a: {{action: std.noop, retry: {{count: 3, delay: 1, {fields}}}}}}}}}", outcomes={"a": outcomes}
    )
    assert (len(p.calls), p.states()["a"]) == (calls, state)


def test_a_broken_break_on_kills_the_workflow_even_after_success() -> None:
    assert (
        play("wf: {tasks: {a: {action: std.noop, retry: {count: 1, delay: 1, break-on: <% $.nope %>}}}}").state
        == "ERROR"
    )


def test_retry_with_fail_on_join_sub_workflow_and_items() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, fail-on: <% task().result < 3 %>, retry: count=5 delay=1}}}",
        outcomes={"a": [1, 2, 3]},
    )
    assert (p.state, len(p.calls)) == ("SUCCESS", 3)
    j = play(
        "wf: {tasks: {a: {on-success: j}, j: {join: all, action: std.noop, retry: count=2 delay=1}}}",
        outcomes={"j": [Error(), "ok"]},
    )
    assert j.state == "SUCCESS"
    s = play(
        "wf: {tasks: {a: {workflow: sub, retry: count=2 delay=1}}}\nsub: {tasks: {t: {action: std.noop}}}",
        outcomes={"t": [Error(), "ok"]},
    )
    assert s.state == "SUCCESS"
    assert len(s.children("a")) == 2
    i = play(
        'wf: {tasks: {a: {with-items: "i in <% [1, 2] %>", action: std.noop, retry: count=1 delay=1}}}',
        outcomes={("a", 1): [Error(), "ok"]},
    )
    assert i.result("a") == [None, "ok"]
    assert len(i.calls) == 4  # all items again


def test_a_join_that_is_delayed_by_retry_is_waiting() -> None:
    p = play(
        "wf: {tasks: {a: {on-success: j}, j: {join: all, action: std.noop, retry: count=1 delay=9}}}",
        outcomes={"j": [Error(), "ok"]},
        start=False,
    )
    while p.states().get("j") != "WAITING" or not p.calls[-1:] or p.calls[-1][0] != "j":
        p.world.step()
    assert p.task("j").state_info == "Delayed by 'retry' policy [delay=9]"
    p.world.run()
    assert p.state == "SUCCESS"


def test_a_cancelled_task_is_not_retried_and_triggers_nothing() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, retry: count=3 delay=1, on-complete: b}, b: {action: std.noop}}}",
        outcomes={"a": CANCEL},
    )
    assert p.states() == {"a": "CANCELLED"}


def test_timeout_takes_the_on_error_path_and_leaves_the_action_running() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.async_noop, timeout: 4, publish-on-error: {x: 1}, on-error: b}, b: {action: std.echo output=<% $.x %>}}}"
    )
    assert p.task("a").state_info == "Task timed out [timeout(s)=4]."
    assert p.children("a")[0].state == "RUNNING"
    assert p.result("a") == []
    assert p.result("b") == 1
    p.finish("a", {"late": 1})
    assert p.children("a")[0].state == "SUCCESS"
    assert not p.children("a")[0].accepted


def test_timeout_includes_wait_before() -> None:
    p = play("wf: {tasks: {a: {action: std.noop, wait-before: 10, timeout: 4}}}", start=False)
    began = p.world.now
    p.world.run(until=began + 5)
    assert p.states() == {"a": "ERROR"}
    assert p.calls == []


def test_retry_after_timeout_terminates_with_a_timer_for_each_attempt() -> None:
    p = play("wf: {tasks: {a: {action: std.async_noop, timeout: 4, retry: count=2 delay=1}}}", start=False)
    began = p.world.now
    p.world.run()
    assert p.states() == {"a": "ERROR"}
    assert len(p.calls) == 3
    assert p.world.now == began + 4 + 1 + 4 + 1 + 4


def test_one_timeout_covers_all_attempts_until_it_fires() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, timeout: 10, retry: count=50 delay=3}}}",
        outcomes={"a": [Error(), Error(), NEVER]},
        start=False,
    )
    began = p.world.now
    p.world.run(until=began + 10.5)
    assert len(p.calls) == 3


def test_pause_before_leaves_the_task_idle_and_its_wait_before_is_lost() -> None:
    p = play("wf: {tasks: {a: {pause-before: true, wait-before: 100, action: std.noop}}}", start=False)
    began = p.world.now
    p.world.run()
    assert p.state == "PAUSED"
    assert (p.task("a").state, p.task("a").state_info) == ("IDLE", "Set by 'pause-before' policy")
    p.apply(Resume())
    assert p.state == "SUCCESS"
    assert p.world.now == began


def test_policy_defaults_apply_and_the_task_overrides_per_kind() -> None:
    text = """
        wf:
          task-defaults: {retry: {count: 2, delay: 1}, safe-rerun: true, wait-before: 3}
          tasks:
            a: {action: std.fail, on-error: b}
            b: {action: std.fail, retry: {count: 0, delay: 0}, safe-rerun: false, wait-before: 0, on-error: noop}
    """
    p = play(text)
    assert p.ran() == ["a", "a", "a", "b"]
    assert p.task("b").policies["wait_before_policy"] == {"skip": True}  # zero cannot switch a default off [Q]
    assert p.children("a")[0].safe_rerun
    http = play(
        text.replace("std.fail", "std.ssh cmd='x' host='h' username='u'"), outcomes={"a": Error(), "b": Error()}
    )
    assert [http.children(n)[0].safe_rerun for n in "ab"] == [True, False]


def test_target_sees_the_input_of_the_action_first() -> None:
    p = play("wf: {input: [{output: no}], tasks: {a: {action: std.echo output='host1', target: <% $.output %>}}}")
    assert p.children("a")[0].target == "host1"


def test_the_poll_example_of_the_manual() -> None:
    text = """
        wf:
          tasks:
            poll:
              action: std.http url="https://svc/job"
              wait-before: 2
              timeout: 60
              fail-on: <% isDict(task().result) and task().result.content.state = broken %>
              retry: {count: 5, delay: 3, continue-on: "<% isDict(task().result) and task().result.content.state = busy %>"}
              publish: {job: <% task().result.content %>}
              on-success: use
              on-error: repair
            use: {action: std.noop}
            repair: {action: std.echo output=<% $.get(job) %>}
    """
    busy, done, broken = ({"content": {"state": s}} for s in ("busy", "done", "broken"))
    p = play(text, outcomes={"poll": [busy, done]})
    assert p.states() == {"poll": "SUCCESS", "use": "SUCCESS"}
    p = play(text, outcomes={"poll": broken})
    assert p.result("repair") == {"state": "broken"}
    p = play(text, outcomes={"poll": Error("refused"), "repair": "x"})
    assert p.states() == {"poll": "ERROR", "repair": "SUCCESS"}
