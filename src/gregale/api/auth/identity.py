"""An identity, and what finds it out for a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

DEFAULT_PROJECT = "<default-project>"


class Identity(msgspec.Struct, frozen=True):
    """Who asks. `operator`: may switch maintenance without being an administrator, because nobody is authenticated at all.
    `credentials`: what actions of this caller's executions may present to other services; never shown."""

    project_id: str
    user_id: str = ""
    roles: tuple[str, ...] = ()
    operator: bool = False
    authenticated: bool = True
    credentials: dict[str, Any] | None = None

    @property
    def admin(self) -> bool:
        return "admin" in self.roles


class Unauthenticated(Exception):
    """The request does not say, or does not prove, who makes it."""


class Unreachable(Exception):
    """The service that knows who asks does not answer."""


class Authenticator(Protocol):
    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Raises Unauthenticated. Headers come with lower-case names."""
        ...

    async def close(self) -> None: ...


def split_roles(text: str) -> tuple[str, ...]:
    return tuple(r.strip() for r in text.split(",") if r.strip())
