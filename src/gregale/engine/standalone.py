"""Action executions that belong to no workflow (language spec 7.3): their row is all their state."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.bus import ActionFinished, Delivery, RunActionMessage
from gregale.bus.messages import actions_queue
from gregale.core import ActionInfo, InvalidInput, Missing, NotFound, WorkflowError
from gregale.core.calls import Call, transform, unfold
from gregale.engine.publishing import encoded
from gregale.engine.view import Cache, CachedView, answer
from gregale.expressions import ExpressionError, MapScope
from gregale.store import Unavailable, rows, security
from gregale.store.schema import action_executions as table

if TYPE_CHECKING:
    from gregale.engine.engine import Engine

log = logging.getLogger("gregale.engine")


async def finished(engine: Engine, message: ActionFinished, delivery: Delivery | None) -> None:
    """Store a result and acknowledge it; one that came before stays."""
    while True:
        try:
            await _finished(engine, message)
            break
        except Unavailable as e:
            log.warning("the result of action %s waits for the database: %s", message.action_id, e)
            await asyncio.sleep(0.5)
    if delivery is not None:
        delivery.ack()


async def _finished(engine: Engine, message: ActionFinished) -> None:
    row = await engine.database.reading(_row, message.action_id)
    if row is not None:
        call = await prepare(engine, row.name, rows.decode(row.input), "", row.project_id)
        state, value = await outcome(engine, call, message.data, message.error, message.cancel, "", row.project_id)
        await engine.database.writing(_finish, message.action_id, state, value, engine.clock())


def _row(connection: Connection, action_id: str) -> Any:
    return connection.execute(sa.select(table).where(table.c.id == action_id, table.c.execution_id.is_(None))).first()


def _finish(connection: Connection, action_id: str, state: str, value: Any, now: float) -> bool:
    found = connection.execute(
        table.update()
        .where(table.c.id == action_id, table.c.execution_id.is_(None), table.c.state.in_(("RUNNING", "PAUSED")))
        .values(
            state=state,
            output=rows.encode(value),
            accepted=True,
            updated_at=now,
            state_info=str(value) if state == "ERROR" else None,
        )
    )
    return found.rowcount == 1


def update(connection: Connection, action_id: str, state: str, value: Any, now: float) -> None:
    """Complete, pause or resume one from outside. Raises NotFound, WorkflowError."""
    row = _row(connection, action_id)
    if row is None:
        raise NotFound(f"ActionExecution not found [id={action_id}]")
    if row.state not in ("RUNNING", "PAUSED"):
        raise WorkflowError(
            f"The action execution {action_id} has ended already in {row.state}; its result stays as it is"
        )
    if state in ("PAUSED", "RUNNING"):
        if row.is_sync:
            raise WorkflowError("Transition to the PAUSED state is only supported for asynchronous action execution")
        connection.execute(table.update().where(table.c.id == action_id).values(state=state, updated_at=now))
    else:
        _finish(connection, action_id, state, value, now)


async def prepare(engine: Engine, name: str, given: dict[str, Any], namespace: str, project_id: str) -> Call:
    """Find an action and check its input. Raises InvalidInput."""

    def ready(lookup: Any) -> Call:
        info = lookup(name)
        if info is None:
            raise InvalidInput(f"Failed to find action [action_name={name}, namespace={namespace}]")
        try:
            return unfold(info, given, MapScope({}, new_id=engine.new_id), lookup, namespace)
        except ExpressionError as e:
            raise InvalidInput(str(e)) from None

    call: Call = await _asking(engine, namespace, project_id, ready)
    return call


async def outcome(
    engine: Engine, call: Call, data: Any, error: Any, cancel: bool, namespace: str, project_id: str
) -> tuple[str, Any]:
    """State and result of an action run in place, an ad-hoc action's output applied."""
    if cancel or error is not None:
        return ("CANCELLED", None) if cancel else ("ERROR", error)

    def ready(lookup: Any) -> tuple[str, Any]:
        try:
            return "SUCCESS", transform(call.info, data, lookup)
        except ExpressionError as e:
            return "ERROR", str(e)

    result: tuple[str, Any] = await _asking(engine, namespace, project_id, ready)
    return result


async def _asking(engine: Engine, namespace: str, project_id: str, run: Any) -> Any:
    """Run something that looks actions up, loading what it asks for."""
    cache = Cache(1)
    view = CachedView(cache, engine.registry, {})

    def lookup(name: str) -> ActionInfo | None:
        return view.action(name, namespace, project_id)

    while True:
        try:
            return run(lookup)
        except Missing as e:
            cache.answers.update(await engine.database.reading(answer, [e.question], False))


async def store(
    engine: Engine,
    call: Call,
    project_id: str,
    description: str,
    target: str | None,
    timeout: int | None,
    done: tuple[str, Any] | None = None,
    credentials: dict[str, Any] | None = None,
) -> Any:
    """The row of a stored action execution as it was when handed to an executor, or with its outcome already."""
    action_id, now = engine.new_id(), engine.clock()
    row = {
        "id": action_id,
        "execution_id": None,
        "task_id": None,
        "kind": "ACTION",
        "name": call.name,
        "project_id": project_id,
        "seq": 0,
        "item": 0,
        "attempt": 0,
        "state": "RUNNING" if done is None else done[0],
        "state_info": None,
        "accepted": done is not None,
        "input": rows.encode(call.input),
        "output": None if done is None else rows.encode(done[1]),
        "base": None if call.runs is None else rows.encode(call.runs),
        "is_sync": call.base.is_sync,
        "safe_rerun": call.base.idempotent,
        "target": target,
        "timeout": timeout,
        "description": description,
        "holder": None,
        "held_since": None,
        "heartbeat": None,
        "created_at": now,
        "updated_at": now,
    }
    if credentials and done is None:
        await engine.database.writing(security.keep, action_id, credentials)
    await engine.database.writing(_insert, row)
    if done is None:
        message = RunActionMessage(
            action_id,
            None,
            None,
            None,
            "",
            call.base.runs_as or call.base.name,
            call.base_input,
            0,
            call.base.idempotent,
            call.base.is_sync,
            timeout,
        )
        await engine.publisher.send([(actions_queue(target), encoded(message))])
    return SimpleNamespace(**row)


def _insert(connection: Connection, row: dict[str, Any]) -> None:
    connection.execute(table.insert(), row)
