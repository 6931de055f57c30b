"""The messages, versioned, in MessagePack. Each is a hint that rows explain."""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1
ENGINE = "engine"
ACTIONS = "actions"
EVENTS = "events."
INLINE = 128 * 1024
"""Bytes; a larger input or result travels by reference to its row."""
SMALL = 8 * 1024
"""Bytes of a row that travels with the message of its start."""


def engine_queue(partition: int) -> str:
    return f"{ENGINE}.{partition}"


class StartMessage(msgspec.Struct, frozen=True, gc=False, tag="start"):
    """An execution waits to be started. Lost: the sweep finds it. Twice: it is started already.

    `row`: what its creation has committed, where that is small, so that it need not be read; if it is old, the start loses its swap.
    """

    execution_id: str
    root_id: str
    row: str | None = None


class WakeMessage(msgspec.Struct, frozen=True, gc=False, tag="wake"):
    """Somebody else has changed an execution: its rows say what is due. Lost: the sweep reads them too. Twice: read again."""

    execution_id: str
    root_id: str


class ActionFinished(msgspec.Struct, frozen=True, gc=False, tag="action_done"):
    """An action has ended. Lost: its result is stored, or its holder stops naming it. Twice: it has ended already.

    `stored`: the result is too large for a message, and waits in the database.
    """

    action_id: str
    execution_id: str | None
    root_id: str | None
    attempt: int
    data: Any = None
    error: Any = None
    cancel: bool = False
    force_fail: str | None = None
    stored: bool = False


class RunActionMessage(msgspec.Struct, frozen=True, gc=False, tag="run_action"):
    """Run an action. Lost: nobody holds it, and the sweep sends it again. Twice: the claim refuses, or it is idempotent.

    `stored`: the input is too large for a message, and is read from the action's row. `again`: a sweep sends it.
    """

    action_id: str
    execution_id: str | None
    root_id: str | None
    task_id: str | None
    workflow_name: str
    action: str
    input: dict[str, Any]
    attempt: int = 0
    safe_rerun: bool = False
    is_sync: bool = True
    timeout: int | None = None
    stored: bool = False
    again: bool = False


Message = StartMessage | ActionFinished | RunActionMessage | WakeMessage


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    v: int
    m: Message


class Unreadable(ValueError):
    """A message that cannot be decoded, or of a version that this process does not know."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Envelope)


def encode(message: Message) -> bytes:
    return _encoder.encode(_Envelope(VERSION, message))


def decode(body: bytes) -> Message:
    """Raises Unreadable."""
    try:
        envelope = _decoder.decode(body)
    except msgspec.DecodeError as e:
        raise Unreadable(f"not a message: {e}") from None
    if envelope.v != VERSION:
        raise Unreadable(f"version {envelope.v} of a message; this process knows {VERSION}")
    return envelope.m


def actions_queue(target: str | None) -> str:
    return f"{ACTIONS}.{target}" if target else ACTIONS


def notification_queue(exchange: str, topic: str) -> str:
    """Where services publish events, and event triggers listen."""
    return f"{EVENTS}{exchange}.{topic}"
