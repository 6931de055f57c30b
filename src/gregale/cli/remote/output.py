"""Records for people, in tables and colours, or for machines, in JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gregale.cli.styles import STYLES

_WIDE = 1000
"""Columns where nobody looks: what reads a pipe wants each record on a line."""


class Output:
    """`as_json` prints one JSON value and nothing else."""

    def __init__(self, as_json: bool):
        self.as_json = as_json
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)

    def many(self, records: Any, columns: Sequence[str]) -> None:
        found = list(records)
        if self.as_json:
            self._json([msgspec.to_builtins(r) for r in found])
            return
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in columns:
            table.add_column(
                name.replace("_", " "), no_wrap=name != "state_info", overflow="ellipsis" if name != "id" else "fold"
            )
        for record in found:
            table.add_row(*(_cell(name, getattr(record, name)) for name in columns))
        self.console.print(table)

    def one(self, record: Any) -> None:
        plain = msgspec.to_builtins(record)
        if self.as_json:
            self._json(plain)
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in plain.items():
            table.add_row(name.replace("_", " "), _cell(name, value))
        self.console.print(table)

    def text(self, text: str) -> None:
        """For commands whose whole answer is a text."""
        if self.as_json:
            self._json(text)
        else:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def value(self, value: Any) -> None:
        """A value, which is JSON for people too."""
        self._json(value)

    def done(self, message: str) -> None:
        if self.as_json:
            self._json({"done": message})
        else:
            self.console.print(message, markup=False)

    def _json(self, value: Any) -> None:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _cell(name: str, value: Any) -> Text:
    if value is None or value in ([], {}):
        return Text("")
    if isinstance(value, list):
        return Text(", ".join(map(str, value)))
    if name == "state":
        return Text(str(value), style=STYLES.get(str(value), ""))
    return Text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
