"""Where expressions are in a text, in time linear in it: no text can make the search itself expensive."""

from __future__ import annotations

from collections.abc import Iterator


def spans(text: str, opening: str, closing: str) -> Iterator[tuple[int, int]]:
    """(start, end) of every `opening … closing` that is on one line, from left to right, without overlaps."""
    start = text.find(opening)
    while start >= 0:
        end = text.find(closing, start + len(opening))
        if end < 0:
            return
        newline = text.find("\n", start, end)
        if newline >= 0:
            start = text.find(opening, newline)  # nothing that opens on this line can close on it
            continue
        end += len(closing)
        yield start, end
        start = text.find(opening, end)


def has_jinja(text: str) -> bool:
    return any(spans(text, "{{", "}}")) or any(spans(text, "{%", "%}"))


def yaql(text: str) -> list[tuple[int, int]]:
    return list(spans(text, "<%", "%>"))
