"""`gregale test`: tests of workflows with mocked actions and a virtual clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from gregale.actions import ActionSettings, CommandSettings, Registry
from gregale.rehearsal.case import InvalidSuite, run_suite


def test(
    files: Annotated[list[Path], typer.Argument(help="Test files: *_test.yaml")],
    only: Annotated[str | None, typer.Option("--only", "-k", help="Run cases whose name contains this text.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Run tests of workflows. Waits and timeouts take no time; actions do what their mocks say.

    Exit code 0 when all pass, 1 when one fails, 2 when a file cannot be read.

    Example: gregale test examples/*_test.yaml
    """
    registry = Registry(ActionSettings(command=CommandSettings(enabled=True)))
    out = Console(highlight=False, soft_wrap=True)
    passed = failed = 0
    found = []
    for file in files:
        try:
            outcomes = run_suite(file, registry, only)
        except InvalidSuite as e:
            typer.echo(f"error: {e}", err=True)
            raise typer.Exit(2) from None
        for outcome in outcomes:
            passed += not outcome.problems
            failed += bool(outcome.problems)
            found.append({"file": str(file), **msgspec.to_builtins(outcome)})
            if as_json:
                continue
            word, style = ("FAIL", "bold red") if outcome.problems else ("ok  ", "green")
            out.print(
                f"[{style}]{word}[/] {file.name}: {outcome.name} [dim]({len(outcome.tasks)} tasks, {outcome.took:g} s virtual)[/dim]"
            )
            for problem in outcome.problems:
                out.print(f"       {problem}", style="red", markup=False)
    if as_json:
        typer.echo(json.dumps({"passed": passed, "failed": failed, "cases": found}, indent=2))
    else:
        out.print(f"{passed} passed, {failed} failed")
    raise typer.Exit(1 if failed else 0)
