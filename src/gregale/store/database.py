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
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from gregale import metrics
from gregale.store.attributes import same_json
from gregale.store.failures import OutcomeUnknown, StoreError, Unavailable, kind_of

T = TypeVar("T")
P = ParamSpec("P")

Durability = Literal["full", "normal"]

CHANGED = "gregale.changed"
"""What a transaction notes of itself on its connection when it changes definitions."""

_CONFLICTS = 20
"""How often a transaction is tried that others get in the way of."""


class Database:
    """A database and the threads that use it.

    `url`: an SQLAlchemy URL: `sqlite:///file`, `sqlite://` (in memory), `postgresql+psycopg://…`, `mariadb+pymysql://…`.
    Writes go through one thread. `durability` "normal" may lose the last commits in a power cut, never in a crash of the
    process; "full" loses none. A server's own settings decide for it. `patience`: seconds to try again while the database
    is away, before Unavailable. `changes`: how often definitions were changed through this object.
    """

    def __init__(
        self, url: str = "sqlite://", durability: Durability = "full", readers: int = 4, patience: float = 0.7
    ):
        self.url = url
        self.patience = patience
        self.in_memory = url in ("sqlite://", "sqlite:///:memory:")
        self.is_server = not url.startswith("sqlite")
        # READ COMMITTED for what changes rows: each such statement compares what it changes. Several statements of one reading
        # have to see the same state of the database.
        self.engine = _server(url, "READ COMMITTED") if self.is_server else _sqlite(url, self.in_memory, durability)
        self.snapshots = _server(url, "REPEATABLE READ") if self.is_server else self.engine
        self.glances = _server(url, "AUTOCOMMIT") if self.is_server else None
        self._errors = (DBAPIError, self.engine.dialect.loaded_dbapi.Error)  # the driver's own, while it connects
        self._writer = ThreadPoolExecutor(1, "store-write")
        self._readers = self._writer if self.in_memory else ThreadPoolExecutor(readers, "store-read")
        self._beats = ThreadPoolExecutor(1, "store-beat") if self.is_server else self._writer
        self._lock: Any = None
        self.changes = 0

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
        """Run `run(connection, …)` in one transaction; again when trying again may help, also when nobody knows whether it was
        committed: `run` has to see that for itself. Raises Unavailable."""
        result: T = self._again(self._transaction, run, True, args, kwargs)
        return result

    def write_once(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what must not be done twice. Raises OutcomeUnknown, Unavailable."""
        result: T = self._again(self._transaction, run, False, args, kwargs)
        return result

    def read(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `run(connection, …)` on one snapshot, without changing anything. Raises Unavailable."""
        result: T = self._again(self._snapshot, run, True, args, kwargs)
        return result

    def glance(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a single statement, which needs no transaction around it. Raises Unavailable."""
        result: T = self._again(self._glance, run, True, args, kwargs)
        return result

    def _again(self, way: Any, run: Any, repeat: bool, args: Any, kwargs: Any) -> Any:
        deadline = time.monotonic() + self.patience
        tries = 0
        while True:
            tries += 1
            try:
                return way(run, repeat, args, kwargs)
            except self._errors as e:
                kind = kind_of(e)
                if kind is None:
                    raise
                metrics.RETRIED.labels(kind).inc()
                if tries >= _CONFLICTS if kind == "conflict" else time.monotonic() >= deadline:
                    reason = str(getattr(e, "orig", e)).strip().splitlines()
                    raise Unavailable(f"The database does not answer: {reason[0] if reason else e}") from e
            time.sleep(min(0.5, 0.01 * 2 ** min(tries, 8)) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    def _transaction(self, run: Any, repeat: bool, args: Any, kwargs: Any) -> Any:
        committing = False
        try:
            with self.engine.connect() as connection:
                connection.info.pop(CHANGED, None)  # of a transaction that was rolled back
                transaction = connection.begin()
                try:
                    result = run(connection, *args, **kwargs)
                    committing = True
                    transaction.commit()
                except BaseException:
                    if transaction.is_active:
                        transaction.rollback()
                    raise
                self.changes += connection.info.pop(CHANGED, 0)
                return result
        except self._errors as e:
            if committing and not repeat and kind_of(e) == "away":
                raise OutcomeUnknown(
                    "The database went away during the commit: whether the change was made is not known"
                ) from e
            raise

    def _snapshot(self, run: Any, repeat: bool, args: Any, kwargs: Any) -> Any:
        del repeat
        with self.snapshots.connect() as plain, plain.execution_options(reads=True) as connection:
            return run(connection, *args, **kwargs)

    def _glance(self, run: Any, repeat: bool, args: Any, kwargs: Any) -> Any:
        del repeat
        if self.glances is None:
            return self._snapshot(run, True, args, kwargs)
        with self.glances.connect() as connection:
            return run(connection, *args, **kwargs)

    async def writing(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`write` in the writer's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, lambda: self.write(run, *args, **kwargs))

    async def writing_once(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`write_once` in the writer's thread."""
        return await asyncio.get_running_loop().run_in_executor(
            self._writer, lambda: self.write_once(run, *args, **kwargs)
        )

    async def beating(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`write` in a thread of its own, for signs of life: they must not wait behind the work."""
        return await asyncio.get_running_loop().run_in_executor(self._beats, lambda: self.write(run, *args, **kwargs))

    async def reading(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`read` in a reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: self.read(run, *args, **kwargs))

    async def glancing(self, run: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`glance` in a reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, lambda: self.glance(run, *args, **kwargs)
        )

    def close(self) -> None:
        for pool in {self._writer, self._readers, self._beats}:
            pool.shutdown()
        self.engine.dispose()
        self.snapshots.dispose()
        if self.glances is not None:
            self.glances.dispose()
        if self._lock is not None:
            self._lock.close()


_HUNG = 5
"""Seconds after which a transaction of a process that hangs is ended, with its locks; and of waiting for a lock."""
_CONNECTED: dict[str, dict[str, Any]] = {
    "postgresql": {
        "connect_timeout": 3,
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "options": f"-c idle_in_transaction_session_timeout={_HUNG}s -c lock_timeout={_HUNG}s",
    },
    "mysql": {
        "connect_timeout": 3,
        "read_timeout": 30,
        "write_timeout": 30,
        "init_command": f"SET SESSION innodb_lock_wait_timeout={_HUNG}, idle_transaction_timeout={_HUNG}",
    },
}
_BY_KEY = " -c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off -c jit=off"
"""PostgreSQL cannot know how few rows a statement brings along, and would read whole tables to find theirs. Writes go by keys."""


def _server(url: str, isolation: Literal["READ COMMITTED", "REPEATABLE READ", "AUTOCOMMIT"]) -> Engine:
    try:
        named = sa.engine.make_url(url)
        kind = "mysql" if named.get_backend_name() in ("mysql", "mariadb") else named.get_backend_name()
        if kind not in ("postgresql", "mysql"):
            raise StoreError(f"Gregale keeps its state on SQLite, PostgreSQL or MariaDB, not on {kind}")
        given = dict(_CONNECTED[kind])
        if kind == "postgresql" and isolation == "READ COMMITTED":
            given["options"] += _BY_KEY
        return sa.create_engine(named, pool_size=8, max_overflow=8, isolation_level=isolation, connect_args=given)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as e:
        raise StoreError(f"The database {url.partition('@')[2] or url} cannot be used: {e}") from None


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
        if not connection.get_execution_options().get("reads"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif not in_memory:  # in memory one thread does everything: nothing comes between what is read
            connection.exec_driver_sql("BEGIN")

    return engine
