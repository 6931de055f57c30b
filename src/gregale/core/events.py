"""What can happen to an execution. Imperative names for what somebody asks, past tense for what has happened."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Start(msgspec.Struct, frozen=True, tag=True):
    """Start a created execution: its first tasks come to be."""


class ActionDone(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An action has ended. `error` is not null for a failure; `cancel` for a cancellation; `attempt` None when it came from outside."""

    action_id: str
    data: Any = None
    error: Any = None
    cancel: bool = False
    attempt: int | None = None
    force_fail: str | None = None


class ActionUpdate(msgspec.Struct, frozen=True, tag=True):
    """Pause or resume an asynchronous action (spec 5.10)."""

    action_id: str
    state: Literal["PAUSED", "RUNNING"]


class TimerFired(msgspec.Struct, frozen=True, tag=True):
    task_id: str
    kind: Literal["wait-before", "wait-after", "retry", "timeout"]
    stamp: int


class Pause(msgspec.Struct, frozen=True, tag=True):
    message: str | None = None


class Resume(msgspec.Struct, frozen=True, tag=True):
    env: dict[str, Any] | None = None


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End the execution in `state`. `if_paused` lets ERROR end a paused one, which the language ignores (spec 5.9)."""

    state: Literal["SUCCESS", "ERROR", "CANCELLED"]
    message: str | None = None
    if_paused: bool = False


class Rerun(msgspec.Struct, frozen=True, tag=True):
    task_id: str
    reset: bool = True
    env: dict[str, Any] | None = None


class Skip(msgspec.Struct, frozen=True, tag=True):
    task_id: str
    env: dict[str, Any] | None = None


class UpdateEnv(msgspec.Struct, frozen=True, tag=True):
    env: dict[str, Any]


class Sweep(msgspec.Struct, frozen=True, tag=True):
    """Look again for anything that should have moved and has not."""


Event = Start | ActionDone | ActionUpdate | TimerFired | Pause | Resume | Stop | Rerun | Skip | UpdateEnv | Sweep
