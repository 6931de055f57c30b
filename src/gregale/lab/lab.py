"""A whole cluster on one machine: a database, a broker, and any number of components, each behind a proxy of its own link."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from gregale.lab.components import Component, Kind
from gregale.lab.proxy import Links, Proxy
from gregale.lab.servers import DatabaseServer, LabError, MariaDB, PostgreSQL, RabbitMQ
from gregale.store import Database, upgrade

DatabaseKind = Literal["postgresql", "mariadb"]
_SERVERS: dict[str, type[DatabaseServer]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}

QUICK = {
    "cluster.lost_after": 5,
    "engine.inline": False,
    "engine.sweep_every": 1,
    "engine.stale_after": 3,
    "engine.heartbeat_timeout": 10,
    "executor.heartbeat_every": 1,
    "actions.command.max_output_bytes": 100_000_000,
}
"""Settings that notice sooner than the defaults do, for drills of seconds; and every action goes through an executor."""


class Lab(AbstractContextManager["Lab"]):
    """`with Lab("postgresql") as lab:` starts the servers; `lab.start("engine")` a component. Everything is gone at its end.

    `settings`: of every component, by their dotted names; QUICK when none are given. Without `proxied` components reach the
    servers directly: nothing is in the way of what is measured, and links cannot be broken.
    """

    def __init__(
        self, database: DatabaseKind = "postgresql", settings: dict[str, Any] | None = None, proxied: bool = True
    ):
        self.folder = Path(tempfile.mkdtemp(prefix="gregale-lab-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.settings = dict(QUICK if settings is None else settings)
        self.database = _SERVERS[database]()
        self.broker = RabbitMQ()
        self.components: list[Component] = []
        self.faults_file = self.folder / "faults.json"
        self.faults_file.write_text("{}")
        self._numbers: dict[str, int] = {}
        self.url = ""
        self._links = Links() if proxied else None

    # Life -------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Lab:
        try:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda server: server.start(), (self.database, self.broker)))
            self.url = self.database.create_database()
            made = Database(self.url)
            upgrade(made)
            made.close()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for component in self.components:
            with suppress(ProcessLookupError):
                component.kill()
        if self._links is not None:
            self._links.close()
        for server in (self.database, self.broker):
            server.__exit__(None, None, None)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Components -------------------------------------------------------------------------------------------------------

    def launch(self, kind: Kind, name: str = "", **environment: str) -> Component:
        """Start a process without waiting until it is ready."""
        if not name:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            name = f"{kind}-{self._numbers[kind]}"
        ports = {"database": self.database.port, "broker": self.broker.port}
        links = {}
        if self._links is not None:
            links = {what: Proxy(self._links, port) for what, port in ports.items()}
            ports = {what: link.port for what, link in links.items()}
        database = self.url.replace(f":{self.database.port}/", f":{ports['database']}/")
        broker = self.broker.url().replace(f":{self.broker.port}/", f":{ports['broker']}/")
        options = ["--database", database, "--broker", broker, "--allow-command", "--log-level", "info"]
        options += ["--log-format", "json"]
        for key, value in self.settings.items():
            options += ["--set", f"{key}={json.dumps(value) if isinstance(value, bool) else value}"]
        if self._links is not None:
            environment = {"GREGALE_FAULTS": str(self.faults_file), **environment}
        made = Component(kind, name, self.folder, options, environment)
        made.links = links
        self.components.append(made)
        return made

    def start(self, kind: Kind, name: str = "", **environment: str) -> Component:
        """Start a process and wait until it is ready. Raises LabError."""
        made = self.launch(kind, name, **environment)
        made.wait_ready()
        return made

    def topology(self, apis: int = 1, engines: int = 1, executors: int = 1) -> None:
        """Start what is missing of these numbers, stop what is too much."""
        made = []
        for kind, number in (("api", apis), ("engine", engines), ("executor", executors)):
            there = self.find(kind)
            for extra in there[number:]:
                extra.stop()
            made += [self.launch(kind) for _ in range(number - len(there))]  # type: ignore[arg-type]
        for component in made:
            component.wait_ready()

    def find(self, kind: str | None = None, name: str | None = None, paused: bool | None = None) -> list[Component]:
        """Components that live, by kind, name and whether they are paused."""
        return [
            c
            for c in self.components
            if c.alive and kind in (None, c.kind) and name in (None, c.name) and paused in (None, c.paused)
        ]

    def one(self, name: str) -> Component:
        """Raises LabError."""
        found = self.find(name=name)
        if not found:
            raise LabError(f"There is no '{name}'; there are {', '.join(c.name for c in self.find()) or 'none'}")
        return found[0]

    @property
    def api(self) -> str:
        """The URL of an api that lives."""
        ready = [c for c in self.find("api", paused=False) + self.find("serve", paused=False) if c.url]
        if not ready:
            raise LabError("There is no api")
        return ready[-1].url

    # Faults -----------------------------------------------------------------------------------------------------------

    def faults(self, **wanted: Any) -> None:
        """What components do to their messages and themselves from now on (see gregale.faults); without any: nothing."""
        written = self.faults_file.with_suffix(".new")
        written.write_text(json.dumps(wanted))
        written.replace(self.faults_file)

    def links(self, what: str, name: str | None = None) -> list[Proxy]:
        """The links of living components, or of one of them, to `database` or `broker`."""
        found = self.find() if name is None else [self.one(name)]
        return [c.links[what] for c in found if c.links]

    def mend(self) -> None:
        """Every link carries everything again."""
        for link in (*self.links("database"), *self.links("broker")):
            link.mend()

    def outage(self, what: str, how: str, seconds: float, of: str | None = None) -> None:
        """Take a server away for a while: `stopped`, `killed`, `paused`, `cut` (its links are reset) or `held` (they carry
        nothing). With `of` only from the component of that name, by its link."""
        server = self.database if what == "database" else self.broker
        if of is not None and how not in ("cut", "held"):
            raise LabError(f"Only a link can be {how} from one component; there are cut and held")
        away, back = self._ways(how, server, self.links(what, of))
        away()
        try:
            time.sleep(seconds)
        finally:
            back()

    def _ways(self, how: str, server: Any, links: list[Proxy]) -> tuple[Callable[[], None], Callable[[], None]]:
        def each(act: Callable[[Proxy], None]) -> Callable[[], None]:
            def run() -> None:
                for link in links:
                    act(link)

            return run

        ways: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "stopped": (server.stop, server.start),
            "killed": (server.kill, server.start),
            "paused": (server.pause, server.resume),
            "cut": (each(Proxy.cut), each(Proxy.mend)),
            "held": (each(Proxy.hold), each(Proxy.mend)),
        }
        if how not in ways:
            raise LabError(f"There is no outage '{how}'; there are {', '.join(ways)}")
        return ways[how]

    def logs(self, names: Sequence[str] = ()) -> str:
        """What components have logged, the end of each."""
        found = [c for c in self.components if not names or c.name in names]
        return "\n".join(f"--- {c.name}\n{c.log.read_text(errors='replace')[-3000:]}" for c in found)
