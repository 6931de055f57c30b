"""Who is alive, and who owns what: on a virtual clock, with the real code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gregale.cluster import ClusterSettings
from gregale.cluster.membership import Watch
from gregale.core.partition import PARTITIONS
from gregale.lab.simulation.database import Template
from gregale.lab.simulation.load import WORKFLOWS
from gregale.lab.simulation.loop import VirtualLoop
from gregale.lab.simulation.world import _CLUSTER, World
from gregale.store import members

SETTINGS = ClusterSettings(heartbeat_every=1, lease=3, lost_after=10)


def member(heartbeat: float) -> Any:
    return SimpleNamespace(id="m", heartbeat=heartbeat)


def test_a_member_is_lost_when_its_heartbeat_stands_still_while_it_is_watched() -> None:
    watch = Watch(SETTINGS)
    for second in range(10):
        assert watch.lost([member(5.0)], float(second), "me") == []
    assert watch.silence("m", 9.0) == 9.0
    [gone] = watch.lost([member(5.0)], 10.0, "me")
    assert gone.id == "m"


def test_clocks_do_not_matter_only_change_does() -> None:
    watch = Watch(SETTINGS)
    for second in range(30):
        assert watch.lost([member(1000.0 - second)], float(second), "me") == []


def test_who_was_cut_off_himself_has_seen_nothing_and_gives_nobody_up() -> None:
    watch = Watch(SETTINGS)
    watch.lost([member(5.0)], 0.0, "me")
    assert watch.lost([member(5.0)], 60.0, "me") == []  # a minute without the database: everybody was silent
    assert watch.lost([member(5.0)], 61.0, "me") == []


def test_nobody_gives_himself_up() -> None:
    watch = Watch(SETTINGS)
    for second in range(20):
        assert watch.lost([member(5.0)], float(second), "m") == []


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(WORKFLOWS)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def simulated(template: Template, run: Callable[[World], Awaitable[None]]) -> None:
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(1, template.reset(), {})
    try:
        loop.run_until_complete(run(world))
    finally:
        loop.set_exception_handler(lambda *_: None)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()


def owners(world: World) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for row in world.shared.read(members.owned):
        found[row.owner] = found.get(row.owner, 0) + 1
    return found


def test_partitions_are_shared_evenly_and_move_when_engines_come_leave_and_crash(template: Template) -> None:
    async def run(world: World) -> None:
        a = await world.launch("engine")
        await asyncio.sleep(4 * _CLUSTER.heartbeat_every)
        assert owners(world) == {a.membership.id: PARTITIONS}
        b, c = await world.launch("engine"), await world.launch("engine")
        await asyncio.sleep(4 * _CLUSTER.heartbeat_every)
        assert sorted(owners(world).values()) == [10, 11, 11]
        await world.within(b, b.stop())
        await asyncio.sleep(2 * _CLUSTER.heartbeat_every)
        assert owners(world) == {a.membership.id: 16, c.membership.id: 16}
        await c.crash()
        await asyncio.sleep(_CLUSTER.lease + 2 * _CLUSTER.heartbeat_every)
        assert owners(world) == {a.membership.id: PARTITIONS}
        assert a.engine.owned == set(range(PARTITIONS))
        epochs = [row.epoch for row in world.shared.read(members.owned)]
        assert min(epochs) >= 1

    simulated(template, run)


def test_a_member_that_was_given_up_enters_again_under_a_new_id(template: Template) -> None:
    async def run(world: World) -> None:
        hung, other = await world.launch("engine"), await world.launch("engine")
        await asyncio.sleep(3 * _CLUSTER.heartbeat_every)
        old = hung.membership.id
        hung.hang()
        await asyncio.sleep(_CLUSTER.lost_after + 3 * _CLUSTER.heartbeat_every)
        assert owners(world) == {other.membership.id: PARTITIONS}
        hung.go_on()
        await asyncio.sleep(4 * _CLUSTER.heartbeat_every)
        assert hung.membership.id != old
        assert owners(world) == {hung.membership.id: 16, other.membership.id: 16}
        assert hung.engine.owned.isdisjoint(other.engine.owned)
        states = {m.id: m.state for m in world.shared.read(members.shown, 0.0)}
        assert states[old] == "lost"

    simulated(template, run)


def test_an_outage_of_the_database_declares_nobody_lost(template: Template) -> None:
    async def run(world: World) -> None:
        for kind in ("engine", "engine", "executor", "api"):
            await world.launch(kind)  # type: ignore[arg-type]
        await asyncio.sleep(3 * _CLUSTER.heartbeat_every)
        before = {m.id for m in world.shared.read(members.alive)}
        world.database_away = True
        await asyncio.sleep(5 * _CLUSTER.lost_after)
        world.database_away = False
        await asyncio.sleep(3 * _CLUSTER.lost_after)
        assert {m.id for m in world.shared.read(members.alive)} == before

    simulated(template, run)


def test_a_drained_engine_gives_its_partitions_to_the_others(template: Template) -> None:
    async def run(world: World) -> None:
        a, b = await world.launch("engine"), await world.launch("engine")
        await asyncio.sleep(3 * _CLUSTER.heartbeat_every)
        assert world.shared.write(members.drain, a.name) == [a.membership.id]
        await asyncio.sleep(4 * _CLUSTER.heartbeat_every)
        assert owners(world) == {b.membership.id: PARTITIONS}
        assert (a.membership.state, a.engine.owned) == ("draining", set())

    simulated(template, run)
