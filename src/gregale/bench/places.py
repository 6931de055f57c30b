"""What is measured: a server that runs already, one process on SQLite, or a cluster of the lab with any number of nodes."""

from __future__ import annotations

import json
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from gregale.lab import Lab
from gregale.lab.components import Component
from gregale.lab.share import Share


class Place(AbstractContextManager["Place"]):
    """`url`: where it answers."""

    @property
    @abstractmethod
    def url(self) -> str: ...

    def scale(self, engines: int, executors: int) -> None:
        """Have so many of them, where that can be chosen."""
        del engines, executors

    def processes(self) -> dict[str, int]:
        """The id of each process by its name, of "database" and "broker" too."""
        return {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was started for it."""
        return


class Elsewhere(Place):
    """A server that somebody else started."""

    def __init__(self, url: str):
        self._url = url

    @property
    def url(self) -> str:
        return self._url


class OneProcess(Place):
    """`gregale serve` on a new SQLite file, with the settings that it has by itself."""

    def __init__(self, settings: dict[str, Any]):
        self._settings = settings

    def __enter__(self) -> OneProcess:
        self._folder = Path(tempfile.mkdtemp(prefix="gregale-bench-"))
        options = ["--database", f"sqlite:///{self._folder / 'bench.sqlite'}", "--log-level", "warning"]
        for key, value in self._settings.items():
            options += ["--set", f"{key}={json.dumps(value) if isinstance(value, bool) else value}"]
        self._process = Component("serve", "serve", self._folder, options, {})
        try:
            self._process.wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    @property
    def url(self) -> str:
        return self._process.url

    def processes(self) -> dict[str, int]:
        return {"serve": self._process.process.pid}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Cluster(Place):
    """A lab with one api and any number of engines and executors; `shares` of a CPU by kind of component."""

    def __init__(self, database: Any, settings: dict[str, Any], shares: dict[str, float]):
        self._lab = Lab(database, settings, proxied=False)
        self._wanted = shares
        self._shares: dict[int, Share] = {}

    def __enter__(self) -> Cluster:
        self._lab.__enter__()
        return self

    @property
    def url(self) -> str:
        return self._lab.api

    def scale(self, engines: int, executors: int) -> None:
        self._free()
        self._lab.topology(1, engines, executors)
        for component in self._lab.find():
            if component.kind in self._wanted:
                self._shares[component.process.pid] = Share(component.process.pid, self._wanted[component.kind])

    def processes(self) -> dict[str, int]:
        components = {c.name: c.process.pid for c in self._lab.find()}
        return {**components, "database": self._lab.database.pid, "broker": self._lab.broker.pid}

    def kill(self, name: str) -> None:
        """As if the power were cut off. Raises LabError."""
        self._lab.one(name).kill()

    def _free(self) -> None:
        for share in self._shares.values():
            share.close()
        self._shares.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free()
        self._lab.__exit__(kind, error, trace)


def cpu(processes: dict[str, int]) -> dict[str, float]:
    """Seconds of CPU so far, by name, with all children, those that have ended too."""
    found = {}
    for name, pid in processes.items():
        total = 0.0
        for process in _family(pid):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
                total += times.children_user + times.children_system if process.pid == pid else 0.0
        found[name] = total
    return found


def memory(processes: dict[str, int]) -> dict[str, float]:
    """MB of its own that each has now, with its children; what they share counts once."""
    found = {}
    for name, pid in processes.items():
        total = 0
        for process in _family(pid):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_full_info().pss
        found[name] = total / 1e6
    return found


def _family(pid: int) -> Iterable[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
