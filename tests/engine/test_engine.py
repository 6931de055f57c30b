"""Engine and executor together on a real database in one process: batches, lost and repeated messages, poison, recovery."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gregale.actions import action
from gregale.actions.contract import from_function
from gregale.bus import ActionFinished, RunActionMessage, StartMessage, decode, encode
from gregale.bus.messages import ACTIONS, engine_queue
from gregale.core import ActionDone, Execution, NotFound, Pause, Resume, Stop, WorkflowError
from gregale.engine import EngineSettings
from gregale.engine.inbox import Job
from gregale.executor import ExecutorSettings
from gregale.language import read_workflows
from gregale.service import Service, ServiceSettings, new_id
from gregale.store import dead_letters, definitions, load

PROJECT = "<default-project>"
QUICK = EngineSettings(sweep_every=0.05, stale_after=0.1, inline=False)


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for a condition, within a bound."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.005)


async def upload(service: Service, text: str) -> None:
    document = read_workflows("version: '2.0'\n" + text)
    await service.database.writing(
        definitions.save_workflows, document, definitions.Owner(PROJECT, time.time(), new_id), False
    )


async def start(
    service: Service, name: str = "wf", given: dict[str, Any] | None = None, execution_id: str | None = None
) -> str:
    made = await service.engine.create(name, "", given or {}, {}, "", PROJECT, execution_id)
    return made.id


async def stored(service: Service, execution_id: str) -> Execution:
    [found] = await service.database.reading(load, [execution_id])
    return found


async def finished(service: Service, execution_id: str, seconds: float = 20.0) -> Execution:
    async def check() -> Execution | None:
        found = await stored(service, execution_id)
        return found if found.state.completed else None

    result: Execution = await until(check, seconds)
    return result


async def test_many_executions_of_all_kinds_end_right(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(
            service,
            """
wf:
  input: [n]
  output: {n: <% task(j).result %>, items: <% task(a).result %>, sub: <% task(s).result.v %>}
  tasks:
    begin: {on-success: [a, s, r]}
    a: {with-items: "i in <% range(0, 3) %>", concurrency: 2, action: std.echo output=<% $.i + $.n %>, on-success: j}
    s: {workflow: sub n=<% $.n %>, on-success: j}
    r: {action: std.fail, retry: count=1 delay=0, on-error: j}
    j: {join: all, action: std.echo output=<% $.n %>}
