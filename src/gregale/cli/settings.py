"""The settings of a service: declared once, in the code that uses them; given by a TOML file, the environment and flags.

Later sources go before earlier ones: defaults, file, environment (`GREGALE__API__MAX_LIMIT=100`), flags (`--set api.max_limit=100`).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer

from gregale.service import ServiceSettings

_PREFIX = "GREGALE__"
SECRETS = frozenset(("password", "sha256"))
"""Last parts of keys whose values are not shown. Anything inside `headers` is not shown either."""


class Given(msgspec.Struct, frozen=True):
    """`origins`: where each key that was given comes from; all others have their defaults."""

    settings: ServiceSettings
    origins: dict[str, str]


def load(path: Path | None, flags: list[str] | None = None, environment: Mapping[str, str] | None = None) -> Given:
    """Exits with 2, naming key, value, range and origin, for what cannot be read or does not fit."""
    plain: dict[str, Any] = {}
    origins: dict[str, str] = {}
    try:
        if path is not None:
            _merge(plain, origins, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        for name, text in sorted((os.environ if environment is None else environment).items()):
            if name.startswith(_PREFIX):
                _set(plain, origins, name.removeprefix(_PREFIX).lower().split("__"), text, f"environment {name}")
        for flag in flags or []:
            key, separator, text = flag.partition("=")
            if not separator:
                raise ValueError(f"--set {flag}: write key=value, such as api.max_limit=100")
            _set(plain, origins, key.split("."), text, f"flag --set {flag}")
    except (OSError, UnicodeDecodeError, ValueError) as e:  # a TOMLDecodeError is a ValueError
        raise _exit(f"{path}: {e}" if path is not None else str(e)) from None
    try:
        return Given(msgspec.convert(plain, ServiceSettings), origins)
    except msgspec.ValidationError as e:
        raise _exit(_explained(str(e), plain, origins)) from None


def _exit(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2)


def _merge(plain: dict[str, Any], origins: dict[str, str], new: dict[str, Any], origin: str, path: str = "") -> None:
    for key, value in new.items():
        if isinstance(value, dict):
            inner = plain.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{path}{key} is a section, and a value before")
            _merge(inner, origins, value, origin, f"{path}{key}.")
        else:
            plain[key] = value
            origins[path + key] = origin


def _set(plain: dict[str, Any], origins: dict[str, str], parts: list[str], text: str, origin: str) -> None:
    value: Any
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text  # a text without quotes
    for part in reversed(parts):
        value = {part: value}
    _merge(plain, origins, value, origin)


def _explained(message: str, plain: dict[str, Any], origins: dict[str, str]) -> str:
    """msgspec's words with the key as people write it, the value that was given, and where."""
    what, _, where = message.partition(" - at `$")
    key = re.sub(r"\[(\d+)\]|\[\.\.\.\]", "", where.rstrip("`")).strip(".")
    unknown = re.search(r"unknown field `(.*)`", what)
    if unknown is not None:
        full = f"{key}.{unknown.group(1)}".strip(".")
        return f"there is no setting '{full}' ({_origin(full, origins)})"
    value: Any = plain
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    shown = "***" if key.rpartition(".")[2] in SECRETS else repr(_masked(value))
    return f"{key} = {shown} ({_origin(key, origins)}): {what}"


def _origin(key: str, origins: dict[str, str]) -> str:
    return next((o for k, o in origins.items() if k == key or k.startswith(f"{key}.")), "given")


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a settings struct with its value; what is secret is masked."""
    for field in msgspec.structs.fields(value):
        key, found = f"{path}{field.name}", getattr(value, field.name)
        if isinstance(found, msgspec.Struct):
            yield from flat(found, f"{key}.")
        else:
            yield key, "***" if field.name in SECRETS and found else _masked(msgspec.to_builtins(found))


_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")
"""In a URL: everything between the user and the last @ before the host."""


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _PASSWORD.sub(r"\1***@", value)
    if isinstance(value, dict):
        return {k: "***" if k in SECRETS or k == "headers" else _masked(v) for k, v in value.items()}
    return [_masked(v) for v in value] if isinstance(value, list | tuple) else value
