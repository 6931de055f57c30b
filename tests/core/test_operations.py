"""Pause, resume, stop, cancel, rerun, skip, asynchronous actions (language spec 5.9 and 5.10)."""

from __future__ import annotations

import pytest

from gregale.core import (
    ActionDone,
    ActionUpdate,
    NotAllowed,
    Pause,
    Rerun,
    Resume,
    Skip,
    Stop,
    Sweep,
    UpdateEnv,
    WorkflowError,
)
from tests.play import Error, play

ONE = "wf: {output: {x: <% $.get(x) %>}, tasks: {a: {action: std.async_noop, publish: {x: 1}, on-success: b}, b: {action: std.noop}}}"


def test_pause_stores_a_completion_unprocessed_and_resume_continues_it() -> None:
    p = play(ONE)
    p.apply(Pause("why"))
    assert (p.state, p.info) == ("PAUSED", "why")
    p.finish("a")
    assert p.states() == {"a": "SUCCESS"}
    assert not p.task("a").processed
    p.apply(Resume())
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS"}
    assert p.state == "SUCCESS"


def test_pause_before_the_start_and_resume_starts_it() -> None:
    p = play("wf: {tasks: {a: {action: std.noop}}}", start=False)
    p.apply(Pause())
    assert (p.state, p.states()) == ("PAUSED", {})
    p.apply(Resume())
    assert (p.state, p.states()) == ("SUCCESS", {"a": "SUCCESS"})


@pytest.mark.parametrize(
    ("event", "from_state", "expected"),
    [
        (Pause(), "PAUSED", "PAUSED"),
        (Pause(), "SUCCESS", WorkflowError),
        (Pause(), "ERROR", WorkflowError),
        (Resume(), "RUNNING", "RUNNING"),
        (Resume(), "SUCCESS", "SUCCESS"),
        (Resume(), "ERROR", "ERROR"),
        (Stop("SUCCESS"), "RUNNING", "SUCCESS"),
        (Stop("SUCCESS"), "PAUSED", WorkflowError),
        (Stop("SUCCESS", "again"), "SUCCESS", "SUCCESS"),
        (Stop("SUCCESS"), "ERROR", WorkflowError),
        (Stop("ERROR", "m"), "RUNNING", "ERROR"),
        (Stop("ERROR", "m"), "PAUSED", "PAUSED"),
        (Stop("ERROR", "m", True), "PAUSED", "ERROR"),
        (Stop("ERROR", "m"), "SUCCESS", "SUCCESS"),
        (Stop("CANCELLED", "m"), "RUNNING", "CANCELLED"),
        (Stop("CANCELLED", "m"), "PAUSED", "CANCELLED"),
        (Stop("CANCELLED", "m"), "SUCCESS", "SUCCESS"),
    ],
)
def test_operations_table(event: object, from_state: str, expected: object) -> None:
    p = play(ONE)
    if from_state == "PAUSED":
        p.apply(Pause())
    elif from_state == "SUCCESS":
        p.finish("a")
    elif from_state == "ERROR":
        p.apply(Stop("ERROR", "before"))
    assert p.state == from_state
    if isinstance(expected, type):
        before = p.execution
        with pytest.raises(expected, match="Can't change workflow execution state"):
            p.apply(event)  # type: ignore[arg-type]
        assert p.execution is before
    else:
        p.apply(event)  # type: ignore[arg-type]
        assert p.state == expected


def test_stop_success_evaluates_output_now_and_stop_error_keeps_the_message() -> None:
    p = play(ONE)
    p.apply(Stop("SUCCESS", "enough"))
    assert (p.state, p.output, p.info) == ("SUCCESS", {"x": None}, "enough")
    q = play(ONE)
    q.apply(Stop("ERROR", "by hand"))
    assert q.output == {"result": "by hand"}


