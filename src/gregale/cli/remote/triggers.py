"""`gregale cron|event-trigger|notification`"""

from __future__ import annotations

from typing import Annotated

import typer

from gregale.cli.load import pairs
from gregale.cli.remote.connect import group, remote
from gregale.cli.remote.definitions import Filters, Limit, Name, Names, filters
from gregale.cli.remote.output import Output
from gregale.cli.remote.runtime import Inputs
from gregale.client import Client, api

cron = group("Workflows that a server starts by the clock.")
event_trigger = group("Workflows that a server starts by events.")
notification = group("What a server tells others of its executions.")

_CRON = ("id", "name", "workflow_name", "pattern", "next_execution_time", "remaining_executions")


@remote(cron, "list")
def list_cron(client: Client, out: Output, filter: Filters = None, limit: Limit = 100) -> None:  # noqa: A002
    """List cron triggers."""
    out.many(client(api.cron_triggers(**filters(filter), limit=limit)), _CRON)


@remote(cron, "get")
def get_cron(client: Client, out: Output, name: Name) -> None:
    """Show one cron trigger."""
    out.one(client(api.cron_trigger(name)))


@remote(cron, "create")
def create_cron(
    client: Client,
    out: Output,
    name: Annotated[str, typer.Argument(help="A name for the trigger.")],
    workflow: Name,
    pattern: Annotated[str | None, typer.Option("--pattern", help="Five fields in UTC, or six with seconds.")] = None,
    first: Annotated[str | None, typer.Option("--first", help="The first time: YYYY-MM-DD HH:MM in UTC.")] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="How many times at most.")] = None,
    given: Inputs = None,
) -> None:
    """Start a workflow by the clock.

    Example: gregale cron create nightly backup --pattern '0 3 * * *' -i host=db1
    """
    out.one(client(api.create_cron_trigger(name, workflow, pattern, first, count, pairs(given or [], "--input"))))


@remote(cron, "delete")
def delete_cron(client: Client, out: Output, names: Names) -> None:
    """Delete cron triggers. What they have started goes on."""
    for name in names:
        client(api.delete_cron_trigger(name))
        out.done(f"deleted cron trigger {name}")


@remote(event_trigger, "list")
def list_event_triggers(client: Client, out: Output, limit: Limit = 100) -> None:
    """List event triggers."""
    out.many(client(api.event_triggers(limit=limit)), ("id", "name", "workflow_id", "exchange", "topic", "event"))


@remote(event_trigger, "create")
def create_event_trigger(
    client: Client,
    out: Output,
    name: Annotated[str, typer.Argument(help="A name for the trigger.")],
    workflow_id: Annotated[str, typer.Argument(help="The id of the workflow.")],
    exchange: Annotated[str, typer.Argument(help="Where the event is published.")],
    topic: Annotated[str, typer.Argument(help="Its topic there.")],
    event: Annotated[str, typer.Argument(help="Its type.")],
    given: Inputs = None,
) -> None:
    """Start a workflow whenever an event happens."""
    inputs = pairs(given or [], "--input")
    out.one(client(api.create_event_trigger(name, workflow_id, exchange, topic, event, inputs)))


@remote(event_trigger, "delete")
def delete_event_triggers(client: Client, out: Output, ids: Names) -> None:
    """Delete event triggers. What they have started goes on."""
    for one in ids:
        client(api.delete_event_trigger(one))
        out.done(f"deleted event trigger {one}")


@remote(notification, "list")
def list_notifications(client: Client, out: Output, filter: Filters = None, limit: Limit = 100) -> None:  # noqa: A002
    """List notifications: PENDING, SENT or FAILED.

    Example: gregale notification list -f state=FAILED
    """
    columns = ("id", "execution_id", "event", "state", "attempts", "last_error", "created_at")
    out.many(client(api.notifications(**filters(filter), limit=limit)), columns)


@remote(notification, "resend")
def resend(client: Client, out: Output, ids: Names) -> None:
    """Try failed notifications again, now."""
    for one in ids:
        client(api.resend_notification(one))
        out.done(f"notification {one} is sent again")
