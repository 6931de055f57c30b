"""Following an execution live, by the events stream: a table on a terminal, a line per change elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gregale.cli.remote.output import Output
from gregale.cli.styles import STYLES
from gregale.client import Client, Execution, Happening, api

_MOST_ROWS = 40


def watch(client: Client, out: Output, execution_id: str) -> None:
    """Show what happens until the execution ends. Exits like `gregale run`: 0 SUCCESS, 1 ERROR, 130 cancelled.

    Ctrl-C ends the watching, not the execution.
    """
    root = client(api.execution(execution_id))
    shown = _Shown(root)
    live = out.console.is_terminal and not out.as_json
    screen: Any = (
        Live(get_renderable=shown.table, console=out.console, refresh_per_second=10) if live else nullcontext()
    )
    try:
        with screen:
            for change in client.events(execution=root.root_execution_id or execution_id, after="0"):
                shown.saw(change)
                if not live and not out.as_json:
                    out.console.print(shown.line(change), soft_wrap=True)
                if (
                    change.kind == "execution"
                    and change.id == execution_id
                    and change.state in ("SUCCESS", "ERROR", "CANCELLED")
                ):
                    break
    except KeyboardInterrupt:
        out.console.print(f"The execution goes on: gregale execution watch {execution_id}")
        raise typer.Exit(128 + signal.SIGINT) from None
    ended = client(api.execution(execution_id))
    if out.as_json:
        out.one(ended)
    else:
        summary(out, ended)
    raise typer.Exit({"SUCCESS": 0, "CANCELLED": 130}.get(ended.state, 1))


def summary(out: Output, ended: Execution) -> None:
    out.console.print(Text.assemble((ended.state, STYLES.get(ended.state, "")), f" {ended.workflow_name} {ended.id}"))
    if ended.state_info:
        out.console.print(ended.state_info.strip(), markup=False, style="red" if ended.state == "ERROR" else "")
    if ended.output:
        out.value(ended.output)


class _Shown:
    """The last known state of everything in the tree, in the order in which it came to be."""

    def __init__(self, root: Execution):
        self._root = root
        self._known: dict[str, Happening] = {}

    def saw(self, change: Happening) -> None:
        self._known[change.id] = change

    def line(self, change: Happening) -> Text:
        where = "" if change.execution_id == self._root.id else f"{change.workflow_name}/"
        name = f"{where}{change.name}" if change.kind == "task" else change.name
        kind = "" if change.kind == "task" else "workflow "
        return Text.assemble(f"{change.at} ", (f"{change.state:<9}", STYLES.get(change.state, "")), f" {kind}{name}")

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("", "state", "since"):
            table.add_column(column)
        rows = list(self._rows())
        for name, change in rows[-_MOST_ROWS:]:
            table.add_row(name, Text(change.state, style=STYLES.get(change.state, "")), change.at)
        return table

    def _rows(self) -> Iterator[tuple[str, Happening]]:
        for change in list(self._known.values()):
            if change.kind == "execution":
                yield change.workflow_name, change
            else:
                prefix = "  " if change.execution_id == self._root.id else f"  {change.workflow_name}/"
                yield prefix + change.name, change
