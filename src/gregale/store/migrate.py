"""Bringing a database to the schema that this version needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gregale.store.database import Database, StoreError

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
    """Apply every migration that is missing. Raises StoreError for a database of a newer version."""
    found = current(database)
    if found == head():  # the usual start, without the time that loading the tool takes
        return
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
