"""One drill: a load, what a scenario does meanwhile, and what must hold afterwards."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from gregale.lab import checks
from gregale.lab.lab import Lab
from gregale.lab.load import Load
from gregale.lab.report import Fault, Report
from gregale.store import Database

_REST = 90.0
"""Seconds in which everything must have ended when nothing is broken any more."""


class Drill:
    """One run: a load of `rate` executions a second for `seconds`, under what a scenario does meanwhile."""

    def __init__(self, lab: Lab, name: str, seconds: float, rate: float, seed: int = 1):
        self.lab = lab
        self.seconds = seconds
        self.chance = random.Random(seed)  # noqa: S311 - a drill that can be repeated
        self.report = Report(name, lab.database.name)
        self.folder = lab.folder / f"{name}-{time.time_ns()}"
        self.folder.mkdir()
        self.load = Load(lambda: lab.api, self.folder, rate, seed=seed)
        self.mend_faults = True
        self.poisoned: dict[str, str] = {}
        self._begun = time.time()

    @property
    def elapsed(self) -> float:
        return time.time() - self._begun

    @property
    def running(self) -> bool:
        return self.elapsed < self.seconds

    @contextmanager
    def fault(self, kind: str) -> Any:
        """Note what is broken, from when until when."""
        since = self.elapsed
        try:
            yield
        finally:
            self.report.faults.append(Fault(kind, round(since, 2), round(self.elapsed, 2)))

    def outage(self, what: Any, how: str, seconds: float) -> None:
        with self.fault(f"{what} {how} {seconds:g} s"):
            self.lab.outage(what, how, seconds)

    def run(self, scenario: Callable[[Drill], None], rest: float = _REST) -> Report:
        self.load.upload()
        self._begun = time.time()
        self.load.start()
        try:
            scenario(self)
            while self.running:
                time.sleep(0.1)
        finally:
            self.load.stop()
            self._mend()
        self._await_rest(rest)
        return self._finish()

    def _mend(self) -> None:
        if self.mend_faults:
            self.lab.faults()
        self.lab.mend()
        for component in self.lab.find(paused=True):
            component.resume()

    def _await_rest(self, seconds: float) -> None:
        stopped = time.monotonic()
        database = Database(self.lab.url)
        try:
            while True:
                states = database.read(checks.states)
                missing = self.load.unfinished(states)
                missing += [key for key in self.poisoned if states.get(key) == "RUNNING"]
                if not missing or time.monotonic() - stopped > seconds:
                    break
                time.sleep(0.2)
        finally:
            database.close()
        self.report.at_rest = time.monotonic() - stopped
        self.report.stuck = sorted(missing)

    def _finish(self) -> Report:
        report = self.report
        database = Database(self.lab.url)
        try:
            ends_of_all = database.read(checks.ends)
            ends = {k: v for k, v in ends_of_all.items() if k in self.load.started}
            longest = database.read(checks.longest_pause, self._begun, self._begun + self.seconds)
            report.checks = database.read(checks.rest)
            report.faults = [
                Fault(
                    f.kind,
                    f.since,
                    f.until,
                    None if after is None else round(after - self._begun - f.until, 2),
                )
                for f in report.faults
                for after in [database.read(checks.first_end_after, self._begun + f.until)]
            ]
        finally:
            database.close()
        report.seconds = round(self.elapsed, 1)
        report.executions = len(ends)
        report.states = dict(Counter(state for state, _, _ in ends.values()))
        report.operations = dict(self.load.tally())
        report.refusals = dict(Counter(o.detail for o in self.load.history if o.result != "ok"))
        self.load.read({key: state for key, (state, _, _) in ends.items()})
        report.checks.append(checks.history(self.load.history))
        report.wrong = [w for w in self.load.wrong(ends) if w.partition(":")[0] not in report.stuck]
        report.duplicates = self.load.duplicates()
        report.wrong += self._poison(ends_of_all)
        report.notes["longest pause"] = f"{longest:.1f} s without a change of state"
        self.load.save(self.folder / "history.jsonl")
        return report

    def _poison(self, ends: dict[str, tuple[str, str | None, str | None]]) -> list[str]:
        """What was poisoned has ended in ERROR, with a reason that says so."""
        said = {"endless": "Can not evaluate YAQL expression", "huge": "MB", "deadly": "Lost: 3 executors in turn"}
        found = []
        for key, name in self.poisoned.items():
            state, _, info = ends[key]
            if state != "ERROR" or said[name] not in (info or ""):
                found.append(f"{key}: {state}: {info}")
        return found
