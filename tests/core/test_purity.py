"""The core runs with no clock, no chance and no I/O at hand; state and rows say the same."""

from __future__ import annotations

import asyncio
import random
import socket
import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gregale.core import Execution
from gregale.store import Database, commit, load, upgrade
from tests.play import CANCEL, Error, Play, play

WORKFLOW = """
    wf:
      vars: {n: 0}
      tasks:
        a: {publish: {n: 1}, on-success: [b, c]}
        b: {with-items: "i in <% [1, 2] %>", action: std.noop, concurrency: 1, on-success: j}
        c: {action: std.noop, retry: count=1 delay=2, on-complete: j}
        j: {join: all, wait-before: 3, on-success: s}
        s: {workflow: sub}
    sub: {tasks: {t: {action: std.noop}}}
"""


def test_the_core_needs_no_clock_no_randomness_and_no_io(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("the core must not call this")

    for module, name in (
        (time, "time"),
        (random, "random"),
        (uuid, "uuid4"),
        (socket, "socket"),
        (asyncio, "get_event_loop"),
    ):
        monkeypatch.setattr(module, name, forbidden)
    assert play(WORKFLOW).state == "SUCCESS"


def test_a_decision_that_fails_leaves_the_state_it_started_from_untouched() -> None:
    p = play("wf: {tasks: {a: {action: std.async_noop}}}")
    before = p.execution
    tasks = before.tasks
    decision = p.world.decision()
    from gregale.core import ActionDone, decide

    decide(decision, p.id, ActionDone(p.children("a")[0].id, 1))
    assert before.tasks is tasks
    assert before.state == "RUNNING"
    assert decision.works[p.id].execution.state == "SUCCESS"


class _Stored(Play):
    """Commits every decision to a database, and compares what it loads with what is in memory."""

    def __init__(self, text: str, **options: Any):
        self.database = Database()
        upgrade(self.database)
        super().__init__(text, start=False, **options)

    def follow(self) -> None:
        original = self.world._commit

        def both(decision: Any) -> None:
            works = [w for w in decision.works.values() if w.changed()]
            self.database.write(commit, works)
            original(decision)
            for loaded in self.database.read(load, [w.execution.id for w in works]):
                assert_same(loaded, self.world.executions_by_id[loaded.id])

        self.world._commit = both  # type: ignore[method-assign]


def assert_same(loaded: Execution, held: Execution) -> None:
    for field in Execution.__struct_fields__:
        if field in ("item_values", "spec", "contexts"):
            continue
        assert getattr(loaded, field) == getattr(held, field), field
    assert {s: (c.variables, c.versions) for s, c in loaded.contexts.items()} == {
        s: (c.variables, c.versions) for s, c in held.contexts.items()
    }


OUTCOMES = st.sampled_from(["ok", "ok", {"x": 1}, "error", "cancel"])


@given(
    st.fixed_dictionaries({n: st.lists(OUTCOMES, min_size=1, max_size=3) for n in ("a", "b", "c", "j", "t")}),
    st.lists(st.sampled_from(["step", "pause", "resume", "rerun", "skip"]), max_size=30),
)
def test_replay_state_rebuilt_from_rows_equals_the_state_in_memory_after_every_step(
    outcomes: dict, actions: list[str]
) -> None:
    from gregale.core import Pause, Rejected, Rerun, Resume, Skip

    made = {"error": Error(), "cancel": CANCEL}
    p = _Stored(
        WORKFLOW,
        outcomes={n: [o if isinstance(o, dict) else made.get(o, o) for o in found] for n, found in outcomes.items()},
    )
    p.database.write(commit, [_created(p)])
    p.follow()
    for action in actions:
        failed = [t for t in p.tasks() if t.state == "ERROR"]
        try:
            if action == "step":
                if not p.world.step() and p.world.timers:
                    p.world.fire()
            elif action == "pause":
                p.apply(Pause(), run=False)
            elif action == "resume":
                p.apply(Resume(), run=False)
            elif failed:
                p.apply(Rerun(failed[0].id) if action == "rerun" else Skip(failed[0].id), run=False)
        except Rejected:
            continue
    if p.state == "PAUSED":
        p.apply(Resume(), run=False)
    p.world.run()
    assert p.state in ("SUCCESS", "ERROR", "CANCELLED")  # nothing rests in RUNNING
    p.database.close()


def _created(p: Play) -> Any:
    from gregale.core import Work

    work = Work(p.execution, p.world.decision(), created=True)
    p.execution.revision = 1
    return work
