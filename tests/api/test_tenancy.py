"""Projects, roles, shares and policies (API spec 3)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gregale.api import ApiSettings
from gregale.api.auth import AuthSettings, BadPolicy, Identity, Policy
from gregale.api.auth.policy import BASE, DEFAULTS
from gregale.service import ServiceSettings
from tests.api.conftest import HEADERS, Api

WF = "version: '2.0'\nwf: {tasks: {t: {action: std.async_noop}}}\n"


async def test_without_authentication_all_belongs_to_one_project_and_roles_are_believed(api: Api) -> None:
    [made] = (await api("POST", "/v2/workflows", 201, content=WF, headers={"X-Project-Id": "forged"}))["workflows"]
    assert made["project_id"] == "<default-project>"
    refused = await api("POST", "/v2/code_sources?name=a", 403, content="x = 1")
    assert "code_sources:create" in refused["faultstring"]
    await api("POST", "/v2/code_sources?name=a", 201, content="x = 1", headers={"X-Roles": "member,admin"})
    await api("PUT", "/v2/workflows?scope=public", 403, content=WF)
    await api("PUT", "/v2/workflows?scope=public", 200, content=WF, headers={"X-Roles": "admin"})
    await api("PUT", "/v2/workflows?scope=everyone", 400, content=WF)
    shared = await api("POST", f"/v2/workflows/{made['id']}/members", 400, json={"member_id": str(uuid.uuid4())})
    assert "authentication" in shared["faultstring"]


async def test_what_belongs_to_another_project_is_not_there(projects: Api) -> None:
    other, admin = projects.of("q"), projects.of("a", "admin")
    [made] = (await projects("POST", "/v2/workflows", 201, content=WF))["workflows"]
    await projects("POST", "/v2/environments", 201, json={"name": "e"})
    await projects(
        "POST",
        "/v2/workbooks",
        201,
        content="{name: b, version: '2.0', workflows: {w: {tasks: {t: {action: std.noop}}}}}",
    )
    await projects("POST", "/v2/actions", 201, content="{version: '2.0', act: {base: std.noop}}")
    cron = {"name": "c", "workflow_name": "wf", "pattern": "0 0 1 1 *"}
    await projects("POST", "/v2/cron_triggers", 201, json=cron)
    event = {"name": "v", "workflow_id": made["id"], "exchange": "e", "topic": "t", "event": "x"}
    trigger = await projects("POST", "/v2/event_triggers", 201, json=event)
    run = await projects.start("wf")
    action = await projects.action(run["id"])
    [task] = (await projects("GET", f"/v2/executions/{run['id']}/tasks", 200))["tasks"]
    single = [
        f"workflows/{made['id']}",
        "workflows/wf",
        "environments/e",
        "workbooks/b",
        "actions/act",
        "cron_triggers/c",
        f"event_triggers/{trigger['id']}",
        f"executions/{run['id']}",
        f"executions/{run['id']}/tasks",
        f"executions/{run['id']}/report",
        f"tasks/{task['id']}",
        f"action_executions/{action}",
    ]
    for path in single:
        await projects("GET", f"/v2/{path}", 200)
        await other("GET", f"/v2/{path}", 404)
        await admin("GET", f"/v2/{path}", 200)
    for collection in (
        "executions",
        "tasks",
        "action_executions",
        "cron_triggers",
        "event_triggers",
        "environments",
        "workbooks",
    ):
        assert (await other("GET", f"/v2/{collection}", 200))[collection] == []
        assert (await admin("GET", f"/v2/{collection}", 200))[collection] != []
    await other("PUT", f"/v2/executions/{run['id']}", 404, json={"state": "CANCELLED"})
    await other("DELETE", f"/v2/executions/{run['id']}?force=true", 404)
    await other("PUT", f"/v2/action_executions/{action}", 404, json={"state": "SUCCESS"})
    await other("PUT", f"/v2/tasks/{task['id']}", 404, json={"state": "SKIPPED"})
    await other("DELETE", "/v2/cron_triggers/c", 404)
    await other("POST", "/v2/executions", 404, json={"workflow_id": made["id"]})
    taken = await other("POST", "/v2/workflows", 201, content=WF)  # names are each project's own
    assert taken["workflows"][0]["id"] != made["id"]
    await other("POST", "/v2/executions", 409, json={"workflow_name": "wf", "id": run["id"]})
    cancelled = await admin("PUT", f"/v2/executions/{run['id']}", 200, json={"state": "CANCELLED"})
    assert cancelled["state"] == "CANCELLED"
    await admin("DELETE", f"/v2/executions/{run['id']}", 204)


async def test_asking_across_projects_needs_a_policy(projects: Api) -> None:
    for path in (
        "executions?all_projects=true",
        "executions?project_id=q",
        "workflows?all_projects=1",
        "cron_triggers?all_projects=yes",
        "event_triggers?all_projects=True",
    ):
        await projects("GET", f"/v2/{path}", 403)
        await projects.of("a", "admin")("GET", f"/v2/{path}", 200)
    await projects("GET", "/v2/executions?all_projects=false", 200)
    assert (await projects("GET", "/v2/workflows?project_id=q", 200))["workflows"] == []


async def test_public_things_are_seen_and_used_but_not_changed_by_others(projects: Api) -> None:
    admin = projects.of("a", "admin")
    [made] = (await admin("POST", "/v2/workflows?scope=public", 201, content=WF))["workflows"]
    await admin("POST", "/v2/actions?scope=public", 201, content="{version: '2.0', act: {base: std.noop}}")
    await admin("POST", "/v2/environments", 201, json={"name": "e", "scope": "public"})
    book = "{name: b, version: '2.0', workflows: {w: {tasks: {t: {action: std.noop}}}}}"
    await admin("POST", "/v2/workbooks?scope=public", 201, content=book)
    assert (await projects("GET", "/v2/workflows/wf", 200))["id"] == made["id"]
    started = await projects("POST", "/v2/executions", 201, json={"workflow_name": "wf", "params": {"env": "e"}})
    assert started["project_id"] == "p"  # an execution belongs to who started it
    await projects("PUT", "/v2/workflows", 403, content=WF)
    await projects("PUT", f"/v2/workflows/{made['id']}", 403, content=WF)
    await projects("DELETE", f"/v2/workflows/{made['id']}", 403)
    await projects("PUT", "/v2/actions", 403, content="{version: '2.0', act: {base: std.noop}}")
    await projects("DELETE", "/v2/actions/act", 403)
    await projects("PUT", "/v2/environments", 403, json={"name": "e"})
    await projects("DELETE", "/v2/environments/e", 403)
    await projects("PUT", "/v2/workbooks", 403, content=book)
    await projects("DELETE", "/v2/workbooks/b", 403)
    [own] = (await projects("POST", "/v2/workflows", 201, content=WF))["workflows"]
    assert (await projects("GET", "/v2/workflows/wf", 200))["id"] == own["id"]  # one's own goes before


async def test_an_update_without_scope_makes_private_unless_others_have_triggers(projects: Api) -> None:
    admin = projects.of("a", "admin")
    [made] = (await admin("POST", "/v2/workflows?scope=public", 201, content=WF))["workflows"]
    trigger = {"name": "c", "workflow_id": made["id"], "pattern": "0 0 1 1 *"}
    await projects("POST", "/v2/cron_triggers", 201, json=trigger)
    refused = await admin("PUT", "/v2/workflows", 403, content=WF)
    assert "triggers" in refused["faultstring"]
    used = await admin("DELETE", f"/v2/workflows/{made['id']}", 400)
    assert "triggers" in used["faultstring"]
    await projects("DELETE", "/v2/cron_triggers/c", 204)
    assert (await admin("PUT", "/v2/workflows", 200, content=WF))["workflows"][0]["scope"] == "private"
    await projects("GET", f"/v2/workflows/{made['id']}", 404)
    await admin("DELETE", f"/v2/workflows/{made['id']}", 204)


async def test_system_workflows_stay_as_they_are(projects: Api) -> None:
    text = "version: '2.0'\nstd.create_instance: {tasks: {t: {action: std.noop}}}\n"
    assert "create_instance" in json.dumps(await projects("GET", "/v2/workflows", 200))
    default = projects.of("<default-project>")
    await default("PUT", "/v2/workflows", 400, content=text)
    await default("DELETE", "/v2/workflows/std.create_instance", 400)
    await projects("DELETE", "/v2/workflows/std.create_instance", 403)


async def test_shares_owner_member_and_stranger(projects: Api) -> None:
    member_id = str(uuid.uuid4())
    member, stranger = projects.of(member_id), projects.of("stranger")
    [made] = (await projects("POST", "/v2/workflows", 201, content=WF))["workflows"]
    path = f"/v2/workflows/{made['id']}/members"
    await projects("POST", path, 400, json={})
    await projects("POST", "/v2/workflows/wf/members", 400, json={"member_id": member_id})
    await projects("POST", f"/v2/workflows/{uuid.uuid4()}/members", 404, json={"member_id": member_id})
    await stranger("POST", path, 404, json={"member_id": member_id})
    share = await projects("POST", path, 201, json={"member_id": member_id})
    assert (share["status"], share["project_id"], share["member_id"]) == ("pending", "p", member_id)
    assert (share["resource_id"], share["resource_type"]) == (made["id"], "workflow")
    await projects("POST", path, 409, json={"member_id": member_id})
    await member("GET", f"/v2/workflows/{made['id']}", 404)  # pending
    one = f"{path}/{member_id}"
    await projects("PUT", one, 404, json={"status": "accepted"})  # only the member answers
    await member("PUT", one, 400, json={"status": "maybe"})
    await member("PUT", one, 400, json={})
    assert (await member("PUT", one, 200, json={"status": "accepted"}))["status"] == "accepted"
    await member("GET", f"/v2/workflows/{made['id']}", 200)
    assert (await member("POST", "/v2/executions", 201, json={"workflow_name": "wf"}))["project_id"] == member_id
    await member("POST", "/v2/cron_triggers", 201, json={"name": "c", "workflow_name": "wf", "pattern": "0 0 1 1 *"})
    await member("DELETE", "/v2/cron_triggers/c", 204)
    await member("PUT", f"/v2/workflows/{made['id']}", 403, content=WF)
    await member("DELETE", f"/v2/workflows/{made['id']}", 403)
    await member("POST", path, 404, json={"member_id": str(uuid.uuid4())})  # not to be shared on
    await member("DELETE", one, 404)
    for who, expected in ((projects, 1), (member, 1), (stranger, 0)):
        assert len((await who("GET", path, 200))["members"]) == expected
    await stranger("GET", one, 404)
    await member("GET", one, 200)
    await member("PUT", one, 200, json={"status": "rejected"})
    await member("GET", f"/v2/workflows/{made['id']}", 404)
    await member("PUT", one, 200, json={"status": "accepted"})
    await projects("DELETE", one, 204)
    await member("GET", f"/v2/workflows/{made['id']}", 404)
    await projects.of("a", "admin")("PUT", f"/v2/workflows/{made['id']}?scope=public", 200, content=WF)
    await projects("POST", path, 400, json={"member_id": member_id})  # public already


async def test_a_reader_reads_and_a_member_changes(projects: Api) -> None:
    reader, member = projects.of("p", "reader"), projects.of("p", "reader,member")
    await reader("POST", "/v2/workflows", 403, content=WF)
    await member("POST", "/v2/workflows", 201, content=WF)
    await reader("GET", "/v2/workflows/wf", 200)
    await reader("POST", "/v2/executions", 403, json={"workflow_name": "wf"})
    run = await member.start("wf")
    await reader("GET", f"/v2/executions/{run['id']}", 200)
    await reader("PUT", f"/v2/executions/{run['id']}", 403, json={"state": "CANCELLED"})
    await projects.of("p", "custom")("PUT", f"/v2/executions/{run['id']}", 200, json={"state": "CANCELLED"})


def test_the_table_of_default_rules() -> None:
    policy = Policy()
    member, admin, reader = (
        Identity("p", "u", ("member",)),
        Identity("p", "u", ("admin",)),
        Identity("p", "u", ("reader",)),
    )
    only_admin = {r for r in DEFAULTS if not policy.allows(r, member)}
    assert {r.split(":")[0] for r in only_admin} >= {"code_sources", "dynamic_actions"}
    for resource in ("workbooks", "workflows", "actions", "environments", "cron_triggers", "event_triggers"):
        assert f"{resource}:publicize" in only_admin
    for resource in ("workflows", "executions", "cron_triggers", "event_triggers"):
        assert f"{resource}:list:all_projects" in only_admin
    assert all(policy.allows(rule, admin) for rule in DEFAULTS)
    assert {r for r in DEFAULTS if policy.allows(r, reader)} == {
        r for r in DEFAULTS if r.split(":", 1)[1] in ("get", "list") and r not in only_admin
    }
    assert Identity("p", "u", ("Admin",)).admin is False  # roles have their case


async def test_a_file_overrides_a_rule(tmp_path: Path, serve: Callable[[ServiceSettings], Any]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"code_sources:create": "role:coder"\n"executions:create": "!"\n')
    settings = ApiSettings(auth=AuthSettings(mode="headers", policy_file=str(file)))
    api = await serve(ServiceSettings(api=settings))
    await api.of("p", "coder")("POST", "/v2/code_sources?name=s", 201, content="x = 1")
    await api.of("p", "admin")("POST", "/v2/code_sources?name=s", 403, content="x = 1")
    await api.of("p", "admin")("POST", "/v2/executions", 403, json={"workflow_name": "wf"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"nope:create": "@"', "No such rule: nope:create"),
        ('"executions:create": "who knows ("', "cannot be understood"),
        ("[1]", "must hold a map"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_policy_file_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(BadPolicy, match=reason):
        Policy.from_file(str(file))
    assert set(BASE) == {"admin_only", "admin_or_owner", "writer"}
    assert HEADERS.auth.policy_file is None
