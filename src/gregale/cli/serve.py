"""`gregale serve`: api, engine and executor in one process."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import uvicorn

from gregale.actions import CommandSettings
from gregale.api.auth import BadPolicy
from gregale.cli.settings import load
from gregale.service import Service, ServiceSettings
from gregale.store import StoreError


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8989,
    database: Annotated[
        str | None,
        typer.Option(
            "--database", "-d", help="An SQLite file (gregale.sqlite), or the URL of a PostgreSQL or MariaDB database."
        ),
    ] = None,
    durability: Annotated[
        str | None, typer.Option(help="full, or normal: faster, may lose the last second in a power cut.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings in TOML; flags go before them. See docs/configuration.md."),
    ] = None,
    allow_command: Annotated[
        bool, typer.Option("--allow-command", help="Allow gregale.command on this server.")
    ] = False,
    command_on: Annotated[
        list[str] | None, typer.Option(help="Only executors of these names may run gregale.command.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting: key=value, as in --set api.rate=50. Repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(help="This process's name, for 'target'; the host's name by default.")] = "",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Serve the REST API v2 with engine and executor in one process on an SQLite file, or on a database server.

    Whatever was running when the process ended, however it ended, goes on at the next start.

    Example: gregale serve --port 8989 --database /var/lib/gregale/gregale.sqlite
    """
    if durability not in (None, "full", "normal"):
        typer.echo(f"error: --durability is full or normal, not {durability}", err=True)
        raise typer.Exit(2)
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = _with_flags(load(config, set_).settings, database, durability, name, allow_command, command_on)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, host, port))
    except (StoreError, BadPolicy, ValueError, ImportError) as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(1) from None


def _with_flags(
    settings: ServiceSettings,
    database: str | None,
    durability: str | None,
    name: str,
    allow_command: bool,
    command_on: list[str] | None,
) -> ServiceSettings:
    changes: dict[str, Any] = {}
    if database is not None or settings.database == ServiceSettings().database:
        named = database or "gregale.sqlite"
        changes["database"] = named if "://" in named else f"sqlite:///{Path(named).absolute()}"
    if durability is not None:
        changes["durability"] = durability
    if name:
        changes["name"] = name
    if allow_command:
        command = CommandSettings(True, tuple(command_on or ()), settings.actions.command.max_output_bytes)
        changes["actions"] = msgspec.structs.replace(settings.actions, command=command)
    result: ServiceSettings = msgspec.structs.replace(settings, **changes)
    return result


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


async def _serve(settings: ServiceSettings, host: str, port: int) -> None:
    async with Service(settings) as service:
        app = service.application()
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", lifespan="off", proxy_headers=False)
        server = _Server(config, app.state.wakers.close)
        announce = asyncio.create_task(_announce(server))
        await server.serve()
        announce.cancel()


class _Server(uvicorn.Server):
    """Ends what would never end by itself before it waits for open requests, and leaves the process to stop in its own order:
    uvicorn would end it by the signal that it received, before engine and executor have finished what they hold."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]):
        super().__init__(config)
        self._end_streams = end_streams

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)


async def _announce(server: uvicorn.Server) -> None:
    """Say where the server listens once it does: with port 0, nobody knows before."""
    while not server.started:
        await asyncio.sleep(0.01)
    for listening in server.servers:
        for opened in listening.sockets:
            address, port = opened.getsockname()[:2]
            typer.echo(f"Gregale serves http://{address}:{port}/v2")
