"""Faults on purpose, for the lab: what a process does to itself, when the file that GREGALE_FAULTS names says so.

The file is JSON, and is read again when it changes:

    {"drop": {"action_done": 0.05}, "repeat": {"start": 0.1}, "delay": {"run_action": [0.2, 1.5]},
     "die": {"after_commit": 0.01}, "without": ["claim", "sweep:unheld"]}

`drop`, `repeat` and `delay` are rates of messages by kind ("*" is any), `delay` with seconds; `die` is the chance of ending on the
spot at a point of the code; `without` leaves out a defence, to show that a test sees it missing. Nothing of this happens
where the variable is not set.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import msgspec


class Faults(msgspec.Struct, frozen=True):
    drop: dict[str, float] = {}
    repeat: dict[str, float] = {}
    delay: dict[str, tuple[float, float]] = {}
    die: dict[str, float] = {}
    without: tuple[str, ...] = ()

    def rate(self, table: dict[str, Any], kind: str) -> Any:
        return table.get(kind, table.get("*"))


_NONE = Faults()
_file = Path(os.environ["GREGALE_FAULTS"]) if os.environ.get("GREGALE_FAULTS") else None
_read: tuple[float, Faults] = (0.0, _NONE)


def wanted() -> bool:
    """Whether this process may be asked for faults at all."""
    return _file is not None


def now() -> Faults:
    """The faults to make just now."""
    global _read
    if _file is None:
        return _NONE
    try:
        changed = _file.stat().st_mtime
        if changed != _read[0]:
            _read = (changed, msgspec.json.decode(_file.read_bytes(), type=Faults))
    except (OSError, msgspec.MsgspecError):
        return _read[1]  # it is just being written
    return _read[1]


def point(name: str) -> None:
    """A place where the process may end, as if the power were cut off."""
    if _file is not None and random.random() < now().die.get(name, 0.0):  # noqa: S311 - no secret
        os.kill(os.getpid(), signal.SIGKILL)


def without(defence: str) -> bool:
    """Whether a defence is to be left out."""
    return _file is not None and defence in now().without
