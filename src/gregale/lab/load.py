"""The load of drills: executions of all shapes, started by a client that keeps a history; and how each of them must end."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec

from gregale.lab.servers import LabError

WORKFLOWS = """
version: '2.0'
sequence:
  input: [n, folder]
  output: {last: <% $.a %>}
  tasks:
    a: {action: std.echo output=<% $.n %>, publish: {a: <% task().result %>}, on-success: b}
    b: {action: std.noop, on-success: c}
    c: {action: std.noop, on-success: d}
    d: {action: std.noop}
joined:
  input: [n, folder]
  output: {sum: <% $.x + $.y + $.z %>}
  tasks:
    x: {action: std.echo output=<% $.n %>, publish: {x: <% task().result %>}, on-success: meet}
    y: {action: std.echo output=<% $.n + 1 %>, publish: {y: <% task().result %>}, on-success: meet}
    z: {action: std.fail, retry: {count: 1, delay: 1}, publish-on-error: {z: 2}, on-error: meet}
    meet: {join: all, action: std.noop}
items:
  input: [n, folder]
  output: {items: <% task(t).result %>}
  tasks:
    t: {with-items: "i in <% range(10) %>", concurrency: 3, action: std.echo output=<% $.i * $.n %>}
nested:
  input: [n, folder]
  output: {twice: <% task(below).result.twice %>, deep: <% task(each).result.twice %>}
  tasks:
    below: {workflow: inner n=<% $.n %>, on-success: each}
    each: {with-items: "i in <% [1, 2, 3] %>", workflow: inner n=<% $.i %>}
inner:
  input: [n]
  output: {twice: <% $.n * 2 %>}
  tasks: {a: {wait-before: 1, on-success: b}, b: {action: std.noop}}
safe:
  input: [n, folder]
  tasks:
    first:
      action: gregale.command
      safe-rerun: true
      input: {argv: [sh, -c, "echo 1 >> <% $.folder %>/safe-<% $.n %>; sleep 0.3"]}
      on-success: second
    second:
      action: gregale.command
      safe-rerun: true
      input: {argv: [sh, -c, "echo 2 >> <% $.folder %>/safe-<% $.n %>"]}
unsafe:
  input: [n, folder]
  tasks:
    first:
      action: gregale.command
      input: {argv: [sh, -c, "echo 1 >> <% $.folder %>/unsafe-<% $.n %>; sleep 0.3"]}
      on-success: second
    second:
      action: gregale.command
      input: {argv: [sh, -c, "echo 2 >> <% $.folder %>/unsafe-<% $.n %>"]}
