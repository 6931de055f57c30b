"""Connections, transactions, and the one place where transient errors are retried."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import StaticPool

from gregale.store.attributes import same_json

T = TypeVar("T")
P = ParamSpec("P")

Durability = Literal["full", "normal"]


class StoreError(Exception):
    """The database cannot be used as it is: what is wrong, and what to do."""


class Database:
    """A database and the threads that use it.

    `url`: an SQLAlchemy URL; `sqlite:///file` and `sqlite://` (in memory) here. SQLite has one writer: writes go through one
    thread. `durability` "normal" may lose the last commits in a power cut, never in a crash of the process; "full" loses none.
    """

    def __init__(self, url: str = "sqlite://", durability: Durability = "full", readers: int = 4):
        self.url = url
        self.in_memory = url in ("sqlite://", "sqlite:///:memory:")
        self.engine = _engine(url, self.in_memory, durability)
        self._writer = ThreadPoolExecutor(1, "store-write")
        self._readers = self._writer if self.in_memory else ThreadPoolExecutor(readers, "store-read")
        self._lock: Any = None

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database."""
        name = self.engine.url.database
        return Path(name) if self.engine.dialect.name == "sqlite" and name and not self.in_memory else None

    def hold(self) -> None:
        """Make this the only process on an SQLite file. Raises StoreError when another one holds it."""
        if self.path is None:
            return
        import fcntl

        lock = self.path.with_name(self.path.name + ".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StoreError(
                f"Another Gregale process uses {self.path}. SQLite serves one process: stop the other one, or name another file."
            ) from None
        self._lock = lock

    def write(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `run(connection, …)` in one transaction; again when the database says that trying again may help."""
        for attempt in range(_TRIES):
            try:
                with self.engine.begin() as connection:
                    return run(connection, *args, **kwargs)
            except DBAPIError as e:
                if not _transient(e) or attempt == _TRIES - 1:
                    raise
                time.sleep(min(0.5, 0.01 * 2**attempt) * (0.5 + random.random()))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    def read(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `run(connection, …)` without changing anything."""
        with self.engine.connect().execution_options(reads=True) as connection:
            return run(connection, *args, **kwargs)

    async def writing(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`write` in the writer's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, lambda: self.write(run, *args, **kwargs))

    async def reading(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`read` in a reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: self.read(run, *args, **kwargs))

    def close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        self.engine.dispose()
        if self._lock is not None:
            self._lock.close()


_TRIES = 12


def _transient(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    text = str(error.orig).lower()
    return isinstance(error, OperationalError) and ("locked" in text or "busy" in text)


def _engine(url: str, in_memory: bool, durability: Durability) -> Engine:
    options: dict[str, Any] = {}
    if in_memory:
        options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    elif url.startswith("sqlite"):
        options = {"connect_args": {"timeout": 30, "check_same_thread": False}}
    engine = sa.create_engine(url, **options)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _connected(connection: Any, _: Any) -> None:
            connection.isolation_level = None  # transactions begin where this file says, not where the driver guesses
            cursor = connection.cursor()
            if not in_memory:
                cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute(f"PRAGMA synchronous={'OFF' if in_memory else durability.upper()}")
            cursor.close()
            connection.create_function("json_equal", 2, same_json, deterministic=True)

        @sa.event.listens_for(engine, "begin")
        def _begun(connection: Connection) -> None:
            connection.exec_driver_sql(
                "BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE"
            )

    return engine
