"""The requests of the API. Lists take filters by attribute (`state="ERROR"`, `name="has:web"`), `limit`, `sort_keys` and `sort_dirs`."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

from gregale.client.records import (
    Action,
    ActionExecution,
    CronTrigger,
    Environment,
    EventTrigger,
    Execution,
    Member,
    Notification,
    Task,
    Workbook,
    Workflow,
)
from gregale.client.request import Request

T = TypeVar("T")


def _list(kind: type[T], path: str, key: str, query: dict[str, Any]) -> Request[list[T]]:
    texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in query.items() if v is not None}
    return Request("GET", path, texts, kind=kind, key=key)


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(p, safe="") for p in parts)


def _given(**values: Any) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}


# Definitions -----------------------------------------------------------------------------------------------------------


def workflows(**query: Any) -> Request[list[Workflow]]:
    return _list(Workflow, "/workflows", "workflows", query)


def workflow(identifier: str, namespace: str = "") -> Request[Workflow]:
    return Request("GET", _path("workflows", identifier), {"namespace": namespace}, kind=Workflow)


def create_workflows(text: str, namespace: str = "", scope: str = "private") -> Request[list[Workflow]]:
    return _document("POST", Workflow, "workflows", text, namespace, scope)


def update_workflows(text: str, namespace: str = "", scope: str = "private") -> Request[list[Workflow]]:
    return _document("PUT", Workflow, "workflows", text, namespace, scope)


def _document(method: Any, kind: type[T], key: str, text: str, namespace: str, scope: str) -> Request[list[T]]:
    return Request(method, f"/{key}", {"namespace": namespace, "scope": scope}, text=text, kind=kind, key=key)


def delete_workflow(identifier: str, namespace: str = "") -> Request[None]:
    return Request("DELETE", _path("workflows", identifier), {"namespace": namespace})


def validate_workflows(text: str) -> Request[dict[str, Any]]:
    return Request("POST", "/workflows/validate", text=text, safe=True)


def workbooks(**query: Any) -> Request[list[Workbook]]:
    return _list(Workbook, "/workbooks", "workbooks", query)


def workbook(name: str, namespace: str = "") -> Request[Workbook]:
    return Request("GET", _path("workbooks", name), {"namespace": namespace}, kind=Workbook)


def create_workbook(text: str, namespace: str = "", scope: str = "private") -> Request[Workbook]:
    return Request("POST", "/workbooks", {"namespace": namespace, "scope": scope}, text=text, kind=Workbook)


def update_workbook(text: str, namespace: str = "", scope: str = "private") -> Request[Workbook]:
    return Request("PUT", "/workbooks", {"namespace": namespace, "scope": scope}, text=text, kind=Workbook)


def delete_workbook(name: str, namespace: str = "") -> Request[None]:
    return Request("DELETE", _path("workbooks", name), {"namespace": namespace})


def actions(**query: Any) -> Request[list[Action]]:
    return _list(Action, "/actions", "actions", query)


def action(identifier: str, namespace: str = "") -> Request[Action]:
    return Request("GET", _path("actions", identifier), {"namespace": namespace}, kind=Action)


def create_actions(text: str, namespace: str = "", scope: str = "private") -> Request[list[Action]]:
    return _document("POST", Action, "actions", text, namespace, scope)


def update_actions(text: str, namespace: str = "", scope: str = "private") -> Request[list[Action]]:
    return _document("PUT", Action, "actions", text, namespace, scope)


def delete_action(identifier: str, namespace: str = "") -> Request[None]:
    return Request("DELETE", _path("actions", identifier), {"namespace": namespace})


def environments(**query: Any) -> Request[list[Environment]]:
    return _list(Environment, "/environments", "environments", query)


def environment(name: str) -> Request[Environment]:
    return Request("GET", _path("environments", name), kind=Environment)


def create_environment(
    name: str, variables: dict[str, Any], description: str | None = None, scope: str | None = None
) -> Request[Environment]:
    body = _given(name=name, variables=variables, description=description, scope=scope)
    return Request("POST", "/environments", body=body, kind=Environment)


def update_environment(
    name: str, variables: dict[str, Any] | None = None, description: str | None = None, scope: str | None = None
) -> Request[Environment]:
    body = _given(name=name, variables=variables, description=description, scope=scope)
    return Request("PUT", "/environments", body=body, kind=Environment)


def delete_environment(name: str) -> Request[None]:
    return Request("DELETE", _path("environments", name))


# What runs -------------------------------------------------------------------------------------------------------------


def start(
    workflow: str,
    input: dict[str, Any] | None = None,  # noqa: A002 - the API's name
    params: dict[str, Any] | None = None,
    description: str = "",
    namespace: str = "",
    id: str | None = None,  # noqa: A002 - the API's name
    source: str | None = None,
) -> Request[Execution]:
    """Start a workflow, by name or id. With an `id` the request may be repeated: it starts once."""
    body = _given(
        workflow_id=workflow or None,
        workflow_namespace=namespace or None,
        input=input,
        params=params,
        description=description,
        id=id,
        source_execution_id=source,
    )
    return Request("POST", "/executions", body=body, kind=Execution, safe=id is not None)


def executions(**query: Any) -> Request[list[Execution]]:
    return _list(Execution, "/executions", "executions", query)


def execution(execution_id: str) -> Request[Execution]:
    return Request("GET", _path("executions", execution_id), kind=Execution)


def change_execution(
    execution_id: str,
    state: str | None = None,
    state_info: str | None = None,
    description: str | None = None,
    env: dict[str, Any] | None = None,
) -> Request[Execution]:
    """Pause (PAUSED), resume (RUNNING), end (SUCCESS, ERROR, CANCELLED) or describe an execution, or add to its environment."""
    params = None if env is None else {"env": env}
    body = _given(state=state, state_info=state_info, description=description, params=params)
    return Request("PUT", _path("executions", execution_id), body=body, kind=Execution)


def delete_execution(execution_id: str, force: bool = False) -> Request[None]:
    return Request("DELETE", _path("executions", execution_id), {"force": "true"} if force else {})


def sub_executions(execution_id: str, max_depth: int = -1, errors_only: bool = False) -> Request[list[Execution]]:
    query = {"max_depth": max_depth, "errors_only": errors_only}
    return _list(Execution, _path("executions", execution_id, "executions"), "executions", query)


def report(execution_id: str, max_depth: int = -1, errors_only: bool = False) -> Request[dict[str, Any]]:
    query = {"max_depth": str(max_depth), "errors_only": str(errors_only).lower()}
    return Request("GET", _path("executions", execution_id, "report"), query)


def explain(identifier: str, task: bool = False) -> Request[dict[str, Any]]:
    """Why an execution, or a task, is where it is."""
    return Request("GET", _path("tasks" if task else "executions", identifier, "explain"))


def tasks(execution_id: str | None = None, **query: Any) -> Request[list[Task]]:
    path = "/tasks" if execution_id is None else _path("executions", execution_id, "tasks")
    return _list(Task, path, "tasks", query)


def task(task_id: str) -> Request[Task]:
    return Request("GET", _path("tasks", task_id), kind=Task)


def rerun_task(task_id: str, reset: bool = True, env: dict[str, Any] | None = None) -> Request[Task]:
    body = _given(state="RUNNING", reset=reset, env=env)
    return Request("PUT", _path("tasks", task_id), body=body, kind=Task, safe=False)


def skip_task(task_id: str, env: dict[str, Any] | None = None) -> Request[Task]:
    return Request("PUT", _path("tasks", task_id), body=_given(state="SKIPPED", env=env), kind=Task, safe=False)


def action_executions(task_id: str | None = None, **query: Any) -> Request[list[ActionExecution]]:
    path = "/action_executions" if task_id is None else _path("tasks", task_id, "action_executions")
    return _list(ActionExecution, path, "action_executions", query)


def action_execution(action_id: str) -> Request[ActionExecution]:
    return Request("GET", _path("action_executions", action_id), kind=ActionExecution)


def run_action(
    name: str,
    input: dict[str, Any] | None = None,  # noqa: A002 - the API's name
    save_result: bool = False,
    target: str | None = None,
    namespace: str = "",
) -> Request[ActionExecution]:
    params = _given(save_result=save_result or None, target=target)
    body = _given(name=name, input=input, params=params, workflow_namespace=namespace or None)
    return Request("POST", "/action_executions", body=body, kind=ActionExecution, safe=False)


def complete_action(action_id: str, state: str, output: dict[str, Any] | None = None) -> Request[ActionExecution]:
    """End an asynchronous action: SUCCESS, ERROR or CANCELLED; or PAUSED and RUNNING."""
    body = _given(state=state, output=output)
    return Request("PUT", _path("action_executions", action_id), body=body, kind=ActionExecution, safe=False)


# Triggers and the rest ---------------------------------------------------------------------------------------------------


def cron_triggers(**query: Any) -> Request[list[CronTrigger]]:
    return _list(CronTrigger, "/cron_triggers", "cron_triggers", query)


def cron_trigger(identifier: str) -> Request[CronTrigger]:
    return Request("GET", _path("cron_triggers", identifier), kind=CronTrigger)


def create_cron_trigger(
    name: str,
    workflow: str,
    pattern: str | None = None,
    first: str | None = None,
    count: int | None = None,
    input: dict[str, Any] | None = None,  # noqa: A002 - the API's name
    params: dict[str, Any] | None = None,
) -> Request[CronTrigger]:
    """`first`: YYYY-MM-DD HH:MM in UTC; `count`: how many times at most."""
    body = _given(
        name=name,
        workflow_id=workflow,
        pattern=pattern,
        first_execution_time=first,
        remaining_executions=count,
        workflow_input=input,
        workflow_params=params,
    )
    return Request("POST", "/cron_triggers", body=body, kind=CronTrigger, safe=False)


def delete_cron_trigger(identifier: str) -> Request[None]:
    return Request("DELETE", _path("cron_triggers", identifier))


def event_triggers(**query: Any) -> Request[list[EventTrigger]]:
    return _list(EventTrigger, "/event_triggers", "event_triggers", query)


def event_trigger(trigger_id: str) -> Request[EventTrigger]:
    return Request("GET", _path("event_triggers", trigger_id), kind=EventTrigger)


def create_event_trigger(
    name: str,
    workflow_id: str,
    exchange: str,
    topic: str,
    event: str,
    input: dict[str, Any] | None = None,  # noqa: A002 - the API's name
) -> Request[EventTrigger]:
    body = _given(name=name, workflow_id=workflow_id, exchange=exchange, topic=topic, event=event, workflow_input=input)
    return Request("POST", "/event_triggers", body=body, kind=EventTrigger, safe=False)


def delete_event_trigger(trigger_id: str) -> Request[None]:
    return Request("DELETE", _path("event_triggers", trigger_id))


def happened(
    exchange: str, topic: str, event_type: str, payload: dict[str, Any], message_id: str
) -> Request[dict[str, Any]]:
    """Tell event triggers of an event; the same `message_id` starts nothing a second time."""
    body = _given(exchange=exchange, topic=topic, event_type=event_type, payload=payload, message_id=message_id)
    return Request("POST", "/events", body=body)


def members(workflow_id: str) -> Request[list[Member]]:
    return _list(Member, _path("workflows", workflow_id, "members"), "members", {})


def share_workflow(workflow_id: str, member_id: str) -> Request[Member]:
    path = _path("workflows", workflow_id, "members")
    return Request("POST", path, body={"member_id": member_id}, kind=Member, safe=False)


def answer_share(workflow_id: str, member_id: str, status: str) -> Request[Member]:
    """For the member: accepted or rejected."""
    path = _path("workflows", workflow_id, "members", member_id)
    return Request("PUT", path, body={"status": status}, kind=Member)


def unshare_workflow(workflow_id: str, member_id: str) -> Request[None]:
    return Request("DELETE", _path("workflows", workflow_id, "members", member_id))


def notifications(**query: Any) -> Request[list[Notification]]:
    return _list(Notification, "/notifications", "notifications", query)


def resend_notification(notification_id: str) -> Request[Notification]:
    return Request("PUT", _path("notifications", notification_id), kind=Notification)


# The cluster -----------------------------------------------------------------------------------------------------------


def cluster_members() -> Request[list[dict[str, Any]]]:
    return _list(dict, "/cluster/members", "members", {})


def cluster_partitions() -> Request[list[dict[str, Any]]]:
    return _list(dict, "/cluster/partitions", "partitions", {})


def drain(name: str) -> Request[dict[str, Any]]:
    return Request("POST", _path("cluster", "members", name, "drain"))


def dead_letters() -> Request[list[dict[str, Any]]]:
    return _list(dict, "/cluster/dead_letters", "dead_letters", {})


def dead_letter(letter_id: str) -> Request[dict[str, Any]]:
    return Request("GET", _path("cluster", "dead_letters", letter_id))


def requeue_dead_letter(letter_id: str) -> Request[dict[str, Any]]:
    return Request("POST", _path("cluster", "dead_letters", letter_id, "requeue"), safe=False)


def delete_dead_letter(letter_id: str) -> Request[None]:
    return Request("DELETE", _path("cluster", "dead_letters", letter_id))


def stuck(after: float = 60.0) -> Request[list[dict[str, Any]]]:
    """What has stood still for so many seconds."""
    return _list(dict, "/stuck", "stuck", {"after": after})


def recover(
    execution_id: str, preview: bool = False, after: float = 0.0, lost: bool = False
) -> Request[list[dict[str, Any]]]:
    """Apply the remedy for what of an execution is stuck; with `preview`, say only what it is."""
    body = {"preview": preview, "after": after, "lost": lost}
    return Request("POST", _path("executions", execution_id, "recover"), body=body, kind=dict, key="stuck")
