"""What an expression may take is counted in CPU time: waiting for a CPU is not its fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gregale.expressions import budget
from gregale.expressions.errors import EvaluationTimeout


def here(run: Callable[[], Any]) -> Any:
    return run()


def in_a_thread(run: Callable[[], Any]) -> Any:
    found: list[Any] = []

    def keep() -> None:
        try:
            found.append(run())
        except EvaluationTimeout as e:
            found.append(e)

    thread = threading.Thread(target=keep)
    thread.start()
    thread.join()
    if isinstance(found[0], EvaluationTimeout):
        raise found[0]
    return found[0]


def waits(seconds: float) -> str:
    """Uses no CPU, as if it had got none. In steps, so that an interruption arrives."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)
    return "done"


def works() -> None:
    while True:
        pass


@pytest.mark.parametrize("where", [here, in_a_thread])
def test_who_has_had_no_cpu_is_not_interrupted(where: Any) -> None:
    assert where(lambda: budget.bounded(0.2, lambda: waits(0.6))) == "done"


@pytest.mark.parametrize("where", [here, in_a_thread])
def test_who_uses_cpu_is_interrupted(where: Any) -> None:
    with pytest.raises(EvaluationTimeout, match="took longer than"):
        where(lambda: budget.bounded(0.2, works))


@pytest.mark.parametrize("where", [here, in_a_thread])
def test_who_waits_for_ever_is_interrupted_in_the_end(where: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_MOST_LOOKS", 2)
    with pytest.raises(EvaluationTimeout):
        where(lambda: budget.bounded(0.05, lambda: waits(30)))
