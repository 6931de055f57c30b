"""`gregale explain`"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from gregale.cli.remote.connect import group, remote
from gregale.cli.remote.output import Output
from gregale.cli.styles import STYLES
from gregale.client import ApiError, Client, api

explain = group("")


@remote(explain, "explain")
def _explain(
    client: Client, out: Output, identifier: Annotated[str, typer.Argument(help="The id of an execution or of a task.")]
) -> None:
    """Say why an execution or a task is where it is: what it waits for, since when, and what happens next.

    Example: gregale explain 6c911ed6-cf42-425e-aa54-d7124bcad363
    """
    try:
        found = client(api.explain(identifier))
    except ApiError as e:
        if e.status != 404:
            raise
        found = client(api.explain(identifier, task=True))
    if out.as_json:
        out.value(found)
        return
    for reason in found["reasons"]:
        indent = "" if reason["subject"] == "execution" else "  "
        head = Text.assemble(
            indent, (reason["state"], STYLES.get(reason["state"], "")), f" {reason['name']} ", (reason["id"], "dim")
        )
        out.console.print(head)
        out.console.print(f"{indent}  {reason['why']}, since {reason['since']}", markup=False)
        out.console.print(f"{indent}  → {reason['next']}", markup=False)
