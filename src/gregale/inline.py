"""Actions of their own, outside any workflow (language spec 7.3): run in place, or handed to an executor and stored."""

from __future__ import annotations

from typing import Any

from gregale.actions import ActionContext, Result
from gregale.core import InvalidInput
from gregale.engine import Engine, standalone
from gregale.executor.run import Actions, run
from gregale.store import rows


class Inline:
    def __init__(self, engine: Engine, actions: Actions, name: str):
        self._engine = engine
        self._actions = actions
        self._name = name

    async def __call__(
        self,
        name: str,
        given: dict[str, Any],
        namespace: str,
        project_id: str,
        description: str = "",
        save: bool = False,
        wait: bool = False,
        target: str | None = None,
        timeout: int | None = None,
        credentials: dict[str, Any] | None = None,
    ) -> Any:
        """A map for one that is not stored, else its row. Raises InvalidInput."""
        engine = self._engine
        call = await standalone.prepare(engine, name, given, namespace, project_id)
        if not call.base.is_sync and wait:
            raise InvalidInput(f"The action '{name}' does not support synchronous execution")
        if not call.base.is_sync or (save and not wait):
            return await standalone.store(engine, call, project_id, description, target, timeout, None, credentials)
        context = ActionContext(executor=self._name, settings=self._actions.registry.settings, security=credentials)
        result = (
            await run(self._actions, call.base.runs_as or call.base.name, call.base_input, context, timeout) or Result()
        )
        state, output = await standalone.outcome(
            engine, call, result.data, result.error, result.cancel, namespace, project_id
        )
        if save:
            return await standalone.store(engine, call, project_id, description, target, timeout, (state, output))
        return {
            "id": None,
            "name": name,
            "workflow_name": None,
            "workflow_namespace": None,
            "task_name": None,
            "task_execution_id": None,
            "state": state,
            "state_info": output if state == "ERROR" and isinstance(output, str) else None,
            "tags": None,
            "description": description,
            "project_id": None,
            "accepted": True,
            "input": rows.encode(given),
            "output": rows.encode({"result": output}),
            "created_at": None,
            "updated_at": None,
        }
