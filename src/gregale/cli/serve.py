"""`gregale serve`: api, engine and executor in one process; `gregale api|engine|executor`: one of them, among others."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import uvicorn

from gregale import logs, tracing
from gregale.actions import CommandSettings
from gregale.api.auth import BadPolicy
from gregale.cli.settings import load
from gregale.service import Kind, Service, ServiceSettings
from gregale.store import StoreError

Host = Annotated[str, typer.Option(help="Address to listen on.")]
FreePort = Annotated[int, typer.Option(help="Port for /healthz, /readyz and /metrics; 0 takes a free one.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database", "-d", help="An SQLite file (gregale.sqlite), or the URL of a PostgreSQL or MariaDB database."
    ),
]
BrokerUrl = Annotated[
    str | None,
    typer.Option("--broker", "-b", help="amqp://user:password@host:port/, several hosts apart by commas."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings in TOML; flags go before them. See docs/configuration.md."),
]
AllowCommand = Annotated[
    bool, typer.Option("--allow-command", help="Allow gregale.command on this server. Engines have to know it, too.")
]
CommandOn = Annotated[list[str] | None, typer.Option(help="Only executors of these names may run gregale.command.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other setting: key=value, as in --set api.rate=50. Repeatable."),
]
Name = Annotated[str, typer.Option(help="This process's name, for 'target'; the host's name by default.")]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]
LogFormat = Annotated[str, typer.Option(help="console, or json: one object a line.")]


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8989,
    database: DatabaseUrl = None,
    broker: BrokerUrl = None,
    durability: Annotated[
        str | None, typer.Option(help="full, or normal: faster, may lose the last second in a power cut.")
    ] = None,
    config: ConfigFile = None,
    allow_command: AllowCommand = False,
    command_on: CommandOn = None,
    set_: Set = None,
    name: Name = "",
    log_level: LogLevel = "warning",
    log_format: LogFormat = "console",
) -> None:
    """Serve the REST API v2 with engine and executor in one process on an SQLite file, or on a database server.

    Whatever was running when the process ended, however it ended, goes on at the next start.

    Example: gregale serve --port 8989 --database /var/lib/gregale/gregale.sqlite
    """
    if durability not in (None, "full", "normal"):
        typer.echo(f"error: --durability is full or normal, not {durability}", err=True)
        raise typer.Exit(2)
    given = {"durability": durability, **_common(database, broker, name, allow_command, command_on)}
    _run("serve", config, set_, given, host, port, log_level, log_format)


def api(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8989,
    database: DatabaseUrl = None,
    broker: BrokerUrl = None,
    config: ConfigFile = None,
    allow_command: AllowCommand = False,
    set_: Set = None,
    name: Name = "",
    log_level: LogLevel = "warning",
    log_format: LogFormat = "console",
) -> None:
    """Serve the REST API v2 beside engines and executors in other processes.

    Example: gregale api --port 8989 -d postgresql+psycopg://gregale@db1/gregale -b amqp://gregale:secret@mq1,mq2/
    """
    given = _common(database, broker, name, allow_command, None)
    _run("api", config, set_, given, host, port, log_level, log_format)


def engine(
    host: Host = "127.0.0.1",
    port: FreePort = 0,
    database: DatabaseUrl = None,
    broker: BrokerUrl = None,
    config: ConfigFile = None,
    allow_command: AllowCommand = False,
    set_: Set = None,
    name: Name = "",
    log_level: LogLevel = "warning",
    log_format: LogFormat = "console",
) -> None:
    """Decide what happens next in executions, with any number of other engines. Each may come, go and crash at any time.

    Example: gregale engine --name e1 -d postgresql+psycopg://gregale@db1/gregale -b amqp://gregale:secret@mq1,mq2/
    """
    _run(
        "engine", config, set_, _common(database, broker, name, allow_command, None), host, port, log_level, log_format
    )


def executor(
    host: Host = "127.0.0.1",
    port: FreePort = 0,
    database: DatabaseUrl = None,
    broker: BrokerUrl = None,
    config: ConfigFile = None,
    allow_command: AllowCommand = False,
    command_on: CommandOn = None,
    set_: Set = None,
    name: Name = "",
    log_level: LogLevel = "warning",
    log_format: LogFormat = "console",
) -> None:
    """Run actions, with any number of other executors. A task with 'target: NAME' runs on those of that name.

    Example: gregale executor --name x1 -d postgresql+psycopg://gregale@db1/gregale -b amqp://gregale:secret@mq1,mq2/
    """
    given = _common(database, broker, name, allow_command, command_on)
    _run("executor", config, set_, given, host, port, log_level, log_format)


def _common(
    database: str | None, broker: str | None, name: str, allow_command: bool, command_on: list[str] | None
) -> dict[str, Any]:
    command = CommandSettings(True, tuple(command_on or ())) if allow_command else None
    return {"database": database, "broker": broker, "name": name or None, "command": command}


def _run(
    kind: Kind,
    config: Path | None,
    set_: list[str] | None,
    given: dict[str, Any],
    host: str,
    port: int,
    log_level: str,
    log_format: str,
) -> None:
    settings = _with_flags(load(config, set_).settings, given)
    logs.set_up(log_level, log_format, kind, settings.name or socket.gethostname())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(kind, settings, host, port))
    except (StoreError, BadPolicy, ValueError, ImportError) as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(1) from None


def _with_flags(settings: ServiceSettings, given: dict[str, Any]) -> ServiceSettings:
    changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None and k in ("durability", "name")}
    database = given["database"]
    if database is not None or settings.database == ServiceSettings().database:
        named = database or "gregale.sqlite"
        changes["database"] = named if "://" in named else f"sqlite:///{Path(named).absolute()}"
    if given["broker"] is not None:
        changes["broker"] = msgspec.structs.replace(settings.broker, url=given["broker"])
    if (command := given["command"]) is not None:
        command = msgspec.structs.replace(command, max_output_bytes=settings.actions.command.max_output_bytes)
        changes["actions"] = msgspec.structs.replace(settings.actions, command=command)
    result: ServiceSettings = msgspec.structs.replace(settings, **changes)
    return result


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


async def _serve(kind: Kind, settings: ServiceSettings, host: str, port: int) -> None:
    with socket.create_server((host, port), reuse_port=False, backlog=2048) as listening:
        address = "http://{}:{}".format(*listening.getsockname()[:2])
        service = Service(settings, kind=kind)
        service.membership.address = address
        tracing.set_up(service)
        async with service:
            app = service.application()
            _spare_the_collector()
            config = uvicorn.Config(
                app, log_level="warning", lifespan="off", proxy_headers=False, timeout_graceful_shutdown=10
            )
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, logs.dump)

            def ending() -> None:
                service.stopping = True
                if hasattr(app.state, "wakers"):
                    app.state.wakers.close()

            server = _Server(config, ending)
            announce = asyncio.create_task(_announce(server, kind, address))
            await server.serve([listening])
            announce.cancel()


def _spare_the_collector() -> None:
    """Cycles are rare here and records many: with the collector as it is set by itself, half of an engine's time is its."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class _Server(uvicorn.Server):
    """Ends what would never end by itself before it waits for open requests, and leaves the process to stop in its own order:
    uvicorn would end it by the signal that it received, before engine and executor have finished what they hold."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]):
        super().__init__(config)
        self._ending = ending

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()
        await super().shutdown(sockets)


async def _announce(server: uvicorn.Server, kind: Kind, address: str) -> None:
    """Say where the server listens once it does: with port 0, nobody knows before."""
    while not server.started:
        await asyncio.sleep(0.01)
    typer.echo(f"Gregale serves {address}/v2" if kind in ("serve", "api") else f"Gregale {kind} at {address}")
