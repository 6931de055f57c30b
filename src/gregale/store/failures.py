"""What an error of a database means for who meets it: trying again at once, waiting for the database, or neither."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy.exc import DBAPIError, OperationalError

Kind = Literal["conflict", "away"]


class StoreError(Exception):
    """The database cannot be used as it is: what is wrong, and what to do."""


class Unavailable(StoreError):
    """The database did not answer in time. Nothing is known to be wrong: it may be back in a moment."""


class OutcomeUnknown(Unavailable):
    """The database went away during COMMIT: the change may be there, or not."""


_CONFLICTS = {"40001", "40P01", "55P03", "25P03"}
"""PostgreSQL: serialization failure, deadlock, lock not available, idle transaction ended (a process that hung)."""
_AWAY = {"57P01", "57P02", "57P03", "08000", "08001", "08003", "08004", "08006", "53300", "25006", "57P05"}
"""PostgreSQL: shutdown, crash, starting up, connection lost, too many connections, a standby, an idle session ended."""
_MARIADB_CONFLICTS = {1020, 1205, 1213}
"""Record changed, lock wait, deadlock (also a lost certification)."""
_MARIADB_AWAY = {
    1040,
    1047,
    1053,
    1152,
    1153,
    1158,
    1159,
    1160,
    1161,
    1180,
    1184,
    1290,
    1927,
    2002,
    2003,
    2006,
    2013,
    2055,
    4031,
}
"""Too many connections, not yet prepared (Galera), shutdown, lost connections, error during commit, read-only, killed."""


def kind_of(error: Exception) -> Kind | None:
    """Of an error of SQLAlchemy, or of the driver itself. None for one that trying again does not mend."""
    original: Any = error.orig if isinstance(error, DBAPIError) else error
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    operational = isinstance(error, OperationalError) or type(original).__name__ == "OperationalError"
    if original is not None and original.args and isinstance(original.args[0], int):
        number = original.args[0]
        closed = number == 0 and type(original).__name__ == "InterfaceError"  # PyMySQL, on a connection that is closed
        return "conflict" if number in _MARIADB_CONFLICTS else "away" if number in _MARIADB_AWAY or closed else None
    state = getattr(original, "sqlstate", None)  # MariaDB's errors have one too, but its numbers say more
    if state is not None:
        return "conflict" if state in _CONFLICTS else "away" if state in _AWAY else None
    if lost:
        return "away"
    if type(original).__module__.startswith("psycopg"):
        return "away" if operational else None  # it has no code for a connection that it could not make, or lost
    text = str(original).lower()
    return "conflict" if operational and ("locked" in text or "busy" in text) else None
