"""RabbitMQ."""

from gregale.bus.amqp.bus import AmqpBus

__all__ = ["AmqpBus"]
