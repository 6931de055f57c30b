"""Tuning of an engine. Seconds throughout, but where a name says otherwise."""

from __future__ import annotations

from typing import Any

import msgspec

from gregale.actions import HttpSettings
from gregale.core import Settings


class Expiration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which finished executions are deleted (API spec 4.4): those older than `older_than_minutes`, those beyond the newest
    `max_finished`; neither without a value. `ignored_states` are kept. `batch`: most of one step."""

    every: float = 60.0
    older_than_minutes: int | None = None
    max_finished: int | None = None
    ignored_states: tuple[str, ...] = ()
    batch: int = 100

    def __post_init__(self) -> None:
        unknown = set(self.ignored_states) - {"SUCCESS", "ERROR", "CANCELLED"}
        if unknown:
            raise ValueError(
                f"ignored_states holds {', '.join(sorted(unknown))}; only SUCCESS, ERROR and CANCELLED ever expire"
            )
        for name in ("older_than_minutes", "max_finished"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")


class Sending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Notifications: `attempts` before one is given up, waiting `first_retry` seconds after the first failure and twice as long
    after each further one, up to `longest_retry`. `at_once`: requests under way at a time. `http`: where they may go."""

    attempts: int = 12
    first_retry: float = 1.0
    longest_retry: float = 900.0
    at_once: int = 20
    http: HttpSettings = HttpSettings()


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`batch`: most events of one transaction, `per_tree` of one tree. `in_flight`: batches that commit while the next is decided.
    `cached`: executions kept in memory. `sweep_every`, `stale_after`: how often to look for lost work, and how long
    something must have rested to count as lost. `heartbeat_timeout`: silence after which a holder counts as gone.
    `notify`: publishers that are told of every execution. `history`: how long the events stream and sent notifications are
    kept. `event_definitions`: what of an event goes into `event_params` (API spec 4.2)."""

    batch: int = 256
    per_tree: int = 64
    in_flight: int = 2
    cached: int = 20_000
    sweep_every: float = 5.0
    stale_after: float = 10.0
    heartbeat_timeout: float = 60.0
    cron: bool = True
    notify: tuple[dict[str, Any], ...] = ()
    sending: Sending = Sending()
    expiration: Expiration = Expiration()
    history: float = 86_400.0
    event_definitions: tuple[dict[str, Any], ...] = ()
    core: Settings = Settings()
