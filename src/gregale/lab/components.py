"""Components of Gregale as processes: started as an operator would, stopped, killed, paused."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from gregale.lab.proxy import Proxy
from gregale.lab.servers import LabError

Kind = Literal["api", "engine", "executor", "serve"]

_PATIENCE = 60.0


class Component:
    """One process. `url`: where it answers, known once it is ready. `links`: to "database" and "broker"."""

    def __init__(self, kind: Kind, name: str, folder: Path, options: list[str], environment: Mapping[str, str]):
        self.kind = kind
        self.name = name
        self.url = ""
        self.paused = False
        self.links: dict[str, Proxy] = {}
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gregale.cli.main", kind, "--name", name, "--port", "0", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for the program that started it, which then stops it
            )
        weakref.finalize(self, _end, self.process)

    def wait_ready(self) -> None:
        """Wait until it says where it answers. Raises LabError."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + _PATIENCE
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if not part:
                self.kill()
                raise LabError(f"{self.name} did not start; its log:\n{self.log.read_text(errors='replace')[-4000:]}")
            line += part
        self.url = line.decode().split()[-1]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, seconds: float = 60.0) -> int:
        """As an operator would; gives the exit status. Raises LabError when it does not end in time."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGUSR2)
            time.sleep(1)
            said = self.log.read_text(errors="replace")[-20_000:]
            self.kill()
            raise LabError(f"{self.name} did not stop within {seconds} s; its log:\n{said}") from None
        self._close()
        return status

    def kill(self) -> None:
        """As if the power were cut off."""
        _end(self.process)
        self._close()

    def pause(self) -> None:
        """As if it hung."""
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def _close(self) -> None:
        for link in self.links.values():
            link.close()
        self.links = {}
        if self.process.stdout is not None:
            self.process.stdout.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
