"""Messages between components: hints, never truth. At-least-once, acknowledged by hand, dead letters kept with their reason."""

from gregale.bus.contract import Bus, DeadLetter, Delivery
from gregale.bus.local import LocalBus
from gregale.bus.messages import ActionFinished, Message, RunActionMessage, StartMessage, Unreadable, decode, encode

__all__ = [
    "ActionFinished",
    "Bus",
    "DeadLetter",
    "Delivery",
    "LocalBus",
    "Message",
    "RunActionMessage",
    "StartMessage",
    "Unreadable",
    "decode",
    "encode",
]
