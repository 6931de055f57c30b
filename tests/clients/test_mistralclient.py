"""The client that people already have, from its package: every command of the API spec's list (6), against a served Gregale."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

warnings.simplefilter("ignore")  # what that package's own dependencies warn of is not ours to mend
from mistralclient import shell  # noqa: E402
from mistralclient.api import base  # noqa: E402
from mistralclient.api import client as library  # noqa: E402

from tests.served import Served  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

MEMBER = str(uuid.uuid4())


class Mistral:
    """The `mistral` command in this process: `run` gives its text, calling it what it prints as JSON."""

    def __init__(self, url: str):
        self.url = url

    def run(self, *arguments: str, project: str = "p", expect: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = shell.main(["--os-mistral-url", self.url, "--os-project-id", project, *arguments])
        assert code == expect, f"mistral {' '.join(arguments)}: {code}\n{out.getvalue()}{err.getvalue()}"
        return out.getvalue() + err.getvalue()

    def __call__(self, *arguments: str, project: str = "p") -> Any:
        return json.loads(self.run(*arguments, "-f", "json", project=project))

    def until(self, condition: Callable[[], Any], seconds: float = 20) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return found

    def ended(self, execution_id: str) -> Any:
        def look() -> Any:
            found = self("execution-get", execution_id)
            return found if found["State"] in ("SUCCESS", "ERROR", "CANCELLED") else None

        return self.until(look)


@pytest.fixture
def mistral(served: Served) -> Mistral:
    return Mistral(served.url)


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def unique(name: str) -> str:
    return f"{name}_{uuid.uuid4().hex[:8]}"


def workflow(
    mistral: Mistral, folder: Path, body: str = "{tasks: {t: {action: std.echo output=1}}}", *more: str
) -> str:
    name = unique("wf")
    mistral("workflow-create", write(folder, f"{name}.yaml", f"version: '2.0'\n{name}: {body}\n"), *more)
    return name


def started(mistral: Mistral, *arguments: str) -> str:
    return str(mistral("execution-create", *arguments)["ID"])


def task_of(mistral: Mistral, execution_id: str, state: str = "ERROR") -> str:
    def look() -> Any:
        found = [t for t in mistral("task-list", execution_id) if t["State"] == state]
        return found[0]["ID"] if found else None

    return str(mistral.until(look))


def test_the_installed_command_works_with_nothing_but_a_url(served: Served) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    command = [
        str(Path(sys.executable).with_name("mistral")),
        "--os-mistral-url",
        served.url,
        "workflow-list",
        "-f",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert any("create_instance" in w["Name"] for w in json.loads(done.stdout))
    assert (
        "workflow-create"
        in subprocess.run(
            [command[0], "bash-completion"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    )


def test_workbooks(mistral: Mistral, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = unique("wb")
    text = f"{{name: {name}, version: '2.0', tags: [x], workflows: {{w: {{tasks: {{t: {{action: std.noop}}}}}}}}}}"
    file = write(folder, "wb.yaml", text)
    assert mistral("workbook-validate", file)["Valid"] is True
    assert mistral("workbook-create", file)["Name"] == name
    assert name in [w["Name"] for w in mistral("workbook-list")]
    assert mistral("workbook-get", name)["Tags"] == "x"
    assert mistral.run("workbook-get-definition", name).strip() == text
    assert mistral("workbook-update", file)["Name"] == name
    mistral.run("workbook-create", file, expect=1)
    assert "already exists" in caplog.text
    mistral.run("workbook-delete", name)
    mistral.run("workbook-get", name, expect=1)
    assert mistral("workflow-get", f"{name}.w")["Name"] == f"{name}.w"  # its workflows stay
    bad = write(folder, "bad.yaml", "{name: x, version: '2.0', workflows: {w: {tasks: {t: {acton: x}}}}}")
    found = mistral("workbook-validate", bad)
    assert (found["Valid"], "acton" in found["Error"]) == (False, True)


def test_workflows(mistral: Mistral, folder: Path) -> None:
    name = workflow(mistral, folder, "{input: [a, b: 1], tags: [x], tasks: {t: {action: std.noop}}}")
    file = str(folder / f"{name}.yaml")
    assert mistral("workflow-validate", file)["Valid"] is True
    shown = mistral("workflow-get", name)
    assert (shown["Name"], shown["Input"], shown["Tags"]) == (name, 'a, b="1"', "x")
    assert mistral.run("workflow-get-definition", name).strip() == Path(file).read_text().strip()
    assert name in [w["Name"] for w in mistral("workflow-list", "--filter", f"name={name}")]
    assert mistral("workflow-update", file)[0]["Name"] == name
    assert mistral("workflow-update", file, "--id", shown["ID"], "--public")[0]["Scope"] == "public"
    mistral.run("workflow-delete", name)
    mistral.run("workflow-get", name, expect=1)


def test_a_workflow_in_a_namespace_is_found_there_or_by_its_id(mistral: Mistral, folder: Path) -> None:
    name = workflow(mistral, folder, "{tasks: {t: {action: std.noop}}}", "--namespace", "n1")
    key = mistral("workflow-get", name, "--namespace", "n1")["ID"]
    mistral.run("workflow-get", name, expect=1)
    assert mistral("workflow-get", key)["Namespace"] == "n1"
    file = str(folder / f"{name}.yaml")
    mistral("workflow-update", file, "--id", key)
    assert mistral("workflow-get", key)["Namespace"] == "n1"  # an update moves it nowhere
    made = mistral("execution-create", name, "--namespace", "n1")
    assert (made["Workflow namespace"], mistral.ended(made["ID"])["State"]) == ("n1", "SUCCESS")
    mistral.run("workflow-delete", name, "--namespace", "n1")


def test_actions(mistral: Mistral, folder: Path) -> None:
    name = unique("act")
    file = write(folder, "a.yaml", f"version: '2.0'\n{name}: {{base: std.echo output=<% $.x %>, input: [x, y: 5]}}\n")
    assert mistral("action-validate", file)["Valid"] is True
    assert mistral("action-create", file)[0]["Name"] == name
    listed = mistral("action-list")
    assert {name, "std.echo", "std.http", "std.javascript"} <= {a["Name"] for a in listed}
    assert mistral("action-get", name)["Input"] == "x, y=5"
    assert mistral("action-get", "std.echo")["Is system"] is True
    assert mistral.run("action-get-definition", name).strip() == Path(file).read_text().strip()
    assert mistral("action-update", file)[0]["Name"] == name
    assert mistral("action-update", file, "--id", name)[0]["Name"] == name
    mistral.run("action-delete", name)
    mistral.run("action-get", name, expect=1)
    mistral.run("action-delete", "std.echo", expect=1)
    pages = [
        mistral("action-list", "--limit", "3", *(("--marker", "std.echo"))),
        mistral("action-list", "--limit", "3"),
    ]
    assert pages[0][0]["Name"] == "std.email"
    assert len(pages[1]) == 3


def test_environments(mistral: Mistral, folder: Path) -> None:
    name = unique("env")
    file = write(folder, "env.yaml", f"name: {name}\ndescription: d\nvariables: {{k: {{deep: 1}}}}\n")
    assert mistral("environment-create", file)["Name"] == name
    assert name in [e["Name"] for e in mistral("environment-list")]
    assert json.loads(mistral("environment-get", name)["Variables"]) == {"k": {"deep": 1}}
    assert "deep" in mistral.run("environment-get", name, "--export")
    write(folder, "env.yaml", f"name: {name}\nvariables: {{other: 2}}\n")
    assert json.loads(mistral("environment-update", file)["Variables"]) == {"other": 2}
    mistral.run("environment-delete", name)
    mistral.run("environment-get", name, expect=1)


def test_executions_from_start_to_deletion(mistral: Mistral, folder: Path) -> None:
    name = workflow(
        mistral,
        folder,
        "{input: [a: 1], output: {r: <% $.p %>}, tasks: {t: {action: 'std.echo output=<% $.a %>', "
        "publish: {p: <% task().result %>}, on-success: {publish: {global: {g: 2}}}}}}",
    )
    made = mistral("execution-create", name, '{"a": 5}', "-d", "mine")
    assert (made["State"], made["Description"], made["Workflow name"]) == ("RUNNING", "mine", name)
    key = made["ID"]
    assert mistral.ended(key)["State"] == "SUCCESS"
    assert json.loads(mistral.run("execution-get-input", key)) == {"a": 5}
    assert json.loads(mistral.run("execution-get-output", key)) == {"r": 5}
    assert json.loads(mistral.run("execution-get-published", key)) == {"g": 2}
    assert key in [e["ID"] for e in mistral("execution-list", "--filter", f"workflow_name={name}")]
    assert key in [e["ID"] for e in mistral("execution-list", "--rootsonly", "--limit", "1000")]
    again = mistral("execution-create", "-s", key, name, '{"a": 6}')
    assert again["Description"] == f"Based on the execution '{key}'"
    assert mistral("execution-update", key, "-d", "other")["Description"] == "other"
    [task] = mistral("task-list", key)
    assert (task["Name"], task["State"]) == ("t", "SUCCESS")
    assert mistral("task-get", task["ID"])["State"] == "SUCCESS"
    assert json.loads(mistral.run("task-get-result", task["ID"])) == 5
    assert json.JSONDecoder().raw_decode(mistral.run("task-get-published", task["ID"]))[0] == {"p": 5}
    assert task["ID"] in [t["ID"] for t in mistral("task-list", "--limit", "1000")]
    [action] = mistral("action-execution-list", task["ID"])
    assert (action["Name"], action["State"], action["Accepted"]) == ("std.echo", "SUCCESS", True)
    assert mistral("action-execution-get", action["ID"])["Task name"] == "t"
    assert json.loads(mistral.run("action-execution-get-input", action["ID"])) == {"output": 5}
    assert json.loads(mistral.run("action-execution-get-output", action["ID"])) == {"result": 5}
    mistral.run("action-execution-delete", action["ID"], expect=1)
    mistral.run("execution-delete", key)
    mistral.run("execution-get", key, expect=1)


def test_executions_are_paused_resumed_and_stopped(mistral: Mistral, folder: Path) -> None:
    name = workflow(mistral, folder, "{tasks: {t: {action: std.async_noop}}}")
    key = started(mistral, name)
    task_of(mistral, key, "RUNNING")
    assert mistral("execution-update", key, "-s", "PAUSED")["State"] == "PAUSED"
    env = write(folder, "e.json", '{"k": 1}')
    assert mistral("execution-update", key, "-s", "RUNNING", "-e", env)["State"] == "RUNNING"
    assert "Only completed executions can be deleted" in mistral.run("execution-delete", key, expect=1)
    assert mistral("execution-update", key, "-s", "ERROR")["State"] == "ERROR"
    mistral.run("execution-delete", key, "--force")


def test_tasks_are_run_again(mistral: Mistral, folder: Path) -> None:
    name = workflow(
        mistral,
        folder,
        '{tasks: {t: {with-items: "i in <% [1, 2] %>", action: std.async_noop}}}',
    )
    key = started(mistral, name)
    task = task_of(mistral, key, "RUNNING")
    first, second = mistral.until(lambda: len(found := mistral("action-execution-list", task)) == 2 and found)
    mistral("action-execution-update", first["ID"], "--state", "SUCCESS", "--output", '{"n": 1}')
    mistral("action-execution-update", second["ID"], "--state", "ERROR")
    assert task_of(mistral, key) == task
    assert mistral("task-rerun", task, "--resume")["ID"] == task
    open_ = mistral.until(lambda: [a for a in mistral("action-execution-list", task) if a["State"] == "RUNNING"])
    assert len(open_) == 1  # only the one that failed
    mistral("action-execution-update", open_[0]["ID"], "--state", "SUCCESS")
    assert mistral.ended(key)["State"] == "SUCCESS"
    failing = started(
        mistral, workflow(mistral, folder, "{tasks: {t: {action: std.fail, on-skip: u}, u: {action: std.noop}}}")
    )
    mistral.ended(failing)
    mistral.run("task-rerun", task_of(mistral, failing), "-e", '{"x": 1}')
    mistral.ended(failing)


def test_sub_executions_and_reports(mistral: Mistral, folder: Path) -> None:
    inner = workflow(mistral, folder)
    outer = workflow(mistral, folder, f"{{tasks: {{s: {{workflow: {inner}}}, t: {{action: std.noop}}}}}}")
    key = started(mistral, outer)
    mistral.ended(key)
    assert [e["Workflow name"] for e in mistral("execution-get-sub-executions", key)] == [outer, inner]
    task = next(t["ID"] for t in mistral("task-list", key) if t["Name"] == "s")
    assert [e["Workflow name"] for e in mistral("task-get-sub-executions", task)] == [inner]
    assert [e["Workflow name"] for e in mistral("execution-list", "--task", task)] == [inner]
    report = mistral.run("execution-get-report", key, "--no-errors-only")
    assert (outer in report, inner in report, "std.echo" in report) == (True, True, True)
    only = mistral.run("execution-get-report", key, "--statistics-only", "--no-errors-only")
    assert (outer in only, "3" in only) == (False, True)


def test_actions_run_on_their_own(mistral: Mistral) -> None:
    assert json.loads(mistral.run("run-action", "std.echo", '{"output": "hi"}')) == {"result": "hi"}
    kept = mistral("run-action", "std.echo", '{"output": "hi"}', "-s")
    mistral.until(lambda: mistral("action-execution-get", kept["ID"])["State"] == "SUCCESS")
    assert json.loads(mistral.run("action-execution-get-output", kept["ID"])) == {"result": "hi"}
    assert kept["ID"] in [a["ID"] for a in mistral("action-execution-list", "--limit", "1000")]
    mistral.run("action-execution-delete", kept["ID"])
    mistral.run("action-execution-get", kept["ID"], expect=1)
    asynchronous = mistral("run-action", "std.async_noop", "-s")
    done = mistral("action-execution-update", asynchronous["ID"], "--state", "SUCCESS", "--output", '{"r": 1}')
    assert done["State"] == "SUCCESS"


def test_cron_triggers(mistral: Mistral, folder: Path) -> None:
    name, flow = unique("cron"), workflow(mistral, folder, "{input: [a], tasks: {t: {action: std.noop}}}")
    made = mistral("cron-trigger-create", name, flow, '{"a": 1}', "--pattern", "* * * * *", "--count", "3")
    assert (made["Name"], made["Pattern"], made["Remaining executions"]) == (name, "* * * * *", 3)
    assert mistral("cron-trigger-get", name)["Workflow"] == flow
    assert name in [t["Name"] for t in mistral("cron-trigger-list")]
    mistral.run("workflow-delete", flow, expect=1)
    mistral.run("cron-trigger-create", name, flow, '{"a": 1}', "--pattern", "* * * * *", expect=1)
    mistral.run("cron-trigger-delete", name)
    later = time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() + 3600))
    once = mistral("cron-trigger-create", name, flow, '{"a": 1}', "--first-time", later, "--utc", "--params", "{}")
    assert (once["Next execution time"], once["Remaining executions"]) == (f"{later}:00", 1)
    mistral.run("cron-trigger-delete", name)
    mistral.run("workflow-delete", flow)


def test_event_triggers(mistral: Mistral, folder: Path) -> None:
    flow = workflow(mistral, folder)
    key = mistral("workflow-get", flow)["ID"]
    made = mistral(
        "event-trigger-create",
        "ev",
        key,
        "nova",
        "notifications",
        "compute.instance.create.end",
        "{}",
        "--params",
        "{}",
    )
    assert (made["Exchange"], made["Topic"], made["Event"]) == ("nova", "notifications", "compute.instance.create.end")
    assert mistral("event-trigger-get", made["ID"])["Name"] == "ev"
    assert made["ID"] in [t["ID"] for t in mistral("event-trigger-list")]
    mistral.run("event-trigger-delete", made["ID"])
    mistral.run("event-trigger-get", made["ID"], expect=1)


def test_members(mistral: Mistral, folder: Path) -> None:
    flow = workflow(mistral, folder)
    key = mistral("workflow-get", flow)["ID"]
    assert mistral("member-create", key, "workflow", MEMBER)["Status"] == "pending"
    mistral.run("workflow-get", key, project=MEMBER, expect=1)
    assert (
        mistral("member-update", key, "workflow", "-m", MEMBER, "-s", "accepted", project=MEMBER)["Status"]
        == "accepted"
    )
    assert mistral("workflow-get", key, project=MEMBER)["Name"] == flow
    assert [m["Member ID"] for m in mistral("member-list", key, "workflow")] == [MEMBER]
    assert mistral("member-get", key, "workflow", "-m", MEMBER)["Status"] == "accepted"
    mistral.run("member-delete", key, "workflow", MEMBER)
    mistral.run("workflow-get", key, project=MEMBER, expect=1)


def test_code_sources_and_dynamic_actions(mistral: Mistral, folder: Path) -> None:
    source, action = unique("src"), unique("dyn")
    text = "class Add:\n    def __init__(self, a, b=1):\n        self.sum = a + b\n\n    def run(self, context):\n        return self.sum\n"
    file = write(folder, "code.py", text)
    made = mistral("code-source-create", source, file)
    assert made["Name"] == source
    assert mistral("code-source-update", source, file)["Updated at"] is not None
    assert mistral("code-source-get", source)["Name"] == source
    assert mistral.run("code-source-get-content", source).strip() == text.strip()
    assert source in [s["Name"] for s in mistral("code-source-list")]
    assert mistral("dynamic-action-create", action, "Add", source)["Name"] == action
    assert mistral("dynamic-action-get", action)["Class"] == "Add"
    assert action in [a["Name"] for a in mistral("dynamic-action-list")]
    assert json.loads(mistral.run("run-action", action, '{"a": 2}')) == {"result": 3}
    assert mistral("dynamic-action-update", action, "--class-name", "Add")["Name"] == action
    mistral.run("dynamic-action-delete", action)
    mistral.run("dynamic-action-get", action, expect=1)
    mistral("dynamic-action-create", action, "Add", source)
    mistral.run("code-source-delete", source)
    mistral.run("dynamic-action-get", action, expect=1)  # gone with its source


def test_lists_are_sorted_and_paged(mistral: Mistral, folder: Path) -> None:
    tag = unique("p")
    names = sorted(f"{tag}_{i}" for i in range(5))
    text = "version: '2.0'\n" + "".join(f"{n}: {{tags: [{tag}], tasks: {{t: {{action: std.noop}}}}}}\n" for n in names)
    mistral("workflow-create", write(folder, "many.yaml", text))
    seen: list[str] = []
    marker: tuple[str, ...] = ()
    while True:
        page = mistral(
            "workflow-list",
            "--filter",
            f"tags={tag}",
            "--sort_keys",
            "name",
            "--sort_dirs",
            "desc",
            "--limit",
            "2",
            *marker,
        )
        seen += [w["Name"] for w in page]
        if len(page) < 2:
            break
        marker = ("--marker", page[-1]["ID"])
    assert seen == names[::-1]


def test_the_library_speaks_with_headers_alone(served: Served, folder: Path) -> None:
    speaking = library.client(mistral_url=served.url, auth_token="any", project_id="libproject", user_id="u")
    name = unique("lib")
    [made] = speaking.workflows.create(f"version: '2.0'\n{name}: {{tasks: {{t: {{action: std.noop}}}}}}\n")
    assert (made.name, made.project_id) == (name, "libproject")
    run = speaking.executions.create(wf_identifier=name)
    assert run.state == "RUNNING"
    with pytest.raises(base.APIException) as refused:
        speaking.executions.create(wf_identifier="nope")
    assert (refused.value.error_code, "nope" in refused.value.error_message) == (404, True)
    # what Heat's resources and the dashboard do beside
    trigger = speaking.cron_triggers.create("c" + name, name, pattern="0 0 * * *", count=2)
    assert trigger.next_execution_time
    speaking.cron_triggers.delete("c" + name)
    assert isinstance(json.loads(speaking.executions.get(run.id).output), dict)
    assert speaking.workflows.list(limit=1000, sort_keys="name", sort_dirs="asc")
    assert json.loads(speaking.workflows.get(name).interface)["input"] == []
    speaking.workflows.delete(name)
