"""Whether the brokers of a URL can be used: each address is tried, which the running service does only when it has to."""

from __future__ import annotations

from collections.abc import Iterator

import pika
from pika.exceptions import AMQPError

from gregale.bus.amqp.addresses import addresses
from gregale.bus.contract import DEAD, DELIVERY_LIMIT
from gregale.bus.settings import BrokerSettings

_OLDEST = (3, 10)


def check(settings: BrokerSettings) -> Iterator[tuple[str, bool, str]]:
    """`(address, whether it can be used, what was found)`. Raises ValueError for a URL that names no broker."""
    for address in addresses(settings.url, settings):
        name = f"{address.host}:{address.port}"
        try:
            connection = pika.BlockingConnection(address)
        except (AMQPError, OSError) as e:
            yield name, False, f"it does not answer: {str(e) or type(e).__name__}"
            continue
        try:
            yield name, *_usable(connection, settings)
        finally:
            connection.close()


def _usable(connection: pika.BlockingConnection, settings: BrokerSettings) -> tuple[bool, str]:
    version = str(connection._impl.server_properties.get("version", "?"))  # noqa: SLF001 - pika offers no other way
    numbers = tuple(int(p) for p in version.split(".")[:2] if p.isdigit())
    if numbers < _OLDEST:
        return False, f"RabbitMQ {version} is too old; 3.10 or newer has delivery limits of quorum queues"
    queue = f"{settings.prefix}.actions"
    try:
        connection.channel().queue_declare(queue, passive=True)
    except AMQPError:
        return True, f"RabbitMQ {version}; its queues are made by the first process"
    dead = f"{settings.prefix}.{DEAD}"
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT, "x-dead-letter-exchange": ""}
    arguments |= {"x-dead-letter-routing-key": dead, "x-dead-letter-strategy": "at-least-once"}
    try:
        connection.channel().queue_declare(queue, durable=True, arguments={**arguments, "x-overflow": "reject-publish"})
    except AMQPError as e:
        return False, f"the queue {queue} is there, and is not as Gregale makes it: {e}"
    return True, f"RabbitMQ {version}, with queues as they should be"
