"""A value that is asked for often and may be a little old: most who ask do not wait for the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Gives what `ask` gave, and asks again in the background once that is older than `fresh` seconds."""

    def __init__(self, ask: Callable[[], Awaitable[T]], fresh: float):
        self._ask = ask
        self._fresh = fresh
        self._known: tuple[float, T] | None = None
        self._asking: asyncio.Task[T] | None = None

    async def get(self, oldest: float) -> T:
        """Waits for an answer where there is none that is at most `oldest` seconds old. Raises what `ask` raises."""
        now = asyncio.get_running_loop().time()
        known = self._known
        if (known is None or now - known[0] > self._fresh) and self._asking is None:
            self._asking = asyncio.create_task(self._again(now))
            self._asking.add_done_callback(self._asked)
        if known is not None and (self._asking is None or now - known[0] <= oldest):
            return known[1]
        assert self._asking is not None
        return await asyncio.shield(self._asking)

    def forget(self) -> None:
        """What is known is not true any more."""
        self._known = self._asking = None

    async def _again(self, now: float) -> T:
        value = await self._ask()
        if self._asking is asyncio.current_task():  # else it may be from before it was to be forgotten
            self._known = (now, value)
        return value

    def _asked(self, task: asyncio.Task[T]) -> None:
        if self._asking is task:
            self._asking = None
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits; the next who asks asks again
