"""The settings of a service from a TOML file, every value checked against what the code declares."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import typer

from gregale.service import ServiceSettings


def from_file(path: Path | None) -> ServiceSettings:
    """Exits with 2 and the reason for a file that cannot be read, an unknown key or a value that does not fit."""
    if path is None:
        return ServiceSettings()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), ServiceSettings)
    except (OSError, UnicodeDecodeError, ValueError) as e:  # TOML and validation errors are ValueErrors
        typer.echo(f"error: {path}: {e}", err=True)
        raise typer.Exit(2) from None