def test_cancel_leaves_running_actions_alone_and_stores_late_results_on_action_and_task_only() -> None:
    p = play(ONE)
    p.apply(Stop("CANCELLED", "no more"))
    assert (p.state, p.output) == ("CANCELLED", {"result": "no more"})
    assert p.children("a")[0].state == "RUNNING"
    p.finish("a", {"r": 1})
    assert p.states() == {"a": "SUCCESS"}
    assert p.result("a") == {"r": 1}


NESTED = """
    wf: {tasks: {s1: {workflow: sub, on-success: end}, s2: {workflow: sub}, end: {action: std.noop}}}
    sub: {tasks: {t: {action: std.async_noop, on-success: u}, u: {action: std.noop}}}
"""


def test_cancel_cascades_to_sub_workflows_and_a_cancelled_one_cancels_its_parent() -> None:
    p = play(NESTED)
    p.apply(Stop("CANCELLED", "all"))
    assert [p.sub(n).state for n in ("s1", "s2")] == ["CANCELLED", "CANCELLED"]
    q = play(NESTED)
    q.apply(Stop("CANCELLED", "one"), q.sub("s1").id)
    assert q.states()["s1"] == "CANCELLED"
    assert q.state == "RUNNING"
    other = q.sub("s2")
    q.apply(ActionDone(next(iter(other.children))), other.id)
    assert (q.state, q.info) == ("CANCELLED", "Cancelled tasks: s1")


def test_cancelling_a_completed_workflow_still_cancels_unfinished_sub_workflows() -> None:
    p = play(NESTED)
    p.apply(Stop("ERROR", "x"))
    assert p.sub("s1").state == "RUNNING"
    p.apply(Stop("CANCELLED", "y"))
    assert (p.state, p.sub("s1").state) == ("ERROR", "CANCELLED")


def test_nested_pause_cascades_down_and_resume_too() -> None:
    p = play(NESTED)
    p.apply(Pause())
    assert (p.state, p.sub("s1").state, p.sub("s2").state) == ("PAUSED", "PAUSED", "PAUSED")
    assert p.states() == {"s1": "PAUSED", "s2": "PAUSED"}
    p.apply(Resume())
    assert (p.state, p.sub("s1").state, p.sub("s2").state) == ("RUNNING", "RUNNING", "RUNNING")
    assert p.states() == {"s1": "RUNNING", "s2": "RUNNING"}


def test_nested_pause_cascades_up_and_a_partial_resume_is_not_enough_for_the_parent() -> None:
    p = play(NESTED)
    p.apply(Pause(), p.sub("s1").id)
    assert (p.state, p.sub("s2").state) == ("PAUSED", "PAUSED")
    p.apply(Resume(), p.sub("s1").id)
    assert (p.state, p.sub("s1").state, p.sub("s2").state) == ("PAUSED", "RUNNING", "PAUSED")
    assert p.states() == {"s1": "RUNNING", "s2": "PAUSED"}
    p.apply(Resume(), p.sub("s2").id)
    assert p.state == "RUNNING"


def test_async_action_is_completed_from_outside_once() -> None:
    p = play(ONE)
    p.finish("a", {"ok": 1})
    assert p.result("a") == {"ok": 1}
    with pytest.raises(WorkflowError, match="has ended already"):
        p.finish("a", {"again": 1})
    assert p.result("a") == {"ok": 1}


@pytest.mark.parametrize(("how", "state"), [({"error": "no"}, "ERROR"), ({"cancel": True}, "CANCELLED")])
def test_async_action_error_and_cancel_from_outside(how: dict, state: str) -> None:
    p = play("wf: {tasks: {a: {action: std.async_noop}}}")
    p.finish("a", **how)
    assert (p.states()["a"], p.state) == (state, state)


def test_async_action_pause_and_resume_propagate_and_a_sync_one_refuses() -> None:
    p = play(ONE)
    action = p.children("a")[0].id
    p.apply(ActionUpdate(action, "PAUSED"))
    assert (p.state, p.states()["a"]) == ("PAUSED", "PAUSED")
    p.apply(ActionUpdate(action, "RUNNING"))
    assert (p.state, p.states()["a"]) == ("RUNNING", "RUNNING")
    from tests.play import NEVER

    q = play("wf: {tasks: {a: {action: std.noop}}}", outcomes={"a": NEVER})
    with pytest.raises(WorkflowError, match="Transition to the PAUSED state is only supported"):
        q.apply(ActionUpdate(q.children("a")[0].id, "PAUSED"))


