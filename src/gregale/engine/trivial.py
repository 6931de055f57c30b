"""Actions that are over as soon as they begin, carried out while deciding: no message, no executor, no commit of their own.

Rows show them as any other action. Those that one decision does not get to are events of the next one; if the engine ends before, they
are actions that nobody holds, and the sweep sends them to executors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gregale.actions import Result
from gregale.core import ActionDone, Decision, RunAction, decide

AtOnce = Callable[[str, dict[str, Any], str], Result | None]
"""The outcome of an action by name, input and id; None where it is for executors."""


def never(name: str, given: dict[str, Any], action_id: str) -> None:
    """Every action is for executors."""
    del name, given, action_id


_MOST = 64
"""Actions of one tree in one decision, so that a long chain of them does not hold up the others."""


def event(command: object, at_once: AtOnce) -> ActionDone | None:
    """What follows from a command without anybody else; None where somebody has to do something."""
    if not isinstance(command, RunAction) or command.target is not None:
        return None
    result = at_once(command.action, command.input, command.action_id)
    if result is None:
        return None
    return ActionDone(command.action_id, result.data, result.error, result.cancel, command.attempt)


def carry_out(decision: Decision, at_once: AtOnce) -> None:
    """Decide what follows from the trivial actions that a decision has started, up to a number of them. Raises Missing."""
    left = _MOST
    progress = True
    while progress and left:
        progress = False
        for work in list(decision.works.values()):
            commands, work.commands = work.commands, []
            kept = []
            for command in commands:
                done = event(command, at_once) if left else None
                if done is None:
                    kept.append(command)
                else:
                    left -= 1
                    progress = True
                    decide(decision, work.execution.id, done)
            work.commands[:0] = kept
