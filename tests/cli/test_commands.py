"""The command line, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOW = """version: '2.0'
wf:
  input: [n, {label: x}]
  output: {n: <% task(a).result %>, label: <% $.label %>, env: <% env().get(k) %>}
  tasks:
    a: {action: std.echo output=<% $.n %>, on-success: b}
    b: {with-items: "i in <% [1, 2] %>", action: std.noop, on-success: s}
    s: {workflow: sub}
sub: {tasks: {t: {action: std.noop}}}
hang: {tasks: {t: {action: std.async_noop}}}
bad: {tasks: {t: {action: std.fail}}}
remote: {output: {r: <% task(t).result %>}, tasks: {t: {action: acme.call id=7}}}
"""


def gregale(*args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gregale.cli.main", *args],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=120,
        check=False,
    )


@pytest.fixture
def flow(tmp_path: Path) -> str:
    (tmp_path / "flow.yaml").write_text(FLOW)
    return str(tmp_path / "flow.yaml")


def test_run_shows_progress_as_plain_lines_and_the_output(flow: str) -> None:
    done = gregale("run", flow, "-i", "n=[1, {a: b}]", "-e", "k=v")
    assert done.returncode == 0, done.stderr
    assert "SUCCESS   a" in done.stdout
    assert "SUCCESS   sub/t" in done.stdout
    assert json.loads(done.stdout[done.stdout.index("{\n") :]) == {"n": [1, {"a": "b"}], "label": "x", "env": "v"}


def test_run_json_is_one_object_and_nothing_else(flow: str, tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text("n: 5\nlabel: from file")
    done = gregale("run", flow, "-I", str(tmp_path / "in.yaml"), "-i", "label=over", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["state"], found["output"]["label"]) == (0, "SUCCESS", "over")
    assert [t["name"] for t in found["tasks"]] == ["a", "b", "s"]


def test_run_exit_codes_for_error_and_for_what_cannot_start(flow: str) -> None:
    failed = gregale("run", flow, "-w", "bad")
    assert failed.returncode == 1
    assert "Failure caused by error in tasks: t" in failed.stdout
    missing = gregale("run", flow)
    assert missing.returncode == 2
    assert "missing=['n']" in missing.stderr
    assert "there are: wf, sub, hang, bad, remote" in gregale("run", flow, "-w", "nope").stderr
    assert gregale("run", "/no/such.yaml").returncode == 2
    assert "not of the form key=value" in gregale("run", flow, "-i", "n").stderr


def test_run_mocks_actions_by_pattern(flow: str) -> None:
    done = gregale("run", flow, "-w", "remote", "--mock", "acme.*={ok: true}", "--json")
    assert json.loads(done.stdout)["output"] == {"r": {"ok": True}}
    failed = gregale("run", flow, "-w", "remote", "--mock", "acme.call=error: down", "--json")
    assert (failed.returncode, json.loads(failed.stdout)["state"]) == (1, "ERROR")


def test_run_is_cancelled_by_ctrl_c_with_130(flow: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gregale.cli.main", "run", flow, "-w", "hang"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "RUNNING" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "CANCELLED" in out


def test_run_draws_a_live_table_on_a_terminal(flow: str) -> None:
    import pty

    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gregale.cli.main", "run", flow, "-i", "n=1"],
        stdout=child,
        stderr=child,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(child)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            chunk = os.read(parent, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(parent)
    assert process.wait(60) == 0
    text = shown.decode()
    assert "task" in text
    assert "2/2" in text
    assert "\x1b[" in text


def test_validate_prints_like_a_compiler_and_json_for_machines(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: '2.0'\nwf:\n  tasks:\n    a: {acton: std.noop}\n    b: {on-success: {a: <% 1 %>}}\n")
    done = gregale("validate", str(bad))
    assert done.returncode == 1
    assert (
        f"{bad}:4:9: error: Additional properties are not allowed ('acton' was unexpected) (at wf.tasks.a.acton) [unknown-key]"
        in done.stdout
    )
    assert "did you mean 'action'?" in done.stdout
    found = json.loads(gregale("validate", str(bad), "--json").stdout)
    assert (found["errors"], found["findings"][0]["line"], found["findings"][0]["code"]) == (1, 4, "unknown-key")


def test_validate_strict_makes_warnings_errors(tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_text("version: '2.0'\nwf: {tasks: {a: {on-success: {b: <% 1 %>}}, b: {action: acme.unknown}}}\n")
    done = gregale("validate", str(odd))
    assert done.returncode == 0
    assert "[guard-map]" in done.stdout
    assert "[unknown-action]" in done.stdout
    assert gregale("validate", str(odd), "--strict").returncode == 1
    assert gregale("validate", "-", stdin=odd.read_text()).returncode == 0
    assert gregale("validate", "/no/such").returncode == 1


def test_every_example_is_accepted() -> None:
    corpus = [f for f in (ROOT / "examples").glob("*.yaml") if not f.name.endswith("_test.yaml")]
    done = gregale("validate", *map(str, corpus))
    assert done.returncode == 0, done.stdout


def test_schema_eval_and_graph(flow: str, tmp_path: Path) -> None:
    assert json.loads(gregale("schema").stdout)["$schema"].endswith("2020-12/schema")
    (tmp_path / "d.yaml").write_text("hosts: [{name: a, up: true}, {name: b, up: false}]")
    done = gregale("eval", "$.hosts.where($.up).name", "--data", f"@{tmp_path}/d.yaml")
    assert json.loads(done.stdout) == ["a"]
    assert json.loads(gregale("eval", "{{ _.x * 2 }}", "-d", "{x: 4}").stdout) == 8
    wrong = gregale("eval", "<% $.x. %>")
    assert wrong.returncode == 1
    assert "Not a YAQL expression" in wrong.stderr
    assert "error: Can not evaluate" in gregale("eval", "$.nope").stderr
    assert "on-success b" in gregale("graph", flow, "-w", "wf").stdout
    mermaid = gregale("graph", flow, "-w", "wf", "-f", "mermaid").stdout
    assert mermaid.startswith("%% wf\nflowchart TD")
    assert '-->|"on-success"|' in mermaid
    dot = gregale("graph", flow, "-w", "wf", "-f", "dot").stdout
    assert dot.startswith('digraph "wf" {')
    assert '"a" -> "b"' in dot
    assert gregale("graph", flow, "-w", "nope").returncode == 1


def test_test_tells_what_failed_and_how_many(tmp_path: Path, flow: str) -> None:
    del flow
    suite = tmp_path / "flow_test.yaml"
    suite.write_text(
        """
