"""Messages between components: hints, never truth. At-least-once, acknowledged by hand, dead letters kept with their reason."""

from gregale.bus.contract import DEAD, Bus, BusUnavailable, Consumer, DeadLetter, Delivery, decode_letter
from gregale.bus.local import LocalBus
from gregale.bus.messages import (
    ActionFinished,
    Message,
    RunActionMessage,
    StartMessage,
    Unreadable,
    WakeMessage,
    decode,
    encode,
)
from gregale.bus.settings import BrokerSettings

__all__ = [
    "DEAD",
    "ActionFinished",
    "BrokerSettings",
    "Bus",
    "BusUnavailable",
    "Consumer",
    "DeadLetter",
    "Delivery",
    "LocalBus",
    "Message",
    "RunActionMessage",
    "StartMessage",
    "Unreadable",
    "WakeMessage",
    "decode",
    "decode_letter",
    "encode",
]
