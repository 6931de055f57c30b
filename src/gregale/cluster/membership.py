"""Entering, showing signs of life, seeing others go, leaving."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy.engine import Connection

from gregale import __version__
from gregale.cluster.clock import Clock
from gregale.cluster.settings import ClusterSettings
from gregale.store import Database, Unavailable, members

log = logging.getLogger("gregale.cluster")

_CLOCK_EVERY = 60.0
_PRUNE_EVERY = 3600.0

Seen = Callable[[Sequence[Any]], Awaitable[None]]


class Membership:
    """One process among the others. `id` is new each time it enters; `on_beat` is told of the living after each heartbeat,
    `on_lost` after this member had been given up and has entered again, `on_drain` once when it is asked to finish."""

    def __init__(
        self,
        database: Database,
        kind: str,
        name: str,
        clock: Clock,
        new_id: Callable[[], str],
        settings: ClusterSettings,
    ):
        self.kind = kind
        self.name = name
        self.id = ""
        self.state = "starting"
        self.address: str | None = None
        self.on_beat: list[Seen] = []
        self.on_lost: list[Callable[[str], Awaitable[None]]] = []
        self.on_drain: list[Callable[[], None]] = []
        self._database = database
        self._clock = clock
        self._new_id = new_id
        self._settings = settings
        self._watch = Watch(settings)
        self._task: asyncio.Task[None] | None = None
        self._finishing = False
        self._beat_at = 0.0

    async def enter(self, alone: bool = False) -> None:
        """Waits for a database that is away. `alone`: no other process can be alive, so all that are listed are lost."""
        while True:
            try:
                await self._enter(alone)
                return
            except Unavailable as e:
                log.warning("cannot enter yet: %s", e)
                await asyncio.sleep(1.0)

    async def _enter(self, alone: bool) -> None:
        await self._clock.set(self._database)
        self.id = self._new_id()
        now = self._clock()
        row = {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "host": socket.gethostname(),
            "version": __version__,
            "state": "up",
            "started_at": now,
            "heartbeat": now,
            "address": self.address,
        }

        def run(connection: Connection) -> None:
            if alone:
                members.lose_all(connection, self.id)
            members.enter(connection, row)

        await self._database.writing(run)
        self._beat_at = asyncio.get_running_loop().time()
        self.state = "up"

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="membership")

    async def finish(self) -> None:
        """Say that this member takes nothing new and is about to leave."""
        self._finishing = True
        self.state = "draining"
        with suppress(Unavailable):
            await self._database.beating(members.drain, self.id)

    async def leave(self) -> None:
        """Stop showing signs of life, and say so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.state = "gone"
        try:
            await self._database.beating(members.leave, self.id, self._clock())
        except Unavailable as e:
            log.warning("left without a word, which others will notice: %s", e)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        clock_at = prune_at = loop.time()
        while True:
            await asyncio.sleep(self._settings.heartbeat_every * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            try:
                if loop.time() >= clock_at:
                    clock_at = loop.time() + _CLOCK_EVERY
                    await self._clock.set(self._database)
                await self.once()
                if loop.time() >= prune_at:
                    prune_at = loop.time() + _PRUNE_EVERY
                    await self._database.writing(members.prune, self._clock() - self._settings.history)
            except Unavailable as e:
                log.warning("no heartbeat: %s", e)
            except Exception:
                log.exception("a heartbeat failed; the next one follows")

    async def once(self) -> None:
        """One sign of life, and a look at the others."""

        def run(connection: Connection) -> tuple[str, Sequence[Any]]:
            return members.beat(connection, self.id, self._clock()), members.alive(connection)

        state, living = await self._database.beating(run)
        self._beat_at = asyncio.get_running_loop().time()
        if state == "lost":
            await self._again()
            return
        if self._finishing:
            state = "draining"
        elif state == "draining" and self.state != "draining":
            log.info("asked to finish what is held here, and to take nothing new")
            for tell in self.on_drain:
                tell()
        self.state = state
        now = asyncio.get_running_loop().time()
        for gone in self._watch.lost(living, now, self.id):
            if await self._database.beating(members.lose, gone.id, gone.heartbeat):
                log.warning(
                    "%s '%s' is lost: no sign of life for %s s", gone.kind, gone.name, self._settings.lost_after
                )
        for seen in self.on_beat:
            await seen(living)

    @property
    def cut_off(self) -> float:
        """Seconds since this member last reached a database server; 0 for a database that is a file of its own."""
        return asyncio.get_running_loop().time() - self._beat_at if self._database.is_server else 0.0

    def silence(self, member_id: str) -> float:
        """Seconds for which a member was watched without a sign of life."""
        return self._watch.silence(member_id, asyncio.get_running_loop().time())

    async def _again(self) -> None:
        """Others have given this member up, after a hang or a cut: it is a new one now."""
        old = self.id
        log.warning("this member was given up by others; it enters again")
        await self.enter()
        for tell in self.on_lost:
            await tell(old)


class Watch:
    """Heartbeats as this process has seen them change, on its own monotonic clock."""

    def __init__(self, settings: ClusterSettings):
        self._settings = settings
        self._seen: dict[str, tuple[float, float]] = {}
        self._looked = float("-inf")

    def lost(self, living: Sequence[Any], now: float, but: str) -> list[Any]:
        """Members to give up. After a pause of its own, the watcher has seen nothing and begins anew."""
        if now - self._looked > self._settings.lease:
            self._seen.clear()
        self._looked = now
        known, self._seen = self._seen, {}
        result = []
        for member in living:
            heartbeat, since = known.get(member.id, (None, now))
            if heartbeat != member.heartbeat:
                since = now
            self._seen[member.id] = (member.heartbeat, since)
            if member.id != but and now - since >= self._settings.lost_after:
                result.append(member)
        return result

    def silence(self, member_id: str, now: float) -> float:
        """Infinite for one that is not among the living."""
        seen = self._seen.get(member_id)
        return float("inf") if seen is None else now - seen[1]
