"""Notifications: which, in which order, to whom, and what happens when nobody takes them (API spec 4.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gregale.actions import HttpSettings
from gregale.bus.messages import notification_queue
from gregale.engine import EngineSettings
from gregale.engine.settings import Sending
from gregale.service import ServiceSettings
from tests.api.conftest import Api, serving
from tests.api.test_authentication import Website

WF = """version: '2.0'
wf: {tasks: {a: {action: std.noop, on-success: b}, b: {workflow: sub}}}
sub: {tasks: {c: {action: std.noop}}}
bad: {tasks: {t: {action: std.fail, on-skip: u}, u: {action: std.noop}}}
ask: {tasks: {t: {action: std.async_noop}}}
"""


class Hook:
    """A webhook that refuses as long as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.refused = 0
        self.refuse = 0
        self.site = Website(
            [Route("/hook", self._hook, methods=["POST"]), Route("/away", self._away, methods=["POST"])]
        )

    async def _hook(self, request: Request) -> Response:
        if self.refuse:
            self.refuse -= 1
            self.refused += 1
            return Response(status_code=500)
        self.got.append((await request.json(), dict(request.headers)))
        return Response(status_code=201)

    async def _away(self, request: Request) -> Response:
        return Response(status_code=302, headers={"location": "/hook"})

    def events(self, name: str | None = None) -> list[str]:
        return [body["event"] for body, _ in self.got if name is None or body["name"] == name]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.site.stop()


def settings(**more: Any) -> ServiceSettings:
    sending = Sending(attempts=4, first_retry=0.02, longest_retry=0.05, http=HttpSettings(denied_cidrs=()))
    return ServiceSettings(engine=EngineSettings(sending=sending, **more))


async def settled(api: Api) -> list[dict[str, Any]]:
    async def look() -> Any:
        found = (await api("GET", "/v2/notifications?limit=1000", 200))["notifications"]
        return found if found and all(n["state"] != "PENDING" for n in found) else None

    return list(await api.until(look))


async def test_every_event_of_a_tree_arrives_once_and_in_order(hook: Hook) -> None:
    async with serving(settings()) as api:
        await api("POST", "/v2/workflows", 201, content=WF)
        hook.refuse = 2  # the order holds also when sending has to be tried again
        publisher = {"type": "webhook", "url": f"{hook.site.url}/hook", "headers": {"X-Mine": "1"}}
        run = await api.start("wf", params={"notify": [publisher, "junk", {"type": "noop"}]})
        await api.wait(run["id"])
        found = await settled(api)
        assert hook.refused == 2
        assert [(b["event"], b["name"]) for b, _ in hook.got] == [
            ("WORKFLOW_LAUNCHED", "wf"),
            ("TASK_LAUNCHED", "a"),
            ("TASK_SUCCEEDED", "a"),
            ("TASK_LAUNCHED", "b"),
            ("WORKFLOW_LAUNCHED", "sub"),
            ("TASK_LAUNCHED", "c"),
            ("TASK_SUCCEEDED", "c"),
            ("WORKFLOW_SUCCEEDED", "sub"),
            ("TASK_SUCCEEDED", "b"),
            ("WORKFLOW_SUCCEEDED", "wf"),
        ]
        assert hook.events("wf") == ["WORKFLOW_LAUNCHED", "WORKFLOW_SUCCEEDED"]
        assert hook.events("c") == ["TASK_LAUNCHED", "TASK_SUCCEEDED"]
        assert len(hook.got) == 10
        keys = [headers["idempotency-key"] for _, headers in hook.got]
        assert len(set(keys)) == 10
        assert {n["id"] for n in found} >= set(keys)
        assert hook.got[0][1]["x-mine"] == "1"
        workflow, task = hook.got[0][0], next(b for b, _ in hook.got if b["name"] == "a")
        assert set(workflow) == {
            "id", "name", "workflow_name", "workflow_namespace", "workflow_id", "state", "state_info", "project_id",
            "task_execution_id", "root_execution_id", "created_at", "updated_at", "event",
        }  # fmt: skip
        assert set(task) == {
            "id", "name", "workflow_execution_id", "workflow_name", "workflow_namespace", "workflow_id", "state", "state_info",
            "type", "project_id", "created_at", "updated_at", "started_at", "finished_at", "event",
        }  # fmt: skip
        assert len([n for n in found if json.loads(n["publisher"])["type"] == "noop"]) == 10
        assert "X-Mine" not in json.dumps(found)


