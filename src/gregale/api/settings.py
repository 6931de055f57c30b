"""What an operator decides about the API."""

from __future__ import annotations

from typing import Literal

import msgspec

from gregale.api.auth.settings import AuthSettings


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`max_limit`: most items of a page. `max_body`: bytes of a request. `max_depth`: levels of nesting in JSON. `rate`: requests per
    second of one project, `burst` of them at once; 0 is no bound. `info_file`: the JSON that /info shows. `trust_proxy`: believe
    X-Forwarded-Proto, -Host and -Prefix. `healthcheck`: answer under /healthcheck too. `validation`: `enabled` lets clients skip the check of a definition."""

    max_limit: int = 1000
    max_body: int = 16 * 1024 * 1024
    max_depth: int = 100
    rate: float = 0.0
    burst: int = 100
    allow_action_execution_deletion: bool = False
    validation: Literal["mandatory", "enabled", "disabled"] = "mandatory"
    info_file: str | None = None
    trust_proxy: bool = False
    healthcheck: bool = False
    cors_origins: tuple[str, ...] = ()
    auth: AuthSettings = AuthSettings()

    def __post_init__(self) -> None:
        for name in ("max_limit", "max_body", "max_depth", "burst"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
