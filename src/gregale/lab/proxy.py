"""TCP proxies, one for each link, with faults: cut it, hold it, slow it down, lose the reply to a COMMIT."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_CHUNK = 64 * 1024
_COMMIT = b"COMMIT"


class Links:
    """The thread in which the proxies of a lab run."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="lab-links")
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0.01))
            self.loop.close()

    def call(self, run: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(run, self.loop).result(10)

    def close(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(10)


class Proxy:
    """One link: a port of the loopback interface that leads to another one.

    `lost_replies` counts the replies that `drop_replies` has lost.
    """

    def __init__(self, links: Links, target_port: int):
        self.target_port = target_port
        self.lost_replies = 0
        self._links = links
        self._cut = False
        self._delay = 0.0
        self._dropping = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = links.call(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    def cut(self) -> None:
        """Reset every connection, and refuse new ones."""
        self._cut = True
        self._links.call(self._reset())

    def hold(self) -> None:
        """Carry nothing more, as a cable that was pulled: nobody is told."""
        self._links.loop.call_soon_threadsafe(self._flowing.clear)

    def slow(self, seconds: float) -> None:
        """Hold back everything that is sent for so long."""
        self._delay = seconds

    def drop_replies(self, number: int) -> None:
        """Lose the replies to the next commits, with their connections: nobody knows whether they were made."""
        self._dropping = number

    def mend(self) -> None:
        self._cut = False
        self._delay = 0.0
        self._dropping = 0
        self._links.loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        """The link of a component that is gone."""
        self._links.call(self._end())

    async def _end(self) -> None:
        self._server.close()
        await self._reset()

    async def _reset(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            theirs, out = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        both = (writer, out)
        self._writers.update(both)
        losing = asyncio.Event()
        carried = (
            asyncio.create_task(self._carry(reader, out, losing, True)),
            asyncio.create_task(self._carry(theirs, writer, losing, False)),
        )
        try:
            with suppress(asyncio.CancelledError):  # the proxy is closed
                await asyncio.wait(carried, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in carried:
                task.cancel()
            for end in both:
                self._writers.discard(end)
                end.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event, outward: bool
    ) -> None:
        with suppress(ConnectionError, OSError):
            while data := await reader.read(_CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._flowing.wait()
                if outward and self._dropping > 0 and _COMMIT in data[:64]:
                    self._dropping -= 1
                    losing.set()
                elif not outward and losing.is_set():
                    self.lost_replies += 1
                    return
                writer.write(data)
                await writer.drain()
