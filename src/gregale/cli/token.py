"""`gregale token`: a token for a small site, and the lines that make a server know it."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

import typer


def token(
    project: Annotated[str, typer.Argument(help="The project that the token is for.")],
    role: Annotated[list[str] | None, typer.Option("--role", help="reader, member or admin. Repeatable.")] = None,
    user: Annotated[str, typer.Option(help="Who it is for.")] = "",
) -> None:
    """Make a static token: printed once, and kept by the server only as a hash.

    Example: gregale token web-team --role member --user ann
    """
    made = secrets.token_urlsafe(32)
    roles = ", ".join(f'"{r}"' for r in role or ["member"])
    typer.echo(f"The token: {made}\n\nIn the server's configuration file:\n")
    typer.echo('[api.auth]\nmode = "tokens"\n\n[[api.auth.tokens]]')
    typer.echo(
        f'sha256 = "{hashlib.sha256(made.encode()).hexdigest()}"\nproject = "{project}"\nuser = "{user}"\nroles = [{roles}]'
    )
