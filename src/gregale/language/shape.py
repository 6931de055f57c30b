"""The shapes that values of the language may have. One definition serves the check and the published JSON Schema.

Vocabulary of language spec 1.1: Str, Map, Expr, Int, UList. A shape's `check` reports what does not fit; `schema` gives
its JSON Schema; `expected` names it for a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gregale.language.diagnostics import Report, did_you_mean, shown
from gregale.yamltext import Path

EXPRESSION = re.compile(r"^<%.*?%>\s*$|^({{(.*?)}})\s*$")


class Shape(Protocol):
    @property
    def expected(self) -> str: ...
    def check(self, value: Any, path: Path, report: Report) -> None: ...
    def schema(self) -> dict[str, Any]: ...


class Anything:
    expected = "any value"

    def check(self, value: Any, path: Path, report: Report) -> None:
        del value, path, report

    def schema(self) -> dict[str, Any]:
        return {}


class _Simple:
    """A shape that a predicate decides."""

    expected = ""

    def fits(self, value: Any) -> bool:
        raise TypeError(f"{type(self).__name__} must say whether {value!r} fits")

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not self.fits(value):
            report.error("type", f"{shown(value)} is not valid: expected {self.expected}", path)


class Str(_Simple):
    expected = "a non-empty string"

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and value != ""

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class Map(_Simple):
    expected = "a non-empty map"

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict) and bool(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "minProperties": 1}


class Expr(_Simple):
    expected = "an expression <% … %> or {{ … }} on one line"

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and EXPRESSION.match(value) is not None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": EXPRESSION.pattern}


class Int(_Simple):
    expected = "an integer of 0 or more"

    def fits(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0}


class Bool(_Simple):
    expected = "true or false"

    def fits(self, value: Any) -> bool:
        return isinstance(value, bool)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Version(_Simple):
    expected = "a version such as '2.0'"

    def fits(self, value: Any) -> bool:
        return (isinstance(value, str) and value != "") or (
            isinstance(value, int | float) and not isinstance(value, bool)
        )

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}


class OneOf(_Simple):
    """One of a few fixed words."""

    def __init__(self, *words: str):
        self.words = words
        self.expected = "one of " + ", ".join(words)

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.words

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


class ListOf:
    """A non-empty list of unique items."""

    def __init__(self, item: Shape):
        self.item = item
        self.expected = f"a non-empty list of unique items, each {item.expected}"

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not isinstance(value, list) or not value:
            report.error("type", f"{shown(value)} is not valid: expected {self.expected}", path)
            return
        seen: set[str] = set()
        for index, item in enumerate(value):
            self.item.check(item, (*path, index), report)
            key = f"{type(item).__name__}:{item!r}"
            if key in seen:
                report.error("duplicate", f"{shown(item)} stands here twice", (*path, index))
            seen.add(key)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "minItems": 1, "uniqueItems": True, "items": self.item.schema()}


class OneKey:
    """A map with exactly one key."""

    def __init__(self, value: Shape, expected: str):
        self.value = value
        self.expected = expected

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not isinstance(value, dict) or len(value) != 1:
            report.error("type", f"{shown(value)} is not valid: expected {self.expected}", path)
            return
        key, inner = next(iter(value.items()))
        if not isinstance(key, str) or not key:
            report.error("type", f"the key {shown(key)} is not a non-empty string", path)
        self.value.check(inner, (*path, key), report)

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": self.value.schema(),
        }


class Either:
    """The first alternative that fits; with none, what is wrong under the one whose type fits best."""

    def __init__(self, *options: Shape):
        self.options = options
        self.expected = ", or ".join(o.expected for o in options)

    def check(self, value: Any, path: Path, report: Report) -> None:
        trials: list[tuple[Shape, Report]] = []
        for option in self.options:
            trial = Report()
            option.check(value, path, trial)
            if not trial.found:
                return
            trials.append((option, trial))
        deeper = [t for _, t in trials if all(len(d.path) > len(path) or d.code != "type" for d in t.found)]
        if deeper:
            depth = len(path) + 1
            nearest = min(deeper, key=lambda t: sum(d.code == "unknown-key" and len(d.path) == depth for d in t.found))
            report.found.extend(nearest.found)
        else:
            report.error("type", f"{shown(value)} is not valid: expected {self.expected}", path)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [o.schema() for o in self.options]}


class Keys:
    """A map with known keys. `extra` is the shape of other keys' values; None refuses them."""

    def __init__(
        self,
        fields: Mapping[str, Shape],
        required: Sequence[str] = (),
        *,
        extra: Shape | None = None,
        some_of: bool = False,
        expected: str = "a map",
    ):
        self.fields = fields
        self.required = required
        self.extra = extra
        self.some_of = some_of
        self.expected = expected

    def check(self, value: Any, path: Path, report: Report) -> None:
        if not isinstance(value, dict) or not value:
            report.error("type", f"{shown(value)} is not valid: expected {self.expected}", path)
            return
        for name in self.required:
            if name not in value:
                report.error("required", f"'{name}' is a required property", path)
        for key, inner in value.items():
            shape = self.fields.get(key) if isinstance(key, str) else None
            if shape is not None:
                shape.check(inner, (*path, key), report)
            elif self.extra is None:
                message = f"Additional properties are not allowed ({key!r} was unexpected)"
                hint = did_you_mean(key, self.fields) or "expected: " + ", ".join(sorted(self.fields))
                report.error("unknown-key", message, (*path, key), hint)
            else:
                self.extra.check(inner, (*path, key), report)

    def schema(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "type": "object",
            "minProperties": 1,
            "properties": {name: shape.schema() for name, shape in self.fields.items()},
            "additionalProperties": False if self.extra is None else self.extra.schema(),
        }
        if self.required:
            result["required"] = list(self.required)
        return result