"""
SHAPES = ("sequence", "joined", "items", "nested", "safe", "unsafe")
TASKS = {"sequence": 4, "joined": 4, "items": 1, "nested": 2, "safe": 2, "unsafe": 2}

_AT_ONCE = 6
"""Clients that wait for an answer at a time."""

Result = Literal["ok", "failed", "unknown"]


class Operation(msgspec.Struct, frozen=True):
    """One request of a client: `ok`, `failed` for certain, or `unknown`. Times in seconds since the epoch."""

    kind: str
    execution_id: str
    since: float
    until: float
    result: Result
    detail: str = ""


class Load:
    """Starts executions, in a thread of its own, `rate` a second until it is stopped or `most` were started.

    Each has an id of the client's, and a start whose outcome is not known is asked for again until it is. `may_lose`: executors are
    killed, or hang, so that unsafe actions may end as lost.
    """

    def __init__(
        self,
        url: Callable[[], str],
        folder: Path,
        rate: float,
        most: int = 10**9,
        seed: int = 1,
        shapes: tuple[str, ...] = SHAPES,
    ):
        self.folder = folder
        self.history: list[Operation] = []
        self.started: dict[str, tuple[str, int]] = {}
        self.may_lose = True
        self._url = url
        self._rate = rate
        self._most = most
        self._chance = random.Random(seed)  # noqa: S311 - a load that can be repeated
        self._shapes = shapes
        self._prefix = f"{seed}-{time.time_ns() % 10**9}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab-load", daemon=True)

    def upload(self) -> None:
        for _ in range(100):
            response = httpx.post(f"{self._url()}/workflows", content=WORKFLOWS, timeout=30)
            if response.status_code != 503:
                break
            time.sleep(0.3)
        if response.status_code != 409:  # there already
            response.raise_for_status()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.join()

    def join(self, seconds: float = 600) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        begun = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE, "lab-client") as clients:
            for number in range(self._most):
                wait = begun + number / self._rate - time.monotonic()
                if self._stop.wait(max(0.0, wait)):
                    break
                shape = self._chance.choice(self._shapes)
                key = f"{shape}-{self._prefix}-{number}"
                self.started[key] = (shape, number)
                clients.submit(self._start, key, shape, number)

    def _start(self, key: str, shape: str, number: int) -> None:
        """Until the answer is known."""
        body = {"id": key, "workflow_name": shape, "input": {"n": number, "folder": str(self.folder)}}
        for _ in range(600):
            operation = self._asked(key, body)
            self.history.append(operation)
            if operation.result == "ok" or self._stop.wait(0.2):
                return

    def _asked(self, key: str, body: dict[str, Any]) -> Operation:
        since = time.time()
        result: Result = "unknown"
        try:
            response = httpx.post(f"{self._url()}/executions", json=body, timeout=15)
            detail = str(response.status_code)
            if response.status_code == 201:
                result = "ok"
            elif response.status_code in (429, 400, 404):
                result = "failed"
        except (httpx.ConnectError, httpx.ConnectTimeout) as e:
            result, detail = "failed", type(e).__name__
        except httpx.HTTPError as e:
            detail = type(e).__name__
        except Exception as e:
            result, detail = "failed", str(e)
        return Operation("start", key, since, time.time(), result, detail)

    # How they must end ------------------------------------------------------------------------------------------------

    def unfinished(self, states: dict[str, str]) -> list[str]:
        """Started for certain, and not at rest."""
        known = {o.execution_id for o in self.history if o.result == "ok"}
        return [key for key in known if states.get(key) not in ("SUCCESS", "ERROR", "CANCELLED")]

    def wrong(self, rows: dict[str, tuple[str, str | None, str | None]]) -> list[str]:
        """What of the ends `(state, output, state_info)` is not as it must be, in words. Missing executions are wrong when their
        start was confirmed."""
        found = []
        confirmed = {o.execution_id for o in self.history if o.result == "ok"}
        for key, (shape, n) in self.started.items():
            if key not in rows:
                if key in confirmed:
                    found.append(f"{key}: its start was confirmed, and it is not there")
                continue
            state, output, info = rows[key]
            fault = self._end(shape, n, state, json.loads(output) if output else None, info or "")
            if fault:
                found.append(f"{key}: {fault}")
        return found

    def _end(self, shape: str, n: int, state: str, output: Any, info: str) -> str | None:
        if shape == "unsafe":
            return self._unsafe(n, state, info)
        if state != "SUCCESS":
            return f"{state}: {info[:300]}"
        if shape == "safe":
            lines = self.lines(shape, n)
            return None if set(lines) == {"1", "2"} and lines[0] == "1" else f"a safe action left {lines}"
        expected = {
            "sequence": {"last": n},
            "joined": {"sum": 2 * n + 3},
            "items": {"items": [i * n for i in range(10)]},
            "nested": {"twice": 2 * n, "deep": [2, 4, 6]},
        }[shape]
        return None if output == expected else f"its output is {output}, not {expected}"

    def _unsafe(self, n: int, state: str, info: str) -> str | None:
        lines = self.lines("unsafe", n)
        if len(lines) != len(set(lines)):
            return f"an unsafe action ran twice: {lines}"
        if state == "SUCCESS":
            return None if lines == ["1", "2"] else f"SUCCESS, and the actions left {lines}"
        lost = self.may_lose and "Lost: the executor" in info
        return None if lost else f"{state}: {info[:300]}"

    def lines(self, shape: str, n: int) -> list[str]:
        file = self.folder / f"{shape}-{n}"
        return file.read_text().split() if file.exists() else []

    def duplicates(self) -> int:
        """Unsafe actions that ran more than once."""
        found = [self.lines(shape, n) for shape, n in self.started.values() if shape == "unsafe"]
        return sum(len(lines) - len(set(lines)) for lines in found)

    def read(self, states: dict[str, str]) -> None:
        """The last operation of a history: everything that there is, with its state."""
        now = time.time()
        self.history += [Operation("read", key, now, now, "ok", state) for key, state in states.items()]

    def tally(self) -> Counter[str]:
        return Counter(o.result for o in self.history)

    def save(self, file: Path) -> None:
        """The history, an operation a line."""
        file.write_bytes(b"\n".join(msgspec.json.encode(o) for o in self.history))


def read_history(file: Path) -> list[Operation]:
    """What `save` has written. Raises LabError."""
    try:
        return [msgspec.json.decode(line, type=Operation) for line in file.read_bytes().splitlines()]
    except (OSError, msgspec.DecodeError) as e:
        raise LabError(f"{file} holds no history of a drill: {e}") from None
