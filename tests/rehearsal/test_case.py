"""Tests of workflows: mocks, virtual time, what can be expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from gregale.actions import Registry
from gregale.rehearsal.case import InvalidSuite, Outcome, run_suite
from gregale.rehearsal.mocks import InvalidMock, Mocks

FLOW = """version: '2.0'
wf:
  input: [{n: 1}]
  output: {r: <% task(call).result %>}
  tasks:
    call: {action: acme.call id=<% $.n %>, retry: {count: 2, delay: 10}, publish: {x: <% task().result %>}, on-success: wait, on-error: late}
    wait: {action: std.async_noop, timeout: 3600, on-error: late}
    late: {action: std.sleep seconds=30}
"""


def cases(tmp_path: Path, tests: str) -> list[Outcome]:
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "flow_test.yaml").write_text("workflow: flow.yaml\ntests:\n" + tests)
    return run_suite(tmp_path / "flow_test.yaml", Registry())


@pytest.mark.parametrize(
    "test",
    [
        "mocks: {acme.call: {result: 5}, task:wait: {result: ok, after: 100}}, expect: {output: {r: 5}, took: 100, not_ran: [late]}",
        "mocks: {acme.*: [{error: no}, {result: 5}], std.async_noop: 1}, expect: {took: 10, calls: {acme.call: [{id: 1}, {id: 1}]}, tasks: {call: {state: SUCCESS, published: {x: 5}, runs: 1}}}",
        "mocks: {acme.call: 5}, expect: {took: 3630, tasks: {wait: ERROR, late: SUCCESS}}",
        "mocks: {acme.call: {error: no}}, expect: {took: 50, calls: {acme.call: 3}, ran: [late]}",
        "mocks: {acme.call: {cancel: true}}, expect: {state: CANCELLED, state_info: 'Cancelled tasks: call'}",
        "mocks: {acme.call: {never: true}}, expect: {state: RUNNING}",
        "input: {nope: 1}, expect: {rejected: 'unexpected='}",
        "input: {n: 2}, mocks: {acme.call: [{when: {id: 2}, result: two}, {result: other}], std.async_noop: 1}, expect: {output: {r: two}}",
    ],
)
def test_what_can_be_said_and_expected(tmp_path: Path, test: str) -> None:
    [outcome] = cases(tmp_path, f"  - {{name: t, {test}}}\n")
    assert outcome.problems == ()


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ("expect: {}", "no.such"),
        ("mocks: {acme.call: 5, std.async_noop: 1}, expect: {output: {r: 6}}", 'output is {"r":5}, expected {"r":6}'),
        ("mocks: {acme.call: 5, std.async_noop: 1}, expect: {took: 5}", "it took 0 s, expected 5 s"),
        (
            "mocks: {acme.call: 5, std.async_noop: 1}, expect: {calls: {acme.call: 2}}",
            "acme.call was called 1 times, expected 2",
        ),
        (
            "mocks: {acme.call: 5, std.async_noop: 1}, expect: {calls: {acme.call: [{id: 2}]}}",
            "call 1 of acme.call: id is 1, expected 2",
        ),
        ("mocks: {acme.call: 5, std.async_noop: 1}, expect: {not_ran: [wait]}", "task 'wait' ran"),
        ("mocks: {acme.call: 5, std.async_noop: 1}, expect: {tasks: {call: {colour: red}}}", "cannot check 'colour'"),
        ("mocks: {acme.call: 5, std.async_noop: 1}, expect: {tasks: {nope: SUCCESS}}", "task 'nope' did not run"),
        ("mocks: {acme.call: 5, std.async_noop: 1}, expect: {rejected: x}", "was to be refused"),
        ("run: nope", "no workflow 'nope'; there are: wf"),
        ("input: {x: 1}", "the start was refused"),
        ("mocks: {acme.call: {result: 1, after: soon}}", "cannot be read"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, test: str, problem: str) -> None:
    [outcome] = cases(tmp_path, f"  - {{name: t, {test}}}\n")
    wanted = "Failed to find action" if problem == "no.such" else problem
    assert any(wanted in p for p in outcome.problems), outcome.problems


def test_an_action_that_touches_the_world_must_be_mocked(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("version: '2.0'\nwf: {tasks: {t: {action: std.http url='http://x'}}}")
    (tmp_path / "f_test.yaml").write_text("workflow: [f.yaml]\ntests: [{name: t}]")
    [outcome] = run_suite(tmp_path / "f_test.yaml", Registry())
    assert "task 't' called std.http, which is not mocked" in outcome.problems[0]


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="No such file"):
        run_suite(tmp_path / "none.yaml", Registry())
    (tmp_path / "x_test.yaml").write_text("workflow: x.yaml\ntests: [{nme: t}]")
    with pytest.raises(InvalidSuite, match="nme"):
        run_suite(tmp_path / "x_test.yaml", Registry())


def test_mocks_take_turns_and_the_last_one_stays() -> None:
    mocks = Mocks({"a": [1, {"error": "x"}], "task:t": 9})
    found = [mocks.outcome("a", None, {}) for _ in range(3)]
    assert [(o.result, o.error) for o in found if o] == [(1, None), (None, "x"), (None, "x")]
    assert mocks.outcome("a", "t", {}).result == 9  # type: ignore[union-attr]
    assert mocks.outcome("b", None, {}) is None
    with pytest.raises(InvalidMock):
        Mocks({"a": {"after": "soon"}})
