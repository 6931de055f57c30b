"""`gregale db` and `gregale doctor`: a database, and everything else that a server needs, before it is started."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from gregale.actions import Registry
from gregale.api.auth import BadPolicy, Policy, authenticator
from gregale.cli.settings import load
from gregale.service import ServiceSettings
from gregale.store import Database, StoreError, check, migrate

db = typer.Typer(
    help="The database of a server.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Url = Annotated[str | None, typer.Option("--database", "-d", help="An SQLite file, or the URL of a database.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings in TOML.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
_STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red"}
_EXTRAS = {"keystone": ("keystoneauth1", "pymemcache"), "oidc": ("jwt",)}


def _database(settings: ServiceSettings, given: str | None) -> Database:
    named = given or settings.database
    if named == ServiceSettings().database:
        named = "gregale.sqlite"
    try:
        return Database(named if "://" in named else f"sqlite:///{Path(named).absolute()}")
    except StoreError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(2) from None


def _report(found: list[check.Finding], as_json: bool) -> None:
    """Exits with 1 when something fails."""
    if as_json:
        typer.echo(json.dumps([msgspec.to_builtins(f) for f in found], indent=2))
    else:
        out = Console(highlight=False, soft_wrap=True)
        for one in found:
            out.print(f"[{_STYLES[one.level]}]{one.level:<8}[/] {one.about}: ", end="")
            out.print(one.what + (f". {one.remedy}" if one.remedy else ""), markup=False)
    if any(f.level == "failure" for f in found):
        raise typer.Exit(1)


@db.command("upgrade")
def upgrade(database: Url = None, config: Config = None) -> None:
    """Bring a database to the schema that this version needs; an empty one too.

    Example: gregale db upgrade -d postgresql+psycopg://gregale@db1/gregale
    """
    opened = _database(load(config).settings, database)
    try:
        before = migrate.current(opened)
        migrate.upgrade(opened)
    except Exception as e:  # whatever a database says, the operator reads it in a line
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(1) from None
    finally:
        opened.close()
    typer.echo(f"schema: {before or 'none'} → {migrate.head()}")


@db.command("check")
def check_database(database: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Say whether a database is as Gregale needs it. Exit code 1 when it cannot be used."""
    opened = _database(load(config).settings, database)
    try:
        _report(check.check(opened, time.time()), as_json)
    finally:
        opened.close()


def doctor(database: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Check everything that a server needs before it is started: settings, database, broker, packages, policies, actions.

    Exit code 1 when something would keep it from working.

    Example: gregale doctor -c /etc/gregale/gregale.toml
    """
    given = load(config)
    settings = given.settings
    found = [check.Finding("ok", "settings", f"{len(given.origins)} are given, all of them fit")]
    opened = _database(settings, database)
    try:
        found += check.check(opened, time.time())
    finally:
        opened.close()
    found += [*_broker(settings), *_authentication(settings), *_actions(settings)]
    _report(found, as_json)


def _broker(settings: ServiceSettings) -> list[check.Finding]:
    if not settings.broker.url:
        return [check.Finding("ok", "broker", "none: one process by itself")]
    if find_spec("pika") is None:
        return [check.Finding("failure", "broker", "it needs pika", "pip install 'gregale[rabbitmq]'")]
    from gregale.bus.amqp.check import check as look

    try:
        tried = list(look(settings.broker))
    except ValueError as e:
        return [check.Finding("failure", "broker", str(e), "See docs/configuration.md")]
    usable = any(fine for _, fine, _ in tried)
    return [
        check.Finding("ok", "broker", f"{name}: {what}")
        if fine
        else check.Finding("warning" if usable else "failure", "broker", f"{name}: {what}", "Check broker.url")
        for name, fine, what in tried
    ]


def _authentication(settings: ServiceSettings) -> list[check.Finding]:
    auth = settings.api.auth
    missing = [m for m in _EXTRAS.get(auth.mode, ()) if find_spec(m) is None]
    if missing:
        what = f"mode {auth.mode} needs {', '.join(missing)}"
        return [check.Finding("failure", "authentication", what, f"pip install 'gregale[{auth.mode}]'")]
    try:
        Policy.from_file(auth.policy_file)
        made: Any = authenticator(auth)
    except (BadPolicy, ValueError) as e:
        return [check.Finding("failure", "authentication", str(e), "See docs/configuration.md")]
    del made
    if auth.mode in ("none", "headers"):
        what = f"mode {auth.mode}: whoever reaches the server may do everything"
        return [
            check.Finding("warning", "authentication", what, "Keep it on the loopback interface, or set api.auth.mode")
        ]
    return [check.Finding("ok", "authentication", f"mode {auth.mode}")]


def _actions(settings: ServiceSettings) -> list[check.Finding]:
    registry = Registry(settings.actions)
    broken = [
        check.Finding("warning", "actions", f"'{name}' did not load: {why}", "Mend or remove its package")
        for name, why in registry.broken.items()
    ]
    return [check.Finding("ok", "actions", f"{len(registry.names())} are known"), *broken]
