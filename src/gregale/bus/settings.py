"""Where the broker is."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class BrokerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`url`: amqp://user:password@host:5672/vhost, of a cluster with its hosts apart by commas; empty for a process by itself,
    with messages in memory. `prefix` goes before the names of queues. In seconds: `timeout`, how long the broker may take
    to confirm messages; `heartbeat`, after two of which without a sign a connection counts as dead."""

    url: str = ""
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]*$", max_length=64)] = "gregale"
    timeout: Annotated[float, Meta(gt=0)] = 3.0
    heartbeat: Annotated[int, Meta(ge=1, le=600)] = 10
