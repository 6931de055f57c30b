"""A server that is asked to stop finishes what it holds, and says that it has left."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from tests.served import Served


def test_a_running_action_ends_is_reported_and_runs_only_once(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    script = f"echo begun >> {marks}; sleep 1; echo ended >> {marks}"
    flow = f"version: '2.0'\nwf: {{tasks: {{t: {{action: gregale.command, input: {{argv: [sh, -c, '{script}']}}, on-success: u}}, u: {{action: std.noop}}}}}}\n"
    first = Served(tmp_path, "--allow-command")
    assert first.http.post("/workflows", content=flow).status_code == 201
    key = first.http.post("/executions", json={"workflow_name": "wf"}).json()["id"]
    deadline = time.monotonic() + 20
    while not marks.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert first.http.get(first.url.removesuffix("/v2") + "/readyz").status_code == 200
    first.process.terminate()
    assert first.process.wait(20) == 0
    first.stop()
    assert marks.read_text() == "begun\nended\n"
    with sqlite3.connect(tmp_path / "g.sqlite") as database:
        assert database.execute("SELECT state FROM members").fetchall() == [("gone",)]
    second = Served(tmp_path, "--allow-command")
    assert second.wait(key)["state"] == "SUCCESS"
    assert marks.read_text() == "begun\nended\n"
    second.stop()
