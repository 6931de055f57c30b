"""`gregale` as a client of a served Gregale."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from gregale.cli.main import app
from gregale.client import ApiError, Client, ConnectionLost, api
from tests.served import Served

WF = """version: '2.0'
hello:
  input: [name]
  output: {said: <% $.said %>}
  tasks:
    greet: {action: 'std.echo output="Hello, <% $.name %>"', publish: {said: <% task().result %>}}
ask: {tasks: {t: {action: std.async_noop}}}
bad: {tasks: {t: {action: std.fail, on-skip: u}, u: {action: std.noop}}}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    made.http.post("/workflows", content=WF)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def here(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GREGALE_URL", served.url)
    monkeypatch.setenv("GREGALE_CONFIG", str(tmp_path / "none.toml"))


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, f"gregale {' '.join(arguments)}: {done.exit_code}\n{done.output}{done.exception!r}"
    return done.output


def plain(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_an_execution_is_started_and_followed_in_one_command() -> None:
    shown = run("execution", "start", "hello", "-i", "name=Ann", "--watch")
    assert [line.split()[2:] for line in shown.splitlines() if " greet" in line][-1] == ["SUCCESS", "greet"]
    assert "SUCCESS hello" in shown
    assert '"said": "Hello, Ann"' in shown
    ended = json.loads(run("execution", "start", "hello", "-i", "name=Ann", "--watch", "--json"))
    assert (ended["state"], ended["output"]) == ("SUCCESS", {"said": "Hello, Ann"})
    failed = run("execution", "start", "bad", "--watch", code=1)
    assert "ERROR     t" in failed
    assert plain("execution", "get", ended["id"])["input"] == {"name": "Ann"}


def test_watching_shows_an_execution_while_it_runs(served: Served) -> None:
    key = plain("execution", "start", "ask")["id"]
    command = [sys.executable, "-m", "gregale.cli.main", "execution", "watch", key]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert "RUNNING" in watching.stdout.readline()  # what has happened already is shown at once
    action = None
    deadline = time.monotonic() + 20
    while action is None:
        found = plain("action-execution", "list", "-f", "state=RUNNING", "-f", "name=std.async_noop")
        mine = {t["id"] for t in plain("task", "list", key)}
        action = next((a["id"] for a in found if a["task_execution_id"] in mine), None)
        assert time.monotonic() < deadline
    run("action-execution", "complete", action, "-o", "x=1")
    shown, _ = watching.communicate(timeout=20)
    assert "SUCCESS ask" in shown
    assert watching.returncode == 0
    assert run("task", "result", plain("task", "list", key)[0]["id"]).strip() == '{\n  "x": 1\n}'


def test_tables_are_for_people_and_json_for_machines() -> None:
    text = run("workflow", "list", "-f", "name=hello")
    assert text.split()[:2] == ["id", "name"]
    [found] = plain("workflow", "list", "-f", "name=hello")
    assert (found["name"], found["interface"]) == ("hello", {"input": ["name"], "output": ["said"]})
    assert run("workflow", "definition", "hello").startswith("version:")
    run("workflow", "list", "-f", "nonsense", code=2)


def test_executions_are_paused_resumed_cancelled_reported_and_deleted() -> None:
    key = plain("execution", "start", "ask", "-d", "mine", "--id", f"own-{time.time()}")["id"]
    assert plain("execution", "pause", key)[0]["state"] == "PAUSED"
    assert plain("execution", "resume", key)[0]["state"] == "RUNNING"
    assert "Only completed" in run("execution", "delete", key, code=1)
    assert plain("execution", "cancel", key, "--reason", "enough")[0]["state_info"] == "enough"
    assert json.loads(run("execution", "report", key))["root_workflow_execution"]["id"] == key
    assert key in run("execution", "list", "--roots", "-f", "description=mine")
    run("execution", "delete", key)
    run("execution", "get", key, code=1)
    other = plain("execution", "start", "ask")["id"]
    assert plain("execution", "stop", other, "--state", "success")[0]["state"] == "SUCCESS"
    assert plain("execution", "tasks", other)[0]["name"] == "t"


def test_failed_tasks_are_rerun_and_skipped() -> None:
    key = json.loads(run("execution", "start", "bad", "--watch", "--json", code=1))["id"]
    [task] = plain("task", "list", key)
    run("task", "rerun", task["id"], "--watch", code=1)
    assert plain("task", "get", task["id"])["state"] == "ERROR"
    run("task", "skip", task["id"])
    run("execution", "watch", key)
    assert {t["name"]: t["state"] for t in plain("task", "list", key)} == {"t": "SKIPPED", "u": "SUCCESS"}


def test_definitions_environments_and_triggers(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("version: '2.0'\nmade: {tasks: {t: {action: std.noop}}}\n")
    assert plain("workflow", "create", str(file))[0]["name"] == "made"
    assert "exists" in run("workflow", "create", str(file), code=1)
    assert plain("workflow", "update", str(file))[0]["name"] == "made"
    assert plain("workflow", "get", "made")["scope"] == "private"
    run("workflow", "create", str(tmp_path / "missing.yaml"), code=2)
    made = plain("cron", "create", "nightly", "made", "--pattern", "0 3 * * *", "--count", "2")
    assert (made["pattern"], made["remaining_executions"]) == ("0 3 * * *", 2)
    assert plain("cron", "list")[0]["name"] == plain("cron", "get", "nightly")["name"] == "nightly"
    run("cron", "delete", "nightly")
    trigger = plain("event-trigger", "create", "e", plain("workflow", "get", "made")["id"], "nova", "n", "vm.up")
    assert [t["id"] for t in plain("event-trigger", "list")] == [trigger["id"]]
    run("event-trigger", "delete", trigger["id"])
    run("workflow", "delete", "made")
    assert plain("env", "create", "staging", "-v", "ports=[80, 443]", "-v", "host=web")["variables"] == {
        "ports": [80, 443],
        "host": "web",
    }
    assert plain("env", "update", "staging", "-v", "host=other")["variables"] == {"host": "other"}
    assert [e["name"] for e in plain("env", "list")] == ["staging"]
    run("env", "delete", "staging")
    run("env", "get", "staging", code=1)
    book = tmp_path / "b.yaml"
    book.write_text("{name: bk, version: '2.0', workflows: {w: {tasks: {t: {action: std.noop}}}}}")
    assert plain("workbook", "create", str(book))[0]["name"] == "bk"
    assert plain("workbook", "update", str(book))[0]["name"] == "bk"
    assert plain("workbook", "get", "bk")["name"] == plain("workbook", "list")[0]["name"]
    run("workbook", "delete", "bk")
    actions = tmp_path / "a.yaml"
    actions.write_text("{version: '2.0', twice: {base: 'std.echo output=<% [$.x, $.x] %>', input: [x]}}")
    assert plain("action", "create", str(actions))[0]["input"] == "x"
    assert plain("action", "update", str(actions))[0]["name"] == plain("action", "get", "twice")["name"]
    assert json.loads(run("action", "run", "twice", "-i", "x=1")) == [1, 1]
    run("action", "run", "std.fail", code=1)
    assert {"twice", "std.http"} <= {a["name"] for a in plain("action", "list")}
    run("action", "delete", "twice")
    assert plain("notification", "list") == []


def test_a_server_is_found_by_flag_environment_or_profile(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GREGALE_URL")
    file = tmp_path / "config.toml"
    file.write_text(
        f'default = "here"\n[profiles.here]\nurl = "{served.url}"\n[profiles.away]\nurl = "http://127.0.0.1:1/v2"\n'
    )
    monkeypatch.setenv("GREGALE_CONFIG", str(file))
    run("workflow", "list")
    assert "127.0.0.1:1" in run("workflow", "list", "--profile", "away", code=3)
    run("workflow", "list", "--profile", "away", "--url", served.url)
    monkeypatch.setenv("GREGALE_PROFILE", "away")
    run("workflow", "list", code=3)
    monkeypatch.setenv("GREGALE_URL", served.url)
    run("workflow", "list")
    assert "there are: here, away" in run("workflow", "list", "--profile", "nope", code=2)
    file.write_text("[profiles.x]\nurl = 5\n")
    assert "profiles" in run("workflow", "list", code=2)


def test_a_token_is_printed_once_and_known_to_the_server_by_its_hash(tmp_path: Path) -> None:
    shown = run("token", "web", "--role", "admin", "--user", "ann")
    token = shown.splitlines()[0].removeprefix("The token: ")
    (tmp_path / "g.toml").write_text(shown.partition("file:\n")[2])
    other = Served(tmp_path, "--config", str(tmp_path / "g.toml"))
    assert token not in (tmp_path / "g.toml").read_text()
    assert "HTTP 401" in run("workflow", "list", "--url", other.url, code=1)
    run("workflow", "list", "--url", other.url, "--token", token)
    with Client(other.url, token=token) as client:
        assert (
            client(api.create_workflows("version: '2.0'\nw: {tasks: {t: {action: std.noop}}}\n"))[0].project_id == "web"
        )
    other.stop()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense = 1", "there is no setting 'nonsense'"),
        ("[api.auth]\nmoed = 1", "there is no setting 'api.auth.moed'"),
        ("[api]\nmax_limit = 'x'", "api.max_limit = 'x'"),
        ("[api]\nmax_limit = 0", "Expected `int` >= 1"),
        ("[engine.expiration]\nignored_states = ['RUNNING']", "engine.expiration.ignored_states = ['RUNNING']"),
        ("[engine.expiration]\nolder_than_minutes = 0", "Expected `int` >= 1"),
        ("[api.auth]\nmode = 'magic'", "magic"),
        ("[api.auth]\nmode = 'keystone'", "no section auth.keystone"),
        ("[api", "gregale.toml"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_key_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "gregale.toml"
    file.write_text(text)
    done = CliRunner().invoke(app, ["serve", "--port", "0", "-d", str(tmp_path / "x.sqlite"), "-c", str(file)])
    assert done.exit_code in (1, 2)
    assert reason in done.output


def test_the_client_tries_again_where_that_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if len(asked) == 1:
            return httpx.Response(503, json={"faultstring": "away"}, headers={"Retry-After": "0"})
        if len(asked) == 2:
            raise httpx.ConnectError("gone")
        return httpx.Response(200, json={"id": "1", "name": "w"})

    monkeypatch.setattr(time, "sleep", lambda _: None)
    with Client("http://x/v2") as client:
        client._http = httpx.Client(transport=httpx.MockTransport(answer))
        assert client(api.workflow("w")).name == "w"
        assert asked == ["GET"] * 3
        asked[:] = ["x"]
        with pytest.raises(ConnectionLost):  # nobody knows whether it was done
            client(api.rerun_task("t"))
        asked[:] = []
        monkeypatch.setattr(client, "_tries", 1)
        with pytest.raises(ApiError) as refused:
            client(api.workflows())
        assert (refused.value.status, refused.value.message) == (503, "away")


def test_every_setting_is_shown_with_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gregale.toml"
    file.write_text(
        '[api]\nrate = 5.0\nburst = 7\n[api.auth.keystone]\nauth_url = "u"\nusername = "n"\npassword = "hush"\n'
    )
    monkeypatch.setenv("GREGALE__API__BURST", "8")
    monkeypatch.setenv("GREGALE__EXECUTOR__CONCURRENCY", "9")
    options = ("-c", str(file), "--set", "executor.concurrency=10", "--set", "name=here")
    found = {row["key"]: (row["value"], row["origin"]) for row in json.loads(run("config", "show", *options, "--json"))}
    assert found["api.rate"] == (5.0, str(file))
    assert found["api.burst"] == (8, "environment GREGALE__API__BURST")
    assert found["executor.concurrency"] == (10, "flag --set executor.concurrency=10")
    assert found["name"] == ("here", "flag --set name=here")
    assert found["api.max_limit"] == (1000, "default")
    assert found["api.auth.keystone.password"] == ("***", str(file))
    assert "hush" not in run("config", "show", *options)
    changed = run("config", "show", *options, "--changed")
    assert ("api.rate" in changed, "max_limit" in changed) == (True, False)
    monkeypatch.setenv("GREGALE__API__BURST", "0")
    refused = run("config", "show", code=2)
    assert "api.burst = 0 (environment GREGALE__API__BURST): Expected `int` >= 1" in refused
    assert "write key=value" in run("config", "show", "--set", "x", code=2)


def test_explain_says_what_an_execution_waits_for() -> None:
    key = plain("execution", "start", "ask")["id"]
    deadline = time.monotonic() + 20
    while "waits for its answer" not in (shown := run("explain", key)):
        assert time.monotonic() < deadline
    assert "1 of its 1 tasks have not ended" in shown
    [task] = plain("task", "list", key)
    [reason] = plain("explain", task["id"])["reasons"]
    assert (reason["subject"], reason["state"], reason["waits_for"][0]["name"]) == ("task", "RUNNING", "std.async_noop")
    run("execution", "cancel", key)
    assert "It has ended in CANCELLED" in run("explain", key)
    run("explain", "nope", code=1)
