"""Bringing a database to the schema that this version needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gregale.store.cluster_schema import upgrading
from gregale.store.database import Database
from gregale.store.failures import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"


def head() -> str:
    """The newest revision: files of migrations begin with theirs."""
    return max(file.name.partition("_")[0] for file in (_SCRIPTS / "versions").glob("[0-9]*.py"))


def current(database: Database) -> str | None:
    """The revision that a database has; None for an empty one."""
    with database.engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return None if found is None else str(found)


def config() -> Config:
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(_SCRIPTS))
    return made


def upgrade(database: Database) -> None:
    """Apply every migration that is missing; one process at a time does. Raises StoreError for a database of a newer version."""
    if current(database) == head():  # the usual start, without the time that loading the tool takes
        return
    with _alone(database):
        _apply(database, current(database))


def _apply(database: Database, found: str | None) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    settings = config()
    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(f"The database is at revision {found}, which this version does not know: use a newer Gregale.")
    with database.engine.begin() as connection:
        if connection.dialect.name in ("mysql", "mariadb"):  # names differ by case, and by spaces at their end
            connection.exec_driver_sql("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")


def require(database: Database) -> None:
    """Raises StoreError unless the schema is one that this version can work on; a newer one only adds to it."""
    found = database.read(lambda _: current(database))
    if found is None or found < head():
        raise StoreError(
            f"The database is at revision {found or 'none'}, and this version needs {head()}: gregale db upgrade"
        )


_PATIENCE = 120.0


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """A row that one process at a time can insert. One that is left by a process that died is taken over."""
    deadline = time.monotonic() + _PATIENCE
    with suppress(sa.exc.DBAPIError):  # two at once: the other one has made it
        upgrading.create(database.engine, checkfirst=True)
    while True:
        try:
            with database.engine.begin() as connection:
                connection.execute(upgrading.insert(), {"id": 1, "since": time.time()})
            break
        except sa.exc.IntegrityError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
    try:
        yield
    finally:
        with database.engine.begin() as connection:
            connection.execute(upgrading.delete())
