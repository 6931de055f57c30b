"""Timers of owned partitions, in memory: those that this engine made, and those that rows say are due soon."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from gregale.core import Timer, TimerFired
from gregale.core.partition import partition_of
from gregale.engine.inbox import Job

Key = tuple[str, str, int]


class Timers:
    """`submit` gets the job of each timer when it is due by `clock`; rows are the truth, so that one may be missing here."""

    def __init__(self, clock: Callable[[], float], submit: Callable[[Job], None]):
        self._clock = clock
        self._submit = submit
        self._heap: list[tuple[float, Key, str, Timer]] = []
        self._known: set[Key] = set()

    def add(self, root_id: str, timer: Timer) -> None:
        key = (timer.task_id, timer.kind, timer.stamp)
        if key not in self._known:
            self._known.add(key)
            heapq.heappush(self._heap, (timer.due, key, root_id, timer))

    def drop(self, partitions: set[int]) -> None:
        """Forget the timers of partitions that others own now."""
        kept = [entry for entry in self._heap if partition_of(entry[2]) not in partitions]
        self._known = {entry[1] for entry in kept}
        heapq.heapify(kept)
        self._heap = kept

    async def run(self) -> None:
        while True:
            now = self._clock()
            while self._heap and self._heap[0][0] <= now:
                _, key, root_id, timer = heapq.heappop(self._heap)
                self._known.discard(key)
                self._submit(Job(root_id, timer.execution_id, TimerFired(timer.task_id, timer.kind, timer.stamp)))
            wait = min(0.5, self._heap[0][0] - now) if self._heap else 0.5
            await asyncio.sleep(max(0.001, wait))
