"""A bound around foreign code: the CPU time of its thread, so that a process which is stopped or starved blames nobody for it.

In the main thread an interval timer interrupts even a regular expression that backtracks for ever; in other threads the
interruption is an asynchronous exception, which reaches Python code only. Engines decide in their main thread.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from gregale.expressions.errors import EvaluationTimeout

T = TypeVar("T")

_active = False
_limit = _began = 0.0
_looks = 0
_AGAIN = 0.25
"""Seconds until the next look, should foreign code have had no CPU, or swallowed the first interruption."""
_MOST_LOOKS = 40
"""After so many looks it is interrupted, however little it has done: it may be waiting for something."""
_NEARLY = 0.8
"""The part of the limit that counts as all of it: no thread has a CPU to itself."""


def _used_up(cpu: float, seconds: float, looks: int) -> bool:
    return cpu >= seconds * _NEARLY or looks >= _MOST_LOOKS


def bounded(seconds: float, run: Callable[[], T]) -> T:
    """Run `run`; raise EvaluationTimeout when it takes more than `seconds` of CPU."""
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _by_signal(seconds, run)
    return _by_watchdog(seconds, run)


def _by_signal(seconds: float, run: Callable[[], T]) -> T:
    global _active, _limit, _began, _looks
    if _active:  # an expression inside an expression shares the outer bound
        return run()
    if signal.getsignal(signal.SIGALRM) is not _on_alarm:
        signal.signal(signal.SIGALRM, _on_alarm)
    _limit, _began, _looks = seconds, time.thread_time(), 0
    _active = True
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        return run()
    finally:
        _active = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def _on_alarm(_signal: int, _frame: FrameType | None) -> None:
    global _looks
    _looks += 1
    if _active and _used_up(time.thread_time() - _began, _limit, _looks):
        raise _timeout(_limit)


def _timeout(seconds: float) -> EvaluationTimeout:
    return EvaluationTimeout(f"evaluation took longer than {seconds:g} s")


def _by_watchdog(seconds: float, run: Callable[[], T]) -> T:
    thread = threading.get_ident()
    clock = time.pthread_getcpuclockid(thread)
    began = time.clock_gettime(clock)
    lock = threading.Lock()
    timer: threading.Timer
    done = False

    def look(looks: int) -> None:
        nonlocal timer
        with lock:
            if done:
                return
            if _used_up(time.clock_gettime(clock) - began, seconds, looks):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(EvaluationTimeout))
            else:
                timer = later(_AGAIN, looks + 1)

    def later(wait: float, looks: int) -> threading.Timer:
        started = threading.Timer(wait, look, (looks,))
        started.daemon = True
        started.start()
        return started

    timer = later(seconds, 1)
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
