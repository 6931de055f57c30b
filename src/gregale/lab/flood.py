"""More starts than can be worked off: what is accepted, what is refused, and whether it recovers by itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec

from gregale.lab import checks
from gregale.lab.lab import Lab
from gregale.store import Database

_REST = 180.0
_WIDE = """
version: '2.0'
wide:
  tasks: {t: {with-items: "i in <% range(100) %>", action: std.noop}}
"""


class Flood(msgspec.Struct, frozen=True):
    """`other`: answers that are neither 201 nor 429. `growth_mb`: by which the largest process grew. `answer_after`: seconds in which
    one execution was started and finished when it was over."""

    accepted: int
    refused: int
    other: int
    retry_after: bool
    unfinished: int
    growth_mb: float
    answer_after: float
    rest_after: float


def flood(lab: Lab, seconds: float, at_once: int) -> Flood:
    """`at_once` clients start executions as fast as they are answered, for some seconds; then everything has to come to rest."""
    httpx.post(f"{lab.api}/workflows", content=_WIDE, timeout=30)
    before, sampled, done = _sizes(lab), [], threading.Event()

    def sample() -> None:
        while not done.wait(0.5):
            sampled.append(_sizes(lab))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    answers, hinted = asyncio.run(_pour(lab.api, seconds, at_once))
    stopped = time.monotonic()
    database = Database(lab.url)
    try:
        while (left := database.read(checks.unfinished)) and time.monotonic() - stopped < _REST:
            time.sleep(0.2)
    finally:
        database.close()
    rest_after = time.monotonic() - stopped
    done.set()
    growth = max((after[name] - before[name] for after in sampled for name in after if name in before), default=0.0)
    return Flood(
        answers[201],
        answers[429],
        sum(n for status, n in answers.items() if status not in (201, 429)),
        hinted,
        left,
        round(growth, 1),
        _one(lab),
        round(rest_after, 1),
    )


async def _pour(url: str, seconds: float, at_once: int) -> tuple[Counter[int], bool]:
    answers: Counter[int] = Counter()
    hinted = True
    until = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def one() -> None:
            nonlocal hinted
            body = {"workflow_name": "wide"}
            while time.monotonic() < until:
                response = await client.post(f"{url}/executions", json=body)
                answers[response.status_code] += 1
                if response.status_code == 429:
                    hinted &= "Retry-After" in response.headers
                    await asyncio.sleep(0.05)  # a client that does not listen to how long it should wait

        await asyncio.gather(*(one() for _ in range(at_once)))
    return answers, hinted


def _one(lab: Lab) -> float:
    begun = time.monotonic()
    with httpx.Client(base_url=lab.api, timeout=30) as client:
        body = {"workflow_name": "wide"}
        key = client.post("/executions", json=body).raise_for_status().json()["id"]
        while client.get(f"/executions/{key}").json()["state"] == "RUNNING" and time.monotonic() - begun < 60:
            time.sleep(0.02)
    return round(time.monotonic() - begun, 2)


def _sizes(lab: Lab) -> dict[str, float]:
    """Resident memory of each component, in MB."""
    found = {}
    for component in lab.find():
        for line in Path(f"/proc/{component.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                found[component.name] = int(line.split()[1]) / 1024
    return found
