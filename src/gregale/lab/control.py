"""A lab that runs in one process, and is told what to do by others: one line of JSON each way, on the loopback interface."""

from __future__ import annotations

import json
import os
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gregale.lab.lab import Lab
from gregale.lab.servers import LabError

_FILE = "lab.json"


class Control:
    """Answers commands for a lab until `down` comes. What is needed to reach it is in `folder`, readable by its owner only."""

    def __init__(self, lab: Lab, folder: Path):
        self.lab = lab
        self.down = threading.Event()
        self._file = folder / _FILE
        self._token = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._commands: dict[str, Callable[..., Any]] = {
            "status": self.status,
            "start": lambda kind, name="": self.lab.start(kind, name).name,
            "stop": lambda name: self.lab.one(name).stop(),
            "kill": lambda name: self.lab.one(name).kill(),
            "pause": lambda name: self.lab.one(name).pause(),
            "resume": lambda name: self.lab.one(name).resume(),
            "outage": lambda what, how, seconds, of=None: self.lab.outage(what, how, seconds, of),
            "faults": lambda wanted: self.lab.faults(**wanted),
            "down": self.down.set,
        }
        folder.mkdir(parents=True, exist_ok=True)
        control = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(json.dumps(control.answer(self.rfile.readline())).encode() + b"\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="lab-control").start()
        written = self._file.with_suffix(".new")
        written.touch(mode=0o600)
        written.write_text(
            json.dumps({"port": self._server.server_address[1], "token": self._token, "pid": os.getpid()})
        )
        written.replace(self._file)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._file.unlink(missing_ok=True)

    def answer(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
            if asked.pop("token") != self._token:
                return {"error": "another lab"}
            command = self._commands[asked.pop("command")]
            with self._lock:
                return {"answer": command(**asked)}
        except LabError as e:
            return {"error": str(e)}
        except (KeyError, TypeError, ValueError) as e:
            return {"error": f"not a command: {e}"}

    def status(self) -> list[dict[str, Any]]:
        """Everything that runs, and what it is."""
        found: list[dict[str, Any]] = [
            {"name": s.name, "kind": "server", "state": "up" if s.runs else "down", "address": f"127.0.0.1:{s.port}"}
            for s in (self.lab.database, self.lab.broker)
        ]
        for c in self.lab.components:
            state = "paused" if c.paused and c.alive else "up" if c.alive else "down"
            found.append({"name": c.name, "kind": c.kind, "state": state, "address": c.url, "pid": c.process.pid})
        return found


def ask(folder: Path, command: str, **given: Any) -> Any:
    """Raises LabError when there is no lab, or it will not."""
    try:
        known = json.loads((folder / _FILE).read_text())
    except (OSError, ValueError):
        raise LabError(f"There is no lab in {folder}; start one: gregale lab up") from None
    try:
        with socket.create_connection(("127.0.0.1", known["port"]), 5) as connection:
            connection.settimeout(300)
            connection.sendall(json.dumps({"token": known["token"], "command": command, **given}).encode() + b"\n")
            answer = json.loads(connection.makefile().readline() or '{"error": "the lab is gone"}')
    except OSError as e:
        raise LabError(f"The lab of {folder} does not answer: {e}") from None
    if "error" in answer:
        raise LabError(answer["error"])
    return answer["answer"]
