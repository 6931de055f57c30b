"""`gregale`: commands, each in a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from gregale import __version__
from gregale.cli import documents, graph, rehearse, run, serve

app = typer.Typer(
    name="gregale",
    help="Workflows that finish: run, check, test and serve them.\n\nStart with: gregale run examples/backup.yaml",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gregale {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


app.command("run")(run.run)
app.command("validate")(documents.validate)
app.command("schema")(documents.schema)
app.command("eval")(documents.evaluate)
app.command("graph")(graph.graph)
app.command("test")(rehearse.test)
app.command("serve")(serve.serve)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
