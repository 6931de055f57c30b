"""A wall-clock bound around foreign code.

In the main thread an interval timer interrupts even a regular expression that backtracks for ever; in other threads the
interruption is an asynchronous exception, which reaches Python code only. Engines decide in their main thread.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from gregale.expressions.errors import EvaluationTimeout

T = TypeVar("T")

_active = False
_limit = 0.0
_AGAIN = 0.25
"""Seconds until the next interruption, should foreign code have swallowed the first one."""


def bounded(seconds: float, run: Callable[[], T]) -> T:
    """Run `run`; raise EvaluationTimeout when it takes longer than `seconds`."""
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _by_signal(seconds, run)
    return _by_watchdog(seconds, run)


def _by_signal(seconds: float, run: Callable[[], T]) -> T:
    global _active, _limit
    if _active:  # an expression inside an expression shares the outer bound
        return run()
    if signal.getsignal(signal.SIGALRM) is not _on_alarm:
        signal.signal(signal.SIGALRM, _on_alarm)
    _limit = seconds
    _active = True
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        return run()
    finally:
        _active = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def _on_alarm(_signal: int, _frame: FrameType | None) -> None:
    if _active:
        raise _timeout(_limit)


def _timeout(seconds: float) -> EvaluationTimeout:
    return EvaluationTimeout(f"evaluation took longer than {seconds:g} s")


def _by_watchdog(seconds: float, run: Callable[[], T]) -> T:
    thread = threading.get_ident()
    lock = threading.Lock()
    done = False

    def interrupt() -> None:
        with lock:
            if not done:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(EvaluationTimeout))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        result = run()
        with lock:
            done = True
        return result
    except EvaluationTimeout:
        raise _timeout(seconds) from None
    finally:
        done = True
        timer.cancel()
