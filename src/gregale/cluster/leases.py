"""Which engine owns which partitions: shared evenly, taken over from who is silent, given back when leaving."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gregale.cluster.clock import Clock
from gregale.cluster.membership import Membership
from gregale.cluster.settings import ClusterSettings
from gregale.core.partition import PARTITIONS
from gregale.store import Database, members

log = logging.getLogger("gregale.cluster")

ENGINES = ("engine", "serve")


class Leases:
    """`gain` and `lose` are told of partitions before they are looked after here, and before they are given away.

    Two that believe to own one do no harm (design, rule 6): this is about speed.
    """

    def __init__(
        self,
        database: Database,
        membership: Membership,
        clock: Clock,
        settings: ClusterSettings,
        gain: Callable[[Sequence[int]], Awaitable[None]],
        lose: Callable[[Sequence[int]], Awaitable[None]],
    ):
        self.owned: set[int] = set()
        self._database = database
        self._membership = membership
        self._clock = clock
        self._settings = settings
        self._gain = gain
        self._lose = lose
        membership.on_beat.append(self.look)

    async def look(self, living: Sequence[Any]) -> None:
        """Give what is too much, take what is free."""
        me = self._membership.id
        rows = await self._database.reading(members.owned)
        mine = {row.number for row in rows if row.owner == me}
        if gone := self.owned - mine:  # somebody took us for dead
            self.owned -= gone
            await self._lose(sorted(gone))
        engines = sorted(m.id for m in living if m.kind in ENGINES and m.state == "up" and self._lives(m.id))
        if self._membership.state != "up":
            if engines:  # otherwise there is nobody to look after them
                await self.give(sorted(mine))
            return
        share = self._share(engines, me)
        if len(mine) > share:
            await self.give(sorted(mine)[share:])
        elif len(mine) < share:
            free = [row for row in rows if row.owner != me and (row.owner is None or not self._lives(row.owner))]
            await self._take(free[: share - len(mine)])
        if orphans := mine - self.owned:  # ours by the rows, from a commit whose outcome was not known
            self.owned |= orphans
            await self._gain(sorted(orphans))

    def _lives(self, member_id: str) -> bool:
        return member_id == self._membership.id or self._membership.silence(member_id) < self._settings.lease

    def _share(self, engines: list[str], me: str) -> int:
        """How many of the partitions: the first of the engines take one more where they cannot be shared evenly."""
        if me not in engines:
            return PARTITIONS
        each, rest = divmod(PARTITIONS, len(engines))
        return each + (engines.index(me) < rest)

    async def _take(self, free: Sequence[Any]) -> None:
        if not free:
            return
        wanted = [(row.number, row.epoch) for row in free]
        taken = await self._database.beating(members.take, wanted, self._membership.id, self._clock())
        if taken:
            log.info("took partitions %s", ", ".join(map(str, taken)))
            self.owned.update(taken)
            await self._gain(taken)

    async def give(self, numbers: Sequence[int] | None = None) -> None:
        """Give some back, or all, once what is at hand of them is done."""
        given = sorted(self.owned) if numbers is None else list(numbers)
        if not given:
            return
        self.owned.difference_update(given)
        await self._lose(given)
        await self._database.beating(members.give, self._membership.id, self._clock(), given)
        log.info("gave partitions %s", ", ".join(map(str, given)))
