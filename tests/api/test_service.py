"""What stands around the resources: versions, information, maintenance, limits, housekeeping, definitions' edges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gregale.api import ApiSettings
from gregale.api.auth import AuthSettings
from gregale.engine import EngineSettings
from gregale.engine.settings import Expiration
from gregale.service import ServiceSettings
from gregale.store.schema import cron_triggers, events, executions, notifications
from tests.api.conftest import ADMIN, HEADERS, Api

Serve = Callable[[ServiceSettings], Any]
WF = "version: '2.0'\nwf: {tasks: {t: {action: std.async_noop, on-success: u}, u: {action: std.noop}}}\nquick: {tasks: {t: {action: std.noop}}}\n"


async def test_links_follow_a_proxy_only_when_it_is_believed(api: Api, serve: Serve) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "cloud.example", "X-Forwarded-Prefix": "/workflowv2"}
    behind: Api = await serve(ServiceSettings(api=ApiSettings(trust_proxy=True)))
    assert (await behind("GET", "/v2/", 200, headers=forwarded))["uri"] == "https://cloud.example/workflowv2/v2"
    assert (await api("GET", "/v2/", 200, headers=forwarded))["uri"] == "http://host/v2"
    versions = (await behind("GET", "/", 200, headers=forwarded))["versions"]
    assert versions[0]["links"][0]["href"] == "https://cloud.example/workflowv2/v2"
    page = await behind("GET", "/v2/workflows?limit=1", 200, headers=forwarded)
    assert page["next"].startswith("https://cloud.example/workflowv2/v2/workflows?")


async def test_the_usual_prefix_and_health_checks(api: Api, serve: Serve) -> None:
    assert (await api("GET", "/workflowv2/v2/", 200))["uri"] == "http://host/workflowv2/v2"
    assert (await api("GET", "/workflowv2/v2/workflows/", 200))["workflows"]
    assert (await api("GET", "/workflowv2/", 200))["versions"][0]["links"][0]["href"] == "http://host/workflowv2/v2"
    assert await api("GET", "/healthz", 200) == {"status": "ok"}
    await api("GET", "/healthcheck", 404)
    told: Api = await serve(ServiceSettings(api=ApiSettings(healthcheck=True, auth=AuthSettings(mode="tokens"))))
    assert await told("GET", "/healthcheck", 200) == {"status": "ok"}


async def test_metrics_count_what_happens(api: Api) -> None:
    def value(text: str, name: str) -> float:
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)

    names = {
        'gregale_transitions_total{kind="task",state="SUCCESS"}': 1,
        'gregale_transitions_total{kind="execution",state="SUCCESS"}': 1,
        'gregale_actions_total{outcome="success"}': 1,
        'gregale_http_request_seconds_count{method="POST",route="/v2/executions",status="201"}': 1,
    }
    before = (await api.client.get("/metrics")).text
    await api("POST", "/v2/workflows", 201, content=WF)
    await api.wait((await api.start("quick"))["id"])
    after = (await api.client.get("/metrics")).text
    for name, expected in names.items():
        assert value(after, name) - value(before, name) == expected, name
    assert value(after, "gregale_commit_seconds_count") > value(before, "gregale_commit_seconds_count")
    assert value(after, "gregale_actions_running") == 0
    assert await api("GET", "/readyz", 200) == {"status": "ready"}


async def test_information_is_what_the_operator_wrote(tmp_path: Path, api: Api, serve: Serve) -> None:
    assert (await api("GET", "/info", 400))["faultstring"] == "Info endpoint disabled."
    file = tmp_path / "info.json"
    file.write_text('{"team": "ops"}')
    settings = ApiSettings(info_file=str(file), auth=AuthSettings(mode="tokens"))
    told: Api = await serve(ServiceSettings(api=settings))
    assert await told("GET", "/info", 200) == {"team": "ops"}  # needs no token
    file.write_text("not json")
    await told("GET", "/info", 400)


async def test_the_document_names_every_endpoint_and_has_a_page(api: Api) -> None:
    found = await api("GET", "/openapi.json", 200)
    assert found["openapi"].startswith("3.1")
    assert {"/v2/executions/{id}/report", "/v2/cron_triggers", "/v2/events", "/maintenance"} <= set(found["paths"])
    for verbs in found["paths"].values():
        assert all(operation["summary"] for operation in verbs.values())
    page = await api.client.get("/docs")
    assert (page.status_code, "openapi.json" in page.text) == (200, True)
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text  # it needs nothing from elsewhere


async def test_error_replies_have_types_that_old_clients_accept(api: Api) -> None:
    for method, path, status, options in (
        ("GET", "/v2/nope", 404, {}),
        ("DELETE", "/v2/executions", 405, {}),
        (
            "POST",
            "/v2/workflows",
            415,
            {"content": "<a/>", "headers": {"Content-Type": "application/soap+xml; charset=x"}},
        ),
        ("POST", "/v2/executions", 415, {"content": "{}", "headers": {"Content-Type": "text/plain"}}),
        (
            "POST",
            "/v2/executions",
            400,
            {"content": "{", "headers": {"Content-Type": "application/json; charset=utf-8"}},
        ),
        ("POST", "/v2/environments", 409, {"json": {"name": "e"}}),
        ("GET", "/v2/services", 404, {}),
    ):
        if status == 409:
            await api(method, path, 201, **options)  # type: ignore[arg-type]
        reply = await api.client.request(method, path, **options)  # type: ignore[arg-type]
        assert reply.status_code == status, path
        assert reply.headers["content-type"] == "application/json"
        assert isinstance(reply.json()["faultstring"], str)
        assert ("server-error-message" in reply.headers) == (status == 415)


async def test_maintenance_stops_everything_and_lets_go_only_what_it_stopped(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    first, second = [(await api.start("wf"))["id"] for _ in range(2)]
    actions = [await api.action(key) for key in (first, second)]
    await api("PUT", f"/v2/executions/{second}", 200, json={"state": "PAUSED"})  # by somebody, before
    assert await api("GET", "/maintenance", 200) == {"status": "RUNNING"}
    for body in ({"status": "PAUSING"}, {"status": "x"}, {}, {"status": "PAUSED", "more": 1}):
        await api("PUT", "/maintenance", 400, json=body)
    assert await api("PUT", "/maintenance", 200, json={"status": "PAUSED"}) == {"status": "PAUSING"}
    assert (await api("GET", f"/v2/executions/{first}", 200))["state"] == "PAUSED"
    assert await api("GET", "/maintenance", 200) == {"status": "PAUSING"}  # tasks still run
    refused = await api.client.post("/v2/executions", json={"workflow_name": "wf"})
    assert (refused.status_code, "PAUSING" in refused.headers["server-error-message"]) == (423, True)
    await api("PUT", f"/v2/executions/{first}", 423, json={"state": "RUNNING"})
    await api("DELETE", f"/v2/executions/{first}?force=true", 423)
    for action in actions:
        await api("PUT", f"/v2/action_executions/{action}", 200, json={"state": "SUCCESS"})
    assert await api("GET", "/maintenance", 200) == {"status": "PAUSED"}
    await api("PUT", f"/v2/action_executions/{actions[0]}", 423, json={"state": "SUCCESS"})
    third = "x"
    assert (await api("PUT", f"/v2/executions/{second}", 200, json={"state": "CANCELLED"}))["state"] == "CANCELLED"
    await api("POST", "/v2/workflows/validate", 200, content=WF)
    assert await api("PUT", "/maintenance", 200, json={"status": "RUNNING"}) == {"status": "RUNNING"}
    assert (await api.wait(first))["state"] == "SUCCESS"
    third = (await api.start("wf"))["id"]
    await api.action(third)
    await api("PUT", f"/v2/executions/{third}", 200, json={"state": "PAUSED"})
    await api("PUT", "/maintenance", 200, json={"status": "PAUSED"})
    await api("PUT", "/maintenance", 200, json={"status": "RUNNING"})
    assert (await api("GET", f"/v2/executions/{third}", 200))["state"] == "PAUSED"  # not paused for maintenance: stays


async def test_nothing_is_fired_during_maintenance(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    given = {"name": "c", "workflow_name": "quick", "pattern": "0 0 1 1 *", "remaining_executions": 1}
    await api("PUT", "/maintenance", 200, json={"status": "PAUSED"})
    await api("POST", "/v2/cron_triggers", 423, json=given)
    await api("PUT", "/maintenance", 200, json={"status": "RUNNING"})
    await api("POST", "/v2/cron_triggers", 201, json=given)
    await api("PUT", "/maintenance", 200, json={"status": "PAUSED"})
    overdue = cron_triggers.update().values(next_execution_time=1.0)
    await api.service.database.writing(lambda connection: connection.execute(overdue))
    await api.service.engine.cron.once()
    assert (await api("GET", "/v2/executions", 200))["executions"] == []
    await api("PUT", "/maintenance", 200, json={"status": "RUNNING"})

    async def one() -> bool:
        return len((await api("GET", "/v2/executions", 200))["executions"]) == 1

    await api.until(one)


async def test_bodies_are_bounded_in_size_and_depth(serve: Serve) -> None:
    api: Api = await serve(ServiceSettings(api=ApiSettings(max_body=10_000, max_depth=20)))
    await api("POST", "/v2/workflows", 201, content=WF)

    async def unknown_length() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    assert "larger" in (await api("POST", "/v2/workflows", 413, content=unknown_length()))["faultstring"]
    assert "at most 10000" in (await api("POST", "/v2/workflows", 413, content=b"x" * 10_001))["faultstring"]
    deep = "[" * 21 + "]" * 21
    for body in (
        f'{{"workflow_name": "wf", "input": {{"a": {deep}}}}}',
        json.dumps({"workflow_name": "wf", "input": f'{{"a": {deep}}}'}),
    ):
        refused = await api("POST", "/v2/executions", 400, content=body, headers={"Content-Type": "application/json"})
        assert "nested more than 20 levels" in refused["faultstring"]
    text = json.dumps({"name": "e", "variables": {"a": "[" * 500}})  # brackets in a text are no nesting
    await api("POST", "/v2/environments", 201, content=text, headers={"Content-Type": "application/json"})


async def test_each_project_has_its_own_rate(serve: Serve) -> None:
    settings = ApiSettings(rate=0.5, burst=3, auth=HEADERS.auth)
    api: Api = await serve(ServiceSettings(api=settings))
    p, q = api.of("p"), api.of("q")
    for _ in range(3):
        await p("GET", "/v2/workflows", 200)
    refused = await p.client.get("/v2/workflows")
    assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (429, True)
    await q("GET", "/v2/workflows", 200)
    await p("GET", "/v2/", 200)  # what needs no identity is not counted


async def finished(api: Api, number: int) -> list[str]:
    keys = [(await api.start("quick"))["id"] for _ in range(number)]
    for key in keys:
        await api.wait(key)
    return keys


async def test_expiration_by_number_keeps_the_newest_and_ignored_states(serve: Serve) -> None:
    policy = Expiration(every=3600, max_finished=3, ignored_states=("CANCELLED",), batch=2)
    api: Api = await serve(ServiceSettings(api=HEADERS, engine=EngineSettings(expiration=policy)))
    api = api.of("a", "admin")
    await api("POST", "/v2/workflows?scope=public", 201, content=WF)
    running, kept = (await api.start("wf"))["id"], (await api.start("wf"))["id"]
    await api("PUT", f"/v2/executions/{kept}", 200, json={"state": "CANCELLED"})
    mine, theirs = await finished(api, 4), await finished(api.of("other"), 3)
    assert await api.service.engine.housekeeper.expire() == 4  # across projects
    left = {e["id"] for e in (await api("GET", "/v2/executions", 200))["executions"]}
    assert left == {running, kept, *theirs}
    assert mine[0] not in left


async def test_expiration_by_age(serve: Serve) -> None:
    policy = Expiration(every=3600, older_than_minutes=10)
    api: Api = await serve(ServiceSettings(engine=EngineSettings(expiration=policy)))
    await api("POST", "/v2/workflows", 201, content=WF)
    old, new = await finished(api, 2)
    await api.service.database.writing(
        lambda c: c.execute(
            executions.update().where(executions.c.id == old).values(updated_at=api.service.engine.clock() - 601)
        )
    )
    assert await api.service.engine.housekeeper.expire() == 1
    assert [e["id"] for e in (await api("GET", "/v2/executions", 200))["executions"]] == [new]


async def test_history_of_events_and_notifications_is_forgotten_in_time(serve: Serve) -> None:
    api: Api = await serve(ServiceSettings(engine=EngineSettings(history=-1.0, notify=({"type": "noop"},))))
    await api("POST", "/v2/workflows", 201, content=WF)
    await finished(api, 2)

    def left(connection: Any) -> int:
        pending = notifications.c.state == "PENDING"
        kept = connection.execute(notifications.select().where(~pending)).all()
        return len(connection.execute(events.select()).all()) + len(kept)

    async def forgotten() -> bool:
        api.service.engine.housekeeper._prune_at = 0.0
        await api.service.engine.housekeeper.once()
        return await api.service.database.reading(left) == 1  # the newest event tells a reader what it has missed

    await api.until(forgotten)
    gone = await api("GET", "/v2/events?last_event_id=1-0", 410)
    assert "not kept any more" in gone["faultstring"]


async def test_two_workflows_of_a_document_are_kept_apart(api: Api) -> None:
    made = (await api("POST", "/v2/workflows", 201, content=WF))["workflows"]
    assert [w["name"] for w in made] == ["wf", "quick"]
    for one in made:
        assert list(yaml.safe_load(one["definition"])) == ["version", one["name"]]
        assert one["checksum"] == hashlib.md5(one["definition"].encode()).hexdigest()
    await api("POST", "/v2/workflows", 409, content=WF)
    many = await api("PUT", f"/v2/workflows/{made[0]['id']}", 400, content=WF)
    assert "More than one" in many["faultstring"]
    await api(
        "PUT", f"/v2/workflows/{made[0]['id']}?bogus=1", 200, content=made[0]["definition"]
    )  # unknown arguments pass here
    await api("POST", "/v2/workflows", 400, content="version: '2.0'\n")


@pytest.mark.parametrize(
    ("mode", "asked", "status"),
    [("enabled", True, 201), ("enabled", False, 400), ("mandatory", True, 400), ("disabled", False, 201)],
)
async def test_validation_is_skipped_only_where_the_operator_lets_it(
    serve: Serve, mode: Any, asked: bool, status: int
) -> None:
    api: Api = await serve(ServiceSettings(api=ApiSettings(validation=mode)))
    text = "version: '2.0'\nwf: {tasks: {t: {action: std.noop, on-success: nowhere, retri: 1}}}\n"
    await api("POST", "/v2/workflows" + ("?skip_validation" if asked else ""), status, content=text)
    await api("POST", "/v2/workflows" + ("?skip_validation" if asked else ""), 400, content="a: [")
    if status == 201:
        done = await api.wait((await api.start("wf"))["id"])
        assert (done["state"], "nowhere" in done["state_info"]) == ("ERROR", True)
    assert (await api("POST", "/v2/workflows/validate", 200, content=text))["valid"] is False


SOURCE = """
class Base:
    def __init__(self, a, b=2):
        self.values = [a, b]

