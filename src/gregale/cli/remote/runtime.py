"""`gregale execution|task|action-execution|events`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gregale.cli.load import map_file, pairs
from gregale.cli.remote.connect import group, remote
from gregale.cli.remote.definitions import Filters, Limit, Name, Namespace, filters
from gregale.cli.remote.output import Output
from gregale.cli.remote.watch import watch
from gregale.client import Client, api

execution = group("Executions of workflows on a server.")
task = group("Tasks of executions on a server.")
action_execution = group("What executors have run on a server.")
events = group("")

Id = Annotated[str, typer.Argument(help="The id.")]
Ids = Annotated[list[str], typer.Argument(help="Ids.")]
Inputs = Annotated[list[str] | None, typer.Option("--input", "-i", help="key=value; the value is YAML. Repeatable.")]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", help="key=value for env(). Repeatable.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it live until it ends.")]

_COLUMNS = ("id", "workflow_name", "description", "state", "created_at", "updated_at")


@remote(execution, "start")
def start(
    client: Client,
    out: Output,
    workflow: Name,
    given: Inputs = None,
    input_file: Annotated[Path | None, typer.Option("--input-file", "-I", help="A YAML or JSON map of inputs.")] = None,
    env: Env = None,
    env_name: Annotated[str | None, typer.Option(help="An environment of the server.")] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="key=value, e.g. task_name=deploy. Repeatable.")
    ] = None,
    description: Annotated[str, typer.Option("--description", "-d", help="What it is for.")] = "",
    id: Annotated[str | None, typer.Option("--id", help="An id of one's own: the start may then be repeated.")] = None,  # noqa: A002
    namespace: Namespace = "",
    follow: Watch = False,
) -> None:
    """Start a workflow, and follow it with --watch.

    Example: gregale execution start deploy -i host=web1 --watch
    """
    inputs = {**(map_file(input_file) if input_file else {}), **pairs(given or [], "--input")}
    params: dict[str, Any] = pairs(param or [], "--param")
    if env_name or env:
        params["env"] = env_name or pairs(env or [], "--env")
    made = client(api.start(workflow, inputs, params, description, namespace, id))
    if follow:
        watch(client, out, made.id)
    out.one(made)


@remote(execution, "watch")
def follow(client: Client, out: Output, execution_id: Id) -> None:
    """Follow an execution live until it ends. Exit code 0 for SUCCESS, 1 for ERROR, 130 when cancelled."""
    watch(client, out, execution_id)


@remote(execution, "list")
def list_executions(
    client: Client,
    out: Output,
    filter: Filters = None,  # noqa: A002
    limit: Limit = 50,
    roots: Annotated[bool, typer.Option(help="Only those that no other has started.")] = False,
) -> None:
    """List executions, the newest first.

    Example: gregale execution list -f state=ERROR -f workflow_name=has:deploy
    """
    nulls = "root_execution_id" if roots else None
    query = {"sort_keys": "created_at", "sort_dirs": "desc", **filters(filter)}
    out.many(client(api.executions(**query, nulls=nulls, limit=limit)), _COLUMNS)


@remote(execution, "get")
def get_execution(client: Client, out: Output, execution_id: Id) -> None:
    """Show one execution."""
    out.one(client(api.execution(execution_id)))


@remote(execution, "tasks")
def tasks_of(client: Client, out: Output, execution_id: Id) -> None:
    """List the tasks of an execution."""
    out.many(
        client.pages(api.tasks(execution_id)),
        ("id", "name", "type", "state", "state_info", "started_at", "finished_at"),
    )


@remote(execution, "report")
def report(
    client: Client,
    out: Output,
    execution_id: Id,
    errors_only: Annotated[bool, typer.Option("--errors-only", help="Only what has failed.")] = False,
) -> None:
    """Print the whole tree of an execution as JSON."""
    out.value(client(api.report(execution_id, errors_only=errors_only)))


@remote(execution, "pause")
def pause(client: Client, out: Output, ids: Ids) -> None:
    """Pause executions: what runs ends, nothing new begins."""
    _change(client, out, ids, "PAUSED")


@remote(execution, "resume")
def resume(client: Client, out: Output, ids: Ids) -> None:
    """Let paused executions go on."""
    _change(client, out, ids, "RUNNING")


@remote(execution, "cancel")
def cancel(
    client: Client, out: Output, ids: Ids, reason: Annotated[str | None, typer.Option(help="Why.")] = None
) -> None:
    """Cancel executions."""
    _change(client, out, ids, "CANCELLED", reason)


@remote(execution, "stop")
def stop(
    client: Client,
    out: Output,
    ids: Ids,
    state: Annotated[str, typer.Option(help="SUCCESS or ERROR.")] = "ERROR",
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
) -> None:
    """End executions in the given state."""
    _change(client, out, ids, state.upper(), reason)


def _change(client: Client, out: Output, ids: list[str], state: str, reason: str | None = None) -> None:
    out.many([client(api.change_execution(i, state, reason)) for i in ids], _COLUMNS)


@remote(execution, "delete")
def delete_executions(
    client: Client,
    out: Output,
    ids: Ids,
    force: Annotated[bool, typer.Option("--force", help="Also those that have not ended.")] = False,
) -> None:
    """Delete executions with everything in them."""
    for one in ids:
        client(api.delete_execution(one, force))
        out.done(f"deleted execution {one}")


@remote(task, "list")
def list_tasks(
    client: Client,
    out: Output,
    execution_id: Annotated[str | None, typer.Argument(help="Of this execution; of all without it.")] = None,
    filter: Filters = None,  # noqa: A002
    limit: Limit = 100,
) -> None:
    """List tasks.

    Example: gregale task list -f state=in:RUNNING,DELAYED
    """
    found = client(api.tasks(execution_id, **filters(filter), limit=limit))
    out.many(found, ("id", "name", "workflow_name", "state", "state_info", "created_at"))


@remote(task, "get")
def get_task(client: Client, out: Output, task_id: Id) -> None:
    """Show one task, with its result."""
    out.one(client(api.task(task_id)))


@remote(task, "result")
def task_result(client: Client, out: Output, task_id: Id) -> None:
    """Print the result of a task as JSON."""
    out.value(client(api.task(task_id)).result)


@remote(task, "rerun")
def rerun(
    client: Client,
    out: Output,
    task_id: Id,
    resume: Annotated[bool, typer.Option("--resume", help="Of a with-items task, only the items that failed.")] = False,
    env: Env = None,
    follow: Watch = False,
) -> None:
    """Run a failed task again."""
    found = client(api.rerun_task(task_id, not resume, pairs(env, "--env") if env else None))
    if follow:
        watch(client, out, found.workflow_execution_id)
    out.one(found)


@remote(task, "skip")
def skip(client: Client, out: Output, task_id: Id) -> None:
    """Leave a failed task behind and go on after it."""
    out.one(client(api.skip_task(task_id)))


@remote(action_execution, "list")
def list_action_executions(
    client: Client,
    out: Output,
    task_id: Annotated[str | None, typer.Argument(help="Of this task; of all without it.")] = None,
    filter: Filters = None,  # noqa: A002
    limit: Limit = 100,
) -> None:
    """List action executions."""
    found = client(api.action_executions(task_id, **filters(filter), limit=limit))
    out.many(found, ("id", "name", "task_name", "workflow_name", "state", "accepted", "created_at"))


@remote(action_execution, "get")
def get_action_execution(client: Client, out: Output, action_id: Id) -> None:
    """Show one action execution."""
    out.one(client(api.action_execution(action_id)))


@remote(action_execution, "complete")
def complete(
    client: Client,
    out: Output,
    action_id: Id,
    state: Annotated[str, typer.Option(help="SUCCESS, ERROR, CANCELLED, PAUSED or RUNNING.")] = "SUCCESS",
    output: Annotated[
        list[str] | None, typer.Option("--output", "-o", help="key=value; the value is YAML. Repeatable.")
    ] = None,
) -> None:
    """End an asynchronous action: the answer that it waits for.

    Example: gregale action-execution complete 4f0c… -o approved=true
    """
    out.one(client(api.complete_action(action_id, state.upper(), pairs(output or [], "--output"))))


@remote(events, "events")
def follow_events(
    client: Client,
    out: Output,
    execution: Annotated[str | None, typer.Option(help="Of this execution and all below it.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Of this workflow.")] = None,
    after: Annotated[str | None, typer.Option(help="Begin after this event; 0 is the oldest kept.")] = None,
) -> None:
    """Print what happens on a server, as it happens, until Ctrl-C.

    Example: gregale events --workflow deploy
    """
    try:
        for change in client.events(execution=execution, workflow=workflow, after=after):
            if out.as_json:
                typer.echo(msgspec.json.encode(change).decode())
            else:
                typer.echo(
                    f"{change.at} {change.state:<9} {change.kind} {change.workflow_name}/{change.name} {change.id}"
                )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
