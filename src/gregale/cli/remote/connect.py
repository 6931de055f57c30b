"""Which server a command speaks to, and as whom: flags, then the environment, then a profile of the configuration file."""

from __future__ import annotations

import functools
import inspect
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
import typer

from gregale.cli.remote.output import Output
from gregale.client import Client, ClientError
from gregale.client.http import DEFAULT_URL


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server, and who one is there."""

    url: str | None = None
    token: str | None = None
    project: str | None = None
    roles: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: str = "default"
    profiles: dict[str, Profile] = {}


Url = Annotated[
    str | None, typer.Option("--url", help="The server, as http://host:8989/v2. [env: GREGALE_URL]", show_default=False)
]
Token = Annotated[str | None, typer.Option("--token", help="Who you are. [env: GREGALE_TOKEN]", show_default=False)]
Project = Annotated[
    str | None,
    typer.Option("--project", help="For servers that believe it. [env: GREGALE_PROJECT]", show_default=False),
]
ProfileName = Annotated[
    str | None,
    typer.Option("--profile", help="A profile of the configuration file. [env: GREGALE_PROFILE]", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def config_file() -> Path:
    """GREGALE_CONFIG, or gregale/config.toml where the desktop keeps configuration."""
    named = os.environ.get("GREGALE_CONFIG")
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(named) if named else Path(base) / "gregale" / "config.toml"


def profile(name: str | None) -> Profile:
    """Exits with 2 for a file that cannot be read or a profile that is not in it."""
    path = config_file()
    name = name or os.environ.get("GREGALE_PROFILE")
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except FileNotFoundError:
        found = _File()
    except (OSError, UnicodeDecodeError, ValueError) as e:
        raise fail(f"{path}: {e}") from None
    if name is None:
        return found.profiles.get(found.default, Profile())
    if name not in found.profiles:
        raise fail(f"no profile '{name}' in {path}; there are: {', '.join(found.profiles) or 'none'}")
    return found.profiles[name]


def fail(message: str, code: int = 2) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(code)


def client(url: str | None, token: str | None, project: str | None, profile_name: str | None) -> Client:
    found = profile(profile_name)
    env = os.environ.get
    return Client(
        url or env("GREGALE_URL") or found.url or DEFAULT_URL,
        token or env("GREGALE_TOKEN") or found.token,
        project or env("GREGALE_PROJECT") or found.project,
        env("GREGALE_ROLES") or found.roles,
    )


def remote(app: typer.Typer, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a command that takes a Client and an Output before its own parameters, and the options of the connection after them.

    What the server refuses is printed, with exit code 1; a server that cannot be reached gives 3.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(function, include_extras=True)
        own = [p.replace(annotation=hints[p.name]) for p in list(inspect.signature(function).parameters.values())[2:]]

        @functools.wraps(function)
        def run(**given: Any) -> None:
            connection = client(*(given.pop(n) for n in ("url", "token", "project", "profile_name")))
            out = Output(given.pop("as_json"))
            try:
                with connection as http:
                    function(http, out, **given)
            except ClientError as e:
                reached = hasattr(e, "status")
                raise fail(str(e) if reached else f"{connection.url}: {e}", 1 if reached else 3) from None

        common = [
            ("url", Url, None),
            ("token", Token, None),
            ("project", Project, None),
            ("profile_name", ProfileName, None),
            ("as_json", AsJson, False),
        ]
        more = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, a, d in common]
        keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        run.__signature__ = inspect.Signature([*keyword, *more])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*keyword, *more]}
        del run.__wrapped__
        app.command(name)(run)
        return function

    return declare


def group(help_text: str) -> typer.Typer:
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
