"""What an operator allows actions to do."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Egress of std.http (API spec 5, `action_std_http`). `allowed_hosts` are exempt from `denied_cidrs`."""

    allowed_hosts: tuple[str, ...] = ()
    denied_cidrs: tuple[str, ...] = ("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10")
    default_timeout: Annotated[float, Meta(gt=0)] = 60.0
    max_response_bytes: Annotated[int, Meta(ge=1)] = 5 * 1024 * 1024


class CommandSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether gregale.command exists here, and on which executors (empty: all)."""

    enabled: bool = False
    executors: tuple[str, ...] = ()
    max_output_bytes: Annotated[int, Meta(ge=1)] = 1024 * 1024


class ActionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`allow` and `deny` hold names; an empty `allow` allows all. `plugins`: load actions of installed packages."""

    http: HttpSettings = HttpSettings()
    command: CommandSettings = CommandSettings()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    plugins: bool = True
