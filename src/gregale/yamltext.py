"""YAML text → plain values, each with its line and column.

The safe subset of language spec 1.1: anchors, aliases and `@` are plain text, so that nothing can expand; the last of
duplicate keys wins; dates stay text. Size and depth are bounded before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

Path = tuple[str | int, ...]

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 60
_NO_ANCHORS = "&*@`"


class Mark:
    """Where a value starts, and the marks of what it holds."""

    __slots__ = ("children", "column", "keys", "line")

    def __init__(self, line: int, column: int):
        self.line = line
        self.column = column
        self.children: dict[Any, Mark] = {}
        self.keys: dict[Any, Mark] = {}


class Source:
    """A parsed text: `data` holds the plain value, `place(path)` the line and column of a path."""

    def __init__(self, data: Any, root: Mark):
        self.data = data
        self._root = root

    def place(self, path: Path) -> tuple[int, int]:
        """Line and column (from 1) of the key at `path`, or of the nearest parent that the text has."""
        mark = best = self._root
        for part in path:
            child = mark.children.get(part)
            if child is None:
                break
            best = mark.keys.get(part, child)
            mark = child
        return best.line, best.column


class _Inert(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """PyYAML's parser with `&`, `*`, `@` and a backquote as ordinary characters at the start of a plain scalar."""

    def __init__(self, text: str):
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)

    def fetch_alias(self) -> None:
        self.fetch_plain()

    def fetch_anchor(self) -> None:
        self.fetch_plain()

    def check_plain(self) -> bool:
        return bool(super().check_plain()) or self.peek() in _NO_ANCHORS

    def fetch_more_tokens(self) -> Any:
        # '@' and '`' reach no branch of the scanner but check_plain, and '&', '*' are caught above.
        return super().fetch_more_tokens()


class YamlError(Exception):
    """A text that cannot be read. `line` and `column` count from 1; `code` is "yaml" or "too-large"."""

    def __init__(self, message: str, line: int = 1, column: int = 1, code: str = "yaml"):
        self.line = line
        self.column = column
        self.code = code
        super().__init__(message)


def parse(text: str | bytes) -> Source:
    """Parse `text`; raises YamlError. Time and memory are linear in the text, which is bounded."""
    if len(text) > MAX_BYTES:
        raise YamlError(f"The document has {len(text)} bytes; at most {MAX_BYTES} are accepted", code="too-large")
    if isinstance(text, bytes):
        raw = text
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as e:
            line = raw[: e.start].count(b"\n") + 1
            raise YamlError(f"The text is not UTF-8: byte {e.start} cannot be decoded", line) from None
    try:
        return _Composer(_events(text)).compose()
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None) or getattr(e, "context_mark", None)
        problem = getattr(e, "problem", None) or getattr(e, "reason", None) or str(e)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(f"Not valid YAML: {problem} at line {line}, column {column}", line, column) from None


def _events(text: str) -> Iterator[Any]:
    """Events from libyaml when the text has no character that it would treat as an anchor, else from Python."""
    loader = getattr(yaml, "CParser", None)
    if loader is None or any(c in text for c in _NO_ANCHORS):
        parser: Any = _Inert(text)
    else:
        parser = loader(text)
    while parser.check_event():
        yield parser.get_event()


_SURROGATES = re.compile("[\ud800-\udfff]")


def _joined(text: str, line: int) -> str:
    """JSON writes a character beyond the basic plane as two escapes; YAML reads them as two halves. Raises YamlError for one alone."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise YamlError(
            "A text holds half of a character: an escape between \\ud800 and \\udfff that stands alone", line
        ) from None


_resolve: Any = yaml.resolver.Resolver().resolve
_construct = yaml.constructor.SafeConstructor()
_SCALARS = {f"tag:yaml.org,2002:{t}": t for t in ("null", "bool", "int", "float", "str", "timestamp", "value")}


class _Composer:
    """Builds values and marks from events without recursion deeper than MAX_DEPTH."""

    def __init__(self, events: Iterator[Any]):
        self.events = events

    def compose(self) -> Source:
        documents = 0
        value: Any = {}
        root = Mark(1, 1)
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    mark: Any = event.start_mark
                    raise YamlError("Only one YAML document is accepted", mark.line + 1)
                value, root = self._node(next(self.events), 0)
        return Source({} if value is None else value, root)

    def _node(self, event: Any, depth: int) -> tuple[Any, Mark]:
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        if depth > MAX_DEPTH:
            raise YamlError(f"Nested deeper than {MAX_DEPTH} levels", mark.line)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, mark), mark
        if event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise YamlError(f"The tag {event.tag} is not accepted", mark.line)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            for child in iter(self.events.__next__, None):
                if isinstance(child, yaml.SequenceEndEvent):
                    break
                value, mark.children[len(items)] = self._node(child, depth + 1)
                items.append(value)
            return items, mark
        mapping: dict[Any, Any] = {}
        for child in iter(self.events.__next__, None):
            if isinstance(child, yaml.MappingEndEvent):
                break
            key, key_mark = self._node(child, depth + 1)
            if isinstance(key, list | dict):
                raise YamlError("A list or a map cannot be a key", key_mark.line)
            value, value_mark = self._node(next(self.events), depth + 1)
            mapping[key] = value
            mark.keys[key] = key_mark
            mark.children[key] = value_mark
        return mapping, mark

    @staticmethod
    def _scalar(event: Any, mark: Mark) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = _resolve(yaml.ScalarNode, event.value, event.implicit)
        kind = _SCALARS.get(tag)
        if kind is None:
            raise YamlError(f"The tag {tag} is not accepted", mark.line)
        if kind in ("str", "timestamp", "value"):
            return event.value if _SURROGATES.search(event.value) is None else _joined(event.value, mark.line)
        try:
            return _construct.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, IndexError, KeyError):
            raise YamlError(f"'{event.value[:40]}' is not a valid {kind}", mark.line) from None