def test_a_second_delivery_of_a_result_changes_nothing() -> None:
    p = play(ONE)
    child = p.children("a")[0]
    done = ActionDone(child.id, 1, attempt=child.attempt)
    p.apply(done)
    before = p.execution
    p.apply(done)
    assert p.execution is before


def test_rerun_a_plain_task_changes_both_timestamps_and_keeps_old_children_unaccepted() -> None:
    p = play(
        "wf: {tasks: {s: {publish: {v: 5}, on-success: a}, a: {action: std.echo output=<% $.v %>, on-success: b}, b: {action: std.noop}}}",
        outcomes={"a": [Error(), "ok"]},
    )
    assert p.state == "ERROR"
    failed = p.task("a")
    p.world.now += 10
    p.apply(Rerun(failed.id))
    a = p.task("a")
    assert p.state == "SUCCESS"
    assert a.started_at == (failed.started_at or 0) + 10
    assert a.finished_at == (failed.finished_at or 0) + 10
    assert [c.accepted for c in p.children("a")] == [False, True]
    assert p.calls[-2][2] == {"output": 5}
    assert p.states()["b"] == "SUCCESS"
    assert p.info == ""


def test_rerun_with_env_merges_it() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.echo output=<% env().x %>}}}",
        params={"env": {"x": 1, "y": 2}},
        outcomes={"a": [Error(), "ok"]},
    )
    p.apply(Rerun(p.task("a").id, env={"x": 9}))
    assert p.calls[-1][2] == {"output": 9}
    assert p.execution.params["env"] == {"x": 9, "y": 2}


def test_rerun_rearms_a_join_that_failed_for_want_of_the_task() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, on-success: j}, b: {on-success: j}, j: {join: all}}}",
        outcomes={"a": [Error(), "ok"]},
    )
    assert p.states() == {"a": "ERROR", "b": "SUCCESS", "j": "ERROR"}
    p.apply(Rerun(p.task("a").id))
    assert p.states() == {"a": "SUCCESS", "b": "SUCCESS", "j": "SUCCESS"}
    assert p.state == "SUCCESS"


def test_rerun_a_join_itself() -> None:
    p = play(
        "wf: {tasks: {a: {publish: {x: 1}, on-success: j}, j: {join: all, action: std.echo output=<% $.x %>}}}",
        outcomes={"j": [Error(), "ok"]},
    )
    p.apply(Rerun(p.task("j").id))
    assert p.state == "SUCCESS"
    assert p.calls[-1][2] == {"output": 1}


def test_rerun_a_nested_task_revives_all_ancestors() -> None:
    p = play(
        """
        wf: {output: {o: <% task(s).result.v %>}, tasks: {s: {workflow: mid, on-success: after}, after: {action: std.noop}}}
        mid: {output: {v: <% task(m).result.v %>}, tasks: {m: {workflow: leaf}}}
        leaf: {output: {v: <% task(t).result %>}, tasks: {t: {action: std.noop}}}
        """,
        outcomes={"t": [Error(), 7]},
    )
    assert p.state == "ERROR"
    mid = p.sub("s")
    leaf = p.world.executions_by_id[next(iter(mid.children))]
    p.apply(Rerun(next(iter(leaf.tasks))), leaf.id)
    assert (p.state, p.output) == ("SUCCESS", {"o": 7})
    assert p.states() == {"s": "SUCCESS", "after": "SUCCESS"}


def test_rerun_a_workflow_task_gets_a_new_sub_workflow() -> None:
    p = play(
        "wf: {tasks: {s: {workflow: sub}}}\nsub: {tasks: {t: {action: std.noop}}}", outcomes={"t": [Error(), "ok"]}
    )
    p.apply(Rerun(p.task("s").id))
    assert p.state == "SUCCESS"
    assert len(p.children("s")) == 2


