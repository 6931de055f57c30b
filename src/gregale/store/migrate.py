"""Bringing a database to the schema that this version needs."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gregale.store.database import Database, StoreError

_SCRIPTS = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config


def upgrade(database: Database) -> None:
    """Apply every migration that is missing. Raises StoreError for a database of a newer version."""
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with database.engine.begin() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in known:
            raise StoreError(
                f"The database is at revision {current}, which this version does not know: use a newer Gregale."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
