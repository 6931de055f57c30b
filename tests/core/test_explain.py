"""Why things are where they are."""

from __future__ import annotations

from typing import Any

import pytest

from gregale.core import Pause, Stop
from gregale.core.explain import Due, Facts, Holder, Reason, explain
from tests.play import NEVER, Play, play


def why(p: Play, **facts: Any) -> dict[str, Reason]:
    """Reasons by name; the execution's by its workflow."""
    return {r.name: r for r in explain(p.execution, Facts(p.world.now, **facts))}


def held_up(text: str) -> Play:
    """Played until the first timer, which has not fired yet."""
    p = play(text, start=False)
    p.wait(0)
    return p


def action_of(p: Play, name: str) -> str:
    task = next(t for t in p.execution.tasks.values() if t.name == name)
    return task.children[0]


def test_an_action_that_nobody_holds_that_is_held_and_that_waits_for_an_answer() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.echo output=1, target: east}, b: {action: std.async_noop}}}",
        outcomes={"a": NEVER},
    )
    found = why(p)
    assert found["wf"].why == "2 of its 2 tasks have not ended"
    assert "no executor on the executor 'east'" not in found["a"].why
    assert "no executor named 'east' has said yet that it runs" in found["a"].why
    key, waiting = action_of(p, "a"), action_of(p, "b")
    now = p.world.now
    holders = {key: Holder("east-1", "up", now, now - 3), waiting: Holder("x", "up", now, now)}
    found = why(p, holders=holders)
    assert ("'east-1' runs the action std.echo" in found["a"].why, "3 s ago" in found["a"].why) == (True, True)
    assert "waits for its answer" in found["b"].why
    assert f"/v2/action_executions/{waiting}" in found["b"].next
    assert found["a"].waits_for[0]["holder"] == "east-1"
    lost = why(p, holders={key: Holder("east-1", "lost", now, now - 100)})["a"]
    assert ("lost" in lost.why, lost.next) == (True, "The sweep has it run again elsewhere")


def test_a_join_names_whom_it_waits_for() -> None:
    p = play(
        "wf: {tasks: {a: {action: std.noop, on-success: j}, b: {action: std.async_noop, on-success: j}, j: {join: all, action: std.noop}}}"
    )
    found = why(p)["j"]
    assert found.why == "It joins 2 of 2 tasks; 1 have arrived"
    assert found.waits_for == ({"kind": "task", "name": "b", "id": found.waits_for[0]["id"], "state": "RUNNING"},)
    assert "1 more of b" in found.next


def test_delays_name_their_timer_and_paused_executions_what_resumes_them() -> None:
    p = held_up("wf: {tasks: {a: {action: std.noop, wait-before: 30}}}")
    task = next(iter(p.execution.tasks.values()))
    found = why(p, timers={task.id: [Due("wait-before", p.world.now + 30), Due("timeout", p.world.now + 90)]})["a"]
    assert ("wait-before" in found.why, found.due) == (True, p.world.now + 30)
    assert found.next == "It goes on in 30 s. Its timeout fails it in 90 s"
    p.apply(Pause("for lunch"))
    assert ("for lunch" in why(p)["wf"].why, "resume" in why(p)["wf"].next) == (True, True)
    p.apply(Stop("CANCELLED", "enough"))
    assert ("CANCELLED: enough" in why(p)["wf"].why, why(p)["wf"].next) == (True, "Nothing: it is over")


def test_items_sub_workflows_and_failures() -> None:
    p = play(
        'wf: {tasks: {a: {with-items: "i in <% [1, 2, 3] %>", concurrency: 2, action: std.async_noop}, s: {workflow: sub}}}\nsub: {tasks: {t: {action: std.async_noop}}}'
    )
    found = why(p)
    assert "0 of 3 items have ended, 2 are under way" in found["a"].why
    assert found["s"].why == "its sub-workflow sub is gone"
    child = found["s"].waits_for[0]["id"]
    assert "sub-workflow sub is RUNNING" in why(p, below={child: "RUNNING"})["s"].why
    failed = play("wf: {tasks: {t: {action: std.fail}}}")
    assert "reruns or skips a failed task: t" in why(failed)["wf"].next


@pytest.mark.parametrize(
    "text",
    [
        "wf: {tasks: {a: {action: std.async_noop}}}",
        "wf: {tasks: {a: {action: std.noop, pause-before: true}}}",
        "wf: {tasks: {a: {action: std.fail, retry: count=3 delay=10}}}",
        "wf: {tasks: {a: {action: std.noop, wait-after: 5}}}",
    ],
)
def test_nothing_that_is_unfinished_goes_without_a_reason(text: str) -> None:
    p = held_up(text)
    assert not p.execution.state.completed
    found = explain(p.execution, Facts(p.world.now))
    assert {r.id for r in found} == {p.id} | {t.id for t in p.execution.tasks.values() if not t.state.completed}
    assert all(r.why and r.next for r in found)
