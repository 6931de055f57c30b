"""GET /v2/events: what happens, as it happens, without loss or repeat."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gregale.client import AsyncClient, Client, Happening, api
from tests.served import Served

WF = """version: '2.0'
wf: {tasks: {a: {action: std.noop, on-success: b}, b: {workflow: sub}}}
sub: {tasks: {c: {action: std.noop}}}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("stream")
    (folder / "g.toml").write_text('[api.auth]\nmode = "headers"\n')
    made = Served(folder, "--config", str(folder / "g.toml"))
    yield made
    made.stop()


def lines(served: Served, until: str, headers: dict[str, str] | None = None, **query: str) -> list[dict[str, Any]]:
    """Changes up to the first of the event `until`, with their ids."""
    found, key = [], ""
    with httpx.stream("GET", f"{served.url}/events", params=query, headers=headers, timeout=20) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        for line in reply.iter_lines():
            if line.startswith("id: "):
                key = line[4:]
            elif line.startswith("data: "):
                found.append({**json.loads(line[6:]), "position": key})
                if found[-1]["event"] == until and found[-1]["execution_id"] == query.get(
                    "execution", found[-1]["execution_id"]
                ):
                    return found
    return found


def run(served: Served, project: str = "s1") -> str:
    with Client(served.url, project=project) as client:
        client(api.create_workflows(WF)) if not client(api.workflows(name="wf")) else None
        started = client(api.start("wf"))
        client.wait(started.id, 20)
        return started.id


def test_a_tree_from_its_beginning_in_the_order_of_commits(served: Served) -> None:
    key = run(served)
    found = lines(served, "WORKFLOW_SUCCEEDED", {"X-Project-Id": "s1"}, execution=key, last_event_id="0")
    assert [(c["kind"], c["name"], c["event"]) for c in found if c["event"]] == [
        ("execution", "wf", "WORKFLOW_LAUNCHED"),
        ("task", "a", "TASK_LAUNCHED"),
        ("task", "a", "TASK_SUCCEEDED"),
        ("task", "b", "TASK_LAUNCHED"),
        ("execution", "sub", "WORKFLOW_LAUNCHED"),
        ("task", "c", "TASK_LAUNCHED"),
        ("task", "c", "TASK_SUCCEEDED"),
        ("execution", "sub", "WORKFLOW_SUCCEEDED"),
        ("task", "b", "TASK_SUCCEEDED"),
        ("execution", "wf", "WORKFLOW_SUCCEEDED"),
    ]
    assert {c["root_execution_id"] for c in found} == {key}
    assert {"state", "old_state", "at", "workflow_name", "project_id"} <= set(found[0])


def test_resuming_after_any_event_neither_loses_nor_repeats(served: Served) -> None:
    key = run(served)
    mine = {"X-Project-Id": "s1"}
    whole = lines(served, "WORKFLOW_SUCCEEDED", mine, execution=key, last_event_id="0")
    assert len({c["position"] for c in whole}) == len(whole)
    for position, change in enumerate(whole[:-1]):
        rest = lines(served, "WORKFLOW_SUCCEEDED", {**mine, "Last-Event-ID": change["position"]}, execution=key)
        assert rest == whole[position + 1 :]


def test_filters_and_projects(served: Served) -> None:
    first, second = run(served, "s1"), run(served, "s2")
    admin = {"X-Project-Id": "x", "X-Roles": "admin"}
    other = lines(served, "WORKFLOW_SUCCEEDED", admin, execution=second, last_event_id="0")
    assert {c["project_id"] for c in other} == {"s2"}
    assert len(lines(served, "WORKFLOW_SUCCEEDED", admin, project="s2", workflow="sub", last_event_id="0")) >= 4
    with httpx.Client(base_url=served.url) as http:
        assert http.get("/events", params={"project": "s2"}, headers={"X-Project-Id": "s1"}).status_code == 403
        assert http.get("/events", params={"last_event_id": "x"}).status_code == 400
        assert http.get("/events", params={"bogus": "x"}).status_code == 400
    with Client(served.url, project="s1") as client:
        seen = []
        for change in client.events(after="0"):
            seen.append(change)
            if change.execution_id == first and change.event == "WORKFLOW_SUCCEEDED":
                break
    assert all(c.root_execution_id != second for c in seen)


def test_a_stream_without_a_position_begins_now_and_brings_what_comes(served: Served) -> None:
    run(served)
    seen: list[Happening] = []
    ready = threading.Event()

    def listen() -> None:
        with (
            Client(served.url, project="s1") as client,
            client._http.stream("GET", f"{served.url}/events", timeout=20) as reply,
        ):
            for line in reply.iter_lines():
                ready.set()
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:]))
                    if json.loads(line[6:])["event"] == "WORKFLOW_SUCCEEDED" and json.loads(line[6:])["name"] == "wf":
                        return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(20)
    key = run(served)
    thread.join(20)
    assert {c["root_execution_id"] for c in seen} == {key}  # type: ignore[index]


def test_a_stream_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    """Every change of twenty executions is seen once, though the server is killed and started again in between."""
    port = "0"
    first = Served(tmp_path)
    port = first.url.rpartition(":")[2].partition("/")[0]
    with Client(first.url) as client:
        client(api.create_workflows(WF))
    seen: list[Happening] = []
    wanted: set[str] = set()
    done = threading.Event()

    def listen() -> None:
        with Client(first.url, tries=12) as client:
            for change in client.events(after="0"):
                seen.append(change)
                ended = {c.execution_id for c in seen if c.event == "WORKFLOW_SUCCEEDED" and c.name == "wf"}
                if len(wanted) == 20 and wanted <= ended:
                    done.set()
                    return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    server = first
    with Client(first.url, tries=12) as client:
        for number in range(20):
            if number in (7, 14):
                server.kill()
                server = Served(tmp_path, "--port", port)
            wanted.add(client(api.start("wf", id=f"run-{number}")).id)
        for key in wanted:
            client.wait(key, 30)
    assert done.wait(60)
    positions = [c.position for c in seen]
    assert len(positions) == len(set(positions))
    for key in wanted:
        mine = [c.event for c in seen if c.root_execution_id == key and c.event]
        assert len(mine) == 10, key
    server.stop()


async def test_the_asynchronous_client_follows_too(served: Served) -> None:
    key = await asyncio.to_thread(run, served)
    async with AsyncClient(served.url, project="s1") as client:
        names = []
        async for change in client.events(execution=key, after="0"):
            names.append(change.name)
            if change.id == key and change.state == "SUCCESS":
                break
        ended = await client.wait(key, timeout=5)
        assert (ended.state, names[0], names[-1]) == ("SUCCESS", "wf", "wf")
        assert [e.id async for e in client.pages(api.executions(limit=1, root_execution_id=key))]


def test_an_open_stream_does_not_keep_a_server_from_stopping(tmp_path: Path) -> None:
    server = Served(tmp_path)
    with httpx.stream("GET", f"{server.url}/events", timeout=20) as reply:
        lines_ = reply.iter_lines()
        assert next(lines_) == ": gregale"
        server.process.terminate()
        assert server.process.wait(10) == 0
        assert [line for line in lines_ if line.strip()] == []
    server.stop()
