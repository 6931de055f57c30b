"""Lists of every collection: sorting, paging, filters, fields (API spec 1.1)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gregale.service import ServiceSettings
from tests.api.conftest import ADMIN, Api, serving

MANY = 25


@pytest.fixture
async def api(any_database: str) -> AsyncIterator[Api]:
    """Lists are where databases differ most: in how they sort nulls, compare texts and read JSON."""
    async with serving(ServiceSettings(database=any_database)) as made:
        yield made


async def fill(api: Api, collection: str) -> None:
    """25 records whose names come five at a time, some without a description."""
    text = "{{tags: [all, {}], tasks: {{t: {{action: std.noop}}}}}}"
    names = [f"n{i % 5}_{i:02}" for i in range(MANY)]
    if collection == "workflows":
        body = "version: '2.0'\n" + "".join(f"{n}: {text.format(n)}\n" for n in names)
        await api("POST", "/v2/workflows", 201, content=body)
    elif collection == "workbooks":
        for n in names:
            book = f"{{name: {n}, version: '2.0', workflows: {{w: {text.format(n)}}}}}"
            await api("POST", "/v2/workbooks", 201, content=book)
    elif collection == "actions":
        body = "version: '2.0'\n" + "".join(f"{n}: {{base: std.noop}}\n" for n in names)
        await api("POST", "/v2/actions", 201, content=body)
    elif collection == "environments":
        for i, n in enumerate(names):
            await api("POST", "/v2/environments", 201, json={"name": n, "description": n if i % 3 else None})
    elif collection in ("executions", "tasks", "action_executions"):
        await api("POST", "/v2/workflows", 201, content=f"version: '2.0'\nwf: {text.format('x')}\n")
        ids = [(await api.start("wf", description=n))["id"] for n in names]
        for key in ids:
            await api.wait(key)
    elif collection in ("cron_triggers", "event_triggers"):
        [made] = (await api("POST", "/v2/workflows", 201, content=f"version: '2.0'\nwf: {text.format('x')}\n"))[
            "workflows"
        ]
        for i, n in enumerate(names):
            if collection == "cron_triggers":
                count = {"remaining_executions": i + 1} if i % 3 else {}
                await api(
                    "POST",
                    "/v2/cron_triggers",
                    201,
                    json={"name": n, "workflow_id": made["id"], "pattern": "0 0 1 1 *", **count},
                )
            else:
                given = {"name": n, "workflow_id": made["id"], "exchange": "e", "topic": "t", "event": n}
                await api("POST", "/v2/event_triggers", 201, json=given)
    elif collection == "code_sources":
        for n in names:
            await api("POST", f"/v2/code_sources?name={n}", 201, content="x = 1", headers=ADMIN)
    else:
        await api("POST", "/v2/code_sources?name=s", 201, content="class A: ...", headers=ADMIN)
        for n in names:
            given = {"name": n, "class_name": "A", "code_source_name": "s"}
            await api("POST", "/v2/dynamic_actions", 201, json=given, headers=ADMIN)


NULLABLE = {
    "environments": "description",
    "cron_triggers": "remaining_executions",
    "executions": "state_info",
    "tasks": "state_info",
    "action_executions": "state_info",
    "workflows": "updated_at",
}


@pytest.mark.parametrize(
    "collection",
    [
        "workflows",
        "workbooks",
        "actions",
        "environments",
        "executions",
        "tasks",
        "action_executions",
        "cron_triggers",
        "event_triggers",
        "code_sources",
        "dynamic_actions",
    ],
)
async def test_every_collection_is_paged_in_both_directions_without_loss_or_repeat(api: Api, collection: str) -> None:
    await fill(api, collection)
    whole = {r["id"] for r in (await api("GET", f"/v2/{collection}", 200, headers=ADMIN))[collection]}
    assert len(whole) >= MANY
    keys = ["created_at", "name" if collection != "executions" else "description"]
    keys += [NULLABLE[collection]] if collection in NULLABLE else []
    for key in keys:
        for direction in ("asc", "desc"):
            seen: list[dict[str, Any]] = []
            url: str | None = f"/v2/{collection}?limit=10&sort_keys={key}&sort_dirs={direction}"
            while url:
                page = await api("GET", url, 200, headers=ADMIN)
                seen += page[collection]
                url = page.get("next")
                if url:
                    assert parse_qs(urlsplit(url).query)["sort_keys"] == [f"{key},id"]
                    assert "/" not in urlsplit(url).query
            assert [r["id"] for r in seen] == list(dict.fromkeys(r["id"] for r in seen))
            assert {r["id"] for r in seen} == whole
            values = [(r[key] is not None, r[key] if r[key] is not None else "") for r in seen]
            assert values == sorted(values, reverse=direction == "desc")


async def test_filters_compare_names_times_and_states_with_every_operator(api: Api) -> None:
    await fill(api, "executions")
    listed = (await api("GET", "/v2/executions", 200))["executions"]
    second = listed[0]["created_at"]

    async def count(query: str) -> int:
        return len((await api("GET", f"/v2/executions?{query}", 200))["executions"])

    for name, value, operators in (
        (
            "description",
            "n1_01",
            {"eq": 1, "neq": 24, "gt": 23, "gte": 24, "lt": 1, "lte": 2, "in": 1, "nin": 24, "has": 1},
        ),
        (
            "state",
            "SUCCESS",
            {"eq": 25, "neq": 0, "gt": 0, "gte": 25, "lt": 0, "lte": 25, "in": 25, "nin": 0, "has": 25},
        ),
    ):
        if name == "description":
            names = sorted(r["description"] for r in listed)
            position = names.index(value)
            operators |= {"gt": 24 - position, "gte": 25 - position, "lt": position, "lte": position + 1}
        for operator, expected in operators.items():
            assert await count(f"{name}={operator}:{value}") == expected, (name, operator)
        assert await count(f"{name}={value}") == operators["eq"]
    assert await count("description=in:n1_01,n2_02") == 2
    at = sum(r["created_at"] == second for r in listed)
    for operator, expected in {"eq": at, "neq": 25 - at, "gte": 25, "lt": 0, "lte": at, "gt": 25 - at}.items():
        assert await count(f"created_at={operator}:{second}") == expected, operator
    assert await count(f"created_at={second}") == at
    await api("GET", "/v2/executions?created_at=gt:yesterday", 400)
    await api("GET", "/v2/executions?created_at>2020-01-01", 400)
    await api("GET", "/v2/executions?workflow_id=nope", 400)
    assert await count("workflow_id=" + listed[0]["workflow_id"].replace("-", "")) == 25
    assert await count("state=WHATEVER") == 0
    assert await count("state=nin:ERROR,SUCCESS") == 0


async def test_tags_ask_for_all_of_them_and_json_for_the_whole_value(api: Api) -> None:
    text = "version: '2.0'\na: {tags: [x, y], input: [p: 1, q: 2], tasks: {t: {tags: [u], action: std.noop}}}\nb: {tags: [x], tasks: {t: {action: std.noop}}}\n"
    await api("POST", "/v2/workflows", 201, content=text)
    for name in ("a", "b"):
        await api.wait((await api.start(name))["id"])

    async def names(path: str, key: str = "workflow_name") -> list[str]:
        collection = path.partition("?")[0]
        return sorted(r[key] for r in (await api("GET", f"/v2/{path}", 200))[collection])

    assert await names("workflows?tags=x", "name") == ["a", "b"]
    assert await names("workflows?tags=x,y", "name") == ["a"]
    assert await names("executions?tags=y,x") == ["a"]
    assert await names("executions?tags=neq:y") == ["b"]
    assert await names("executions?tags=in:y,z") == ["a"]
    assert await names("executions?tags=y%22") == []
    assert await names("tasks?tags=u") == ["a"]
    assert await names('executions?input={"q":2,"p":1}') == ["a"]  # whatever the order of keys
    assert await names('executions?input=neq:{"q":2,"p":1}') == ["b"]
    await api("GET", "/v2/executions?input={", 400)


async def test_fields_give_exactly_these_and_derived_ones_are_right(api: Api) -> None:
    text = "version: '2.0'\nwf: {input: [a: 1], tasks: {t: {action: std.echo output=5}}}\n"
    [made] = (await api("POST", "/v2/workflows", 201, content=text))["workflows"]
    run = await api.start("wf")
    await api.wait(run["id"])
    assert await api("GET", "/v2/workflows?fields=name&name=wf", 200) == {
        "workflows": [{"id": made["id"], "name": "wf"}]
    }
    [shown] = (await api("GET", "/v2/workflows?fields=input&name=wf", 200))["workflows"]
    assert (set(shown), shown["input"]) == ({"id", "input", "interface"}, 'a="1"')
    [task] = (await api("GET", "/v2/tasks?fields=name,result", 200))["tasks"]
    assert (task["name"], task["result"], set(task)) == ("t", "5", {"id", "name", "result"})
    [action] = (await api("GET", "/v2/action_executions?fields=task_name,name", 200))["action_executions"]
    assert (action["task_name"], action["name"], set(action)) == ("t", "std.echo", {"id", "task_name", "name"})
    [execution] = (await api("GET", "/v2/executions?fields=output,state", 200))["executions"]
    assert set(execution) == {"id", "output", "state"}
    assert set(await api("GET", f"/v2/executions/{run['id']}?fields=state", 200)) == {"id", "state"}
    for path in (
        "workflows",
        "executions",
        "tasks",
        "action_executions",
        "environments",
        "cron_triggers",
        "workflows/wf",
    ):
        assert "Some fields do not exist" in (await api("GET", f"/v2/{path}?fields=bogus", 400))["faultstring"]


async def test_next_repeats_what_was_asked_and_leads_to_the_end(api: Api) -> None:
    await fill(api, "executions")
    first = await api(
        "GET", "/v2/executions?limit=20&include_output=true&nulls=root_execution_id&state=in:SUCCESS,ERROR", 200
    )
    query = parse_qs(urlsplit(first["next"]).query)
    assert (query["include_output"], query["nulls"], query["state"]) == (
        ["true"],
        ["root_execution_id"],
        ["in:SUCCESS,ERROR"],
    )
    rest = await api("GET", first["next"], 200)
    assert (len(rest["executions"]), "next" in rest) == (5, False)
    assert "output" in rest["executions"][0]
    assert "next" not in await api("GET", "/v2/executions", 200)
    assert "next" in await api("GET", "/v2/executions?limit=25", 200)


async def test_odd_queries_are_tolerated_and_wrong_ones_refused(api: Api) -> None:
    await api("GET", "/v2/workflows?", 200)
    await api("GET", "/v2/workflows?&name=x", 200)
    await api("GET", "/v2/workflows/", 200)
    found = (await api("GET", "/v2/actions?name=nope&name=std.echo", 200))["actions"]
    assert [a["name"] for a in found] == ["std.echo"]  # the last one wins
    sorted_twice = await api("GET", "/v2/actions?sort_keys=name,name&sort_dirs=asc", 200)
    assert sorted_twice["actions"]
    assert "sort_dirs" in (await api("GET", "/v2/actions?sort_keys=name,name&sort_dirs=asc,asc", 400))["faultstring"]
    assert 'Unknown argument: "is_system!"' in (await api("GET", "/v2/actions?is_system!=False", 400))["faultstring"]
    only = (await api("GET", "/v2/actions?is_system=true", 200))["actions"]
    assert all(a["is_system"] for a in only)
    assert (await api("GET", "/v2/actions?is_system=false", 200))["actions"] == []
    await api("GET", f"/v2/executions?marker={'0' * 8}-0000-4000-8000-{'0' * 12}", 404)
    await api("GET", "/v2/executions?marker=nope", 400)
    for path in (
        "workflows?input=x",
        "tasks?result=x",
        "tasks?reset=true",
        "action_executions?params=x",
        "executions?nulls=bogus",
    ):
        await api("GET", f"/v2/{path}", 400)


async def test_a_list_is_one_query_however_long_it_is(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy as sa

    await fill(api, "tasks")
    seen: list[str] = []

    def saw(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            seen.append(statement)

    database = api.service.database
    sa.event.listen(database.glances or database.snapshots, "before_cursor_execute", saw)
    for collection in ("executions", "tasks", "action_executions", "workflows"):
        seen.clear()
        await api("GET", f"/v2/{collection}", 200)
        mine = [s for s in seen if f"FROM {collection}" in s or f"{collection} JOIN" in s]
        assert len(mine) == 1, collection
        assert all(large not in mine[0] for large in (".context", ".backlog", "action_executions.output")), mine[0]


async def test_json_fields_are_taken_as_text_object_or_null(api: Api) -> None:
    for variables, expected in (('{"a": 1}', {"a": 1}), ({"a": 1}, {"a": 1}), (None, {}), ("", {}), ([], {})):
        name = f"e{json.dumps(variables)}"
        made = await api("POST", "/v2/environments", 201, json={"name": name, "variables": variables})
        assert json.loads(made["variables"]) == expected
    for variables in ([1], "x", "[1]", 5):
        await api("POST", "/v2/environments", 400, json={"name": "x", "variables": variables})
