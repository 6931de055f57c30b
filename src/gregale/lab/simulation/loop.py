"""An event loop without a world outside: when nothing can run, time goes on to the next thing that waits for it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

PROCESS: contextvars.ContextVar[Any] = contextvars.ContextVar("process", default=None)
"""The simulated process that a task belongs to."""


class Standstill(Exception):
    """Nothing can run, and nothing waits for a time."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` is virtual seconds. Tasks are registered with the process that created them."""

    def __init__(self) -> None:
        super().__init__()
        self.virtual = 0.0
        self._selector = self
        self.set_task_factory(_registered)  # type: ignore[arg-type]

    def time(self) -> float:
        return self.virtual

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Standstill
        self.virtual += timeout
        return []

    def close(self) -> None:
        super().close()

    def _process_events(self, event_list: Any) -> None:
        del event_list

    def _write_to_self(self) -> None:
        raise AssertionError("a thread has called into the simulation")


def _registered(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **kwargs: Any
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **kwargs)
    process = PROCESS.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
    return task


def in_process(process: Any, run: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
    """Start a coroutine as a task of a process."""
    context = contextvars.copy_context()
    context.run(PROCESS.set, process)
    return context.run(lambda: asyncio.get_running_loop().create_task(run()))
