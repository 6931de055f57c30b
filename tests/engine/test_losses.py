"""What gets lost on the way, large values, commits that nobody heard of: on real databases, in one process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from gregale import faults
from gregale.actions import action
from gregale.actions.contract import from_function
from gregale.bus import BusUnavailable
from gregale.bus.messages import INLINE
from gregale.engine import EngineSettings
from gregale.executor import ExecutorSettings
from gregale.service import Service, ServiceSettings
from gregale.store import Database, OutcomeUnknown, StoreError, Unavailable, dead_letters, results
from gregale.store.cluster_schema import results as results_table
from gregale.store.failures import kind_of
from tests.engine.test_engine import QUICK, finished, start, stored, upload

LARGE = "x" * (2 * INLINE)


async def test_large_inputs_and_results_travel_by_reference(any_database: str) -> None:
    seen: list[int] = []

    @action("measure")
    async def measure(text: str) -> str:
        seen.append(len(text))
        return text + "y"

    sizes: list[int] = []
    async with Service(ServiceSettings(database=any_database, engine=QUICK), (from_function(measure),)) as service:
        original = service.bus.publish

        async def watched(queue: str, bodies: Any) -> None:
            sizes.extend(map(len, bodies))
            await original(queue, bodies)

        service.bus.publish = watched  # type: ignore[method-assign]
        await upload(
            service,
            "wf: {input: [t], output: {n: <% len(task(a).result) %>}, tasks: {a: {action: measure text=<% $.t %>}}}",
        )
        found = await finished(service, await start(service, given={"t": LARGE}))
        assert (found.state, found.output) == ("SUCCESS", {"n": len(LARGE) + 1})
    assert seen == [len(LARGE)]
    assert max(sizes) <= INLINE


async def test_a_result_beyond_the_limit_is_an_error_that_says_so(any_database: str) -> None:
    @action("huge")
    async def huge() -> str:
        return "x" * 5000

    settings = ServiceSettings(database=any_database, executor=ExecutorSettings(max_result=2048))
    async with Service(settings, (from_function(huge),)) as service:
        await upload(service, "wf: {tasks: {a: {action: huge}}}")
        found = await finished(service, await start(service))
        assert found.state == "ERROR"
        [task] = found.tasks.values()
        assert "executor.max_result" in (task.state_info or "")


async def test_results_that_the_broker_does_not_take_wait_in_the_database(any_database: str) -> None:
    @action("unsafe")
    async def unsafe() -> str:
        return "done"

    async with Service(ServiceSettings(database=any_database, engine=QUICK), (from_function(unsafe),)) as service:
        original = service.bus.publish

        async def away(queue: str, bodies: Any) -> None:
            if queue.startswith("engine."):
                raise BusUnavailable("away")
            await original(queue, bodies)

        await upload(service, "wf: {output: {v: <% task(a).result %>}, tasks: {a: {action: unsafe}}}")
        service.bus.publish = away  # type: ignore[method-assign]
        found = await finished(service, await start(service))
        assert (found.state, found.output) == ("SUCCESS", {"v": "done"})
        assert service.engine.sweeper.found["results"] >= 1
        await service.database.writing(results.prune, 2**40)
        left = await service.database.reading(lambda c: c.execute(results_table.select()).all())
        assert left == []


async def test_messages_that_the_broker_does_not_take_go_out_when_it_is_back(any_database: str) -> None:
    async with Service(ServiceSettings(database=any_database, engine=EngineSettings(inline=False))) as service:
        original, tries = service.bus.publish, 0

        async def away(queue: str, bodies: Any) -> None:
            nonlocal tries
            tries += 1
            if tries <= 5:
                raise BusUnavailable("away")
            await original(queue, bodies)

        await upload(service, "wf: {tasks: {a: {action: std.noop, on-success: b}, b: {action: std.noop}}}")
        service.bus.publish = away  # type: ignore[method-assign]
        assert (await finished(service, await start(service))).state == "SUCCESS"
        assert tries > 5
        assert sum(service.engine.sweeper.found.values()) == 0  # no sweep had to find them


class Unheard(Database):
    """A database whose replies to COMMIT get lost: the change is made, and nobody hears of it."""

    lost = 0

    def _transaction(self, run: Any, repeat: bool, args: Any, kwargs: Any) -> Any:
        result = super()._transaction(run, repeat, args, kwargs)
        if self.lost > 0:
            self.lost -= 1
            error = OperationalError("COMMIT", {}, _Away())
            error.connection_invalidated = True
            if not repeat:
                raise OutcomeUnknown("nobody heard") from error
            raise error
        return result


class _Away(Exception):
    """What a driver raises when the connection is gone."""


async def test_a_commit_that_nobody_heard_of_is_recognised_and_not_made_twice(any_database: str) -> None:
    runs: list[str] = []

    @action("unsafe")
    async def unsafe() -> None:
        runs.append("x")

    service = Service(ServiceSettings(database=any_database), (from_function(unsafe),))
    database = Unheard(any_database)
    service.database.close()
    service.database = service.engine.database = service.membership._database = database
    service.engine.decider._database = database
    async with service:
        await upload(service, "wf: {tasks: {a: {action: unsafe, on-success: b}, b: {action: unsafe}}}")
        execution_id = await start(service)
        for _ in range(4):
            database.lost += 1
            await asyncio.sleep(0.02)
        found = await finished(service, execution_id)
        assert (found.state, runs, len(found.tasks)) == ("SUCCESS", ["x", "x"], 2)
        assert service.engine.swaps_lost == 0  # the tag said that the commit was its own
        database.lost = 1
        with pytest.raises(OutcomeUnknown):
            await database.writing_once(dead_letters.remove, "nothing")


async def test_a_database_that_is_away_is_said_to_be_within_its_patience(tmp_path: Path) -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none", patience=0.2)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable, match="does not answer"):
        await database.reading(dead_letters.count)
    assert asyncio.get_running_loop().time() - began < 3
    database.close()
    del tmp_path


@pytest.mark.parametrize(
    ("state", "kind"),
    [("40001", "conflict"), ("40P01", "conflict"), ("57P01", "away"), ("23505", None), ("42601", None)],
)
def test_errors_are_told_apart_by_their_codes(state: str, kind: str | None) -> None:
    class Driver(Exception):
        sqlstate = state

    assert kind_of(OperationalError("x", {}, Driver())) == kind


@pytest.mark.parametrize(
    ("number", "kind"), [(1213, "conflict"), (1020, "conflict"), (1047, "away"), (2013, "away"), (1062, None)]
)
def test_errors_of_mariadb_too(number: int, kind: str | None) -> None:
    assert kind_of(OperationalError("x", {}, Exception(number, "text"))) == kind


async def test_a_second_process_without_a_broker_is_refused(postgresql: Any) -> None:
    url = postgresql.create_database()
    async with Service(ServiceSettings(database=url, name="first")):
        with pytest.raises(StoreError, match=r"serve 'first' .* broker\.url"):
            async with Service(ServiceSettings(database=url, name="second")):
                raise AssertionError("two processes that cannot speak with each other")


def test_components_of_their_own_need_a_broker() -> None:
    with pytest.raises(ValueError, match=r"broker\.url"):
        Service(ServiceSettings(), kind="engine")


def test_no_fault_is_made_unless_it_is_asked_for() -> None:
    assert not faults.wanted()
    assert not faults.without("claim")
    faults.point("after_commit")  # and this process lives


async def test_spans_of_executions_tasks_and_actions_find_their_place(any_database: str) -> None:
    from gregale.tracing import Spans, span_id, trace_id

    class Collected:
        def __init__(self) -> None:
            self.spans: list[Any] = []

        def on_end(self, span: Any) -> None:
            self.spans.append(span)

    collected = Collected()
    async with Service(ServiceSettings(database=any_database)) as service:
        service.engine.listen(Spans(collected, "me").saw)
        await upload(service, "wf: {tasks: {s: {workflow: sub}}}\nsub: {tasks: {a: {action: std.noop}}}")
        root = await finished(service, await start(service))
        [task] = root.tasks.values()
        below = await stored(service, next(iter(root.children.values())).id)
    by_id = {span.context.span_id: span for span in collected.spans}
    assert {span.context.trace_id for span in collected.spans} == {trace_id(root.id)}
    assert by_id[span_id(root.id)].parent is None
    assert by_id[span_id(task.id)].parent.span_id == span_id(root.id)
    assert by_id[span_id(below.id)].parent.span_id == span_id(task.id)
    [inner] = below.tasks.values()
    [child] = below.children.values()
    assert by_id[span_id(inner.id)].parent.span_id == span_id(below.id)
    assert by_id[span_id(child.id)].parent.span_id == span_id(inner.id)
    assert all(span.start_time <= span.end_time for span in collected.spans)
