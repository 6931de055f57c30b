"""What a benchmark found: one cell per workflow, size and number of nodes; kept in a file, shown, and compared with another."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
from rich.table import Table

from gregale import __version__
from gregale.bench.arrivals import Run
from gregale.bench.shapes import Reference

_PERCENTILES = (50, 90, 95, 99)


class ResultsError(Exception):
    """A file that holds no results."""


class Cell(msgspec.Struct, frozen=True):
    """Times in seconds. `ms_per_task`: an execution's time by its tasks, items counted as tasks. `tasks_per_second` over the whole
    measurement. `cpu`: CPUs in use on average, by process; `memory`: MB at its end. Shares are parts of all CPU time that was used."""

    workflow: str
    n: int
    x: int
    units: int
    engines: int
    executors: int
    load: str
    executions: int
    seconds: float
    minimum: float
    average: float
    maximum: float
    percentiles: dict[str, float]
    ms_per_task: float
    tasks_per_second: float
    wrong: tuple[str, ...] = ()
    cpu: dict[str, float] = {}
    memory: dict[str, float] = {}
    database_share: float | None = None
    broker_share: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        return self.workflow, self.n, self.x, self.engines, self.executors, self.load


class Results(msgspec.Struct, frozen=True):
    """`settings`: how it was measured; `hardware`: on what."""

    hardware: dict[str, Any]
    settings: dict[str, Any]
    cells: list[Cell]


def hardware() -> dict[str, Any]:
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    return {
        "cpus": os.cpu_count(),
        "cpu": model or platform.processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "gregale": __version__,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def cell(
    reference: Reference,
    size: tuple[int, int],
    nodes: tuple[int, int],
    load: str,
    runs: Sequence[Run],
    cpu: dict[str, float],
    memory: dict[str, float],
) -> Cell:
    """`cpu`: seconds of it that each process used meanwhile."""
    took = sorted(run.took for run in runs)
    seconds = max(run.ended for run in runs) - min(run.began for run in runs)
    used = sum(cpu.values())
    average = statistics.fmean(took)
    right = sum(run.wrong is None for run in runs)
    return Cell(
        workflow=reference.name,
        n=size[0],
        x=size[1],
        units=reference.units,
        engines=nodes[0],
        executors=nodes[1],
        load=load,
        executions=len(runs),
        seconds=seconds,
        minimum=took[0],
        average=average,
        maximum=took[-1],
        percentiles={f"p{p}": percentile(took, p) for p in _PERCENTILES},
        ms_per_task=average / reference.units * 1000,
        tasks_per_second=right * reference.units / seconds,
        wrong=tuple(run.wrong for run in runs if run.wrong is not None),
        cpu={name: spent / seconds for name, spent in cpu.items()},
        memory=memory,
        database_share=cpu["database"] / used if used and "database" in cpu else None,
        broker_share=cpu["broker"] / used if used and "broker" in cpu else None,
    )


def percentile(ordered: Sequence[float], p: float) -> float:
    """The smallest value that p percent do not exceed (nearest rank)."""
    return ordered[max(0, min(len(ordered) - 1, -(-len(ordered) * int(p * 100) // 10_000) - 1))]


def read(path: Path) -> Results:
    """Raises ResultsError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError) as e:
        raise ResultsError(f"{path}: {e}") from None


def table(results: Results) -> Table:
    about = ", ".join(f"{k} {v}" for k, v in results.settings.items())
    machine = "{cpus} × {cpu}, {memory_gib} GiB, {system}, Python {python}, load {load_before}".format(
        **results.hardware
    )
    shown = Table(title=f"{about}\n{machine}", caption="times in ms; db and broker: their part of all CPU time")
    for name in (
        "workflow",
        "n",
        "x",
        "engines",
        "executors",
        "load",
        "runs",
        "min",
        "avg",
        "p50",
        "p95",
        "p99",
        "max",
    ):
        shown.add_column(name, justify="left" if name in ("workflow", "load") else "right")
    for name in ("ms/task", "tasks/s", "db", "broker", "cpu", "MB", "wrong"):
        shown.add_column(name, justify="right")
    for c in results.cells:
        times = (c.minimum, c.average, c.percentiles["p50"], c.percentiles["p95"], c.percentiles["p99"], c.maximum)
        shown.add_row(
            c.workflow,
            f"{c.n:,}",
            f"{c.x}",
            str(c.engines),
            str(c.executors),
            c.load,
            str(c.executions),
            *(f"{t * 1000:,.1f}" for t in times),
            f"{c.ms_per_task:.2f}",
            f"{c.tasks_per_second:,.0f}",
            _part(c.database_share),
            _part(c.broker_share),
            f"{sum(c.cpu.values()):.2f}" if c.cpu else "",
            f"{sum(c.memory.values()):,.0f}" if c.memory else "",
            f"[red]{len(c.wrong)}[/]" if c.wrong else "0",
        )
    return shown


def processes(results: Results) -> Table:
    """CPU and memory by process."""
    shown = Table(title="CPUs in use, and MB at the end, by process")
    names = list(dict.fromkeys(name for c in results.cells for name in c.cpu))
    for name in ("workflow", "n", "engines", "executors", *names):
        shown.add_column(name, justify="left" if name == "workflow" else "right")
    for c in results.cells:
        each = (f"{c.cpu[n]:.2f} {c.memory.get(n, 0):,.0f} MB" if n in c.cpu else "" for n in names)
        shown.add_row(c.workflow, f"{c.n:,}", str(c.engines), str(c.executors), *each)
    return shown


def _part(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def compared(before: Results, after: Results) -> tuple[Table, list[str]]:
    """Cell by cell, where both have it: times and throughput as ratios, and the cells that only one of them has."""
    old, new = ({c.key: c for c in r.cells} for r in (before, after))
    shown = Table(title="the second beside the first; tasks/s above 1 and times below 1 are better")
    for name in ("workflow", "n", "x", "engines", "executors", "load", "tasks/s", "", "ratio", "p50 ms", "", "ratio"):
        shown.add_column(name, justify="left" if name in ("workflow", "load") else "right")
    for key in (k for k in old if k in new):
        a, b = old[key], new[key]
        faster, slower = b.tasks_per_second / a.tasks_per_second, b.percentiles["p50"] / a.percentiles["p50"]
        shown.add_row(
            *(f"{k:,}" if isinstance(k, int) else k for k in key),
            f"{a.tasks_per_second:,.0f}",
            f"{b.tasks_per_second:,.0f}",
            f"[{'green' if faster >= 1 else 'red'}]{faster:.2f}[/]",
            f"{a.percentiles['p50'] * 1000:,.1f}",
            f"{b.percentiles['p50'] * 1000:,.1f}",
            f"[{'green' if slower <= 1 else 'red'}]{slower:.2f}[/]",
        )
    return shown, [" ".join(map(str, k)) for k in old.keys() ^ new.keys()]
