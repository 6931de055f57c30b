"""Executions over the API: starts, changes, trees, reports, deletion (API spec 1.5, 2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from gregale.api import ApiSettings
from gregale.service import ServiceSettings
from tests.api.conftest import Api

NESTED = """version: '2.0'
top: {tasks: {a: {workflow: mid}, z: {action: std.noop}}}
mid: {tasks: {b: {workflow: low}, c: {action: std.noop}}}
low: {tasks: {d: {action: std.fail}}}
"""
ASYNC = "version: '2.0'\nask: {tasks: {t: {action: std.async_noop}}}\n"
INPUT = (
    "version: '2.0'\nwf: {input: [a, {b: {x: 1, y: 2}}], output: {r: <% env() %>}, tasks: {t: {action: std.noop}}}\n"
)


async def test_a_start_based_on_another_merges_deeply_and_may_name_nothing_else(api: Api) -> None:
    await api("POST", "/v2/workflows?namespace=n", 201, content=INPUT)
    first = await api.start(
        "wf", workflow_namespace="n", input={"a": 1, "b": {"x": 1, "y": 2}}, params={"env": {"k": {"p": 1}}}
    )
    await api.wait(first["id"])
    again = await api(
        "POST",
        "/v2/executions",
        201,
        json={"source_execution_id": first["id"], "input": {"b": {"y": 3}}, "params": {"env": {"k": {"q": 2}}}},
    )
    assert json.loads(again["input"]) == {"a": 1, "b": {"x": 1, "y": 3}}
    assert json.loads(again["params"]) == {"namespace": "n", "env": {"k": {"p": 1, "q": 2}}}
    assert again["description"] == f"Based on the execution '{first['id']}'"
    assert again["workflow_namespace"] == "n"
    await api("POST", "/v2/executions", 404, json={"source_execution_id": "nope"})
    await api("POST", "/v2/executions", 400, json={"source_execution_id": ""})


async def test_starts_with_odd_parameters(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=INPUT)
    await api("POST", "/v2/environments", 201, json={"name": "prod", "variables": {"k": 1}})
    started = await api.start(
        "wf", input={"a": 1}, params={"env": "prod", "async_": True, "wf_input": 5}, description=None
    )
    assert json.loads(started["params"]) == {"env": {"k": 1}, "async_": True, "wf_input": 5, "namespace": ""}
    done = await api.wait(started["id"])
    assert json.loads(done["output"]) == {"r": {"k": 1}}
    await api("POST", "/v2/executions", 400, json={"workflow_name": "wf", "input": {"a": 1}, "project_id": "x"})
    await api("POST", "/v2/executions", 400, json={"workflow_name": "wf", "input": {"a": 1}, "params": {"env": [1]}})
    big = await api("POST", "/v2/executions", 400, json={"workflow_name": "wf", "input": {"a": "x" * 1_150_000}})
    assert "Field size limit exceeded" in big["faultstring"]
    reverse = "version: '2.0'\nrev: {type: reverse, tasks: {t: {action: std.noop}}}\n"
    await api("POST", "/v2/workflows", 201, content=reverse)
    await api("POST", "/v2/executions", 400, json={"workflow_name": "rev"})
    run = await api.start("rev", params={"task_name": "t"})
    assert (await api.wait(run["id"]))["state"] == "SUCCESS"


@pytest.mark.parametrize(
    ("before", "request_state", "status", "after"),
    [
        ("RUNNING", "PAUSED", 200, "PAUSED"),
        ("PAUSED", "PAUSED", 200, "PAUSED"),
        ("PAUSED", "RUNNING", 200, "RUNNING"),
        ("PAUSED", "SUCCESS", 400, "PAUSED"),
        ("PAUSED", "ERROR", 200, "ERROR"),
        ("PAUSED", "CANCELLED", 200, "CANCELLED"),
        ("RUNNING", "RUNNING", 200, "RUNNING"),
        ("RUNNING", "SUCCESS", 200, "SUCCESS"),
        ("RUNNING", "ERROR", 200, "ERROR"),
        ("RUNNING", "CANCELLED", 200, "CANCELLED"),
        ("SUCCESS", "SUCCESS", 200, "SUCCESS"),
        ("SUCCESS", "PAUSED", 400, "SUCCESS"),
        ("SUCCESS", "RUNNING", 200, "SUCCESS"),
        ("SUCCESS", "ERROR", 200, "SUCCESS"),
        ("SUCCESS", "CANCELLED", 200, "SUCCESS"),
        ("ERROR", "RUNNING", 200, "ERROR"),
        ("ERROR", "SUCCESS", 400, "ERROR"),
        ("ERROR", "PAUSED", 400, "ERROR"),
        ("CANCELLED", "ERROR", 200, "CANCELLED"),
        ("RUNNING", "IDLE", 400, "RUNNING"),
        ("RUNNING", "WAITING", 400, "RUNNING"),
        ("RUNNING", "SKIPPED", 400, "RUNNING"),
        ("RUNNING", "STOPPED", 400, "RUNNING"),
    ],
)
async def test_every_change_of_state(api: Api, before: str, request_state: str, status: int, after: str) -> None:
    await api("POST", "/v2/workflows", 201, content=ASYNC)
    path = f"/v2/executions/{(await api.start('ask'))['id']}"
    await api.action(path.rpartition("/")[2])
    if before != "RUNNING":
        await api("PUT", path, 200, json={"state": before})
    reply = await api("PUT", path, status, json={"state": request_state, "state_info": "why"})
    assert (await api("GET", path, 200))["state"] == after
    if status == 200:
        assert reply["state"] == after
        if request_state in ("ERROR", "CANCELLED") and before not in ("SUCCESS", "ERROR", "CANCELLED"):
            assert (reply["state_info"], json.loads(reply["output"])) == ("why", {"result": "why"})


async def test_existence_goes_before_everything_and_descriptions_go_with_env_alone(api: Api) -> None:
    await api("PUT", "/v2/executions/nope", 404, json={"state": "STOPPED"})
    await api("POST", "/v2/workflows", 201, content=ASYNC)
    path = f"/v2/executions/{(await api.start('ask'))['id']}"
    await api("PUT", path, 400, json={"state": "PAUSED", "params": {"env": {"a": 1}}})
    await api("PUT", path, 403, json={"description": "d", "params": {"env": {"a": 1}}})
    await api("PUT", path, 200, json={"state": "PAUSED"})
    changed = await api("PUT", path, 200, json={"description": "d", "params": '{"env": {"a": {"b": 1}}}'})
    assert (changed["description"], json.loads(changed["params"])["env"]) == ("d", {"a": {"b": 1}})
    changed = await api("PUT", path, 200, json={"params": {"env": {"a": {"c": 2}}}})
    assert json.loads(changed["params"])["env"] == {"a": {"b": 1, "c": 2}}
    await api("PUT", path, 400, json={"tasks": []})


async def test_the_tree_of_an_execution_depth_first(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=NESTED)
    top = (await api.start("top"))["id"]
    await api.wait(top)

    async def names(path: str) -> list[str]:
        return [e["workflow_name"] for e in (await api("GET", path, 200))["executions"]]

    path = f"/v2/executions/{top}/executions"
    assert await names(path) == ["top", "mid", "low"]
    assert await names(f"{path}?max_depth=1") == ["top", "mid"]
    assert await names(f"{path}?max_depth=0") == ["top"]
    assert await names(f"{path}?max_depth=-1&errors_only=") == ["top", "mid", "low"]
    assert await names(f"{path}?errors_only=True") == ["top", "mid", "low"]
    assert "output" not in (await api("GET", path, 200))["executions"][0]
    assert "output" in (await api("GET", f"{path}?include_output=true", 200))["executions"][0]
    await api("GET", f"{path}?max_depth=x", 400)
    await api("GET", "/v2/executions/nope/executions", 404)
    tasks = {t["name"]: t["id"] for t in (await api("GET", f"/v2/executions/{top}/tasks", 200))["tasks"]}
    assert await names(f"/v2/tasks/{tasks['a']}/executions") == ["mid", "low"]
    assert await names(f"/v2/tasks/{tasks['a']}/executions?max_depth=0") == ["mid"]
    assert await names(f"/v2/tasks/{tasks['a']}/workflow_executions") == ["mid"]
    assert await names("/v2/tasks/nope/workflow_executions") == []
    assert (await api("GET", "/v2/tasks/nope/action_executions", 200))["action_executions"] == []
    await api("GET", "/v2/tasks/nope/executions", 404)
    [action] = (await api("GET", f"/v2/tasks/{tasks['z']}/action_executions", 200))["action_executions"]
    assert (await api("GET", f"/v2/tasks/{tasks['z']}/action_executions/{action['id']}", 200))["name"] == "std.noop"
    await api("GET", f"/v2/tasks/{tasks['a']}/action_executions/{action['id']}", 404)
    roots = (await api("GET", "/v2/executions?nulls=root_execution_id", 200))["executions"]
    assert [e["id"] for e in roots] == [top]
    below = (await api("GET", f"/v2/executions?root_execution_id={top}", 200))["executions"]
    assert {e["workflow_name"] for e in below} == {"mid", "low"}  # without the root itself
    assert [
        e["workflow_name"]
        for e in (await api("GET", f"/v2/executions?task_execution_id={tasks['a']}", 200))["executions"]
    ] == ["mid"]
    await api("GET", f"/v2/executions/{'0' * 8}-0000-4000-8000-{'0' * 12}/tasks", 404)
    await api("GET", "/v2/executions/nope/tasks", 400)


async def test_the_report_counts_and_shows_the_tree(api: Api) -> None:
    retried = NESTED.replace("{action: std.fail}", "{action: std.fail, retry: {count: 2, delay: 0}}")
    await api("POST", "/v2/workflows", 201, content=retried)
    top = (await api.start("top"))["id"]
    await api.wait(top)
    path = f"/v2/executions/{top}/report"
    found = await api("GET", path, 200)
    assert found["statistics"] == {
        "total_tasks_count": 5,
        "running_tasks_count": 0,
        "success_tasks_count": 2,
        "error_tasks_count": 3,
        "idle_tasks_count": 0,
        "paused_tasks_count": 0,
        "estimated_time": 0,
    }
    root = found["root_workflow_execution"]
    assert set(root) == {"id", "name", "created_at", "updated_at", "state", "state_info", "task_executions"}
    a, z = root["task_executions"]
    assert (a["name"], a["workflow_executions"][0]["name"], z["action_executions"][0]["name"]) == (
        "a",
        "mid",
        "std.noop",
    )
    low = a["workflow_executions"][0]["task_executions"][0]["workflow_executions"][0]
    [d] = low["task_executions"]
    assert (d["retry_count"], len(d["action_executions"])) == (2, 3)
    assert {"accepted", "last_heartbeat"} <= set(d["action_executions"][0])
    flat = await api("GET", f"{path}?max_depth=0", 200)
    assert flat["statistics"]["total_tasks_count"] == 2
    assert "task_executions" not in flat["root_workflow_execution"]["task_executions"][0]["workflow_executions"][0]
    errors = await api("GET", f"{path}?errors_only=true", 200)
    assert errors["statistics"]["total_tasks_count"] == 3
    assert [t["name"] for t in errors["root_workflow_execution"]["task_executions"]] == ["a"]
    assert list(await api("GET", f"{path}?statistics_only=1", 200)) == ["statistics"]


async def test_the_report_estimates_from_earlier_executions(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=ASYNC)
    first = (await api.start("ask"))["id"]
    action = await api.action(first)
    assert (await api("GET", f"/v2/executions/{first}/report", 200))["statistics"]["estimated_time"] == -1
    await api("PUT", f"/v2/action_executions/{action}", 200, json={"state": "SUCCESS"})
    await api.wait(first)
    second = (await api.start("ask"))["id"]
    assert (await api("GET", f"/v2/executions/{second}/report", 200))["statistics"]["estimated_time"] == 1
    await api("PUT", f"/v2/executions/{second}", 200, json={"state": "CANCELLED"})
    assert (await api("GET", f"/v2/executions/{second}/report", 200))["statistics"]["estimated_time"] == 0


async def test_a_rerun_deep_below_revives_everything_above(api: Api) -> None:
    text = NESTED.replace("std.fail", "std.async_noop")
    await api("POST", "/v2/workflows", 201, content=text)
    top = (await api.start("top"))["id"]

    async def running() -> Any:
        found = (await api("GET", "/v2/action_executions?state=RUNNING&name=std.async_noop", 200))["action_executions"]
        return found[0] if found else None

    action = await api.until(running)
    await api("PUT", f"/v2/action_executions/{action['id']}", 200, json={"state": "ERROR", "output": {"why": 1}})
    assert (await api.wait(top))["state"] == "ERROR"
    await api(
        "PUT",
        f"/v2/tasks/{action['task_execution_id']}",
        200,
        json={"state": "RUNNING", "reset": True, "env": '{"e": 1}'},
    )
    states = {
        e["workflow_name"]: e["state"]
        for e in (await api("GET", f"/v2/executions/{top}/executions", 200))["executions"]
    }
    assert states == {"top": "RUNNING", "mid": "RUNNING", "low": "RUNNING"}
    again = await api.until(running)
    await api("PUT", f"/v2/action_executions/{again['id']}", 200, json={"state": "SUCCESS"})
    assert (await api.wait(top))["state"] == "SUCCESS"
    assert (await api("GET", f"/v2/action_executions/{action['id']}", 200))["accepted"] is False


async def test_deletion_takes_the_whole_tree_and_leaves_nothing(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=NESTED)
    top = (await api.start("top"))["id"]
    await api.wait(top)
    ids = [e["id"] for e in (await api("GET", f"/v2/executions/{top}/executions", 200))["executions"]]
    await api("DELETE", f"/v2/executions/{top}", 204)
    for key in ids:
        await api("GET", f"/v2/executions/{key}", 404)
    for collection in ("executions", "tasks", "action_executions"):  # at once, before anything is collected
        assert (await api("GET", f"/v2/{collection}", 200))[collection] == []
    await api("DELETE", f"/v2/executions/{top}", 404)
    await api("POST", "/v2/workflows", 201, content=ASYNC)
    again = await api.start("ask", id=top)  # its id is free again
    assert again["state"] == "RUNNING"
    await api.action(top)
    await api("DELETE", f"/v2/executions/{top}", 403)
    await api("DELETE", f"/v2/executions/{top}?force=True", 204)


async def test_lists_while_rows_are_deleted_never_fail(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=NESTED)
    ids = [(await api.start("top"))["id"] for _ in range(20)]
    for key in ids:
        await api.wait(key)

    async def look() -> None:
        for _ in range(30):
            for path in (
                "executions?include_output=true",
                "tasks",
                "action_executions",
                f"executions/{ids[-1]}/executions",
            ):
                assert (await api.client.get(f"/v2/{path}")).status_code in (200, 404)

    async def delete() -> None:
        for key in ids:
            await api("DELETE", f"/v2/executions/{key}", 204)

    await asyncio.gather(look(), delete())


async def test_deleting_action_executions_has_three_conditions(serve: Callable[[ServiceSettings], Any]) -> None:
    locked: Api = await serve(ServiceSettings())
    api: Api = await serve(ServiceSettings(api=ApiSettings(allow_action_execution_deletion=True)))
    for one, status in ((locked, 403), (api, 204)):
        made = await one("POST", "/v2/action_executions", 201, json={"name": "std.async_noop"})
        path = f"/v2/action_executions/{made['id']}"
        assert "delet" in (await one("DELETE", path, 403))["faultstring"]  # it has not ended
        await one("PUT", path, 200, json={"state": "SUCCESS"})
        await one("DELETE", path, status)
    await api("POST", "/v2/workflows", 201, content=ASYNC)
    action = await api.action((await api.start("ask"))["id"])
    await api("DELETE", f"/v2/action_executions/{action}", 403)  # it has a task
    await api("DELETE", "/v2/action_executions/nope", 404)


async def test_a_large_output_of_an_action_fails_its_task(api: Api) -> None:
    text = "version: '2.0'\nbig: {tasks: {t: {action: std.echo output=\"<% 'x' * 1200000 %>\"}}}\n"
    await api("POST", "/v2/workflows", 201, content=text)
    done = await api.wait((await api.start("big"))["id"])
    assert (done["state"], "size limit exceeded" in done["state_info"]) == ("ERROR", True)


async def test_secrets_are_shown_to_who_asks_for_one_record_and_in_no_list(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    text = """version: '2.0'
sub: {input: [p], tasks: {x: {action: 'std.echo output=<% $.p %>'}}}
wf:
  input: [user, password, token: 12345]
  tags: ['secret:password']
  tasks:
    t: {action: 'std.echo output="as <% $.password %>"', publish: {told: <% task().result %>}, on-success: s}
    s: {workflow: sub p=<% $.password %>, on-success: f}
    f: {action: 'std.fail error_data=<% $.password %>'}
"""
    await api("POST", "/v2/workflows", 201, content=text)
    run = await api.start("wf", input={"user": "ann", "password": 'hun"ter2'}, params={"secrets": ["token"]})
    assert json.loads(run["input"])["password"] == 'hun"ter2'
    done = await api.wait(run["id"])
    assert json.loads(done["input"]) == {"user": "ann", "password": 'hun"ter2', "token": 12345}
    lists = [
        "executions?include_output=true",
        "tasks?fields=name,published,state_info,result",
        "tasks",
        "action_executions?include_output=true",
        f"executions/{run['id']}/executions?include_output=true",
    ]
    for path in lists:
        found = json.dumps(await api("GET", f"/v2/{path}", 200))
        assert "ter2" not in found, path
        assert "***" in found, path
    [top] = [e for e in (await api("GET", "/v2/executions", 200))["executions"] if e["workflow_name"] == "wf"]
    assert json.loads(top["input"]) == {"user": "ann", "password": "***", "token": "***"}
    assert "ter2" not in caplog.text
