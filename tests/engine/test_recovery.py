"""Killing the process at any moment and starting it again on the same file finishes everything that was running."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.served import Served

CYCLES = 50

WORKFLOWS = """
version: '2.0'
mixed:
  input: [n, folder]
  output: {n: <% $.n %>, items: <% task(items).result %>, sub: <% task(sub).result.twice %>, rounds: <% $.round %>}
  tasks:
    begin: {publish: {round: 0}, on-success: [count, items, sub, tidy]}
    count: {action: std.echo output=<% $.round + 1 %>, publish: {round: <% task().result %>}, on-success: [{count: <% $.round < 5 %>}, {meet: <% $.round >= 5 %>}]}
    items: {with-items: "i in <% [1, 2, 3, 4] %>", concurrency: 2, action: std.echo output=<% $.i * $.n %>, on-success: meet}
    sub: {workflow: below n=<% $.n %>, on-success: meet}
    tidy: {action: std.fail, retry: {count: 2, delay: 0}, on-error: meet}
    meet: {join: all, wait-before: 1, on-success: mark}
    mark:
      action: gregale.command
      safe-rerun: true
      input: {argv: [sh, -c, "echo <% $.n %> >> <% $.folder %>/safe-<% $.n %>"]}
below:
  input: [n]
  output: {twice: <% $.n * 2 %>}
  tasks: {a: {wait-before: 1, on-success: b}, b: {action: std.noop}}
unsafe:
  input: [n, folder]
  tasks:
    first: {action: gregale.command, input: {argv: [sh, -c, "echo 1 >> <% $.folder %>/unsafe-<% $.n %>; sleep 0.2"]}, on-success: second}
    second: {action: gregale.command, input: {argv: [sh, -c, "echo 2 >> <% $.folder %>/unsafe-<% $.n %>"]}}
"""


@pytest.mark.long
def test_fifty_kills_and_restarts_during_a_mixed_load_leave_every_execution_in_its_right_final_state(
    tmp_path: Path,
) -> None:
    chance = random.Random(20260121)
    started: dict[str, str] = {}
    for cycle in range(CYCLES):
        server = Served(tmp_path, "--allow-command")
        if cycle == 0:
            server.http.post("/workflows", content=WORKFLOWS).raise_for_status()
        for name in ("mixed", "unsafe"):
            execution_id = f"{name}-{cycle}"
            body = {"id": execution_id, "workflow_name": name, "input": {"n": cycle, "folder": str(tmp_path)}}
            server.http.post("/executions", json=body).raise_for_status()
            started[execution_id] = name
        end = time.monotonic() + chance.uniform(0.0, 0.6)
        while time.monotonic() < end:
            poke(server, chance.choice(list(started)))
        server.kill()

    server = Served(tmp_path, "--allow-command")
    outcomes: Counter[str] = Counter()
    for execution_id, name in started.items():
        found = server.wait(execution_id, 120)
        n = int(execution_id.split("-")[1])
        outcomes[f"{name} {found['state']}"] += 1
        if name == "mixed":
            check_mixed(found, n, tmp_path)
        else:
            check_unsafe(found, tmp_path / f"unsafe-{n}")
    assert outcomes["mixed SUCCESS"] == CYCLES
    assert outcomes["unsafe SUCCESS"] > 0  # and the kills did hit something:
    assert outcomes["unsafe ERROR"] > 0
    live = [t for t in server.get("/tasks")["tasks"] if t["state"] not in ("SUCCESS", "ERROR")]
    assert live == []
    server.stop()


def poke(server: Served, execution_id: str) -> None:
    """A client that reads while things happen."""
    try:
        server.http.get(f"/executions/{execution_id}/tasks").raise_for_status()
    except httpx.TransportError:
        return


def check_mixed(found: dict[str, Any], n: int, folder: Path) -> None:
    assert found["state"] == "SUCCESS", found["state_info"]
    assert json.loads(found["output"]) == {"n": n, "items": [n, 2 * n, 3 * n, 4 * n], "sub": 2 * n, "rounds": 5}
    lines = (folder / f"safe-{n}").read_text().split()
    assert lines, "a safe action runs at least once"
    assert set(lines) == {str(n)}


def check_unsafe(found: dict[str, Any], file: Path) -> None:
    lines = file.read_text().split() if file.exists() else []
    assert len(lines) == len(set(lines)), f"an unsafe action ran twice: {lines}"
    if found["state"] == "SUCCESS":
        assert lines == ["1", "2"]
    else:
        assert "Lost: the executor" in found["state_info"]
