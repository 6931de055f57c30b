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

    `url`: an SQLAlchemy URL: `sqlite:///file`, `sqlite://` (in memory), `postgresql+psycopg://…`, `mariadb+pymysql://…`.
    Writes go through one thread, so that positions in the events stream appear in their order. `durability` "normal" may lose the last commits in a power cut, never in a crash
    of the process; "full" loses none. A server's own settings decide for it.
    """

    def __init__(self, url: str = "sqlite://", durability: Durability = "full", readers: int = 4):
        self.url = url
        self.in_memory = url in ("sqlite://", "sqlite:///:memory:")
        self.engine = _sqlite(url, self.in_memory, durability) if url.startswith("sqlite") else _server(url)
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
        """Run `run(connection, …)` on one snapshot, without changing anything; again where trying again may help."""
        for attempt in range(_TRIES):
            try:
                with self.engine.connect() as plain, plain.execution_options(**self._reading()) as connection:
                    return run(connection, *args, **kwargs)
            except DBAPIError as e:
                if not _transient(e) or attempt == _TRIES - 1:
                    raise
                time.sleep(min(0.5, 0.01 * 2**attempt) * (0.5 + random.random()))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    def _reading(self) -> dict[str, Any]:
        """Several statements of one reading have to see the same state of the database."""
        return {"reads": True} if self.engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}

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


_POSTGRESQL = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "08000", "08003", "08006")
"""Serialization failure, deadlock, lock not available, shutdown, crash, starting up, connection lost."""
_MARIADB = (1020, 1047, 1180, 1205, 1213, 2006, 2013)
"""Record changed, not yet prepared (Galera), error during commit, lock wait, deadlock, connection lost."""


def _transient(error: DBAPIError) -> bool:
    """Whether the same transaction may well succeed when it is tried again."""
    if error.connection_invalidated:
        return True
    original: Any = error.orig
    if getattr(original, "sqlstate", None) is not None:
        return original.sqlstate in _POSTGRESQL
    if original is not None and original.args and isinstance(original.args[0], int):
        return original.args[0] in _MARIADB
    text = str(original).lower()
    return isinstance(error, OperationalError) and ("locked" in text or "busy" in text)


def _server(url: str) -> Engine:
    """READ COMMITTED for what changes rows: each such statement compares what it changes."""
    try:
        engine = sa.create_engine(
            url, pool_size=16, max_overflow=16, pool_pre_ping=True, isolation_level="READ COMMITTED"
        )
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as e:
        raise StoreError(f"The database {url.partition('@')[2] or url} cannot be used: {e}") from None
    if engine.dialect.name not in ("postgresql", "mysql", "mariadb"):
        raise StoreError(f"Gregale keeps its state on SQLite, PostgreSQL or MariaDB, not on {engine.dialect.name}")
    return engine


def _sqlite(url: str, in_memory: bool, durability: Durability) -> Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": 30, "check_same_thread": False}}
    if in_memory:
        options["poolclass"] = StaticPool
    engine = sa.create_engine(url, **options)

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
        connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")

    return engine
