"""`gregale stuck` and `gregale recover`"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from gregale.cli.remote.connect import group, remote
from gregale.cli.remote.output import Output
from gregale.client import Client, api

stuck = group("")
recover = group("")


def _show(out: Output, found: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("execution", "what", "since", "reason", "remedy"):
        table.add_column(name, overflow="fold")
    for one in found:
        what = f"{one['kind']} {one['name']}"
        table.add_row(one["execution_id"], what, one["since"], one["reason"], one["remedy"])
    out.console.print(table)


@remote(stuck, "stuck")
def _stuck(
    client: Client,
    out: Output,
    after: Annotated[float, typer.Option(min=0.0, help="Seconds for which something must have stood still.")] = 60.0,
) -> None:
    """List what makes no progress, why, and what helps; and lost actions, which wait for your decision.

    Example: gregale stuck --after 300
    """
    found = client(api.stuck(after))
    if out.as_json:
        out.value(found)
    elif found:
        _show(out, found)
    else:
        out.done("nothing is stuck")


@remote(recover, "recover")
def _recover(
    client: Client,
    out: Output,
    executions: Annotated[list[str], typer.Argument(help="Ids of executions.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what would be done.")] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="Also run lost actions again, which may have been done.")
    ] = False,
    after: Annotated[float, typer.Option(min=0.0, help="Seconds for which something must have stood still.")] = 5.0,
) -> None:
    """Apply the remedy for what is stuck in some executions, after showing it.

    Example: gregale recover 6c911ed6-cf42-425e-aa54-d7124bcad363 --preview
    """
    planned = [one for key in executions for one in client(api.recover(key, True, after, lost))]
    wanted = [one for one in planned if one["kind"] != "lost" or lost]
    if preview or not wanted:
        if out.as_json:
            out.value(planned)
        elif planned:
            _show(out, planned)
        else:
            out.done("nothing of them is stuck")
        return
    if not yes:
        _show(out, wanted)
        typer.confirm("Do this?", abort=True)
    done = [one for key in executions for one in client(api.recover(key, False, after, lost))]
    if out.as_json:
        out.value(done)
    else:
        out.done(f"{len(done)} remedies were applied")
