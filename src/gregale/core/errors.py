"""Errors of the core.

Rejected                what the caller asked for cannot be done; nothing changed
├── NotFound            no such thing (HTTP 404)
├── InvalidInput        input, parameters or values that do not fit (400)
├── WorkflowError       not possible in this state (400); upstream's WorkflowException
├── NotAllowed          not allowed in this state (403); upstream's NotAllowedException
└── Conflict            exists already (409)
Missing                 a question that the view could not answer yet; answer it and decide again
ForceFail               inside a decision only: a structural error that fails the workflow at once (spec 5.6)
"""

from __future__ import annotations

from typing import Any


class Rejected(Exception):
    """What the caller asked for cannot be done. Nothing has changed."""


class NotFound(Rejected):
    """No such thing, or none that the caller may see."""


class InvalidInput(Rejected):
    """Values that do not fit."""


class WorkflowError(Rejected):
    """Not possible in the state that the execution is in."""


class NotAllowed(Rejected):
    """Not allowed in the state that the execution is in."""


class Conflict(Rejected):
    """Exists already."""


class Missing(LookupError):
    """The view lacks the answer to `question`, a tuple whose first item names its kind."""

    passes_through_expressions = True

    def __init__(self, *question: Any):
        self.question = question
        super().__init__(str(question))


class ForceFail(Exception):
    """A structural error: the task and its workflow fail at once, whatever the clauses say."""


def invalid_input(name: str, kind: str, missing: list[str], unexpected: list[str]) -> InvalidInput | None:
    """The error of spec 4.1 for names that are missing or unknown; None when there are none."""
    if not missing and not unexpected:
        return None
    parts = [f"missing={missing}"] if missing else []
    parts += [f"unexpected={unexpected}"] if unexpected else []
    return InvalidInput(f"Invalid input [name={name}, class={kind}, {', '.join(parts)}]")
