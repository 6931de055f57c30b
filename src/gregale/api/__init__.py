"""REST API v2 over an engine, as an ASGI application."""

from gregale.api.app import application

__all__ = ["application"]
