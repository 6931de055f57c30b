"""The speed that Gregale is to reach on a machine of two cores, measured on it with default settings: a table of goals and figures."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from gregale.bench import sweep
from gregale.bench.arrivals import closed
from gregale.bench.places import Cluster, OneProcess, Place, memory
from gregale.bench.results import hardware, percentile
from gregale.bench.shapes import NOOP, SHAPES, Body, Reference, about
from gregale.bench.target import Target, TargetError
from gregale.cluster import ClusterSettings
from gregale.lab import LabError

_BY_EXECUTORS = {"engine.inline": False}
_RUNNING = 10_000


class Figure(msgspec.Struct, frozen=True):
    """`goal` and `found` as they are shown; `met`: whether it is reached."""

    what: str
    goal: str
    found: str
    met: bool


def _silent(label: str, part: float) -> None:
    del label, part


def _rate(place: Place, reference: Reference, executions: int, at_once: int) -> float:
    """Tasks a second."""

    async def run() -> float:
        async with Target(place.url) as target:
            name = await target.define(reference)
            await closed(target, reference, name, at_once, at_once, lambda: None)
            runs = await closed(target, reference, name, executions, at_once, lambda: None)
            if wrong := [r.wrong for r in runs if r.wrong]:
                raise AssertionError(wrong[0])
            return executions * reference.units / (max(r.ended for r in runs) - min(r.began for r in runs))

    return asyncio.run(run())


def _times(place: Place, reference: Reference, executions: int) -> list[float]:
    """Milliseconds of executions one after the other on an idle system, in order."""

    async def run() -> list[float]:
        async with Target(place.url) as target:
            name = await target.define(reference)
            await closed(target, reference, name, 20, 1, lambda: None)
            runs = await closed(target, reference, name, executions, 1, lambda: None)
            return sorted(r.took * 1000 for r in runs)

    return asyncio.run(run())


def _throughput(place: Place, goal: int, what: str) -> Iterator[Figure]:
    for name in ("parallel", "sequence"):
        found = _rate(place, SHAPES[name](100, 1, NOOP), 100, 32)
        wanted = goal if name == "parallel" else 0
        yield Figure(
            f"{what}: {name} of 100, 32 at once", f"{goal:,}/s" if wanted else "", f"{found:,.0f}/s", found >= wanted
        )


def _latency(place: Place, one: tuple[float, float], step: float, how: str = "") -> Iterator[Figure]:
    times = _times(place, SHAPES["sequence"](1, 1, NOOP), 300)
    p50, p99 = percentile(times, 50), percentile(times, 99)
    yield Figure(
        f"an execution of one task, idle, p50 / p99{how}",
        f"{one[0]:g} / {one[1]:g} ms",
        f"{p50:.1f} / {p99:.1f} ms",
        p50 <= one[0] and p99 <= one[1],
    )
    found = percentile(_times(place, SHAPES["sequence"](50, 1, NOOP), 30), 50) / 50
    yield Figure(f"a step of a sequence, idle, p50{how}", f"{step:g} ms", f"{found:.2f} ms", found <= step)


def _growth(place: Place, sizes: tuple[int, ...]) -> Iterator[Figure]:
    """One execution at a time."""
    for name in SHAPES:
        per_task = {}
        for n in sizes:
            reference = about(name, n)
            per_task[n] = 1 / _rate(place, reference, max(1, min(20, 4_000 // reference.units)), 1)
        worst = max(per_task[n] / per_task[sizes[0]] for n in sizes[1:])
        shown = ", ".join(f"{per_task[n] / per_task[sizes[0]]:.2f}" for n in sizes[1:])
        yield Figure(
            f"time per task, {name}, at n = {', '.join(f'{n:,}' for n in sizes[1:])} by {sizes[0]}",
            "1.2",
            shown,
            worst <= 1.2,
        )


_EXPRESSIONS: Body = {
    "input": {"output": "<% $.t + 1 %>"},
    "publish": {"a": "<% $.t * 2 + 1 %>", "b": "<% $.t > 3 and $.t < 1000 %>", "c": "<% [$.t, $.t + 1] %>"},
}


def _expressions(place: Place) -> Iterator[Figure]:
    plain = SHAPES["sequence"](100, 1, {"action": "std.echo", "input": {"output": 1}})
    tasks = {
        name: {**body, **_EXPRESSIONS, "publish": {**_EXPRESSIONS["publish"], **body["publish"]}}
        for name, body in plain.body["tasks"].items()
    }
    bare = {name: {k: v for k, v in body.items() if k != "publish"} for name, body in plain.body["tasks"].items()}
    heavy = msgspec.structs.replace(plain, body={**plain.body, "tasks": tasks})
    without = msgspec.structs.replace(plain, body={"tasks": bare}, output={})
    found = max(0.0, _rate(place, without, 60, 8) / _rate(place, heavy, 60, 8))
    yield Figure("five expressions per task, by the same without", "1.5", f"{found:.2f}", found <= 1.5)


def _items(place: Place, process: str) -> Iterator[Figure]:
    text = {"action": "std.echo", "input": {"output": "x" * 1024}}
    per_item, most = {}, 0.0
    for n in (1_000, 10_000):
        per_item[n] = 1 / _rate(place, SHAPES["with-items"](n, 1, text), 10_000 // n, 1)
        most = max(most, memory(place.processes())[process])
    ratio = per_item[10_000] / per_item[1_000]
    yield Figure(
        "10,000 items with results of 1 kB: time per item by that of 1,000", "1.2", f"{ratio:.2f}", ratio <= 1.2
    )
    yield Figure("the same: memory of the engine", "250 MB", f"{most:.0f} MB", most < 250)


async def _many(number: int, at_once: int, ask: Callable[[int], Awaitable[object]]) -> float:
    """Requests a second."""
    left = iter(range(number))

    async def client() -> None:
        for i in left:
            await ask(i)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return number / (time.perf_counter() - began)


def _requests(place: Place) -> Iterator[Figure]:
    async def run() -> list[tuple[str, int, float]]:
        async with Target(place.url) as target:
            name = await target.define(SHAPES["sequence"](1, 1, NOOP))
            made: list[str] = []

            async def start(i: int) -> None:
                del i
                made.append(await target.start(name, {}))

            async def get(i: int) -> None:
                await target.execution(made[i % len(made)])

            async def page(i: int) -> None:
                del i
                await target.ask("GET", "/executions?limit=100&sort_keys=created_at&sort_dirs=desc")

            posts = await _many(3_000, 32, start)
            await asyncio.sleep(5)
            return [
                ("POST /v2/executions", 500, posts),
                ("GET of an execution", 1_000, await _many(5_000, 32, get)),
                ("a list of 100", 200, await _many(1_000, 16, page)),
            ]

    for what, goal, found in asyncio.run(run()):
        yield Figure(f"{what}, one api process", f"{goal:,}/s", f"{found:,.0f}/s", found >= goal)


_WAITING = json.dumps(
    {
        "version": "2.0",
        "waiting": {
            "tasks": {
                **{f"t{i}": {"action": "std.noop"} for i in range(8)},
                "wait": {"action": "std.async_noop", "on-success": ["last"]},
                "last": {"action": "std.noop"},
            }
        },
    }
)
"""Ten tasks, one of which waits for somebody to complete it."""


def _takeover(place: Cluster) -> Iterator[Figure]:
    """Memory of an engine with many running executions; then it is killed, and another one has to go on with them."""
    place.scale(1, 1)
    asyncio.run(_fill(place.url))
    used = memory(place.processes())["engine-1"]
    yield Figure(
        f"memory of an engine with {_RUNNING:,} running executions of 10 tasks", "400 MB", f"{used:.0f} MB", used < 400
    )
    place.scale(2, 1)
    lease = ClusterSettings().lease
    took = asyncio.run(_go_on(place, lease))
    yield Figure(
        f"{_RUNNING:,} executions taken over after a crash, beyond the lease of {lease:g} s",
        "5 s",
        f"{took:.1f} s",
        took <= 5,
    )


async def _fill(url: str) -> None:
    async with Target(url) as target:
        await target.ask("POST", "/workflows", _WAITING, 201)
        await _many(_RUNNING, 32, lambda _: target.start("waiting", {}))
        while (await target.ask("GET", "/tasks?name=t7&state=SUCCESS&limit=1"))["tasks"] == []:
            await asyncio.sleep(0.1)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:  # until the last has been started
            waiting = await target.ask("GET", "/executions?state=RUNNING&limit=1&sort_keys=created_at&sort_dirs=desc")
            tasks = await target.ask("GET", f"/executions/{waiting['executions'][0]['id']}/tasks")
            if sum(t["state"] == "SUCCESS" for t in tasks["tasks"]) == 8:
                return
            await asyncio.sleep(0.2)


async def _go_on(place: Cluster, lease: float) -> float:
    """Seconds beyond the lease until a sample of them has ended, whatever their partition."""
    async with Target(place.url) as target:
        page = await target.ask("GET", "/action_executions?state=RUNNING&name=std.async_noop&limit=500")
        place.kill("engine-1")
        died = time.monotonic()
        ids = [one["id"] for one in page["action_executions"]]

        async def complete(i: int) -> None:
            await target.ask("PUT", f"/action_executions/{ids[i]}", {"state": "SUCCESS", "output": "{}"})

        await _many(len(ids), 32, complete)
        while True:
            found = await target.ask("GET", "/tasks?name=last&state=SUCCESS&fields=id&limit=1000")
            if len(found["tasks"]) >= len(ids):
                return max(0.0, time.monotonic() - died - lease)
            await asyncio.sleep(0.05)


def _scaling(database: str) -> Iterator[Figure]:
    """Once with a load that grows with the engines, once with the same load for all: with it, more engines have smaller batches."""
    with Cluster(database, dict(_BY_EXECUTORS), {"engine": 0.1}) as place:
        for at_once, grows, what in (
            (100, True, "each with 100 executions at once"),
            (200, False, "200 executions at once among them"),
        ):
            plan = sweep.Plan(
                ("sequence",), (20,), engines=(1, 2, 4), executions=2 * at_once, at_once=at_once, per_engine=grows
            )
            speeds = [cell.tasks_per_second for cell in sweep.run(place, plan, {}, _silent).cells]
            by = [speed / speeds[0] for speed in speeds]
            shown = f"{by[1]:.2f} and {by[2]:.2f} ({', '.join(f'{speed:.0f}/s' for speed in speeds)})"
            goal = "1.8 and 3.2" if grows else ""
            met = (by[1] >= 1.8 and by[2] >= 3.2) or not goal
            yield Figure(f"engines held to 10 % of a CPU, {what}: 2 and 4 of them by 1", goal, shown, met)


@contextmanager
def _cluster(database: str, settings: dict[str, Any]) -> Iterator[Cluster]:
    with Cluster(database, settings, {}) as place:
        place.scale(1, 1)
        yield place


def figures(database: str) -> Iterator[Figure]:
    """Each as soon as it is known."""
    if database == "sqlite":
        with OneProcess({}) as place:
            yield from _throughput(place, 3_000, "one process, trivial actions in place")
            yield from _latency(place, (5, 20), 3)
            yield from _growth(place, (10, 1_000, 10_000))
        with OneProcess(dict(_BY_EXECUTORS)) as place:
            yield from _throughput(place, 0, "one process, through its executor")
            yield from _latency(place, (5, 20), 3, ", through its executor")
            yield from _expressions(place)
        with OneProcess({}) as place:
            yield from _items(place, "serve")
        return
    with _cluster(database, dict(_BY_EXECUTORS)) as place:
        yield from _latency(place, (10, 50), 8)
        yield from _throughput(place, 1_000, "through an executor")
        yield from _expressions(place)
    with _cluster(database, {}) as place:
        yield from _throughput(place, 0, "trivial actions in place")
        yield from _growth(place, (10, 1_000, 10_000))
        yield from _requests(place)
    with _cluster(database, {}) as place:
        yield from _items(place, "engine-1")
    with _cluster(database, {}) as place:
        yield from _takeover(place)
    yield from _scaling(database)


def main(
    db: Annotated[
        str, typer.Option("--db", help="postgresql or mariadb, with RabbitMQ; or sqlite, in one process.")
    ] = "postgresql",
    out: Annotated[Path | None, typer.Option("--json", help="Keep the figures in a file.")] = None,
) -> None:
    """Measure the goals of docs/performance.md on this machine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended in the way out
    console = Console()
    found = []
    try:
        for figure in figures(db):
            found.append(figure)
            console.print(f"{'met   ' if figure.met else 'MISSED'} {figure.what}: {figure.found}", highlight=False)
    except (TargetError, LabError) as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(1) from None
    table = Table("what", "goal", db, title=str(hardware()))
    for figure in found:
        table.add_row(figure.what, figure.goal, figure.found, style="" if figure.met else "red")
    console.print(table)
    if out is not None:
        out.write_bytes(msgspec.json.format(msgspec.json.encode({"hardware": hardware(), "figures": found})))
