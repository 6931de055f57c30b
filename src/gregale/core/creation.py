"""Creating executions: input against declaration, environment, vars (language spec 4.1 and 5.2)."""

from __future__ import annotations

from typing import Any

from gregale import expressions
from gregale.core.context import EMPTY
from gregale.core.errors import InvalidInput, WorkflowError, invalid_input
from gregale.core.scope import ExecutionScope
from gregale.core.state import Execution, StartExecution, State
from gregale.core.view import Definition
from gregale.core.work import Decision, Transition, Work, check_size, jsonable
from gregale.expressions import MapScope
from gregale.language.spec import REQUIRED


def create(
    decision: Decision,
    definition: Definition,
    execution_id: str,
    given: dict[str, Any],
    params: dict[str, Any],
    description: str,
    project_id: str,
    parent: Execution | None = None,
    parent_task_id: str | None = None,
) -> Work:
    """A new execution, RUNNING, with the command to start it. Raises Rejected or ExpressionError; nothing exists then."""
    spec = definition.spec
    check_input(definition, given)
    values = jsonable({**declared_defaults(spec.input), **given})
    params = jsonable({"namespace": definition.namespace, **params})
    params["env"] = _environment(decision, params, project_id)
    for field, value in (("input", values), ("params", params)):
        too_large = check_size(value, "WorkflowExecution", field, decision.settings.field_limit_kb)
        if too_large:
            raise InvalidInput(too_large)
    if spec.type == "reverse":
        target = params.get("task_name")
        if not target or target not in spec.tasks:
            raise WorkflowError(
                f"Invalid task name [wf={definition.name}, task_name={target}]: a reverse workflow needs the parameter "
                f"'task_name', one of: {', '.join(spec.tasks)}"
            )
    execution = Execution(
        id=execution_id,
        root_id=parent.root_id if parent else execution_id,
        workflow_id=definition.id,
        workflow_name=definition.name,
        namespace=definition.namespace,
        spec=spec,
        spec_hash=definition.spec_hash,
        input=values,
        params=params,
        created_at=decision.now,
        updated_at=decision.now,
        state=State.RUNNING,
        description=description,
        tags=spec.tags,
        project_id=project_id,
        parent_id=parent.id if parent else None,
        parent_task_id=parent_task_id,
        workbook=definition.workbook,
    )
    work = Work(execution, decision, created=True)
    work.transitions.append(Transition(decision.now, None, None, State.RUNNING))
    decision.works[execution_id] = work
    try:
        if spec.vars:
            work.execution.context = jsonable(expressions.evaluate(spec.vars, ExecutionScope(work, EMPTY)))
    except BaseException:
        del decision.works[execution_id]
        raise
    work.commands.append(StartExecution(execution_id))
    return work


def check_input(definition: Definition, given: dict[str, Any]) -> None:
    """Raises InvalidInput, naming every input that is missing or not declared."""
    declared = definition.spec.input
    missing = [n for n, default in declared.items() if default is REQUIRED and n not in given]
    wrong = invalid_input(definition.name, "WorkflowSpec", missing, [n for n in given if n not in declared])
    if wrong is not None:
        raise wrong


def declared_defaults(declared: dict[str, Any]) -> dict[str, Any]:
    return {name: default for name, default in declared.items() if default is not REQUIRED}


def _environment(decision: Decision, params: dict[str, Any], project_id: str) -> dict[str, Any]:
    env = params.get("env")
    if isinstance(env, str):
        found = decision.view.environment(env, project_id)
        if found is None:
            raise InvalidInput(f"Environment is not found: {env}")
        env = found
    elif env is None:
        return {}
    elif not isinstance(env, dict):
        raise InvalidInput(
            f"Unexpected value type for environment [type={type(env).__name__}]: a map or a name is expected"
        )
    if params.get("evaluate_env", True) is False:
        return env
    result: dict[str, Any] = jsonable(expressions.evaluate(env, MapScope({}, env, decision.new_id)))
    return result
