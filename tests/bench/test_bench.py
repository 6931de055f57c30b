"""The benchmark measures what it says, and sees when something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gregale.actions import ActionSettings, Registry
from gregale.bench import arrivals, plot, results
from gregale.bench.core import once, spec
from gregale.bench.places import OneProcess, cpu, memory
from gregale.bench.results import percentile
from gregale.bench.shapes import SHAPES
from gregale.bench.target import Target, TargetError
from gregale.lab.share import Share

NOOP = {"action": "std.noop"}


@pytest.fixture(scope="module")
def served() -> Iterator[OneProcess]:
    with OneProcess({}) as place:
        yield place


def gregale(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gregale.cli.main", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (30, 2)])
def test_a_reference_workflow_has_the_tasks_and_the_output_that_it_promises(name: str, size: tuple[int, int]) -> None:
    reference = SHAPES[name](*size, NOOP)
    once(spec(reference), reference, Registry(ActionSettings(plugins=False)))  # raises where the output differs


def test_a_run_over_the_api_is_checked_shown_kept_and_drawn(served: OneProcess, tmp_path: Path) -> None:
    kept, drawn = tmp_path / "r.json", tmp_path / "r.svg"
    shown = gregale(
        *("bench", "run", "--url", served.url, "--n", "3,6", "--x", "2", "--executions", "3"),
        *("--json", str(kept), "--plot", str(drawn)),
    )
    assert "sequences-joined" in shown
    found = results.read(kept)
    assert [(c.workflow, c.n) for c in found.cells] == [(w, n) for w in SHAPES for n in (3, 6)]
    for cell in found.cells:
        assert cell.wrong == ()
        assert cell.executions == 3
        assert 0 < cell.minimum <= cell.percentiles["p50"] <= cell.maximum
        assert cell.tasks_per_second > 0
    assert found.hardware["cpus"] == os.cpu_count()
    assert drawn.read_text().startswith("<?xml")
    assert "sequence" in gregale("bench", "compare", str(kept), str(kept))
    assert "1.00" in gregale("bench", "compare", str(kept), str(kept))


def test_arrivals_at_fixed_times_wait_for_no_one_and_count_the_wait(served: OneProcess) -> None:
    reference = SHAPES["sequence"](1, 1, {"action": "std.echo", "input": {"output": 1, "delay": 0.3}})

    async def run() -> list[arrivals.Run]:
        async with Target(served.url) as target:
            name = await target.define(reference)
            return await arrivals.opened(target, reference, name, 10, 20.0, lambda: None)

    runs = asyncio.run(run())
    assert [r.wrong for r in runs] == [None] * 10
    assert runs[-1].began - runs[0].began == pytest.approx(0.45)  # although each takes longer than the next one's turn
    assert all(r.took >= 0.3 for r in runs)


def test_what_ends_wrong_is_named_and_the_run_fails(served: OneProcess, tmp_path: Path) -> None:
    reference = SHAPES["sequence"](2, 1, NOOP)

    async def run() -> list[str | None]:
        async with Target(served.url) as target:
            name = await target.define(reference)
            [done] = await arrivals.closed(target, reference, name, 1, 1, lambda: None)
            assert done.wrong is None
            key = await target.start(name, {})
            await asyncio.sleep(0)
            while (found := await target.execution(key))["state"] == "RUNNING":
                await asyncio.sleep(0.01)
            more_tasks = msgspec.structs.replace(reference, tasks=3)
            other_output = msgspec.structs.replace(reference, output={"t": 3})
            return [
                await target.wrong(found, more_tasks),
                await target.wrong(found, other_output),
                await target.wrong({**found, "state": "ERROR"}, reference),
            ]

    tasks, output, state = asyncio.run(run())
    assert "has 2 tasks" in str(tasks)
    assert "gave {'t': 2}" in str(output)
    assert "ended in ERROR" in str(state)
    failed = gregale(
        "bench", "run", "--url", served.url, "--n", "2", "--workflows", "sequence", "--action", "std.fail", code=1
    )
    assert "did not end as they must" in failed


def test_a_server_that_is_not_there_and_bad_arguments_are_errors_in_one_line(tmp_path: Path) -> None:
    assert "error:" in gregale("bench", "run", "--url", "http://127.0.0.1:1", "--n", "2", code=1)
    for wrong in (["--n", "0"], ["--n", "ten"], ["--workflows", "star"], ["--db", "oracle"], ["--share", "engine=2"]):
        said = gregale("bench", "run", "--url", "http://127.0.0.1:1", *wrong, code=2)
        assert "Traceback" not in said
    (tmp_path / "no.json").write_text("{}")
    assert "error:" in gregale("bench", "compare", str(tmp_path / "no.json"), str(tmp_path / "no.json"), code=1)


def test_use_of_cpu_and_memory_is_that_of_the_process(served: OneProcess) -> None:
    processes = served.processes()
    before = cpu(processes)["serve"]
    asyncio.run(_ask(served.url, 50))
    assert cpu(processes)["serve"] > before
    assert 20 < memory(processes)["serve"] < 1000


async def _ask(url: str, number: int) -> None:
    async with Target(url) as target:
        for _ in range(number):
            await target.ask("GET", "/executions?limit=1")
        with pytest.raises(TargetError, match="404"):
            await target.execution("nobody")


def test_a_share_of_cpu_is_kept_to() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        share = Share(busy.pid, 0.2)
        began, before = time.monotonic(), cpu({"busy": busy.pid})["busy"]
        while cpu({"busy": busy.pid})["busy"] - before < 0.4:
            assert time.monotonic() - began < 60, "it was not let on"
            time.sleep(0.01)
        assert time.monotonic() - began > 1.2  # half as fast again as its share, for what it may save up
        share.close()
    finally:
        busy.kill()
        busy.wait()


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(i) for i in range(1, 101)]
    assert [percentile(values, p) for p in (50, 90, 99)] == [50.0, 90.0, 99.0]
    assert percentile([3.0], 99) == 3.0


def test_curves_are_over_what_was_varied() -> None:
    def cell(n: int, engines: int, speed: float) -> results.Cell:
        times = {"p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0}
        return results.Cell("sequence", n, 1, n, engines, 1, "8 at once", 1, 1.0, 1.0, 1.0, 1.0, times, speed, speed)

    sizes = plot.text(results.Results({}, {}, [cell(10, 1, 2.0), cell(100, 1, 1.0)]))
    assert "ms per task by n" in sizes
    assert "× 0.50" in sizes
    nodes = plot.text(results.Results({}, {}, [cell(10, 1, 100.0), cell(10, 2, 190.0)]))
    assert "tasks/s by engines" in nodes
    assert "× 1.90" in nodes


@pytest.mark.long
def test_rally_runs_the_same_workflows(served: OneProcess, tmp_path: Path) -> None:
    rally = shutil.which("rally", path=str(Path(sys.executable).parent))
    if rally is None:
        if os.environ.get("CI"):
            pytest.fail("rally is not installed")
        pytest.skip("rally is not installed: pip install 'gregale[rally]'")
    (tmp_path / "rally.conf").write_text(f"[database]\nconnection = sqlite:///{tmp_path}/rally.sqlite\n")
    subtasks = [
        {
            "title": name,
            "scenario": {"GregaleWorkflows.run": {"url": served.url, "workflow": name, "n": 4, "x": 2}},
            "runner": {"constant": {"times": 1, "concurrency": 1}},
            "sla": {"failure_rate": {"max": 0}},
        }
        for name in SHAPES
    ]
    (tmp_path / "task.json").write_text(json.dumps({"version": 2, "title": "all", "subtasks": subtasks}))

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [rally, "--config-file", str(tmp_path / "rally.conf"), *arguments],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("db", "create")
    run("env", "create", "--name", "bench", "--no-use")
    run("task", "start", "--env", "bench", str(tmp_path / "task.json"))
    report = tmp_path / "report.json"
    run("task", "report", "--json", "--out", str(report))
    found: dict[str, Any] = json.loads(report.read_text())
    workloads = [w for t in found["tasks"] for s in t["subtasks"] for w in s["workloads"]]
    assert len(workloads) == len(SHAPES)
    assert all(w["total_iteration_count"] == 1 and w["failed_iteration_count"] == 0 for w in workloads)
