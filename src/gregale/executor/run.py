"""Running one action: natively or in a thread, within its time, every outcome a Result."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec

from gregale.actions import ActionContext, ActionError, Registry, Result, UnknownAction, dynamic
from gregale.actions.contract import Action, arguments, raised, returned
from gregale.core import NotFound
from gregale.store import Database, security, sources

_threads = ThreadPoolExecutor(64, "action")
"""For blocking actions; their number at a time is bounded by this."""


class Actions:
    """What an executor can run: the actions of its registry, and dynamic ones, whose source is in the database."""

    def __init__(self, registry: Registry, database: Database | None = None):
        self.registry = registry
        self._database = database

    async def get(self, name: str) -> Action:
        """Raises UnknownAction, ActionError."""
        if not name.startswith(dynamic.PREFIX) or self._database is None:
            return self.registry.get(name)
        try:
            found = await self._database.reading(sources.class_source, name.removeprefix(dynamic.PREFIX))
        except NotFound as e:
            raise UnknownAction(f"The dynamic action is gone: {e}") from None
        class_name, content, *_ = found
        return await asyncio.get_running_loop().run_in_executor(_threads, dynamic.loaded, name, class_name, content)

    async def credentials(self, root_id: str) -> dict[str, Any] | None:
        """What the actions of this tree of executions may present to other services."""
        return None if self._database is None else await self._database.reading(security.credentials, root_id)


async def run(
    actions: Actions,
    name: str,
    given: dict[str, Any],
    context: ActionContext,
    timeout: float | None = None,
) -> Result | None:
    """The outcome of an action; None for an asynchronous one that ends later. Never raises, except when cancelled itself."""
    try:
        action = await actions.get(name)
    except (UnknownAction, ActionError) as e:
        return Result(error=str(e))
    try:
        async with asyncio.timeout(timeout or None):
            if action.credentials and context.security is None:
                known = await actions.credentials(context.root_execution_id or context.action_execution_id)
                context = msgspec.structs.replace(context, security=known)
            value = await _call(action, given, context)
    except TimeoutError:
        return Result(error=f"The action ran longer than its task's timeout [action={name}, timeout(s)={timeout}]")
    except asyncio.CancelledError:
        if (current := asyncio.current_task()) is not None and current.cancelling():
            raise
        return Result(cancel=True)
    except Exception as e:
        return raised(name, context.action_execution_id, e)
    result = returned(name, context.action_execution_id, value)
    ended = action.info.is_sync or result.error is not None or result.cancel
    return result if ended else None


async def _call(action: Action, given: dict[str, Any], context: ActionContext) -> Any:
    values = arguments(action, given)
    positional = (context,) if action.takes_context else ()
    if action.blocking:
        call = partial(action.run, *positional, **values)
        return await asyncio.get_running_loop().run_in_executor(_threads, call)
    return await action.run(*positional, **values)
