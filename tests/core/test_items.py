"""with-items (language spec 2.2, 4.5, 6.2)."""

from __future__ import annotations

import pytest

from tests.play import CANCEL, Error, play


def test_items_run_in_order_and_results_are_ordered_by_index() -> None:
    p = play(
        "wf: {input: [xs], tasks: {a: {with-items: i in <% $.xs %>, action: std.echo output=<% $.i * 2 %>}}}",
        given={"xs": [1, 2, 3]},
    )
    assert p.result("a") == [2, 4, 6]
    assert [index for _, index, _ in p.calls] == [0, 1, 2]
    assert p.task("a").items.count == 3


@pytest.mark.parametrize("limit", [1, 2])
def test_concurrency_bounds_unfinished_items_and_failures_do_not_stop_the_rest(limit: int) -> None:
    p = play(
        f'wf: {{tasks: {{a: {{with-items: "i in <% range(0, 5) %>", concurrency: {limit}, action: std.async_noop, on-error: noop}}}}}}'
    )
    for n in range(5):
        running = [c for c in p.children("a") if not c.state.completed]
        assert len(running) == min(limit, 5 - n)
        p.finish("a", error="x" if n == 1 else None, position=p.children("a").index(running[0]))
    assert p.states()["a"] == "ERROR"
    assert p.task("a").state_info == "One or more actions had failed."


def test_items_of_sub_workflows() -> None:
    p = play(
        """
        wf: {output: {r: <% task(a).result %>}, tasks: {a: {with-items: "i in <% [1, 2] %>", workflow: sub x=<% $.i %>}}}
        sub: {input: [x], output: {y: <% $.x * 10 %>}, tasks: {t: {action: std.noop}}}
        """
    )
    assert p.output == {"r": [{"y": 10}, {"y": 20}]}
    assert [p.sub("a", i).params["index"] for i in (0, 1)] == [0, 1]


def test_an_empty_list_is_success_with_an_empty_result() -> None:
    p = play(
        "wf: {input: [xs], tasks: {a: {with-items: i in <% $.xs %>, action: std.noop, on-success: b}, b: {action: std.noop}}}",
        given={"xs": []},
    )
    assert p.result("a") == []
    assert p.state == "SUCCESS"
    assert p.states()["b"] == "SUCCESS"


def test_a_failed_item_makes_the_task_fail_after_all_have_run_and_contributes_its_error() -> None:
    p = play(
        'wf: {tasks: {a: {with-items: "i in <% [1, 2, 3] %>", action: std.noop, on-error: noop}}}',
        outcomes={("a", 1): Error("bad")},
    )
    assert p.states()["a"] == "ERROR"
    assert p.result("a") == [None, "bad", None]


def test_one_cancelled_item_cancels_the_task_at_once_even_if_others_failed() -> None:
    p = play('wf: {tasks: {a: {with-items: "i in <% [1, 2, 3] %>", action: std.async_noop}}}')
    p.finish("a", error="x", position=0)
    p.finish("a", cancel=True, position=1)
    assert p.states()["a"] == "CANCELLED"
    assert p.task("a").state_info == "One or more actions was cancelled."
    assert p.state == "CANCELLED"
    p.finish("a", {"late": 1}, position=2)
    assert not p.children("a")[2].accepted


def test_cancel_by_the_action_itself() -> None:
    p = play("wf: {tasks: {a: {action: std.noop}}}", outcomes={"a": CANCEL})
    assert (p.state, p.info) == ("CANCELLED", "Cancelled tasks: a")


def test_sources_may_be_maps_and_strings_and_iterate_in_lock_step() -> None:
    p = play(
        """
        wf:
          input: [m, s]
          tasks:
            a:
              with-items: ["k in <% $.m %>", "c in <% $.s %>"]
              action: std.echo output=<% [$.k, $.c] %>
        """,
        given={"m": {"x": 1, "y": 2}, "s": "ab"},
    )
    assert p.result("a") == [["x", "a"], ["y", "b"]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": 5, "b": [1]}, "Iterable type is"),
        ({"a": [1, 2], "b": [1]}, "All arrays must have the same length"),
        ({"a": None, "b": [1]}, "Wrong input format for"),
    ],
)
def test_sources_that_do_not_fit_kill_the_workflow_despite_on_error(given: dict, message: str) -> None:
    p = play(
        'wf: {input: [a, b], tasks: {t: {with-items: ["i in <% $.a %>", "j in <% $.b %>"], action: std.noop, on-error: n}, n: {action: std.noop}}}',
        given=given,
    )
    assert p.state == "ERROR"
    assert message in p.info
    assert "n" not in p.states()


def test_a_published_variable_hides_the_item_variable_and_input_does_not() -> None:
    text = 'wf: {{input: [{{i: in}}], tasks: {{s: {{{publish}on-success: a}}, a: {{with-items: "i in <% [1, 2] %>", action: std.echo output=<% $.i %>}}}}}}'
    assert play(text.format(publish="publish: {i: shadow}, ")).result("a") == ["shadow", "shadow"]
    assert play(text.format(publish="")).result("a") == [1, 2]


def test_item_variables_are_not_visible_to_publish() -> None:
    assert (
        play('wf: {tasks: {a: {with-items: "i in <% [1] %>", action: std.noop, publish: {x: <% $.i %>}}}}').state
        == "ERROR"
    )


def test_an_unknown_action_is_graceful_for_items() -> None:
    p = play('wf: {tasks: {a: {with-items: "i in <% [1] %>", action: no.such, on-error: b}, b: {action: std.noop}}}')
    assert p.state == "SUCCESS"
    assert p.result("a") == []


def test_dynamic_action_name_per_item() -> None:
    p = play(
        "wf: {tasks: {a: {with-items: \"n in <% ['std.noop', 'std.fail'] %>\", action: <% $.n %>, on-error: noop}}}"
    )
    assert [c.name for c in p.children("a")] == ["std.noop", "std.fail"]


def test_a_source_of_the_library_is_evaluated_once_however_many_items_there_are() -> None:
    p = play(
        'wf: {tasks: {a: {with-items: "i in <% range(0, 400) %>", concurrency: 1, action: std.echo output=<% $.i %>}}}'
    )
    assert p.result("a") == list(range(400))
