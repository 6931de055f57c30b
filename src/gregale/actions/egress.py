"""Where HTTP requests may go: no other scheme, and by default neither this machine nor its link (language spec 7.2)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from gregale.actions.contract import ActionError
from gregale.actions.settings import HttpSettings


class EgressRefused(ActionError):
    """The operator's policy does not allow this address."""


async def check(url: str, settings: HttpSettings) -> None:
    """Raises EgressRefused for a scheme or an address that is not allowed, ActionError for a name that does not resolve."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise EgressRefused(f"Only http and https are allowed, not '{parts.scheme}': {url}")
    host = parts.hostname or ""
    if host in settings.allowed_hosts:
        return
    denied = [ipaddress.ip_network(c) for c in settings.denied_cidrs]
    if not denied:
        return
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError as e:
        raise ActionError(f"Failed to send HTTP request: cannot resolve '{host}': {e.strerror}") from None
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).split("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        if any(ip in network for network in denied if network.version == ip.version):
            raise EgressRefused(f"Requests to {host} ({ip}) are not allowed by this server's policy")