workflow: flow.yaml
tests:
  - {name: good, run: wf, input: {n: 1}, expect: {output: {n: 1, label: x, env: null}}}
  - {name: wrong, run: wf, input: {n: 1}, expect: {state: ERROR, ran: [zz], tasks: {a: {result: 2}}}}
"""
    )
    done = gregale("test", str(suite))
    assert done.returncode == 1
    assert "1 passed, 1 failed" in done.stdout
    assert "state is SUCCESS, expected ERROR" in done.stdout
    assert "task 'zz' did not run" in done.stdout
    assert "task 'a': result is 1, expected 2" in done.stdout
    assert json.loads(gregale("test", str(suite), "-k", "good", "--json").stdout)["passed"] == 1
    suite.write_text("workflow: nope.yaml\ntests: []")
    assert gregale("test", str(suite)).returncode == 2
    suite.write_text("tests: 5")
    assert gregale("test", str(suite)).returncode == 2


def test_help_has_examples_and_version_is_printed() -> None:
    for command in ("run", "validate", "schema", "eval", "graph", "test", "serve"):
        assert "Example: gregale" in gregale(command, "--help").stdout, command
    assert gregale("--version").stdout.startswith("gregale 0.")


def test_serve_refuses_a_file_that_is_in_use(tmp_path: Path) -> None:
    from tests.served import Served

    server = Served(tmp_path)
    try:
        second = gregale("serve", "--port", "0", "--database", str(tmp_path / "g.sqlite"))
        assert second.returncode == 1
        assert "Another Gregale process uses" in second.stderr
        assert server.get("/executions") == {"executions": []}
    finally:
        server.stop()
    assert server.process.returncode in (0, -15)


def test_serving_on_a_database_server_goes_on_after_a_kill(any_database: str, tmp_path: Path) -> None:
    from tests.served import Served

    flow = "version: '2.0'\nask: {tasks: {t: {action: std.async_noop, on-success: u}, u: {action: std.noop}}}\n"
    first = Served(tmp_path, "--database", any_database)
    assert first.http.post("/workflows", content=flow).status_code == 201
    key = first.http.post("/executions", json={"workflow_name": "ask"}).json()["id"]
    deadline = time.monotonic() + 20
    while not (found := first.get("/action_executions", state="RUNNING")["action_executions"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.kill()
    second = Served(tmp_path, "--database", any_database)
    assert second.http.put(f"/action_executions/{found[0]['id']}", json={"state": "SUCCESS"}).status_code == 200
    assert second.wait(key)["state"] == "SUCCESS"
    second.stop()
