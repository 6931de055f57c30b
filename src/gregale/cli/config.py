"""`gregale config show`: every setting with its value and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gregale.cli.settings import flat, load

config = typer.Typer(
    help="Settings of a server.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@config.callback()
def _group() -> None:
    """Settings of a server."""


@config.command("show")
def show(
    file: Annotated[Path | None, typer.Option("--config", "-c", help="Settings in TOML.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value. Repeatable.")] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not a default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show every setting, its value, and whether a default, the file, the environment or a flag says so.

    Example: GREGALE__API__RATE=50 gregale config show -c gregale.toml --changed
    """
    given = load(file, set_)
    rows = [
        {"key": key, "value": value, "origin": given.origins.get(key, "default")}
        for key, value in flat(given.settings)
        if not changed or key in given.origins
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("key", "value", "origin"):
        table.add_column(name, overflow="fold")
    for row in rows:
        style = "dim" if row["origin"] == "default" else "bold"
        value = row["value"] if isinstance(row["value"], str) else json.dumps(row["value"], ensure_ascii=False)
        table.add_row(row["key"], Text(value, style=style), Text(row["origin"], style=style))
    Console(highlight=False).print(table)
