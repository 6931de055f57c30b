"""Executions as load: a fixed number at a time for throughput, or at fixed times whatever the server does, for latency."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from gregale.bench.shapes import Reference
from gregale.bench.target import Target, TargetError
from gregale.bench.watch import Watch


class Run(msgspec.Struct, frozen=True):
    """One execution. `began` is when it was due, so that a server that is late in taking it does not hide the wait (coordinated
    omission); seconds of a monotonic clock. `wrong`: why it does not count."""

    began: float
    ended: float
    wrong: str | None

    @property
    def took(self) -> float:
        return self.ended - self.began


async def _one(target: Target, watch: Watch, reference: Reference, name: str, due: float) -> Run:
    try:
        key = await target.start(name, reference.input)
        ended = await watch.ended(key)
        return Run(due, ended, await target.wrong(await target.execution(key), reference))
    except TargetError as e:
        return Run(due, time.perf_counter(), str(e))


async def closed(
    target: Target, reference: Reference, name: str, number: int, at_once: int, tell: Callable[[], None]
) -> list[Run]:
    """`number` executions, `at_once` at a time: each client starts the next when its own has ended."""
    left = iter(range(number))
    runs: list[Run] = []

    async def client(watch: Watch) -> None:
        for _ in left:
            runs.append(await _one(target, watch, reference, name, time.perf_counter()))
            tell()

    async with Watch(target, name) as watch:
        await asyncio.gather(*(client(watch) for _ in range(min(number, at_once))))
    return runs


async def opened(
    target: Target, reference: Reference, name: str, number: int, rate: float, tell: Callable[[], None]
) -> list[Run]:
    """`number` executions, `rate` a second."""
    first = time.perf_counter()

    async def arrive(watch: Watch, i: int) -> Run:
        due = first + i / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        run = await _one(target, watch, reference, name, due)
        tell()
        return run

    async with Watch(target, name) as watch:
        return list(await asyncio.gather(*(arrive(watch, i) for i in range(number))))