async def test_names_of_all_events(hook: Hook) -> None:
    async with serving(settings(notify=({"type": "webhook", "url": f"{hook.site.url}/hook"},))) as api:
        await api("POST", "/v2/workflows", 201, content=WF)
        ask = (await api.start("ask"))["id"]
        action = await api.action(ask)
        for state in ("PAUSED", "RUNNING", "CANCELLED"):
            await api("PUT", f"/v2/executions/{ask}", 200, json={"state": state})
        await api("PUT", f"/v2/action_executions/{action}", 200, json={"state": "CANCELLED"})
        bad = (await api.start("bad"))["id"]
        await api.wait(bad)
        [task] = (await api("GET", f"/v2/executions/{bad}/tasks", 200))["tasks"]
        await api("PUT", f"/v2/tasks/{task['id']}", 200, json={"state": "RUNNING", "reset": True})

        async def failed_again() -> bool:
            await settled(api)
            return hook.events("t").count("TASK_FAILED") == 2

        await api.until(failed_again)
        await api("PUT", f"/v2/tasks/{task['id']}", 200, json={"state": "SKIPPED"})
        await api.wait(bad)

        async def all_in() -> bool:
            await settled(api)
            return hook.events("bad")[-1] == "WORKFLOW_SUCCEEDED"

        await api.until(all_in)
        assert hook.events("ask") == ["WORKFLOW_LAUNCHED", "WORKFLOW_PAUSED", "WORKFLOW_RESUMED", "WORKFLOW_CANCELLED"]
        assert hook.events("bad") == [
            "WORKFLOW_LAUNCHED", "WORKFLOW_FAILED", "WORKFLOW_RERUN", "WORKFLOW_FAILED", "WORKFLOW_RERUN", "WORKFLOW_SUCCEEDED",
        ]  # fmt: skip
        names = [b["event"] for b, _ in hook.got if b.get("id") == task["id"]]
        assert names == ["TASK_LAUNCHED", "TASK_FAILED", "TASK_RERUN", "TASK_FAILED", "TASK_SKIPPED"]


async def test_event_types_choose_and_the_bus_is_a_publisher_too(hook: Hook) -> None:
    async with serving(settings()) as api:
        await api("POST", "/v2/workflows", 201, content=WF)
        notify = [
            {"type": "webhook", "url": f"{hook.site.url}/hook", "event_types": ["WORKFLOW_SUCCEEDED"]},
            {"type": "bus", "exchange": "x", "topic": "t", "event_types": ["TASK_SUCCEEDED"]},
        ]
        [sub] = list((await api("GET", "/v2/workflows?name=sub", 200))["workflows"])
        given = {"name": "e", "workflow_id": sub["id"], "exchange": "x", "topic": "t", "event": "TASK_SUCCEEDED"}
        await api("POST", "/v2/event_triggers", 201, json=given)
        run = await api.start("wf", params={"notify": notify})
        await api.wait(run["id"])
        await settled(api)
        assert hook.events() == [
            "WORKFLOW_SUCCEEDED",
            "WORKFLOW_SUCCEEDED",
        ]  # of the sub-workflow, which inherits, and its own

        async def started() -> bool:
            found = (await api("GET", "/v2/executions", 200))["executions"]
            return sum("triggered_by" in e["description"] for e in found) == 3

        await api.until(started)
        assert notification_queue("x", "t") == "events.x.t"


async def test_a_webhook_that_is_down_fails_no_workflow_and_is_shown(hook: Hook) -> None:
    async with serving(settings()) as api:
        await api("POST", "/v2/workflows", 201, content=WF)
        nowhere = {"type": "webhook", "url": "http://127.0.0.1:1/", "event_types": ["WORKFLOW_SUCCEEDED"]}
        odd = [
            {"type": "pigeon", "event_types": ["WORKFLOW_SUCCEEDED"]},
            {"type": "webhook", "event_types": ["WORKFLOW_SUCCEEDED"]},
        ]
        moved = {"type": "webhook", "url": f"{hook.site.url}/away", "event_types": ["WORKFLOW_SUCCEEDED"]}
        run = await api.start("sub", params={"notify": [nowhere, moved, *odd]})
        assert (await api.wait(run["id"]))["state"] == "SUCCESS"
        found = {
            json.loads(n["publisher"]).get("url", json.loads(n["publisher"])["type"]): n for n in await settled(api)
        }
        assert {n["state"] for n in found.values()} == {"FAILED"}
        down = found["http://127.0.0.1:1/"]
        assert (down["attempts"], "ConnectError" in down["last_error"]) == (4, True)
        assert (found["pigeon"]["attempts"], "no publisher" in found["pigeon"]["last_error"]) == (1, True)
        assert "302" in found[moved["url"]]["last_error"]  # redirects are not followed
        again = await api("PUT", f"/v2/notifications/{found['pigeon']['id']}", 200)
        assert again["id"] == found["pigeon"]["id"]
        await settled(api)
        shown = await api("GET", f"/v2/notifications/{down['id']}", 200)
        assert json.loads(shown["payload"])["event"] == "WORKFLOW_SUCCEEDED"


async def test_webhooks_go_only_where_the_operator_allows(hook: Hook) -> None:
    async with serving(ServiceSettings()) as api:  # by default not to this machine itself
        await api("POST", "/v2/workflows", 201, content=WF)
        run = await api.start("sub", params={"notify": [{"type": "webhook", "url": f"{hook.site.url}/hook"}]})
        await api.wait(run["id"])
        assert all("not allowed" in n["last_error"] for n in await settled(api))
        assert hook.got == []
