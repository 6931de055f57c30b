"""Tuning of an engine. Seconds throughout, but where a name says otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gregale.actions import HttpSettings
from gregale.core import Settings

Number = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Expiration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which finished executions are deleted (API spec 4.4): those older than `older_than_minutes`, those beyond the newest
    `max_finished`; neither without a value. `ignored_states` are kept. `batch`: most of one step."""

    every: Seconds = 60.0
    older_than_minutes: Number | None = None
    max_finished: Number | None = None
    ignored_states: tuple[Literal["SUCCESS", "ERROR", "CANCELLED"], ...] = ()
    batch: Number = 100


class Sending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Notifications: `attempts` before one is given up, waiting `first_retry` seconds after the first failure and twice as long
    after each further one, up to `longest_retry`. `at_once`: requests under way at a time. `http`: where they may go."""

    attempts: Number = 12
    first_retry: Seconds = 1.0
    longest_retry: Seconds = 900.0
    at_once: Number = 20
    http: HttpSettings = HttpSettings()


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`batch`: most events of one transaction, `per_tree` of one tree. `prefetch`: most messages taken from the broker and not yet
    acknowledged, for each partition. `in_flight`: batches that commit while the next is decided. `cached`: executions kept in
    memory. `inline`: trivial actions (`std.noop`, `std.echo`, `std.fail`) are carried out while deciding, and executions of this engine's own
    partitions are started, without a message to anybody.
    `sweep_every`, `stale_after`: how often to look for lost work, and how long something must have rested to count as
    lost. `heartbeat_timeout`: how long a living executor may not name an action that it holds, before it counts as lost.
    `crashes`: how often an action that may run again may take its executor with it. `grace`: most time to finish when stopping.
    `notify`: publishers that are told of every execution. `history`: how long the events stream and sent notifications are
    kept. `event_definitions`: what of an event goes into `event_params` (API spec 4.2)."""

    batch: Number = 256
    prefetch: Number = 256
    per_tree: Number = 64
    in_flight: Number = 2
    cached: Number = 20_000
    inline: bool = True
    sweep_every: Seconds = 5.0
    stale_after: Seconds = 10.0
    heartbeat_timeout: Seconds = 60.0
    crashes: Number = 3
    grace: Seconds = 30.0
    cron: bool = True
    notify: tuple[dict[str, Any], ...] = ()
    sending: Sending = Sending()
    expiration: Expiration = Expiration()
    history: float = 86_400.0
    event_definitions: tuple[dict[str, Any], ...] = ()
    core: Settings = Settings()
