"""A served Gregale in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import httpx


class Served:
    """`gregale serve` on a free port of the loopback interface and a database in `folder`."""

    def __init__(self, folder: Path, *options: str):
        self.log = (folder / "server.log").open("a")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gregale.cli.main",
                "serve",
                "--port",
                "0",
                "--database",
                str(folder / "g.sqlite"),
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        weakref.finalize(self, self.process.kill)  # also when a test fails half-way
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert "http://" in line, f"the server did not start: {line} {(folder / 'server.log').read_text()}"
        self.url = line.split()[-1]
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def kill(self) -> None:
        """As if the power were cut off the process."""
        self.process.kill()
        self._end()

    def stop(self) -> None:
        self.process.terminate()
        self._end()

    def _end(self) -> None:
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.http.close()
        self.log.close()

    def get(self, path: str, **query: Any) -> Any:
        response = self.http.get(path, params=query)
        response.raise_for_status()
        return response.json()

    def wait(self, execution_id: str, seconds: float = 60) -> Any:
        """The execution once it has ended, within a bound."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.get(f"/executions/{execution_id}")
            if found["state"] in ("SUCCESS", "ERROR", "CANCELLED"):
                return found
            assert time.monotonic() < deadline, f"{execution_id} is still {found['state']}"
            time.sleep(0.01)
