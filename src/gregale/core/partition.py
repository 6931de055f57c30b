"""Partitions: a tree of executions belongs to one, by its root, and an engine owns some."""

from __future__ import annotations

import zlib

PARTITIONS = 32


def partition_of(root_id: str | None) -> int:
    """Actions that belong to no execution are in partition 0."""
    return 0 if root_id is None else zlib.crc32(root_id.encode()) % PARTITIONS
