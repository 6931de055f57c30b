"""Events that wait to be decided, taken from trees in turn, so that one huge execution does not starve the others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection

import msgspec

from gregale.bus import Delivery
from gregale.core import Decision, Event, Execution, Work
from gregale.core.partition import partition_of


class Job(msgspec.Struct, eq=False):
    """Something to decide: an event for an execution, or a new execution. `done` gets the outcome, `delivery` the ack.

    `fresh`: the rows have something to say about this tree that memory may not know. `row`: what a new execution's row was, for who
    does not remember it.
    """

    root_id: str
    execution_id: str
    event: Event | None
    create: Callable[[Decision], Work] | None = None
    delivery: Delivery | None = None
    done: asyncio.Future[Execution] | None = None
    failed: int = 0
    fresh: bool = False
    row: str | None = None


class Inbox:
    """Jobs by tree. `wake` is set whenever something may be taken."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._trees: OrderedDict[str, deque[Job]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._trees)

    def __len__(self) -> int:
        """Trees that wait."""
        return len(self._trees)

    def holds(self, partitions: Collection[int]) -> bool:
        """Whether something of these partitions waits."""
        return any(partition_of(root_id) in partitions for root_id in self._trees)

    def put(self, job: Job) -> None:
        self._trees.setdefault(job.root_id, deque()).append(job)
        self.wake.set()

    def put_back(self, jobs: list[Job]) -> None:
        """Jobs that were taken, to be taken again before anything else of their trees."""
        for job in reversed(jobs):
            self._trees.setdefault(job.root_id, deque()).appendleft(job)
        self.wake.set()

    def take(self, most: int, per_tree: int, busy: Collection[str]) -> dict[str, list[Job]]:
        """Up to `most` jobs, at most `per_tree` of each tree that is not busy; trees with more go to the end of the line."""
        groups: dict[str, list[Job]] = {}
        room = most
        for root_id in list(self._trees):
            if room <= 0:
                break
            if root_id in busy:
                continue
            waiting = self._trees[root_id]
            number = min(len(waiting), per_tree, room)
            groups[root_id] = [waiting.popleft() for _ in range(number)]
            room -= number
            if waiting:
                self._trees.move_to_end(root_id)
            else:
                del self._trees[root_id]
        return groups
