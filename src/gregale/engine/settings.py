"""Tuning of an engine. Seconds throughout."""

from __future__ import annotations

import msgspec

from gregale.core import Settings


class EngineSettings(msgspec.Struct, frozen=True):
    """`batch`: most events of one transaction, `per_tree` of one tree. `in_flight`: batches that commit while the next is decided.
    `cached`: executions kept in memory. `sweep_every`, `stale_after`: how often to look for lost work, and how long
    something must have rested to count as lost. `heartbeat_timeout`: silence after which a holder counts as gone."""

    batch: int = 256
    per_tree: int = 64
    in_flight: int = 2
    cached: int = 20_000
    sweep_every: float = 5.0
    stale_after: float = 10.0
    heartbeat_timeout: float = 60.0
    core: Settings = Settings()
