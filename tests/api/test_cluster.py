"""What operators ask of a cluster: members, partitions, dead letters, what is stuck and how it goes on."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from gregale.core import ActionDone, Stop
from gregale.store.schema import action_executions
from tests.api.conftest import Api


async def test_members_and_partitions_say_who_is_there_and_holds_what(api: Api) -> None:
    [member] = (await api("GET", "/v2/cluster/members", 200))["members"]
    assert (member["kind"], member["state"], member["partitions"]) == ("serve", "up", list(range(32)))
    found = (await api("GET", "/v2/cluster/partitions", 200))["partitions"]
    assert [p["number"] for p in found] == list(range(32))
    assert {p["owner"] for p in found} == {member["name"]}
    await api("POST", "/v2/cluster/members/nobody/drain", 404)


async def test_a_drained_member_is_not_ready(api: Api) -> None:
    [member] = (await api("GET", "/v2/cluster/members", 200))["members"]
    assert (await api("POST", f"/v2/cluster/members/{member['name']}/drain", 200))["draining"] == [member["id"]]

    async def not_ready() -> Any:
        return (await api.client.get("/readyz")).status_code == 503

    await api.until(not_ready)
    assert "draining" in (await api("GET", "/readyz", 503))["faultstring"]


async def test_dead_letters_are_listed_shown_requeued_and_forgotten(api: Api) -> None:
    await api.service.bus.publish("actions", [b"junk"])

    async def buried() -> Any:
        return (await api("GET", "/v2/cluster/dead_letters", 200))["dead_letters"]

    [letter] = await api.until(buried)
    assert (letter["queue"], letter["size"]) == ("actions", 4)
    assert letter["reason"].startswith("not a message")
    shown = await api("GET", f"/v2/cluster/dead_letters/{letter['id']}", 200)
    assert base64.b64decode(shown["body"]) == b"junk"
    assert (await api("POST", f"/v2/cluster/dead_letters/{letter['id']}/requeue", 200))["queue"] == "actions"

    async def again() -> Any:
        found = await buried()
        return found and found[0]["id"] != letter["id"] and found

    [second] = await api.until(again)  # it is no better than it was
    await api("DELETE", f"/v2/cluster/dead_letters/{second['id']}", 204)
    assert await buried() == []
    await api("GET", f"/v2/cluster/dead_letters/{second['id']}", 404)


async def test_what_is_stuck_is_listed_with_its_reason_and_recovered_with_a_preview(api: Api) -> None:
    text = "version: '2.0'\nwf: {tasks: {a: {action: std.noop, target: elsewhere}}}\n"
    await api("POST", "/v2/workflows", 201, content=text)
    made = await api("POST", "/v2/executions", 201, json={"workflow_name": "wf"})

    async def stuck() -> Any:
        found = (await api("GET", "/v2/stuck?after=0", 200))["stuck"]
        return [one for one in found if one["kind"] != "unstarted"]

    [one] = await api.until(stuck)
    assert (one["kind"], one["execution_id"]) == ("unheld", made["id"])
    assert one["reason"] == "it asks for the executor 'elsewhere', which is not there"
    path = f"/v2/executions/{made['id']}/recover"
    depth = await api.service.bus.depth("actions.elsewhere")
    [planned] = (await api("POST", path, 200, json={"preview": True}))["stuck"]
    assert planned["kind"] == "unheld"
    assert await api.service.bus.depth("actions.elsewhere") == depth
    await api("POST", path, 200, json={})
    assert await api.service.bus.depth("actions.elsewhere") == depth + 1
    await api("GET", "/v2/stuck?after=soon", 400)
    await api("POST", "/v2/executions/nope/recover", 404, json={})


async def test_a_lost_action_waits_for_a_persons_decision(api: Api) -> None:
    text = "version: '2.0'\nwf: {tasks: {a: {action: std.async_noop}}}\n"
    await api("POST", "/v2/workflows", 201, content=text)
    made = await api("POST", "/v2/executions", 201, json={"workflow_name": "wf"})

    async def waiting() -> Any:
        found = (await api("GET", "/v2/action_executions", 200))["action_executions"]
        return [a for a in found if a["state"] == "RUNNING"]

    [child] = await api.until(waiting)
    reason = "Lost: the executor 'x' that ran this action was last seen long ago. Rerun it."
    await api.service.engine.apply(made["id"], ActionDone(child["id"], error=reason))
    await api.wait(made["id"])
    [one] = (await api("GET", "/v2/stuck", 200))["stuck"]
    assert (one["kind"], one["name"]) == ("lost", "a")
    path = f"/v2/executions/{made['id']}/recover"
    assert (await api("POST", path, 200, json={}))["stuck"] == []  # not without being asked for
    [done] = (await api("POST", path, 200, json={"lost": True}))["stuck"]
    assert done["remedy"].startswith("rerun")
    assert (await api("GET", f"/v2/executions/{made['id']}", 200))["state"] == "RUNNING"


async def test_an_execution_that_rests_without_reason_is_decided_again(api: Api) -> None:
    text = "version: '2.0'\nwf: {tasks: {a: {action: std.async_noop, on-success: b}, b: {action: std.noop}}}\n"
    await api("POST", "/v2/workflows", 201, content=text)
    made = await api("POST", "/v2/executions", 201, json={"workflow_name": "wf"})

    async def waiting() -> Any:
        found = (await api("GET", "/v2/action_executions", 200))["action_executions"]
        return [a for a in found if a["state"] == "RUNNING"]

    [child] = await api.until(waiting)
    await api.service.database.writing(  # as if its executor had gone
        lambda c: c.execute(
            action_executions.update()
            .where(action_executions.c.id == child["id"])
            .values(is_sync=True, holder="gone", heartbeat=0.0, held_since=0.0)
        )
    )
    [planned] = (await api("POST", f"/v2/executions/{made['id']}/recover", 200, json={"preview": True}))["stuck"]
    assert (planned["kind"], planned["remedy"]) == ("abandoned", "let another executor run it")
    await api.service.engine.apply(made["id"], Stop("CANCELLED", "enough"))


async def test_without_the_database_requests_are_refused_soon(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: Any) -> None:
        await asyncio.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(type(api.service.membership), "cut_off", property(lambda _: 100.0))
        await api("GET", "/v2/workflows", 200)  # who is answered is not cut off, whatever the heart says
        patch.setattr(api.service.database, "glancing", hangs)
        answer = await api.client.get("/v2/workflows")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    await api("GET", "/v2/workflows", 200)


async def test_too_many_that_wait_refuse_new_starts(serve: Any) -> None:
    from gregale.api import ApiSettings
    from gregale.service import ServiceSettings

    api: Api = await serve(ServiceSettings(api=ApiSettings(max_waiting=3)))
    text = "version: '2.0'\nwf: {tasks: {a: {action: std.noop}}}\n"
    await api("POST", "/v2/workflows", 201, content=text)
    answers = [await api.client.post("/v2/executions", json={"workflow_name": "wf"}) for _ in range(8)]
    refused = [a for a in answers if a.status_code == 429]
    assert refused
    assert all(a.headers["Retry-After"] == "2" for a in refused)
    assert "api.max_waiting" in refused[0].json()["faultstring"]