def test_rerun_applies_the_retry_policy_again() -> None:
    p = play("wf: {tasks: {a: {action: std.noop, retry: count=1 delay=1}}}", outcomes={"a": Error()})
    p.apply(Rerun(p.task("a").id))
    assert len(p.calls) == 4


def test_a_success_task_cannot_be_rerun_and_nothing_is_touched() -> None:
    p = play("wf: {tasks: {a: {action: std.noop, on-success: b}, b: {action: std.fail}}}")
    before = p.execution
    with pytest.raises(WorkflowError, match="The current task execution must be in ERROR for rerun"):
        p.apply(Rerun(p.task("a").id))
    assert p.execution is before
    done = play("wf: {tasks: {a: {action: std.fail, on-error: noop}}}")
    with pytest.raises(WorkflowError, match="Can't change workflow execution state"):
        done.apply(Rerun(done.task("a").id))


ITEMS = 'wf: {tasks: {a: {with-items: "i in <% [1, 2, 3] %>", action: std.echo output=<% $.i %>, on-success: b}, b: {action: std.noop}}}'


@pytest.mark.parametrize("failing", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("concurrency", ["", "concurrency: 1, "])
def test_rerun_items_without_reset_runs_exactly_the_failed_indexes_and_finishes(
    failing: tuple[int, ...], concurrency: str
) -> None:
    p = play(
        ITEMS.replace("with-items", concurrency + "with-items"),
        outcomes={("a", i): [Error(), f"again {i}"] for i in failing},
    )
    first = len(p.calls)
    p.apply(Rerun(p.task("a").id, reset=False))
    assert [i for n, i, _ in p.calls[first:] if n == "a"] == list(failing)
    assert p.result("a") == [f"again {i}" if i in failing else i + 1 for i in range(3)]
    assert p.state == "SUCCESS"


def test_rerun_items_with_reset_runs_all() -> None:
    p = play(ITEMS, outcomes={("a", 1): [Error(), "ok"]})
    first = len(p.calls)
    p.apply(Rerun(p.task("a").id, reset=True))
    assert [i for n, i, _ in p.calls[first:] if n == "a"] == [0, 1, 2]
    assert p.state == "SUCCESS"


def test_rerun_cancelled_items_without_reset() -> None:
    p = play('wf: {tasks: {a: {with-items: "i in <% [1, 2] %>", action: std.async_noop}}}')
    p.finish("a", {"r": 1}, position=0)
    p.finish("a", cancel=True, position=1)
    assert p.state == "CANCELLED"
    p.apply(Rerun(p.task("a").id, reset=False))
    p.finish("a", {"r": 2}, position=2)
    assert p.result("a") == [{"r": 1}, {"r": 2}]
    assert p.state == "SUCCESS"


def test_rerun_without_reset_is_for_items_only() -> None:
    p = play("wf: {tasks: {a: {action: std.fail}}}")
    with pytest.raises(WorkflowError, match="Only with-items task has the option to not reset"):
        p.apply(Rerun(p.task("a").id, reset=False))


def test_rerun_uses_the_context_of_the_branch_that_triggered_the_task() -> None:
    p = play(
        "wf: {tasks: {l: {publish: {x: left}, on-success: t}, r: {action: std.async_noop, publish: {x: right}, on-success: t}, t: {action: std.echo output=<% $.x %>}}}",
        outcomes={"t": [Error(), "ok", "ok"]},
    )
    p.finish("r")
    failed = next(t for t in p.tasks("t") if t.state == "ERROR")
    p.apply(Rerun(failed.id))
    assert p.calls[-1][2] == {"output": "left"}


def test_delayed_siblings_go_on_after_a_rerun_of_a_cancelled_workflow() -> None:
    p = play("wf: {tasks: {a: {action: std.fail}, w: {wait-before: 100, action: std.noop}}}", start=False)
    p.world.run(until=p.world.now + 1)
    p.apply(Stop("ERROR", "x"), run=False)
    p.world.run()
    assert p.states() == {"a": "ERROR", "w": "DELAYED"}
    p.outcomes["a"] = "ok"
    p.apply(Rerun(p.task("a").id))
    assert p.states() == {"a": "SUCCESS", "w": "SUCCESS"}


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ("on-skip: s, on-success: n", {"a": "SKIPPED", "s": "SUCCESS"}),
        ("on-success: n", {"a": "SKIPPED", "n": "SUCCESS"}),
        ("on-complete: [{n: <% task().state = SKIPPED %>}]", {"a": "SKIPPED"}),
        ("on-skip: [{s: <% false %>}], on-success: n", {"a": "SKIPPED", "n": "SUCCESS"}),
    ],
)
def test_skip_takes_on_skip_falls_back_to_on_success_and_never_on_complete(clauses: str, expected: dict) -> None:
    p = play(
        f"wf: {{tasks: {{a: {{action: std.fail, {clauses}}}, s: {{action: std.noop, on-success: [{{s: <% false %>}}]}}, n: {{action: std.noop, on-success: [{{n: <% false %>}}]}}}}}}"
    )
    p.apply(Skip(p.task("a").id))
    assert p.states() == expected
    assert p.state == "SUCCESS"
    assert p.task("a").state_info == "Task was skipped."


