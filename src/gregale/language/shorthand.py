"""Inline syntax: command strings, `with-items` and `retry` strings (language spec 2.1 to 2.3)."""

from __future__ import annotations

import json
import re
from typing import Any

_NAME = re.compile(r"^(<%.*?%>|{{.*?}}|[\w.]+[^=(\s\"]*)")
_PARAMETER = re.compile(
    r"([-_\w]+)=("
    r"\"[^\"]*\"|'[^']*'"
    r"|<%.*?%>|{{.*?}}"
    r"|\[.*\]"
    r"|true|false|null|\d+"
    r")"
)
_ANY_PARAMETER = re.compile(r"([-_\w]+)=(\S*)")
ITEMS = re.compile(r"^\s*([\w-]+)\s+in\s+(<%.*?%>|{{.*?}}|\[.+\])")


MAX_LENGTH = 8192


class MalformedShorthand(ValueError):
    """An inline form that cannot be read."""


def command(text: str, *, always: bool = False) -> tuple[str, dict[str, Any]]:
    """Split `name a=1 b="x"` into the name and its parameters.

    A string without a space is a name as it stands, unless `always` (used for keys of guard maps, spec 2.5).
    Raises MalformedShorthand when no name can be found.
    """
    if not always and " " not in text:
        return text, {}
    if len(text) > MAX_LENGTH:
        raise MalformedShorthand(
            f"A command with inline parameters has at most {MAX_LENGTH} characters; write them under 'input'"
        )
    found = _NAME.match(text)
    if found is None:
        raise MalformedShorthand(f"Invalid action/workflow task property: {text!r}")
    name = found.group(1)
    return name, {key: _value(raw) for key, raw in _PARAMETER.findall(text[found.end() :])}


def _value(raw: str) -> Any:
    if raw[0] in "\"'":
        return raw[1:-1]
    if raw.startswith(("<%", "{{")):
        return raw
    try:
        return json.loads(raw)
    except ValueError:
        return raw


def dropped(text: str) -> list[tuple[str, str, str]]:
    """Parameters whose written value is not what the parser takes: (name, as written, what happens)."""
    found = _NAME.match(text)
    if found is None or " " not in text or len(text) > MAX_LENGTH:
        return []
    rest = text[found.end() :]
    taken = {m.start(): m for m in _PARAMETER.finditer(rest)}
    result = []
    covered = 0
    for match in _ANY_PARAMETER.finditer(rest):
        if match.start() < covered:
            continue
        kept = taken.get(match.start())
        if kept is None:
            result.append((match.group(1), match.group(2), "is dropped"))
            inner = min((m.start() for m in taken.values() if match.start() < m.start() < match.end()), default=None)
            covered = match.end() if inner is None else inner
        else:
            covered = kept.end()
            follows = rest[covered : covered + 1]
            if follows and not follows.isspace():
                glued = rest[kept.start(2) :].split()[0]
                result.append((kept.group(1), glued, f"becomes {kept.group(2)}"))
    return result


def with_items(text: str) -> tuple[str, Any]:
    """`var in <source>` → the variable and the source: an expression, or a list. Raises MalformedShorthand."""
    found = ITEMS.match(text)
    if found is None:
        raise MalformedShorthand(
            f"Wrong format of 'with-items' property: {text!r}: expected 'name in <list or expression>'"
        )
    variable, source = found.groups()
    if not source.startswith("["):
        return variable, source
    try:
        return variable, json.loads(source)
    except ValueError as e:
        raise MalformedShorthand(f"Invalid array in 'with-items' clause: {source}: {e}") from None
