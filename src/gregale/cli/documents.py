"""`gregale validate`, `gregale schema`, `gregale eval`: documents and expressions without running anything."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gregale import expressions, yamltext
from gregale.actions import ActionSettings, CommandSettings, Registry
from gregale.language import Severity
from gregale.language import validate as validate_text
from gregale.language.shapes import json_schema


def validate(
    files: Annotated[
        list[Path],
        typer.Argument(help="Workflows, workbooks or ad-hoc actions; - for standard input.", allow_dash=True),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one object per finding.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False,
) -> None:
    """Check documents and print every finding as a compiler would.

    Exit code 0 when all are valid, 1 otherwise.

    Example: gregale validate workflows/*.yaml --strict
    """
    known = Registry(ActionSettings(command=CommandSettings(enabled=True))).names()
    out = Console(highlight=False, soft_wrap=True)
    findings: list[dict[str, Any]] = []
    errors = warnings = 0
    for file in files:
        try:
            text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as e:
            typer.echo(f"{file}: error: cannot be read: {e.strerror}", err=True)
            errors += 1
            continue
        kind, found = validate_text(text, known_actions=known)
        for one in found:
            failed = one.severity is Severity.ERROR
            errors += failed
            warnings += not failed
            findings.append(
                {
                    "file": str(file),
                    "kind": kind,
                    "line": one.line,
                    "column": one.column,
                    "severity": one.severity.value,
                    "code": one.code,
                    "message": one.message,
                    "path": list(one.path),
                    "hint": one.hint,
                }
            )
            if not as_json:
                out.print(one.render(str(file)), style="red" if failed else "yellow", markup=False)
        if not found and not as_json:
            out.print(f"{file}: ok ({kind})", style="green", markup=False)
    if as_json:
        typer.echo(json.dumps({"errors": errors, "warnings": warnings, "findings": findings}, indent=2))
    elif errors or warnings:
        out.print(f"{errors} errors, {warnings} warnings in {len(files)} files")
    raise typer.Exit(1 if errors or (strict and warnings) else 0)


def schema() -> None:
    """Print the JSON Schema of the language, for editors.

    Example: gregale schema > gregale.schema.json
    """
    typer.echo(json.dumps(json_schema(), indent=2))


def evaluate(
    expression: Annotated[str, typer.Argument(help="YAQL <% … %> or Jinja2 {{ … }}; a bare text is taken as YAQL.")],
    data: Annotated[str, typer.Option("--data", "-d", help="What $ and _ stand for: JSON, YAML, or @FILE.")] = "{}",
) -> None:
    """Evaluate an expression on data and print the result as JSON.

    Example: gregale eval '<% $.hosts.where($.up).name %>' --data @hosts.yaml
    """
    text = expression if expressions.is_expression(expression) else f"<% {expression} %>"
    try:
        raw = Path(data[1:]).read_text() if data.startswith("@") else data
        value = yamltext.parse(raw).data
    except (OSError, yamltext.YamlError) as e:
        typer.echo(f"error: the data cannot be read: {e}", err=True)
        raise typer.Exit(2) from None
    if not isinstance(value, dict):
        typer.echo("error: the data must be a map, whose keys are the variables", err=True)
        raise typer.Exit(2)
    wrong = expressions.check(text)
    if wrong is not None:
        typer.echo(f"error: {wrong.message}" + (f"\n    {wrong.hint}" if wrong.hint else ""), err=True)
        raise typer.Exit(1)
    try:
        result = expressions.evaluate(text, expressions.MapScope(value, new_id=uuid.uuid4))
    except expressions.ExpressionError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(result, indent=2, default=str, ensure_ascii=False))
