"""A request as a value: what is sent, and what the reply means."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from gregale.client import records

T = TypeVar("T")


class Request(msgspec.Struct, Generic[T], frozen=True):
    """`key` is where a reply holds its records; without `kind` the reply is given as it is. `safe`: whether it may be sent
    again when nobody knows whether it arrived; by its method where this is None."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    query: dict[str, str] = {}
    body: Any = None
    text: str | None = None
    kind: Any = None
    key: str | None = None
    safe: bool | None = None

    @property
    def repeatable(self) -> bool:
        return self.method in ("GET", "PUT") if self.safe is None else self.safe

    def content(self) -> tuple[bytes | None, str]:
        """Body and content type."""
        if self.text is not None:
            return self.text.encode(), "text/plain"
        return (None, "") if self.body is None else (msgspec.json.encode(self.body), "application/json")

    def reply(self, raw: bytes) -> T:
        """What a reply says. Raises msgspec.DecodeError, msgspec.ValidationError."""
        plain: Any = msgspec.json.decode(raw) if raw else None
        result: Any
        if self.kind is None:
            result = plain
        elif self.key is not None:
            result = [records.decoded(item, self.kind) for item in plain[self.key]]
        else:
            result = records.decoded(plain, self.kind)
        return result  # type: ignore[no-any-return]

    def next_page(self, raw: bytes) -> dict[str, str] | None:
        """The query of the page after this one."""
        following = msgspec.json.decode(raw).get("next")
        return None if following is None else dict(parse_qsl(urlsplit(following).query))
