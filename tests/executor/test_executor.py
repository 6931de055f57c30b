"""Claims, acknowledgements and stopping of an executor, on a database and a bus in memory."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gregale.actions import action
from gregale.actions.contract import from_function
from gregale.bus import RunActionMessage, encode
from gregale.bus.messages import ACTIONS
from gregale.executor import Executor, ExecutorSettings
from gregale.executor.executor import needs_claim
from gregale.service import Service, ServiceSettings
from gregale.store import claims
from gregale.store.schema import action_executions
from tests.engine.test_engine import finished, start, until, upload


async def test_a_long_action_does_not_sit_on_its_message() -> None:
    """Brokers close the channel of who does, with everything else on it; the row says who runs it by then."""
    go = asyncio.Event()

    @action("long", idempotent=True)
    async def long() -> str:
        await go.wait()
        return "done"

    settings = ServiceSettings(executor=ExecutorSettings(heartbeat_every=0.05))
    async with Service(settings, (from_function(long),)) as service:
        await upload(service, "wf: {tasks: {a: {action: long}}}")
        execution_id = await start(service)
        assert service.executor is not None
        unsettled = service.executor._consumer._unsettled[ACTIONS]  # type: ignore[union-attr]
        await until(lambda: service.executor.started)  # type: ignore[union-attr]
        await until(lambda: not unsettled)
        [row] = await service.database.reading(lambda c: c.execute(action_executions.select()).all())
        assert row.holder == service.membership.id
        go.set()
        assert (await finished(service, execution_id)).state == "SUCCESS"


def test_what_may_run_twice_is_claimed_only_when_it_comes_again() -> None:
    class Delivered:
        redelivered = False

    first = Delivered()
    safe = RunActionMessage("a", "e", "r", "t", "w", "x", {}, safe_rerun=True)
    assert not needs_claim(safe, first)  # type: ignore[arg-type]
    again = Delivered()
    again.redelivered = True
    assert needs_claim(safe, again)  # type: ignore[arg-type]
    assert needs_claim(RunActionMessage("a", "e", "r", "t", "w", "x", {}, safe_rerun=True, again=True), first)  # type: ignore[arg-type]
    assert needs_claim(RunActionMessage("a", "e", "r", "t", "w", "x", {}), first)  # type: ignore[arg-type]


async def test_what_was_claimed_and_not_started_is_free_for_others_after_a_stop() -> None:
    go = asyncio.Event()

    @action("slow")
    async def slow() -> None:
        await go.wait()

    settings = ServiceSettings(executor=ExecutorSettings(concurrency=1, grace=0.2))
    async with Service(settings, (from_function(slow),)) as service:
        await upload(service, 'wf: {tasks: {a: {with-items: "i in <% [1, 2] %>", action: slow}}}')
        await start(service)
        assert service.executor is not None
        await until(lambda: service.executor.started)  # type: ignore[union-attr]

        async def both_claimed() -> bool:
            found = await service.database.reading(lambda c: c.execute(action_executions.select()).all())
            return [row.holder is not None for row in found] == [True, True]

        await until(both_claimed)
        await service.executor.stop()
        rows = await service.database.reading(lambda c: c.execute(action_executions.select()).all())
        assert sorted(row.holder is None for row in rows) == [False, True]  # the one that has begun stays claimed


async def test_a_claim_that_was_given_up_during_a_hang_starts_nothing() -> None:
    ran: list[str] = []

    @action("unsafe")
    async def unsafe() -> None:
        ran.append("x")

    async with Service(ServiceSettings(), (from_function(unsafe),)) as service:
        executor = service.executor
        assert isinstance(executor, Executor)
        message = RunActionMessage("gone", "e", "r", "t", "w", "unsafe", {}, attempt=1)
        claimed_long_ago = asyncio.get_running_loop().time() - 100
        assert not await executor._may_start(message, claimed_long_ago)
        assert await executor._may_start(message, asyncio.get_running_loop().time())
    assert ran == []


async def test_a_claim_repeated_after_an_unheard_commit_gives_the_same() -> None:
    @action("held", is_sync=False)
    async def held() -> None:
        return None

    async with Service(ServiceSettings(), (from_function(held),)) as service:
        await upload(service, "wf: {tasks: {a: {action: held, target: nobody}}}")
        await start(service)

        async def row() -> Any:
            return await service.database.reading(lambda c: c.execute(action_executions.select()).first())

        found = await until(row)
        now = time.time()
        wanted = [(found.id, found.attempt)]
        for _ in range(2):
            assert await service.database.writing(claims.claim, wanted, "me", now) == {found.id}
        assert await service.database.writing(claims.claim, wanted, "other", now) == set()
        assert await service.database.writing(claims.claim, wanted, "me", now + 1) == set()


async def test_a_request_that_is_repeated_while_it_runs_is_not_run_again() -> None:
    go, runs = asyncio.Event(), []

    @action("safe", idempotent=True)
    async def safe() -> None:
        runs.append("x")
        await go.wait()

    async with Service(ServiceSettings(), (from_function(safe),)) as service:
        await upload(service, "wf: {tasks: {a: {action: safe}}}")
        execution_id = await start(service)
        await until(lambda: runs)
        row = await service.database.reading(lambda c: c.execute(action_executions.select()).first())
        message = RunActionMessage(
            row.id, execution_id, execution_id, row.task_id, "wf", "safe", {}, row.attempt, True, again=True
        )
        await service.bus.publish(ACTIONS, [encode(message)])

        async def taken() -> bool:
            return await service.bus.depth(ACTIONS) == 0

        await until(taken)
        go.set()
        assert (await finished(service, execution_id)).state == "SUCCESS"
    assert runs == ["x"]
