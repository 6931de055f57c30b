"""Cron and event triggers (API spec 4.1, 4.2)."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gregale.bus.messages import notification_queue
from gregale.engine import Engine, EngineSettings
from gregale.engine import cron as cron_module
from gregale.engine.cron import next_time
from gregale.service import ServiceSettings, new_id
from gregale.store import dead_letters, triggers
from gregale.store.schema import cron_triggers
from tests.api.conftest import Api, serving
from tests.served import Served

WF = "version: '2.0'\nwf: {input: [a: 1], tasks: {t: {action: std.noop}}}\n"


def minute(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("given", "status", "reason"),
    [
        ({}, 400, "Pattern or first_execution_time"),
        ({"pattern": "5 *"}, 400, "not valid"),
        ({"pattern": "88 * * * *"}, 400, "not valid"),
        ({"pattern": "* " * 60}, 400, "longer than 100"),
        ({"pattern": "* * * * *", "remaining_executions": 0}, 400, "positive integer"),
        ({"pattern": "* * * * *", "remaining_executions": "x", "workflow_name": "unknown"}, 400, "positive integer"),
        ({"pattern": "* * * * *", "remaining_executions": "42"}, 201, ""),
        ({"first_execution_time": "tomorrow"}, 400, "YYYY-MM-DD HH:MM"),
        ({"first_execution_time": minute(20)}, 400, "in the future"),
        ({"first_execution_time": minute(7200), "remaining_executions": 2}, 400, "Pattern must be provided"),
        ({"pattern": "* * * * *", "workflow_name": "unknown"}, 404, "Workflow not found"),
        ({"pattern": "* * * * *", "workflow_input": {"zzz": 1}}, 400, "unexpected=['zzz']"),
        ({"pattern": "* * * * *", "name": None}, 400, "'name'"),
        ({"pattern": "* * * * *", "scope": "public"}, 403, "publicize"),
        ({"pattern": "* * * * *", "project_id": "x"}, 400, "project_id"),
        ({"pattern": "@hourly"}, 201, ""),
        ({"pattern": "0 0 1 1 * 30"}, 201, ""),
    ],
)
async def test_every_rule_of_making_a_cron_trigger(api: Api, given: dict[str, Any], status: int, reason: str) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    body = {"name": "c", "workflow_name": "wf", "workflow_input": None, "workflow_params": None, **given}
    found = await api("POST", "/v2/cron_triggers", status, json=body)
    assert reason in found.get("faultstring", "")


async def test_a_trigger_that_fires_once_shows_a_pattern_that_is_never_used(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    at = minute(7200)
    made = await api(
        "POST", "/v2/cron_triggers", 201, json={"name": "c", "workflow_name": "wf", "first_execution_time": at}
    )
    assert (made["pattern"], made["remaining_executions"]) == ("0 0 30 2 0", 1)
    assert (made["first_execution_time"], made["next_execution_time"]) == (f"{at}:00", f"{at}:00")
    assert (await api("GET", f"/v2/cron_triggers/{made['id']}", 200))["name"] == "c"
    await api("PUT", "/v2/cron_triggers/c", 405, json={})
    same = {"workflow_name": "wf", "pattern": "0 0 1 1 *", "first_execution_time": at, "remaining_executions": 3}
    await api("POST", "/v2/cron_triggers", 201, json={**same, "name": "d"})
    await api("POST", "/v2/cron_triggers", 409, json={**same, "name": "e"})  # it would do the same
    await api(
        "POST", "/v2/cron_triggers", 409, json={**same, "name": "d", "pattern": "1 0 1 1 *"}
    )  # that name is taken
    del same["remaining_executions"]
    for name in ("f", "g"):  # without a count, two that do the same may be there
        await api("POST", "/v2/cron_triggers", 201, json={**same, "name": name})


def test_times_follow_patterns_in_utc() -> None:
    start = datetime(2026, 1, 31, 23, 59, 30, tzinfo=UTC).timestamp()
    for pattern, expected in {
        "* * * * *": (2026, 2, 1, 0, 0, 0),
        "*/15 3 * * *": (2026, 2, 1, 3, 0, 0),
        "0 12 * * 1": (2026, 2, 2, 12, 0, 0),
        "* * * * * */20": (2026, 1, 31, 23, 59, 40),
        "@monthly": (2026, 2, 1, 0, 0, 0),
    }.items():
        assert next_time(pattern, start) == datetime(*expected, tzinfo=UTC).timestamp(), pattern


async def fired(api: Api) -> list[Any]:
    found = (await api("GET", "/v2/executions?limit=1000", 200))["executions"]
    return [e for e in found if "triggered_by" in e["description"]]


async def test_missed_times_collapse_into_one_and_the_last_run_ends_the_trigger(api: Api) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    made = await api(
        "POST",
        "/v2/cron_triggers",
        201,
        json={
            "name": "c",
            "workflow_name": "wf",
            "pattern": "0 0 1 1 *",
            "remaining_executions": 2,
            "workflow_input": {"a": 7},
        },
    )
    past = time.time() - 10 * 365 * 86_400  # ten times were missed

    def overdue(connection: Any, at: float) -> None:
        connection.execute(cron_triggers.update().values(next_execution_time=at))

    await api.service.database.writing(overdue, past)

    async def one() -> Any:
        return await fired(api)

    [execution] = await api.until(one)
    assert json.loads(execution["input"]) == {"a": 7}
    assert json.loads(execution["description"])["triggered_by"] == {"type": "cron_trigger", "id": made["id"]}

    async def advanced() -> bool:
        found = await api("GET", "/v2/cron_triggers/c", 200)
        return bool(found["remaining_executions"] == 1 and found["next_execution_time"] > execution["created_at"])

    await api.until(advanced)
    await api.service.database.writing(overdue, past + 1)

    async def gone() -> bool:
        return (await api.client.get("/v2/cron_triggers/c")).status_code == 404

    await api.until(gone)
    assert len(await fired(api)) == 2


async def test_a_crash_between_firing_and_advancing_starts_nothing_twice(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    given = {"name": "c", "workflow_name": "wf", "pattern": "0 0 1 1 *"}
    await api("POST", "/v2/cron_triggers", 201, json=given)
    real, crashes = triggers.advance, [0]

    def crash(*arguments: Any) -> bool:
        crashes[0] += 1
        if crashes[0] <= 3:
            raise RuntimeError("the power went")
        return real(*arguments)

    monkeypatch.setattr(triggers, "advance", crash)

    def overdue(connection: Any) -> None:
        connection.execute(cron_triggers.update().values(next_execution_time=time.time() - 5))

    await api.service.database.writing(overdue)
    for _ in range(4):
        with pytest.raises(RuntimeError) if crashes[0] < 3 else _nothing():
            await api.service.engine.cron.once()
    assert crashes[0] >= 4
    assert len(await fired(api)) == 1


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


async def test_three_schedulers_fire_each_time_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api("POST", "/v2/workflows", 201, content=WF)
    for i in range(10):
        await api(
            "POST",
            "/v2/cron_triggers",
            201,
            json={"name": f"c{i}", "workflow_name": "wf", "pattern": "0 0 1 1 *", "remaining_executions": 5},
        )
    service = api.service
    others = [
        Engine(service.database, service.bus, service.registry.info, time.time, new_id, EngineSettings(cron=False))
        for _ in range(2)
    ]
    for other in others:
        await other.start()
    for round_ in range(4):
        past = time.time() - 100 + round_

        def overdue(connection: Any, at: float = past) -> None:
            connection.execute(cron_triggers.update().values(next_execution_time=at))

        await service.database.writing(overdue)
        await asyncio.gather(*(engine.cron.once() for engine in (service.engine, *others)))
        assert len(await fired(api)) == 10 * (round_ + 1)
        left = (await api("GET", "/v2/cron_triggers", 200))["cron_triggers"]
        assert {t["remaining_executions"] for t in left} == {4 - round_}
    for other in others:
        await other.stop()


async def test_a_trigger_that_cannot_start_does_not_stop_others(api: Api) -> None:
    [made] = (await api("POST", "/v2/workflows", 201, content=WF))["workflows"]
    for name in ("bad", "good"):
        await api(
            "POST", "/v2/cron_triggers", 201, json={"name": name, "workflow_id": made["id"], "pattern": "0 0 1 1 *"}
        )

    def spoil(connection: Any) -> None:
        table = cron_triggers
        connection.execute(table.update().values(next_execution_time=time.time() - 5))
        connection.execute(table.update().where(table.c.name == "bad").values(workflow_id=str(uuid.uuid4())))

    await api.service.database.writing(spoil)
    await api.service.engine.cron.once()

    def errors(connection: Any) -> dict[str, Any]:
        return {row.name: row.last_error for row in connection.execute(cron_triggers.select())}

    found = await api.service.database.reading(errors)
    assert ("Workflow not found" in found["bad"], found["good"]) == (True, None)
    assert len(await fired(api)) == 1


def test_kills_in_the_middle_of_firing_lose_and_repeat_nothing(tmp_path: Path) -> None:
    served = Served(tmp_path)
    assert served.http.post("/workflows", content=WF).status_code == 201
    count = 6
    body = {"name": "c", "workflow_name": "wf", "pattern": "* * * * * *", "remaining_executions": count}
    trigger = served.http.post("/cron_triggers", json=body).json()

    def started() -> list[Any]:
        return [e for e in served.get("/executions", limit=1000)["executions"] if trigger["id"] in e["description"]]

    for seen in (1, 3):
        deadline = time.monotonic() + 30
        while len(started()) < seen:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        served.kill()
        served = Served(tmp_path)
    deadline = time.monotonic() + 30
    while served.http.get("/cron_triggers/c").status_code != 404:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = started()
    assert len(found) == count
    times = {
        str(uuid.uuid5(cron_module._FIRINGS, f"{trigger['id']}:{float(at)}")): at
        for at in range(int(time.time()) - 120, int(time.time()) + 1)
    }
    assert len({times[e["id"]] for e in found}) == count  # each for a due time of its own
    for execution in found:
        assert served.wait(execution["id"])["state"] == "SUCCESS"
    served.stop()


async def make_event(api: Api, workflow_id: str, **more: Any) -> Any:
    given = {
        "name": "e",
        "workflow_id": workflow_id,
        "exchange": "nova",
        "topic": "notifications",
        "event": "vm.up",
        **more,
    }
    return await api("POST", "/v2/event_triggers", 201, json=given)


async def test_event_triggers_are_made_changed_and_deleted(api: Api) -> None:
    [made] = (await api("POST", "/v2/workflows", 201, content=WF))["workflows"]
    whole = {"workflow_id": made["id"], "exchange": "e", "topic": "t", "event": "x"}
    for name in whole:
        assert (
            name
            in (await api("POST", "/v2/event_triggers", 400, json={k: v for k, v in whole.items() if k != name}))[
                "faultstring"
            ]
        )
    await api("POST", "/v2/event_triggers", 400, json={**whole, "workflow_id": "wf"})
    await api("POST", "/v2/event_triggers", 404, json={**whole, "workflow_id": str(uuid.uuid4())})
    for name in ("id", "created_at", "updated_at", "project_id"):
        await api("POST", "/v2/event_triggers", 400, json={**whole, name: "x"})
    trigger = await make_event(api, made["id"], workflow_input='{"a": 2}')
    assert (trigger["workflow_input"], trigger["workflow_params"], trigger["scope"]) == ('{"a":2}', "{}", "private")
    await api(
        "POST",
        "/v2/event_triggers",
        409,
        json={"workflow_id": made["id"], "exchange": "nova", "topic": "notifications", "event": "vm.up"},
    )
    path = f"/v2/event_triggers/{trigger['id']}"
    for name in ("exchange", "topic", "event"):
        await api("PUT", path, 400, json={name: "y"})
    changed = await api("PUT", path, 200, json={"name": "other", "workflow_params": {"env": {}}})
    assert (changed["name"], changed["workflow_input"]) == ("other", '{"a":2}')
    await api("PUT", path, 400, json={"workflow_input": {"zzz": 1}})
    await api("GET", "/v2/event_triggers/nope", 400)
    await api("GET", f"/v2/event_triggers/{uuid.uuid4()}", 404)
    assert [
        t["id"] for t in (await api("GET", "/v2/event_triggers?name=other&exchange=nova", 200))["event_triggers"]
    ] == [trigger["id"]]
    await api("DELETE", "/v2/workflows/wf", 400)
    await api("DELETE", path, 204)
    await api("DELETE", "/v2/workflows/wf", 204)


def notification(event: str, message_id: str, project: str = "p", **payload: Any) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "event_type": event,
        "publisher_id": "compute.host1",
        "timestamp": "2026-01-01 00:00:00.0",
        "priority": "INFO",
        "_context_project_id": project,
        "payload": payload,
    }


async def test_notifications_on_the_bus_start_workflows_once_per_message(api: Api) -> None:
    text = (
        "version: '2.0'\nwf: {output: {p: '<% execution().params.event_params %>'}, tasks: {t: {action: std.noop}}}\n"
    )
    [made] = (await api("POST", "/v2/workflows", 201, content=text))["workflows"]
    trigger = await make_event(api, made["id"])
    queue, bus = notification_queue("nova", "notifications"), api.service.bus
    plain = msgspec.json.encode(notification("vm.up", "m1", n=1))
    wrapped = msgspec.json.encode(
        {"oslo.version": "2.0", "oslo.message": msgspec.json.encode(notification("vm.up", "m2")).decode()}
    )
    await bus.publish(queue, [plain, plain, wrapped, b"not json", msgspec.json.encode(notification("vm.down", "m3"))])

    async def two() -> Any:
        found = await fired(api)
        return found if len(found) >= 2 else None

    found = await api.until(two)
    await bus.publish(queue, [plain])
    marker = msgspec.json.encode(notification("vm.up", "m4"))
    await bus.publish(queue, [marker])

    async def three() -> Any:
        return len(await fired(api)) >= 3

    await api.until(three)
    assert len(await fired(api)) == 3  # the repeated message started nothing

    async def unreadable() -> Any:
        found = await api.service.database.reading(dead_letters.listed, 10)
        return [letter for letter in found if letter.queue == queue]

    [letter] = await api.until(unreadable)
    assert letter.reason.startswith("Not a notification")
    description = json.loads(found[0]["description"])
    assert description["triggered_by"] == {"type": "event_trigger", "id": trigger["id"], "name": "e"}
    done = await api.wait(found[0]["id"])
    assert json.loads(done["output"])["p"] == {
        "service": "compute.host1",
        "project_id": "p",
        "user_id": None,
        "timestamp": "2026-01-01 00:00:00.0",
    }


async def test_events_concern_their_own_project_or_public_triggers(projects: Api) -> None:
    admin = projects.of("a", "admin")
    [mine] = (await projects("POST", "/v2/workflows", 201, content=WF))["workflows"]
    [public] = (await admin("POST", "/v2/workflows", 201, content=WF))["workflows"]
    await make_event(projects, mine["id"])
    await make_event(admin, public["id"], scope="public")
    body = {"exchange": "nova", "topic": "notifications", "event_type": "vm.up", "message_id": "m1"}
    first = await projects("POST", "/v2/events", 201, json=body)
    assert len(first["executions"]) == 2
    assert (await projects("POST", "/v2/events", 201, json=body))["executions"] == first["executions"]
    other = await projects.of("q")(
        "POST", "/v2/events", 201, json={**body, "message_id": "m2", "context": {"project_id": "p"}}
    )
    assert len(other["executions"]) == 1  # nobody speaks for another project
    assert len(await fired(projects)) == 1


async def test_event_definitions_say_what_is_taken_from_an_event() -> None:
    definitions = (
        {"event_types": ["vm.*"], "properties": {"kind": "<% $.payload.kind %>"}},
        {"event_types": "vm.up", "properties": {"up": "<% $.payload.n %>"}},
    )
    text = (
        "version: '2.0'\nwf: {output: {p: '<% execution().params.event_params %>'}, tasks: {t: {action: std.noop}}}\n"
    )
    async with serving(ServiceSettings(engine=EngineSettings(event_definitions=definitions))) as api:
        [made] = (await api("POST", "/v2/workflows", 201, content=text))["workflows"]
        await make_event(api, made["id"])
        await make_event(api, made["id"], event="vm.down")
        for event, expected in (("vm.up", {"up": 5}), ("vm.down", {"kind": "k"})):
            body = {"exchange": "nova", "topic": "notifications", "event_type": event, "payload": {"n": 5, "kind": "k"}}
            [key] = (await api("POST", "/v2/events", 201, json=body))["executions"]
            assert json.loads((await api.wait(key))["output"])["p"] == expected
