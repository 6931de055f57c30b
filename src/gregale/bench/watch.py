"""Notices when executions end, by asking for those that have not: one question for all of them, whatever their number."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from gregale.bench.target import UNFINISHED, Target, TargetError

_SOONEST = 0.001
_PART = 0.05
"""It is asked again after this part of what executions take on average: their ends are known as precisely, and asking costs little."""

_QUIET = 0.7
"""Nor is it asked before this part of the average has passed, where that is long: on few cores the questions would slow down what
they ask about."""
_SHORT = 0.05


class Watch:
    """`async with Watch(target, workflow) as watch:`; seconds of patience for each execution."""

    def __init__(self, target: Target, name: str, patience: float = 600.0):
        self._target = target
        self._name = name
        self._patience = patience
        self._waiting: dict[str, tuple[float, asyncio.Future[float]]] = {}
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._average = 0.0

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def ended(self, execution_id: str) -> float:
        """When it was seen to have ended, by the performance counter. Raises TargetError."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[execution_id] = (time.perf_counter(), future)
        self._some.set()
        return await future

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._some.clear()
                await self._some.wait()
                await asyncio.sleep(self._quiet)
            before = set(self._waiting)
            try:
                running = await self._running(before)
            except TargetError as e:
                self._fail(before, e)
                continue
            now = time.perf_counter()
            for key in before - running:
                began, future = self._waiting.pop(key)
                self._average += ((now - began) - self._average) * 0.2
                future.set_result(now)
            late = {k for k in before & running if now - self._waiting[k][0] > self._patience}
            self._fail(late, TargetError(f"not ended after {self._patience:.0f} s: {', '.join(sorted(late)[:3])}"))
            oldest = min((began for began, _ in self._waiting.values()), default=now)
            pause = max(_SOONEST, (self._average or now - oldest) * _PART)
            await asyncio.sleep(max(pause, oldest + self._quiet - now))

    @property
    def _quiet(self) -> float:
        return max(0.0, self._average * _QUIET - _SHORT)

    async def _running(self, asked: set[str]) -> set[str]:
        if len(asked) > 1:
            return await self._target.running(self._name)
        [key] = asked
        return asked if (await self._target.execution(key))["state"] in UNFINISHED else set()

    def _fail(self, keys: set[str], error: TargetError) -> None:
        for key in keys:
            self._waiting.pop(key)[1].set_exception(error)