class Sum(Base):
    def run(self, context):
        return {"sum": sum(self.values), "in": context.workflow_name}

class Waits(Base):
    def is_sync(self):
        return False
    def run(self):
        return None
"""


async def test_code_sources_have_versions_and_dynamic_actions_run_the_newest(api: Api) -> None:
    await api("POST", "/v2/code_sources", 400, content="x", headers=ADMIN)
    made = await api("POST", "/v2/code_sources?name=s", 201, content=SOURCE, headers=ADMIN)
    assert (made["version"], made["content"], made["actions"]) == (1, SOURCE, [])
    await api("POST", "/v2/code_sources?name=s", 409, content=SOURCE, headers=ADMIN)
    for wrong, status in (
        ({"name": "d", "class_name": "Sum"}, 400),
        ({"class_name": "Sum", "code_source_name": "s"}, 400),
        ({"name": "d", "class_name": "Sum", "code_source_name": "nope"}, 404),
    ):
        await api("POST", "/v2/dynamic_actions", status, json=wrong, headers=ADMIN)
    given = {"name": "add", "class_name": "Sum", "code_source_id": made["id"]}
    added = await api("POST", "/v2/dynamic_actions", 201, json=given, headers=ADMIN)
    assert added["code_source_name"] == "s"
    await api("POST", "/v2/dynamic_actions", 409, json=given, headers=ADMIN)
    await api("POST", "/v2/dynamic_actions", 201, json={**given, "name": "waits", "class_name": "Waits"}, headers=ADMIN)
    assert {
        a["name"]: a["input"] for a in (await api("GET", "/v2/actions?is_system=false", 200, headers=ADMIN))["actions"]
    } == {"add": "a, b", "waits": "a, b"}
    text = "version: '2.0'\nwf: {output: {r: <% task(t).result %>}, tasks: {t: {action: add a=1, on-success: w}, w: {action: waits a=1}}}\n"
    await api("POST", "/v2/workflows", 201, content=text)
    run = (await api.start("wf"))["id"]
    waiting = None

    async def asynchronous() -> Any:
        found = (await api("GET", "/v2/action_executions?name=waits&state=RUNNING", 200))["action_executions"]
        return found[0]["id"] if found else None

    waiting = await api.until(asynchronous)
    await api("PUT", f"/v2/action_executions/{waiting}", 200, json={"state": "SUCCESS"})
    assert json.loads((await api.wait(run))["output"]) == {"r": {"sum": 3, "in": "wf"}}
    missing = await api("POST", "/v2/action_executions", 400, json={"name": "add"})
    assert "missing=['a']" in missing["faultstring"]
    newer = await api(
        "PUT", "/v2/code_sources?identifier=s", 200, content=SOURCE.replace("sum(self", "10 * sum(self"), headers=ADMIN
    )
    assert newer["version"] == 2
    result = await api("POST", "/v2/action_executions", 201, json={"name": "add", "input": {"a": 1}})
    assert json.loads(result["output"])["result"]["sum"] == 30
    await api("PUT", "/v2/code_sources/s", 200, content="class Sum: broken(", headers=ADMIN)
    broken = await api("POST", "/v2/action_executions", 201, json={"name": "add", "input": {"a": 1}})
    assert (broken["state"], "cannot be loaded" in broken["output"]) == ("ERROR", True)
    renamed = await api("PUT", "/v2/dynamic_actions", 200, json={"id": added["id"], "name": "plus"}, headers=ADMIN)
    assert (renamed["name"], renamed["class_name"]) == ("plus", "Sum")
    await api("PUT", "/v2/dynamic_actions", 400, json={"class_name": "X"}, headers=ADMIN)
    await api("PUT", "/v2/dynamic_actions", 404, json={"name": "nope"}, headers=ADMIN)
    await api("DELETE", "/v2/code_sources/s", 204, headers=ADMIN)
    assert (await api("GET", "/v2/dynamic_actions", 200, headers=ADMIN))["dynamic_actions"] == []


async def test_names_in_namespaces(api: Api) -> None:
    [plain] = (await api("POST", "/v2/workflows", 201, content="version: '2.0'\nw: {tasks: {t: {action: a}}}\n"))[
        "workflows"
    ]
    [there] = (
        await api("POST", "/v2/workflows?namespace=n", 201, content="version: '2.0'\nw: {tasks: {t: {workflow: s}}}\n")
    )["workflows"]
    await api("POST", "/v2/workflows", 201, content="version: '2.0'\ns: {tasks: {t: {action: a}}}\n")
    await api("POST", "/v2/actions", 201, content="{version: '2.0', a: {base: std.noop}}")
    assert (await api("GET", "/v2/workflows/w", 200))["id"] == plain["id"]
    assert (await api("GET", "/v2/workflows/w?namespace=n", 200))["id"] == there["id"]
    assert (await api("GET", f"/v2/workflows/{there['id']}?namespace=other", 200))["namespace"] == "n"
    await api("GET", "/v2/workflows/w?namespace=other", 404)
    assert (await api("GET", "/v2/actions/a/n", 200))["namespace"] == ""  # actions fall back
    run = await api.start("w", workflow_namespace="n")
    assert (await api.wait(run["id"]))["state"] == "SUCCESS"
    [below] = (await api("GET", f"/v2/executions?root_execution_id={run['id']}", 200))["executions"]
    assert (below["workflow_namespace"], json.loads(below["params"])["namespace"]) == ("", "n")
    await api("POST", "/v2/executions", 404, json={"workflow_name": "w", "workflow_namespace": "other"})
    moved = await api(
        "PUT", f"/v2/workflows/{there['id']}?namespace=", 200, content="version: '2.0'\nw: {tasks: {t: {action: a}}}\n"
    )
    assert moved["namespace"] == "n"
    await api("DELETE", "/v2/workflows/w?namespace=n", 204)
    await api("GET", "/v2/workflows/w", 200)