sub: {input: [n], output: {v: <% $.n * 2 %>}, tasks: {t: {action: std.noop}}}
""",
        )
        ids = await asyncio.gather(*(start(service, given={"n": n}) for n in range(40)))
        for n, execution_id in enumerate(ids):
            found = await finished(service, execution_id)
            assert (found.state, found.output) == ("SUCCESS", {"n": n, "items": [n, n + 1, n + 2], "sub": 2 * n})
        assert service.engine.swaps_lost == 0


async def test_starting_with_a_known_id_gives_the_execution_that_has_it(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(service, "wf: {tasks: {a: {action: std.noop}}}")
        made = await asyncio.gather(*(start(service, execution_id="same") for _ in range(5)))
        assert set(made) == {"same"}
        await finished(service, "same")
        assert await start(service, execution_id="same") == "same"


async def test_commands_answer_with_the_new_state_or_refuse(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(service, "wf: {tasks: {a: {action: std.async_noop}}}")
        execution_id = await start(service)
        await until(lambda: service.engine.cache.executions[execution_id].children)  # type: ignore[union-attr]
        assert (await service.engine.apply(execution_id, Pause())).state == "PAUSED"
        assert (await service.engine.apply(execution_id, Resume())).state == "RUNNING"
        child = next(iter((await stored(service, execution_id)).children.values()))
        assert (await service.engine.apply(execution_id, ActionDone(child.id, {"x": 1}))).state == "SUCCESS"
        with pytest.raises(WorkflowError):
            await service.engine.apply(execution_id, ActionDone(child.id, {"x": 2}))
        with pytest.raises(NotFound):
            await service.engine.apply("nope", Pause())


async def test_lost_messages_of_each_kind_are_found_by_the_sweep() -> None:
    for lost in (StartMessage, RunActionMessage, ActionFinished):
        async with Service(ServiceSettings(engine=QUICK, executor=ExecutorSettings(settled=0.05))) as service:
            await upload(service, "wf: {tasks: {a: {action: std.echo output=1, on-success: b}, b: {action: std.noop}}}")
            drop = {"left": 1}
            original = service.bus.publish

            async def publish(
                queue: str, bodies: Any, lost: type = lost, drop: dict[str, int] = drop, original: Any = original
            ) -> None:
                from gregale.bus import decode

                kept = []
                for body in bodies:
                    if drop["left"] and isinstance(decode(body), lost):
                        drop["left"] -= 1
                    else:
                        kept.append(body)
                await original(queue, kept)

            service.bus.publish = publish  # type: ignore[method-assign]
            found = await finished(service, await start(service))
            assert found.state == "SUCCESS"
            assert drop["left"] == 0
            assert sum(service.engine.sweeper.found.values()) >= 1


async def test_repeated_and_late_messages_change_nothing(any_database: str) -> None:
    calls: list[int] = []

    @action("count")
    async def count() -> None:
        calls.append(1)

    async with Service(ServiceSettings(database=any_database), actions=(from_function(count),)) as service:
        original = service.bus.publish

        async def twice(queue: str, bodies: Any) -> None:
            await original(queue, [b for body in bodies for b in (body, body)])

        service.bus.publish = twice  # type: ignore[method-assign]
        await upload(service, "wf: {tasks: {a: {action: count, on-success: b}, b: {action: count}}}")
        found = await finished(service, await start(service))
        assert (found.state, len(calls), len(found.tasks)) == ("SUCCESS", 2, 2)


async def test_a_late_start_brings_an_old_row_and_changes_nothing(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database, engine=QUICK)) as service:
        original, starts = service.bus.publish, list[tuple[str, bytes]]()

        async def noted(queue: str, bodies: Any) -> None:
            starts.extend((queue, body) for body in bodies if isinstance(decode(body), StartMessage))
            await original(queue, bodies)

        service.bus.publish = noted  # type: ignore[method-assign]
        await upload(service, "wf: {tasks: {a: {action: std.async_noop, on-success: b}, b: {action: std.noop}}}")
        await finished_first(service)
        execution_id = await start(service)
        await until(lambda: service.engine.cache.executions[execution_id].children)  # type: ignore[union-attr]
        [(queue, body)] = [(q, b) for q, b in starts if decode(b).execution_id == execution_id]
        assert decode(body).row, "a small row travels with its start"  # type: ignore[union-attr]
        service.engine.cache.forget_tree(execution_id)
        await original(queue, [body])
        await until(lambda: service.engine.swaps_lost)
        child = next(iter((await stored(service, execution_id)).children.values()))
        await service.engine.apply(execution_id, ActionDone(child.id))
        found = await finished(service, execution_id)
        assert (found.state, len(found.tasks), len(found.children)) == ("SUCCESS", 2, 2)


async def finished_first(service: Service) -> None:
    """An execution before the one that a test is about: the definition is known from then on."""
    execution_id = await start(service)
    await until(lambda: service.engine.cache.executions[execution_id].children)  # type: ignore[union-attr]
    await service.engine.apply(execution_id, Stop("CANCELLED"))


async def test_what_is_no_message_is_buried_with_its_reason(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service:
        await service.bus.publish(
            engine_queue(3), [b"junk", encode(RunActionMessage("a", None, None, None, "", "x", {}))]
        )
        await service.bus.publish(ACTIONS, [b"junk", encode(StartMessage("e", "e"))])

        async def buried() -> list[Any]:
            return list(await service.database.reading(dead_letters.listed, 10))

        async def all_of_them() -> bool:
            return len(await buried()) == 4

        await until(all_of_them)
        assert {letter.queue for letter in await buried()} == {engine_queue(3), ACTIONS}
        assert all(letter.reason.startswith(("not a message", "version")) for letter in await buried())


async def test_a_poisoned_execution_is_set_aside_and_the_others_go_on(
    any_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gregale.core import complete

    original = complete.complete_now

    def sometimes(work: Any, task: Any, *args: Any, **kwargs: Any) -> None:
        if task.name == "poison":
            raise ZeroDivisionError("a fault of ours")
        original(work, task, *args, **kwargs)

    monkeypatch.setattr(complete, "complete_now", sometimes)
    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(service, "bad: {tasks: {poison: {action: std.noop}}}\ngood: {tasks: {a: {action: std.noop}}}")
        bad, good = await start(service, "bad"), await start(service, "good")
        found = await finished(service, bad)
        assert found.state == "ERROR"
        assert "ZeroDivisionError" in (found.state_info or "")
        assert (await finished(service, good)).state == "SUCCESS"
        assert service.engine.poisoned == 1


async def test_a_swap_that_is_lost_is_decided_again_from_the_rows(any_database: str) -> None:
    from gregale.store.schema import executions

    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(service, "wf: {tasks: {a: {action: std.async_noop}}}")
        execution_id = await start(service)
        await until(lambda: service.engine.cache.executions[execution_id].children)  # type: ignore[union-attr]

        def meddle(connection: Any) -> None:
            connection.execute(
                executions.update().values(revision=executions.c.revision + 1, state_info="somebody was here")
            )

        await service.database.writing(meddle)
        service.engine.submit(Job(execution_id, execution_id, Stop("CANCELLED", "done")))  # memory does not know of it
        assert (await finished(service, execution_id)).state == "CANCELLED"
        assert service.engine.swaps_lost == 1


async def test_timers_wake_what_is_delayed(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(
            service,
            "wf: {tasks: {a: {action: std.noop, wait-before: 1, on-success: t}, t: {action: std.async_noop, timeout: 1}}}",
        )
        found = await finished(service, await start(service))
        by_name = {t.name: t for t in found.tasks.values()}
        assert 1.0 <= (by_name["a"].finished_at or 0) - (by_name["a"].started_at or 0) < 5
        assert by_name["t"].state_info == "Task timed out [timeout(s)=1]."


async def test_definitions_that_change_are_seen_by_the_next_call(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(
            service,
            "wf: {output: {v: <% task(s).result.v %>}, tasks: {s: {workflow: sub}}}\nsub: {output: {v: old}, tasks: {t: {action: std.noop}}}",
        )
        assert (await finished(service, await start(service))).output == {"v": "old"}
        document = read_workflows("version: '2.0'\nsub: {output: {v: new}, tasks: {t: {action: std.noop}}}")
        await service.database.writing(
            definitions.save_workflows, document, definitions.Owner(PROJECT, time.time(), new_id), True
        )
        assert (await finished(service, await start(service))).output == {"v": "new"}


async def test_a_graceful_stop_lets_running_actions_finish_and_the_next_start_goes_on(tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    @action("slow")
    async def slow() -> str:
        with runs.open("a") as f:
            f.write("x")
        await asyncio.sleep(0.3)
        return "done"

    settings = ServiceSettings(database=f"sqlite:///{tmp_path}/g.sqlite")
    async with Service(settings, (from_function(slow),)) as service:
        await upload(
            service,
            "wf: {output: {r: <% task(a).result %>}, tasks: {a: {action: slow, on-success: b}, b: {action: slow}}}",
        )
        execution_id = await start(service)
        await until(runs.exists)
    async with Service(settings, (from_function(slow),)) as service:
        found = await finished(service, execution_id)
    assert (found.state, found.output) == ("SUCCESS", {"r": "done"})
    assert runs.read_text() == "xx"


@pytest.mark.parametrize("safe", [True, False])
async def test_an_action_whose_executor_died_runs_again_only_when_that_is_safe(tmp_path: Path, safe: bool) -> None:
    runs = tmp_path / "runs"
    hang = {"on": True}

    @action("work")
    async def work() -> str:
        with runs.open("a") as f:
            f.write("x")
        if hang["on"]:
            await asyncio.sleep(600)
        return "done"

    settings = ServiceSettings(database=f"sqlite:///{tmp_path}/g.sqlite")
    service = Service(settings, (from_function(work),))
    await service.__aenter__()
    await upload(service, f"wf: {{tasks: {{a: {{action: work, safe-rerun: {str(safe).lower()}}}}}}}")
    execution_id = await start(service)
    await until(runs.exists)
    for task in [*service.engine._tasks, *service.executor._tasks, *service.executor._running.values()]:
        task.cancel()  # the process is gone: nothing is said, nothing is released
    service.database.close()
    hang["on"] = False
    async with Service(settings, (from_function(work),)) as service:
        found = await finished(service, execution_id)
    assert runs.read_text() == ("xx" if safe else "x")
    assert found.state == ("SUCCESS" if safe else "ERROR")
    if not safe:
        assert "Lost: the executor" in (found.state_info or "")
        assert "redelivered" in (found.state_info or "")


async def test_an_action_that_ends_its_task_by_timeout_stops_in_the_executor_too(any_database: str) -> None:
    ended = asyncio.Event()

    @action("long")
    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with Service(ServiceSettings(database=any_database), actions=(from_function(long),)) as service:
        await upload(service, "wf: {tasks: {a: {action: long, timeout: 1}}}")
        found = await finished(service, await start(service))
        assert found.state == "ERROR"
        await asyncio.wait_for(ended.wait(), 10)


async def test_target_sends_an_action_to_the_executor_of_that_name(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database, name="here")) as service:
        await upload(
            service,
            "wf: {tasks: {a: {action: std.noop, target: here}}}\nelse: {tasks: {a: {action: std.noop, target: elsewhere}}}",
        )
        assert (await finished(service, await start(service))).state == "SUCCESS"
        other = await start(service, "else")

        async def queued() -> bool:
            return await service.bus.depth("actions.elsewhere") == 1

        await until(queued)
        assert (await stored(service, other)).state == "RUNNING"


async def test_blocking_functions_run_in_threads_and_heartbeats_go_on(any_database: str, tmp_path: Path) -> None:
    from gregale.store.schema import action_executions

    def block() -> str:
        time.sleep(0.5)  # the action's own work, in its thread
        return "done"

    settings = ServiceSettings(database=any_database, executor=ExecutorSettings(heartbeat_every=0.05))
    async with Service(settings, (from_function(block, "block"),)) as service:
        await upload(service, "wf: {tasks: {a: {action: block}}}")
        execution_id = await start(service)

        async def beats() -> bool:
            row = await service.database.reading(lambda c: c.execute(action_executions.select()).first())
            return row is not None and row.heartbeat is not None and row.heartbeat > row.held_since

        await until(beats)
        assert (await finished(service, execution_id)).state == "SUCCESS"
    del tmp_path


async def test_cancelling_a_running_action_stops_it_and_reports_a_cancellation(any_database: str) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @action("long")
    async def long() -> None:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    async with Service(ServiceSettings(database=any_database), actions=(from_function(long),)) as service:
        await upload(service, "wf: {tasks: {a: {action: long}}}")
        execution_id = await start(service)
        await asyncio.wait_for(begun.wait(), 20)
        [child] = (await stored(service, execution_id)).children.values()
        assert service.executor is not None
        service.executor.cancel(child.id)
        found = await finished(service, execution_id)
        assert (found.state, found.state_info, ended.is_set()) == ("CANCELLED", "Cancelled tasks: a", True)


async def test_a_description_given_while_it_runs_stays(any_database: str) -> None:
    from gregale.store import search

    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(service, "wf: {tasks: {a: {action: std.async_noop}}}")
        execution_id = await start(service)
        await service.database.writing(search.describe, execution_id, "mine")
        await service.engine.apply(execution_id, Stop("CANCELLED", "x"))
        assert (await stored(service, execution_id)).description == "mine"


async def test_a_huge_execution_does_not_starve_a_small_one(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database)) as service:
        await upload(
            service,
            'big: {tasks: {a: {with-items: "i in <% range(0, 3000) %>", action: std.noop}}}\nsmall: {tasks: {a: {on-success: b}, b: {on-success: c}, c: {action: std.noop}}}',
        )
        big = await start(service, "big")
        await until(lambda: len(service.engine.cache.executions[big].children) == 3000)  # type: ignore[union-attr]
        small = await finished(service, await start(service, "small"))
        huge = await finished(service, big, 60)
        assert (small.state, huge.state) == ("SUCCESS", "SUCCESS")
        assert small.updated_at < huge.updated_at
