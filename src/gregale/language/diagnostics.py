"""What is wrong with a document, where, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from gregale.yamltext import Path


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Diagnostic(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding. `line` and `column` count from 1; `path` holds the keys and indexes that lead to the place."""

    code: str
    severity: Severity
    message: str
    path: Path = ()
    line: int = 0
    column: int = 0
    hint: str = ""

    def render(self, file: str) -> str:
        """One finding as a compiler prints it: `file:line:column: severity: message [code]`."""
        where = f" (at {dotted(self.path)})" if self.path else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        place = f"{file}:{self.line}:{self.column}"
        return f"{place}: {self.severity.value}: {self.message}{where} [{self.code}]{hint}"


class InvalidDocument(Exception):
    """A document that cannot be accepted (HTTP 400).

    `diagnostics` holds every finding; `kind` is the name that clients of the Mistral API know the error by
    (language spec 1.1): DSLParsingException, InvalidModelException, ExpressionGrammarException, …
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]):
        self.diagnostics = tuple(diagnostics)
        errors = [d for d in self.diagnostics if d.severity is Severity.ERROR]
        self.kind = _KINDS.get(errors[0].code, "InvalidModelException") if errors else "InvalidModelException"
        prefix = "Definition could not be parsed: " if self.kind == "DSLParsingException" else "Invalid DSL: "
        super().__init__(prefix + "; ".join(_sentence(d) for d in errors[:_SHOWN]) + _rest(len(errors)))


_SHOWN = 20
_MOST_NAMES = 500
_KINDS = {
    "yaml": "DSLParsingException",
    "too-large": "DSLParsingException",
    "start-task": "DSLParsingException",
    "workbook-version": "DSLParsingException",
    "expression": "ExpressionGrammarException",
    "yaql": "YaqlGrammarException",
    "jinja": "JinjaGrammarException",
}


def _sentence(diagnostic: Diagnostic) -> str:
    where = f" [line {diagnostic.line}: {dotted(diagnostic.path)}]" if diagnostic.line else ""
    return diagnostic.message + where


def _rest(count: int) -> str:
    return f"; and {count - _SHOWN} more" if count > _SHOWN else ""


def dotted(path: Path) -> str:
    """`('tasks', 'a', 'on-success', 0)` as `tasks.a.on-success[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A hint that names the nearest of `known`, or an empty string when none is near."""
    known = [name for name in known if isinstance(name, str)]
    if len(known) > _MOST_NAMES:  # comparing with thousands of names takes longer than it helps
        return ""
    near = difflib.get_close_matches(str(word)[:100], known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""


class Report:
    """Collects the findings of one document; stops growing at a bound, so that garbage stays cheap.

    `lenient`: nothing that was found keeps a spec from being used, if it could be built at all.
    """

    limit = 1000

    def __init__(self, lenient: bool = False) -> None:
        self.found: list[Diagnostic] = []
        self.lenient = lenient

    def error(self, code: str, message: str, path: Path, hint: str = "") -> None:
        self._add(Diagnostic(code, Severity.ERROR, message, path, hint=hint))

    def warn(self, code: str, message: str, path: Path, hint: str = "") -> None:
        self._add(Diagnostic(code, Severity.WARNING, message, path, hint=hint))

    def _add(self, diagnostic: Diagnostic) -> None:
        if len(self.found) < self.limit:
            self.found.append(diagnostic)

    @property
    def failed(self) -> bool:
        return not self.lenient and self.errors

    @property
    def errors(self) -> bool:
        return any(d.severity is Severity.ERROR for d in self.found)


def shown(value: Any) -> str:
    """A short form of a value for a message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
