"""What an operator decides about the API."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gregale.api.auth.settings import AuthSettings


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`max_limit`: most items of a page. `max_body`: bytes of a request. `max_depth`: levels of nesting in JSON. `max_waiting`: executions and actions
    that may wait for their turn before starts are refused. `rate`: requests per
    second of one project, `burst` of them at once; 0 is no bound. `info_file`: the JSON that /info shows. `trust_proxy`: believe
    X-Forwarded-Proto, -Host and -Prefix. `healthcheck`: answer under /healthcheck too. `validation`: `enabled` lets clients skip the check of a definition."""

    max_limit: Annotated[int, Meta(ge=1)] = 1000
    max_body: Annotated[int, Meta(ge=1)] = 16 * 1024 * 1024
    max_depth: Annotated[int, Meta(ge=1)] = 100
    max_waiting: Annotated[int, Meta(ge=1)] = 5000
    rate: Annotated[float, Meta(ge=0)] = 0.0
    burst: Annotated[int, Meta(ge=1)] = 100
    allow_action_execution_deletion: bool = False
    validation: Literal["mandatory", "enabled", "disabled"] = "mandatory"
    info_file: str | None = None
    trust_proxy: bool = False
    healthcheck: bool = False
    cors_origins: tuple[str, ...] = ()
    auth: AuthSettings = AuthSettings()
