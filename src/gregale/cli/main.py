"""`gregale`: commands, each in a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from gregale import __version__
from gregale.cli import documents, graph, rehearse, run, serve, token
from gregale.cli.remote import definitions, runtime, triggers

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
app.command("token")(token.token)

_SERVER = "Of a server"
app.add_typer(definitions.workflow, name="workflow", rich_help_panel=_SERVER)
app.add_typer(definitions.workbook, name="workbook", rich_help_panel=_SERVER)
app.add_typer(definitions.action, name="action", rich_help_panel=_SERVER)
app.add_typer(definitions.env, name="env", rich_help_panel=_SERVER)
app.add_typer(runtime.execution, name="execution", rich_help_panel=_SERVER)
app.add_typer(runtime.task, name="task", rich_help_panel=_SERVER)
app.add_typer(runtime.action_execution, name="action-execution", rich_help_panel=_SERVER)
app.add_typer(triggers.cron, name="cron", rich_help_panel=_SERVER)
app.add_typer(triggers.event_trigger, name="event-trigger", rich_help_panel=_SERVER)
app.add_typer(triggers.notification, name="notification", rich_help_panel=_SERVER)
runtime.events_command(app)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
