"""`gregale cluster`: who is there, who looks after what, and messages that nobody could handle."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from gregale.cli.remote.connect import group, remote
from gregale.cli.remote.output import Output
from gregale.client import Client, api

cluster = group("The processes of a cluster. Start with: gregale cluster members")

_COLOURS = {"up": "green", "draining": "yellow", "lost": "bold red", "gone": "dim"}


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


@remote(cluster, "members")
def _members(client: Client, out: Output) -> None:
    """Every process: kind, host, version, state, since when, and what it holds."""
    found = client(api.cluster_members())
    if out.as_json:
        out.value(found)
        return
    table = _table("name", "kind", "state", "host", "version", "since", "heartbeat", "holds", "address")
    for m in found:
        holds = [f"{len(m['partitions'])} partitions"] if m["partitions"] else []
        holds += [f"{m['actions']} actions"] if m["actions"] else []
        state = f"[{_COLOURS.get(m['state'], '')}]{m['state']}[/]" if m["state"] in _COLOURS else m["state"]
        since, heartbeat = m["started_at"], m["heartbeat"]
        row = (m["host"], m["version"], since, heartbeat, ", ".join(holds) or "nothing", m["address"] or "")
        table.add_row(m["name"], m["kind"], state, *row)
    out.console.print(table)


@remote(cluster, "partitions")
def _partitions(client: Client, out: Output) -> None:
    """Which engine looks after which executions."""
    found = client(api.cluster_partitions())
    if out.as_json:
        out.value(found)
        return
    table = _table("partition", "owner", "state", "epoch", "since")
    for p in found:
        table.add_row(str(p["number"]), p["owner"] or "nobody", p["state"] or "", str(p["epoch"]), p["since"] or "")
    out.console.print(table)


@remote(cluster, "drain")
def _drain(
    client: Client, out: Output, name: Annotated[str, typer.Argument(help="A member's name, or its id.")]
) -> None:
    """Ask a member to finish what it holds and to take nothing new. It stays, until it is stopped.

    Example: gregale cluster drain executor-2; gregale cluster members
    """
    found = client(api.drain(name))
    out.done(f"{len(found['draining'])} members of the name {name} are draining")


letters = group("Messages that nobody could handle.")
cluster.add_typer(letters, name="dead-letters")

Letter = Annotated[str, typer.Argument(help="The id of a dead letter.")]


@remote(letters, "list")
def _letters(client: Client, out: Output) -> None:
    """The newest ones, and why each could not be handled."""
    found = client(api.dead_letters())
    if out.as_json:
        out.value(found)
        return
    table = _table("id", "queue", "at", "size", "reason")
    for one in found:
        table.add_row(one["id"], one["queue"], one["at"], str(one["size"]), one["reason"])
    out.console.print(table)


@remote(letters, "show")
def _letter(client: Client, out: Output, letter: Letter) -> None:
    """One of them, with its body in base64."""
    out.value(client(api.dead_letter(letter)))


@remote(letters, "requeue")
def _requeue(client: Client, out: Output, letter: Letter) -> None:
    """Publish it again where it was."""
    found = client(api.requeue_dead_letter(letter))
    out.done(f"published again on {found['queue']}")


@remote(letters, "delete")
def _delete(client: Client, out: Output, letter: Letter) -> None:
    """Forget it."""
    client(api.delete_dead_letter(letter))
    out.done(f"{letter} is forgotten")
