"""`gregale lab` and the commands of operators, as somebody at a terminal uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gregale.lab import RabbitMQ
from gregale.lab.components import Component
from gregale.lab.servers import DatabaseServer
from gregale.store import Database, upgrade

pytestmark = pytest.mark.xdist_group("lab-apart")


def gregale(*arguments: str, cwd: Path, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gregale.cli.main", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a lab in it."""
    folder = tmp_path_factory.mktemp("lab")
    try:
        gregale("lab", "up", "--detach", "--engines", "2", cwd=folder)
    except AssertionError as e:
        if "not installed" in str(e) and not os.environ.get("CI"):
            pytest.skip(str(e))
        raise
    yield folder
    gregale("lab", "down", cwd=folder)


def status(place: Path) -> dict[str, Any]:
    return {one["name"]: one for one in json.loads(gregale("lab", "status", "--json", cwd=place))}


def test_a_lab_is_looked_at_broken_and_mended(place: Path) -> None:
    found = status(place)
    assert {name: one["state"] for name, one in found.items()} == dict.fromkeys(
        ("postgresql", "rabbitmq", "api-1", "engine-1", "engine-2", "executor-1"), "up"
    )
    url = {"GREGALE_URL": found["api-1"]["address"]}
    assert "engine-2" in gregale("cluster", "members", cwd=place, **url)
    assert gregale("cluster", "partitions", cwd=place, **url).count("engine-") == 32
    gregale("lab", "pause", "engine-1", cwd=place)
    assert status(place)["engine-1"]["state"] == "paused"
    gregale("lab", "resume", "engine-1", cwd=place)
    gregale("lab", "kill", "engine-1", cwd=place)
    assert status(place)["engine-1"]["state"] == "down"
    assert gregale("lab", "start", "engine", cwd=place).strip() == "engine-3"
    gregale("lab", "outage", "broker", "--how", "cut", "--seconds", "0.2", cwd=place)
    gregale("lab", "drop", "start", "--rate", "0.5", cwd=place)
    (place / "w.yaml").write_text("version: '2.0'\nwf: {tasks: {a: {action: std.noop}}}\n")
    gregale("workflow", "create", "w.yaml", cwd=place, **url)
    started = json.loads(gregale("execution", "start", "wf", "--json", cwd=place, **url))
    deadline = time.monotonic() + 40
    while json.loads(gregale("execution", "get", started["id"], "--json", cwd=place, **url))["state"] == "RUNNING":
        assert time.monotonic() < deadline
    gregale("lab", "drop", "none", cwd=place)
    assert "ended with 0" in gregale("lab", "stop", "engine-3", cwd=place)
    assert "There is no 'nobody'" in gregale("lab", "kill", "nobody", cwd=place, code=1)
    assert "nothing is stuck" in gregale("stuck", cwd=place, **url)
    assert "nothing of them is stuck" in gregale("recover", started["id"], cwd=place, **url)
    assert "draining" in gregale("cluster", "drain", "executor-1", cwd=place, **url)
    assert "queue" in gregale("cluster", "dead-letters", "list", cwd=place, **url)


def test_without_a_lab_commands_say_how_to_start_one(tmp_path: Path) -> None:
    assert "gregale lab up" in gregale("lab", "status", cwd=tmp_path, code=1)


def test_the_scenarios_are_listed(tmp_path: Path) -> None:
    assert "database-outages" in gregale("lab", "drill", "list", cwd=tmp_path)
    assert "churn" in gregale("lab", "drill", "no-such", cwd=tmp_path, code=2)


def test_a_component_says_why_it_does_not_start(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    broker = rabbitmq.url()
    said = gregale("engine", "-d", "g.sqlite", "-b", broker, cwd=tmp_path, code=1)
    assert "gregale db upgrade" in said
    assert "broker.url" in gregale("engine", "-d", "g.sqlite", cwd=tmp_path, code=1)
    assert "--log-level" in gregale("engine", "--log-level", "loud", "-b", broker, cwd=tmp_path, code=1)


def test_logs_are_json_with_who_said_it_and_of_what(
    tmp_path: Path, rabbitmq: RabbitMQ, mariadb: DatabaseServer
) -> None:
    url = mariadb.create_database()
    made = Database(url)
    upgrade(made)
    made.close()
    options = ["-d", url, "-b", rabbitmq.url(), "--log-level", "debug", "--log-format", "json"]
    options += ["--set", "broker.prefix=logs", "--set", "engine.inline=false"]
    parts = [Component(kind, f"{kind}-x", tmp_path, options, {}) for kind in ("api", "engine", "executor")]  # type: ignore[arg-type]
    for part in parts:
        part.wait_ready()
    api = {"GREGALE_URL": parts[0].url}
    (tmp_path / "w.yaml").write_text("version: '2.0'\nwf: {tasks: {a: {action: std.noop}}}\n")
    gregale("workflow", "create", "w.yaml", cwd=tmp_path, **api)
    started = json.loads(gregale("execution", "start", "wf", "--json", cwd=tmp_path, **api))
    gregale("execution", "get", started["id"], "--json", cwd=tmp_path, **api)
    deadline = time.monotonic() + 30
    while json.loads(gregale("execution", "get", started["id"], "--json", cwd=tmp_path, **api))["state"] == "RUNNING":
        assert time.monotonic() < deadline
    assert [part.stop() for part in parts] == [0, 0, 0]
    lines = [json.loads(line) for part in parts for line in part.log.read_text().splitlines()]
    mine = [line for line in lines if line.get("execution") == started["id"]]
    ends = [line for line in mine if line["event"] == "wf is SUCCESS"]
    assert [(line["member"], line["kind"], line["level"]) for line in ends] == [("engine-x", "engine", "debug")]
    begun = [line for line in mine if line["event"] == "std.noop begins"]
    assert [line["member"] for line in begun] == ["executor-x"]
    assert begun[0]["task"]
    assert begun[0]["action"]


def test_a_benchmark_sweeps_the_number_of_engines(place: Path) -> None:
    gregale(
        *("bench", "run", "--lab", "--workflows", "sequence", "--n", "5", "--executions", "4", "--engines", "1,2"),
        *("--share", "engine=0.5", "--per-engine", "--json", "found.json", "--plot", "found.svg"),
        cwd=place,
    )
    one, two = json.loads((place / "found.json").read_text())["cells"]
    assert [(c["engines"], c["executions"], c["wrong"]) for c in (one, two)] == [(1, 4, []), (2, 8, [])]
    assert set(two["cpu"]) == {"api-1", "engine-1", "engine-2", "executor-1", "database", "broker"}
    assert 0 < two["database_share"] + two["broker_share"] < 1
    assert two["memory"]["engine-2"] > 20
    assert (place / "found.svg").read_text().startswith("<?xml")
