"""The broker's URL, taken apart."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pika

from gregale.bus.settings import BrokerSettings


def addresses(url: str, settings: BrokerSettings) -> list[pika.ConnectionParameters]:
    """One set of parameters for each host of the URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("amqp", "amqps"):
        raise ValueError(f"A broker is named as amqp://user:password@host:port/vhost, not {parts.scheme}://…")
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    result = []
    for entry in hosts.split(","):
        host, _, port = entry.rpartition(":") if ":" in entry.rpartition("]")[2] else (entry, "", "")
        if not host or (port and not port.isdigit()):
            raise ValueError(f"'{entry}' is not host:port, in the URL of the broker")
        options: dict[str, Any] = {}
        if parts.scheme == "amqps":
            import ssl

            options["ssl_options"] = pika.SSLOptions(ssl.create_default_context(), host)
        result.append(
            pika.ConnectionParameters(
                host=host.strip("[]"),
                port=int(port) if port else (5671 if parts.scheme == "amqps" else 5672),
                virtual_host=unquote(parts.path[1:]) or "/",
                credentials=pika.PlainCredentials(unquote(user) or "guest", unquote(password) or "guest"),
                heartbeat=settings.heartbeat,
                socket_timeout=3,
                stack_timeout=5,
                blocked_connection_timeout=60,
                client_properties={"connection_name": "gregale"},
                **options,
            )
        )
    return result
