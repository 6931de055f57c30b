"""REST API v2: the wire format of what there is (API spec 1 and 2)."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest

from tests.api.conftest import ADMIN, Api

DATE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")
WF = """version: '2.0'
wf:
  input: [a, {b: 1}]
  tags: [x]
  output: {r: <% task(t).result %>}
  tasks:
    t: {action: std.echo output=<% $.a %>, publish: {p: <% task().result %>}, on-success: {publish: {global: {g: 2}}}}
"""
ASYNC = "version: '2.0'\nask: {tasks: {t: {action: std.async_noop, on-success: u}, u: {action: std.noop}}}\n"
FAILING = "version: '2.0'\nbad: {tasks: {t: {action: std.fail, on-skip: u}, u: {action: std.noop}}}\n"


async def test_roots_and_errors_have_their_exact_bodies(api: Api) -> None:
    assert await api("GET", "/", 200) == {
        "versions": [
            {"id": "v2.0", "status": "CURRENT", "links": [{"href": "http://host/v2", "target": "v2", "rel": "self"}]}
        ]
    }
    assert await api("GET", "/v2/", 200) == {"uri": "http://host/v2"}
    redirect = await api.client.get("/v2")
    assert (redirect.status_code, redirect.headers["location"]) == (302, "http://host/v2/")
    missing = await api("GET", "/v2/nope", 404)
    assert set(missing) == {"faultcode", "faultstring", "debuginfo"}
    assert missing["faultcode"] == "Client"
    await api("DELETE", "/v2/executions", 405)
    xml = await api.client.post("/v2/workflows", content="<x/>", headers={"content-type": "text/xml"})
    assert xml.status_code == 415
    assert "server-error-message" in xml.headers
    await api("POST", "/v2/executions", 400, content=b"not json")
    await api("POST", "/v2/executions", 400, content=b"[1]")
    await api("POST", "/v2/executions", 400, json={"foo": 1})
    await api("POST", "/v2/workflows", 400, content=b"\xff\xfe")
    await api("GET", "/healthz", 200)


async def test_workflows_are_created_read_listed_updated_and_deleted(api: Api) -> None:
    made = (await api("POST", "/v2/workflows", 201, content=WF))["workflows"]
    [wf] = made
    assert set(wf) == {
        "id",
        "name",
        "namespace",
        "input",
        "interface",
        "definition",
        "checksum",
        "tags",
        "scope",
        "project_id",
        "created_at",
        "updated_at",
    }
    assert (wf["input"], wf["interface"]) == ('a, b="1"', {"input": ["a", {"b": 1}], "output": ["r"]})
    assert (wf["definition"], wf["tags"], wf["scope"], wf["updated_at"]) == (WF, ["x"], "private", None)
    assert DATE.match(wf["created_at"])
    for identifier in ("wf", wf["id"], "wf/"):
        found = await api("GET", f"/v2/workflows/{identifier}", 200)
        assert json.loads(found["interface"]) == wf["interface"]  # text on GET, an object on POST
    assert "wf" in (await api("POST", "/v2/workflows", 409, content=WF))["faultstring"]
    bare = await api("PUT", f"/v2/workflows/{wf['id']}?scope=public", 200, content=WF, headers=ADMIN)
    assert (bare["id"], bare["scope"]) == (wf["id"], "public")
    assert (await api("PUT", "/v2/workflows", 200, content=WF))["workflows"][0]["scope"] == "private"
    await api("PUT", "/v2/workflows/wf", 400, content=WF + "other: {tasks: {t: {action: std.noop}}}\n")
    await api("PUT", "/v2/workflows", 404, content=WF.replace("wf:", "other:"))
    assert [w["name"] for w in (await api("GET", "/v2/workflows?name=eq:wf", 200))["workflows"]] == ["wf"]
    assert (await api("GET", "/v2/workflows?fields=name&scope=private", 200))["workflows"] == [
        {"id": wf["id"], "name": "wf"}
    ]
    await api("DELETE", "/v2/workflows/wf", 204)
    assert "wf" in (await api("GET", "/v2/workflows/wf", 404))["faultstring"]


async def test_validation_always_answers_200(api: Api) -> None:
    assert await api("POST", "/v2/workflows/validate", 200, content=WF) == {"valid": True}
    found = await api("POST", "/v2/workflows/validate", 200, content="version: '2.0'\nwf: {tasks: {t: {acton: x}}}")
    assert found["valid"] is False
    assert "Invalid DSL: Additional properties are not allowed" in found["error"]
    assert (await api("POST", "/v2/workbooks/validate", 200, content="a: ["))["valid"] is False
    assert (await api("POST", "/v2/actions/validate", 200, content="{version: '2.0', a: {base: std.noop}}"))[
        "valid"
    ] is True
    assert "Definition could not be parsed" in (await api("POST", "/v2/workflows", 400, content="a: ["))["faultstring"]


async def test_workbooks_make_their_members(api: Api) -> None:
    text = (
        "{name: wb, version: '2.0', actions: {a: {base: std.echo output=1}}, workflows: {w: {tasks: {t: {action: a}}}}}"
    )
    made = await api("POST", "/v2/workbooks", 201, content=text)
    assert set(made) == {
        "id",
        "name",
        "namespace",
        "definition",
        "tags",
        "scope",
        "project_id",
        "created_at",
        "updated_at",
    }
    assert (await api("GET", "/v2/workflows/wb.w", 200))["checksum"] is None
    found = await api.start("wb.w")
    assert (await api.wait(found["id"]))["state"] == "SUCCESS"
    await api("PUT", "/v2/workbooks", 200, content=text)
    await api("DELETE", "/v2/workbooks/wb", 204)
    await api("GET", "/v2/workflows/wb.w", 200)


async def test_an_execution_from_start_to_end_in_the_exact_wire_format(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    started = await api.start("wf", input='{"a": 5}', params=None, description="mine")
    assert set(started) == {
        "id",
        "workflow_id",
        "workflow_name",
        "workflow_namespace",
        "description",
        "tags",
        "params",
        "task_execution_id",
        "root_execution_id",
        "state",
        "state_info",
        "input",
        "output",
        "created_at",
        "updated_at",
        "project_id",
        "published_global",
    }
    assert (started["state"], started["output"], started["description"], started["tags"]) == (
        "RUNNING",
        "{}",
        "mine",
        ["x"],
    )
    assert json.loads(started["input"]) == {"a": 5, "b": 1}
    assert json.loads(started["params"]) == {"namespace": "", "env": {}}
    assert (started["root_execution_id"], started["task_execution_id"]) == (None, None)
    done = await api.wait(started["id"])
    assert (done["state"], json.loads(done["output"]), json.loads(done["published_global"])) == (
        "SUCCESS",
        {"r": 5},
        {"g": 2},
    )
    [listed] = (await api("GET", "/v2/executions", 200))["executions"]
    assert "output" not in listed
    assert "next" not in await api("GET", "/v2/executions", 200)
    [full] = (await api("GET", "/v2/executions?include_output=true", 200))["executions"]
    assert full["output"] == done["output"]
    [task] = (await api("GET", f"/v2/executions/{started['id']}/tasks", 200))["tasks"]
    assert "result" not in task
    one = await api("GET", f"/v2/tasks/{task['id']}", 200)
    assert (one["result"], json.loads(one["published"]), json.loads(one["published_global"])) == (
        "5",
        {"p": 5},
        {"g": 2},
    )
    assert (one["type"], one["state"], one["processed"], one["runtime_context"]) == ("ACTION", "SUCCESS", True, "{}")
    assert DATE.match(one["started_at"])
    assert DATE.match(one["finished_at"])
    [action] = (await api("GET", f"/v2/tasks/{task['id']}/action_executions", 200))["action_executions"]
    assert "output" not in action
    found = await api("GET", f"/v2/action_executions/{action['id']}", 200)
    assert (found["name"], found["accepted"], found["task_name"], found["tags"]) == ("std.echo", True, "t", None)
    assert (json.loads(found["input"]), json.loads(found["output"])) == ({"output": 5}, {"result": 5})


async def test_starts_that_cannot_be(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    assert "missing=['a']" in (await api("POST", "/v2/executions", 400, json={"workflow_name": "wf"}))["faultstring"]
    await api("POST", "/v2/executions", 404, json={"workflow_name": "nope"})
    await api("POST", "/v2/executions", 400, json={})
    await api("POST", "/v2/executions", 400, json={"workflow_name": "wf", "input": "{"})
    await api("POST", "/v2/executions", 400, json={"workflow_name": "wf", "input": [1]})
    await api("POST", "/v2/executions", 400, json={"workflow_name": "wf", "input": {"a": 1}, "params": {"env": "nope"}})
    await api(
        "POST",
        "/v2/executions",
        400,
        json={"workflow_name": "wf", "input": {"a": 1}, "params": {"root_execution_id": "x"}},
    )
    assert (await api("GET", "/v2/executions", 200))["executions"] == []


async def test_idempotent_start_and_a_start_based_on_another(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    first, second = await asyncio.gather(*(api.start("wf", id="fixed", input={"a": 1}) for _ in range(2)))
    assert first["id"] == second["id"] == "fixed"
    await api.wait("fixed")
    again = await api(
        "POST", "/v2/executions", 201, json={"source_execution_id": "fixed", "input": {"b": 9}, "description": "d"}
    )
    assert json.loads(again["input"]) == {"a": 1, "b": 9}
    assert again["description"] == "d Based on the execution 'fixed'"


async def test_an_execution_is_paused_resumed_described_stopped_and_deleted(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=ASYNC)
    execution_id = (await api.start("ask"))["id"]
    path = f"/v2/executions/{execution_id}"
    await api.action(execution_id)
    assert (await api("PUT", path, 200, json={"state": "PAUSED"}))["state"] == "PAUSED"
    await api("PUT", path, 200, json={"params": {"env": {"k": 1}}})
    assert json.loads((await api("PUT", path, 200, json={"description": "new"}))["params"])["env"] == {"k": 1}
    assert (await api("PUT", path, 200, json={"state": "RUNNING"}))["state"] == "RUNNING"
    await api("PUT", path, 403, json={"params": {"env": {"k": 1}}})
    await api("PUT", path, 400, json={"state": "IDLE"})
    await api("PUT", path, 400, json={"state": "RUNNING", "description": "x"})
    await api("PUT", path, 400, json={})
    await api("PUT", "/v2/executions/unknown", 404, json={"state": "STOPPED"})
    assert "Only completed executions can be deleted" in (await api("DELETE", path, 403))["faultstring"]
    stopped = await api("PUT", path, 200, json={"state": "ERROR", "state_info": "enough"})
    assert (stopped["state"], stopped["state_info"], json.loads(stopped["output"])) == (
        "ERROR",
        "enough",
        {"result": "enough"},
    )
    await api("DELETE", path, 204)
    await api("GET", path, 404)


async def test_an_asynchronous_action_is_answered_once(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=ASYNC)
    execution_id = (await api.start("ask"))["id"]
    path = f"/v2/action_executions/{await api.action(execution_id)}"
    await api("PUT", path, 400, json={"state": "DONE"})
    await api("PUT", path, 400, json={"state": "SUCCESS", "output": "text"})
    assert (await api("PUT", path, 200, json={"state": "PAUSED"}))["state"] == "PAUSED"
    assert (await api("GET", f"/v2/executions/{execution_id}", 200))["state"] == "PAUSED"
    assert (await api("PUT", path, 200, json={"state": "RUNNING"}))["state"] == "RUNNING"
    assert json.loads((await api("PUT", path, 200, json={"state": "SUCCESS", "output": '{"yes": 1}'}))["output"]) == {
        "result": {"yes": 1}
    }
    assert "has ended already" in (await api("PUT", path, 400, json={"state": "SUCCESS"}))["faultstring"]
    assert (await api.wait(execution_id))["state"] == "SUCCESS"


@pytest.mark.parametrize(
    ("body", "state"), [({"state": "RUNNING", "reset": True}, "ERROR"), ({"state": "SKIPPED"}, "SUCCESS")]
)
async def test_tasks_are_rerun_and_skipped(api: Api, body: dict[str, Any], state: str) -> None:
    await api("POST", "/v2/workflows", 201, content=FAILING)
    execution_id = (await api.start("bad"))["id"]
    await api.wait(execution_id)
    [task] = (await api("GET", f"/v2/executions/{execution_id}/tasks", 200))["tasks"]
    path = f"/v2/tasks/{task['id']}"
    await api("PUT", path, 400, json={"state": "RUNNING"})
    await api("PUT", path, 400, json={"state": "RUNNING", "reset": False})
    await api("PUT", path, 400, json={"state": "SUCCESS"})
    await api("PUT", path, 400, json={"state": "SKIPPED", "name": "other"})
    await api("PUT", "/v2/tasks/nope", 404, json={"state": "SKIPPED"})
    await api("PUT", path, 200, json=body)
    assert (await api.wait(execution_id))["state"] == state
    if state == "SUCCESS":
        await api("PUT", path, 400, json=body)


async def test_lists_page_by_marker_and_follow_next(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    ids = [(await api.start("wf", input={"a": n}))["id"] for n in range(7)]
    seen: list[str] = []
    url: str | None = "/v2/executions?limit=3&sort_keys=created_at&sort_dirs=asc&workflow_name=wf"
    while url:
        page = await api("GET", url, 200)
        seen += [e["id"] for e in page["executions"]]
        url = page.get("next")
        if url:
            assert "sort_keys=created_at,id" in url
    assert seen == ids
    assert "Limit must be positive" in (await api("GET", "/v2/executions?limit=0", 400))["faultstring"]
    assert "unable to convert to int" in (await api("GET", "/v2/executions?limit=x", 400))["faultstring"]
    assert (
        "Unknown sort direction" in (await api("GET", "/v2/executions?sort_keys=id&sort_dirs=up", 400))["faultstring"]
    )
    assert (
        "Length of sort_keys"
        in (await api("GET", "/v2/executions?sort_keys=id&sort_dirs=asc,desc", 400))["faultstring"]
    )
    assert 'Unknown argument: "foo"' in (await api("GET", "/v2/executions?foo=1", 400))["faultstring"]
    await api("GET", "/v2/executions?sort_keys=nope", 400)
    assert "Some fields do not exist" in (await api("GET", "/v2/executions?fields=nope", 400))["faultstring"]
    assert (await api("GET", "/v2/executions?state=eq:NOPE&", 200))["executions"] == []


async def test_actions_are_listed_shown_made_and_run(api: Api) -> None:
    found = await api("GET", "/v2/actions/std.echo/", 200)
    assert (found["is_system"], found["input"], found["scope"]) == (True, "output, delay=0", "public")
    await api(
        "POST",
        "/v2/actions",
        201,
        content="{version: '2.0', twice: {base: 'std.echo output=<% [$.x, $.x] %>', input: [x], output: {got: <% $ %>}}}",
    )
    names = [a["name"] for a in (await api("GET", "/v2/actions", 200))["actions"]]
    assert names == sorted(names)
    assert {"twice", "std.http"} <= set(names)
    by_date = (await api("GET", "/v2/actions?sort_keys=created_at&sort_dirs=asc&fields=id,name", 200))["actions"]
    assert {a["name"] for a in by_date} == set(names)
    assert [a["name"] for a in (await api("GET", "/v2/actions?name=has:http", 200))["actions"]] == [
        "std.http",
        "std.mistral_http",
    ]
    paged: list[str] = []
    url: str | None = "/v2/actions?limit=4"
    while url:
        page = await api("GET", url, 200)
        paged += [a["name"] for a in page["actions"]]
        url = page.get("next")
    assert paged == names
    await api("GET", "/v2/actions?sort_keys=nope", 400)
    await api("GET", "/v2/actions?marker=nope", 404)
    run = await api("POST", "/v2/action_executions", 201, json={"name": "twice", "input": {"x": 1}})
    assert (run["id"], run["state"], json.loads(run["output"])) == (None, "SUCCESS", {"result": {"got": [1, 1]}})
    failed = await api("POST", "/v2/action_executions", 201, json={"name": "std.fail", "input": "{}"})
    assert failed["state"] == "ERROR"
    saved = await api(
        "POST", "/v2/action_executions", 201, json={"name": "twice", "input": {"x": 2}, "params": {"save_result": True}}
    )
    assert saved["state"] == "RUNNING"
    deadline = time.monotonic() + 20
    while (row := await api("GET", f"/v2/action_executions/{saved['id']}", 200))["state"] == "RUNNING":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    assert json.loads(row["output"]) == {"result": {"got": [2, 2]}}
    both = await api(
        "POST",
        "/v2/action_executions",
        201,
        json={"name": "twice", "input": {"x": 3}, "params": {"save_result": True, "run_sync": True}},
    )
    assert (both["state"], json.loads(both["output"])) == ("SUCCESS", {"result": {"got": [3, 3]}})
    later = await api("POST", "/v2/action_executions", 201, json={"name": "std.async_noop"})
    assert later["state"] == "RUNNING"
    await api("POST", "/v2/action_executions", 400, json={"name": "std.async_noop", "params": {"run_sync": True}})
    assert (
        await api("PUT", f"/v2/action_executions/{later['id']}", 200, json={"state": "SUCCESS", "output": {"a": 1}})
    )["state"] == "SUCCESS"
    await api("PUT", f"/v2/action_executions/{later['id']}", 400, json={"state": "SUCCESS"})
    assert (
        "Failed to find action"
        in (await api("POST", "/v2/action_executions", 400, json={"name": "no.such"}))["faultstring"]
    )
    assert (
        "missing=['output']"
        in (await api("POST", "/v2/action_executions", 400, json={"name": "std.echo"}))["faultstring"]
    )
    await api("POST", "/v2/action_executions", 400, json={})
    await api("DELETE", "/v2/actions/std.echo", 400)
    await api("DELETE", "/v2/actions/twice", 204)


async def test_environments_are_kept_and_used(api: Api) -> None:
    made = await api("POST", "/v2/environments", 201, json={"name": "e", "variables": '{"k": 1}', "description": None})
    assert (json.loads(made["variables"]), made["scope"]) == ({"k": 1}, "private")
    await api("POST", "/v2/environments", 409, json={"name": "e"})
    await api("POST", "/v2/environments", 400, json={"id": "x", "name": "f"})
    await api("POST", "/v2/environments", 400, json={"variables": {}})
    assert json.loads(
        (await api("PUT", "/v2/environments", 200, json={"name": "e", "variables": {"n": 2}}))["variables"]
    ) == {"n": 2}
    await api(
        "POST",
        "/v2/workflows",
        201,
        content="version: '2.0'\nwf: {output: {n: <% env().n %>}, tasks: {t: {action: std.noop}}}",
    )
    started = await api.start("wf", params={"env": "e"})
    assert json.loads((await api.wait(started["id"]))["output"]) == {"n": 2}
    assert len((await api("GET", "/v2/environments", 200))["environments"]) == 1
    await api("DELETE", "/v2/environments/e", 204)
    await api("GET", "/v2/environments/e", 404)


async def test_sub_executions_are_listed_with_the_execution_itself_first(api: Api) -> None:
    await api(
        "POST",
        "/v2/workflows",
        201,
        content="version: '2.0'\nwf: {tasks: {s: {workflow: sub}}}\nsub: {tasks: {t: {action: std.noop}}}",
    )
    execution_id = (await api.start("wf"))["id"]
    await api.wait(execution_id)
    found = (await api("GET", f"/v2/executions/{execution_id}/executions", 200))["executions"]
    assert [e["workflow_name"] for e in found] == ["wf", "sub"]
    assert found[1]["root_execution_id"] == execution_id
    [below] = (await api("GET", f"/v2/tasks/{found[1]['task_execution_id']}/workflow_executions", 200))["executions"]
    assert below["id"] == found[1]["id"]
    roots = (await api("GET", "/v2/executions?nulls=root_execution_id", 200))["executions"]
    assert [e["id"] for e in roots] == [execution_id]
    assert [
        e["id"] for e in (await api("GET", f"/v2/executions?root_execution_id={execution_id}", 200))["executions"]
    ] == [found[1]["id"]]


async def test_a_fault_of_ours_is_a_500_that_tells_no_secrets(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from gregale.store import search

    def broken(*_: Any) -> Any:
        raise RuntimeError("SELECT secret FROM tables")

    monkeypatch.setattr(search, "one", broken)
    found = await api("GET", "/v2/executions/x", 500)
    assert found["faultcode"] == "Server"
    assert "secret" not in found["faultstring"]
