"""How soon the members of a cluster notice each other."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]


class ClusterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In seconds. `heartbeat_every`: between signs of life. `lease`: silence after which an engine's partitions go to others.
    `lost_after`: silence after which a member is given up, and unsafe actions that it held end as lost. `history`: how long
    members that went are listed."""

    heartbeat_every: Seconds = 0.5
    lease: Seconds = 3.0
    lost_after: Seconds = 15.0
    history: Seconds = 86_400.0
