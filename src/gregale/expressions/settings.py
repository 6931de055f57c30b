"""Bounds of evaluation and which languages an operator allows."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """`seconds`: of CPU that one evaluation may take. `iterations`: longest collection an expression may walk.
    `memory`: bytes that one YAQL operation may build. `languages`: those not listed are refused (spec 3.1)."""

    seconds: float = 2.0
    iterations: int = 200_000
    memory: int = 64 * 1024 * 1024
    languages: frozenset[str] = frozenset(("yaql", "jinja"))


_current = Settings()
generation = 0
"""Grows with every change, so that caches of compiled expressions know that they are stale."""


def settings() -> Settings:
    return _current


def configure(new: Settings) -> None:
    """Set the bounds for this process."""
    global _current, generation
    _current = new
    generation += 1
