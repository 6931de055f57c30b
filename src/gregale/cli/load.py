"""Reading a file of any kind of document for a command; mistakes are printed and end the command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from gregale import yamltext

if TYPE_CHECKING:
    from gregale.language import Document


def read_any(file: Path) -> Document:
    """Workflows of a workbook carry its name in front of theirs."""
    from gregale.language import InvalidDocument, kind_of, read_actions, read_workflows
    from gregale.language.read import read_workbook_document

    try:
        text = file.read_bytes()
    except OSError as e:
        typer.echo(f"{file}: error: cannot be read: {e.strerror}", err=True)
        raise typer.Exit(2) from None
    try:
        kind = kind_of(yamltext.parse(text).data)
        if kind == "actions":
            return read_actions(text)
        if kind == "workflows":
            return read_workflows(text)
        document = read_workbook_document(text)
    except yamltext.YamlError as e:
        typer.echo(f"{file}:{e.line}:{e.column}: error: {e}", err=True)
        raise typer.Exit(2) from None
    except InvalidDocument as e:
        for found in e.diagnostics:
            typer.echo(found.render(str(file)), err=True)
        raise typer.Exit(2) from None
    book = document.workbook
    assert book is not None
    return msgspec.structs.replace(
        document, workflows=tuple(msgspec.structs.replace(w, name=f"{book.name}.{w.name}") for w in document.workflows)
    )


def pairs(given: list[str], what: str) -> dict[str, Any]:
    """`key=value` options; values are YAML, so that numbers, lists and maps can be given."""
    result = {}
    for one in given:
        key, separator, value = one.partition("=")
        if not separator or not key:
            typer.echo(f"error: {what} '{one}' is not of the form key=value", err=True)
            raise typer.Exit(2)
        result[key] = value_of(value)
    return result


def value_of(text: str) -> Any:
    try:
        return yamltext.parse(text).data if text.strip() else text
    except yamltext.YamlError:
        return text


def map_file(file: Path) -> dict[str, Any]:
    try:
        data = yamltext.parse(file.read_bytes()).data
    except (OSError, yamltext.YamlError) as e:
        typer.echo(f"{file}: error: {e}", err=True)
        raise typer.Exit(2) from None
    if not isinstance(data, dict):
        typer.echo(f"{file}: error: a map is expected", err=True)
        raise typer.Exit(2)
    return data