def test_skip_publishes_reach_a_downstream_join() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.fail, publish-on-skip: {x: skipped}, on-success: j}, b: {on-success: j}, j: {join: all, action: std.echo output=<% $.x %>}}}"
    )
    p.apply(Skip(p.task("a").id))
    assert p.result("j") == "skipped"
    assert p.state == "SUCCESS"


def test_skip_without_skip_publishes_keeps_publish_on_error() -> None:
    p = play("wf: {tasks: {a: {action: std.fail, publish-on-error: {x: 1}}}}")
    p.apply(Skip(p.task("a").id))
    assert (p.task("a").published, p.output) == ({"x": 1}, {"x": 1})


def test_skip_in_a_sub_workflow_and_of_a_sub_workflow() -> None:
    text = (
        "wf: {tasks: {s: {workflow: sub, on-success: e}, e: {action: std.noop}}}\nsub: {tasks: {t: {action: std.fail}}}"
    )
    p = play(text)
    sub = p.sub("s")
    p.apply(Skip(next(iter(sub.tasks))), sub.id)
    assert p.states() == {"s": "SUCCESS", "e": "SUCCESS"}
    q = play(text)
    q.apply(Skip(q.task("s").id))
    assert q.states() == {"s": "SKIPPED", "e": "SUCCESS"}


def test_env_updates_are_for_idle_paused_and_error_only() -> None:
    p = play(ONE)
    with pytest.raises(NotAllowed):
        p.apply(UpdateEnv({"x": 1}))
    p.apply(Pause())
    p.apply(UpdateEnv({"x": {"a": 1}}))
    p.apply(UpdateEnv({"x": {"b": 2}}))
    assert p.execution.params["env"] == {"x": {"a": 1, "b": 2}}


def test_integrity_a_lost_completion_is_recovered_by_the_sweep() -> None:
    p = play("wf: {tasks: {a: {action: std.noop}}}", start=False)
    p.world.queue.clear()  # the start message is lost
    p.apply(Sweep())
    assert p.state == "SUCCESS"
    before = p.execution
    p.apply(Sweep())
    assert p.execution is before  # a sweep of something in order changes nothing


def test_a_task_that_failed_the_workflow_by_itself_keeps_no_join_waiting_after_a_rerun_of_another() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, on-success: j}, b: {action: std.async_noop, publish: {x: <% $.nope %>}, on-success: j}, j: {join: all}}}",
        outcomes={"a": [Error(), "ok"]},
    )
    p.finish("b")
    assert p.states() == {"a": "ERROR", "b": "ERROR"}
    p.apply(Rerun(p.task("a").id))
    assert p.states() == {"a": "SUCCESS", "b": "ERROR", "j": "ERROR"}
    assert p.state == "ERROR"
