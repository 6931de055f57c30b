"""Commands of the core as messages. What the broker does not take waits here and goes out when it is back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

import msgspec

from gregale.bus import Bus, BusUnavailable, Message, RunActionMessage, StartMessage, encode
from gregale.bus.messages import INLINE, SMALL, actions_queue, engine_queue
from gregale.core import Execution, RunAction, StartExecution
from gregale.core.partition import partition_of
from gregale.core.work import Command
from gregale.store import rows

log = logging.getLogger("gregale.engine")

_KEPT = 10_000
"""Messages of a queue at most; the rows explain all that are dropped, and the sweep reads them."""
_TOGETHER = 500


class Publisher:
    """What waits does so by queue: one that the broker refuses does not hold up the others."""

    def __init__(self, bus: Bus):
        self._bus = bus
        self._waiting: dict[str, deque[bytes]] = {}
        self._late = asyncio.Event()

    async def send(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish `(queue, body)`, now or once the broker takes them."""
        by_queue: dict[str, list[bytes]] = {}
        for queue, body in messages:
            by_queue.setdefault(queue, []).append(body)
        await asyncio.gather(*(self._send(queue, bodies) for queue, bodies in by_queue.items()))

    async def _send(self, queue: str, bodies: list[bytes]) -> None:
        if queue in self._waiting:
            self._wait(queue, bodies)
            return
        try:
            await self._bus.publish(queue, bodies)
        except BusUnavailable as e:
            log.warning("%d messages wait for the broker: %s", len(bodies), e)
            self._wait(queue, bodies)

    def _wait(self, queue: str, bodies: list[bytes]) -> None:
        self._waiting.setdefault(queue, deque(maxlen=_KEPT)).extend(bodies)
        self._late.set()

    async def run(self) -> None:
        """Send what waits, again and again."""
        while True:
            await self._late.wait()
            self._late.clear()
            for queue in list(self._waiting):
                await self._flush(queue)
            if self._waiting:
                self._late.set()
                await asyncio.sleep(0.2)

    async def _flush(self, queue: str) -> None:
        waiting = self._waiting[queue]
        while waiting:
            bodies = [waiting.popleft() for _ in range(min(_TOGETHER, len(waiting)))]
            try:
                await self._bus.publish(queue, bodies)
            except BusUnavailable:
                waiting.extendleft(reversed(bodies))
                return
        del self._waiting[queue]


def message_of(execution: Execution, command: Command) -> tuple[str, bytes]:
    """`execution` as it was committed with the command."""
    root_id = execution.root_id
    if isinstance(command, StartExecution):
        row = rows.encode(rows.execution_row(execution)) if command.execution_id == execution.id else None
        message = StartMessage(command.execution_id, root_id, row if row is not None and len(row) <= SMALL else None)
        return engine_queue(partition_of(root_id)), encode(message)
    return actions_queue(command.target), encoded(run_message(root_id, command))


def encoded(message: RunActionMessage) -> bytes:
    """An input that is too large travels in the row of its action."""
    body = encode(message)
    if len(body) <= INLINE or message.stored:
        return body
    small: Message = msgspec.structs.replace(message, input={}, stored=True)
    return encode(small)


def run_message(root_id: str, command: RunAction) -> RunActionMessage:
    return RunActionMessage(
        command.action_id,
        command.execution_id,
        root_id,
        command.task_id,
        command.workflow_name,
        command.action,
        command.input,
        command.attempt,
        command.safe_rerun,
        command.is_sync,
        command.timeout,
    )
