"""What can go wrong between a client and a server."""

from __future__ import annotations


class ClientError(Exception):
    """A request was not carried out."""


class ApiError(ClientError):
    """The server refused: `status` and its own words."""

    def __init__(self, status: int, message: str, retry_after: float | None = None):
        self.status = status
        self.message = message
        self.retry_after = retry_after
        super().__init__(f"{message} (HTTP {status})")


class ConnectionLost(ClientError):
    """The server could not be reached, or went away: whether a change was carried out is not known."""
