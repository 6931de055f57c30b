"""A process held to a share of one CPU, so that on a machine with few of them the effect of more nodes can be seen."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

_TURN = 0.004
"""Seconds between looks; a process runs for a turn or two at a time."""
_SAVED = 0.05
"""Seconds of CPU that an idle process may save up, so that it answers at once when something comes."""


class Share:
    """Stops and continues a process by signals, as its use of CPU demands, until `close`. Needs no privileges."""

    def __init__(self, pid: int, share: float):
        self._pid = pid
        self._share = share
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab-share", daemon=True)
        self._thread.start()

    def _used(self) -> float:
        """Seconds of CPU so far, of all threads, in nanoseconds' precision."""
        total = 0
        for thread in Path(f"/proc/{self._pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e9

    def _run(self) -> None:
        stopped, budget = False, _SAVED
        try:
            used, seen = self._used(), time.monotonic()
            while not self._end.wait(_TURN):
                now, spent = time.monotonic(), self._used()
                budget = min(_SAVED, budget + (now - seen) * self._share - max(0.0, spent - used))
                used, seen = spent, now
                if stopped != (budget < 0):
                    stopped = not stopped
                    os.kill(self._pid, signal.SIGSTOP if stopped else signal.SIGCONT)
        except (FileNotFoundError, ProcessLookupError):
            return  # it has ended
        finally:
            if stopped:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGCONT)

    def close(self) -> None:
        self._end.set()
        self._thread.join()
