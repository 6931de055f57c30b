"""`gregale`: commands, each in a file of its own, which is loaded when its command is used."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from gregale import __version__

_COMMANDS = {
    "run": "run:run",
    "validate": "documents:validate",
    "schema": "documents:schema",
    "eval": "documents:evaluate",
    "graph": "graph:graph",
    "test": "rehearse:test",
    "serve": "serve:serve",
    "api": "serve:api",
    "engine": "serve:engine",
    "executor": "serve:executor",
    "token": "token:token",
    "config": "config:config",
    "db": "db:db",
    "doctor": "db:doctor",
    "lab": "lab:lab",
    "bench": "bench:bench",
    "workflow": "remote.definitions:workflow",
    "workbook": "remote.definitions:workbook",
    "action": "remote.definitions:action",
    "env": "remote.definitions:env",
    "execution": "remote.runtime:execution",
    "task": "remote.runtime:task",
    "action-execution": "remote.runtime:action_execution",
    "events": "remote.runtime:events",
    "explain": "remote.explain:explain",
    "stuck": "remote.stuck:stuck",
    "recover": "remote.stuck:recover",
    "cluster": "remote.cluster:cluster",
    "cron": "remote.triggers:cron",
    "event-trigger": "remote.triggers:event_trigger",
    "notification": "remote.triggers:notification",
}


class _Lazy(TyperGroup):
    """A command's module is loaded when the command is used, or help for all of them is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = _loaded(cmd_name)
        return self.commands[cmd_name]


def _loaded(name: str) -> Any:
    module, _, attribute = _COMMANDS[name].partition(":")
    found = getattr(import_module(f"gregale.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
        alone.command(name, context_settings={"help_option_names": ["-h", "--help"]})(found)
        found = alone
    command = get_command(found)
    command.name = name
    if module.startswith("remote."):
        command.rich_help_panel = "Of a server"  # type: ignore[attr-defined]
    return command


app = typer.Typer(
    name="gregale",
    cls=_Lazy,
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


def main() -> None:
    app()


if __name__ == "__main__":
    main()
