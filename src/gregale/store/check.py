"""Whether a database is as Gregale needs it: what no error would tell until it is too late (design, rule 8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gregale.store import migrate
from gregale.store.database import Database


class Finding(msgspec.Struct, frozen=True):
    """`remedy` says what to do about a warning or a failure."""

    level: Literal["ok", "warning", "failure"]
    about: str
    what: str
    remedy: str = ""


_OLDEST = {"postgresql": (13,), "mariadb": (10, 7)}
_SMALLEST_PACKET = 64 * 1024 * 1024
_MOST_SKEW = 1.0


def check(database: Database, now: float) -> list[Finding]:
    """Everything there is to say of a database. `now`: this machine's clock, seconds since the epoch."""
    try:
        with database.engine.connect() as connection:
            kind = "mariadb" if connection.dialect.name == "mysql" else connection.dialect.name
            found = [Finding("ok", "database", f"{kind} answers")]
            found += list({"postgresql": _postgresql, "mariadb": _mariadb}.get(kind, _sqlite)(connection, now))
    except sa.exc.DBAPIError as e:
        reason = str(e.orig).strip().splitlines()
        return [
            Finding(
                "failure",
                "database",
                f"It does not answer: {reason[0] if reason else e}",
                "Check the URL, and that the server runs",
            )
        ]
    return [*found, _revision(database)]


def _revision(database: Database) -> Finding:
    current, head = migrate.current(database), migrate.head()
    if current == head:
        return Finding("ok", "schema", f"It is at revision {head}")
    if current is not None and current > head:
        return Finding("failure", "schema", f"It is at revision {current}, newer than {head}", "Use a newer Gregale")
    return Finding(
        "warning",
        "schema",
        f"It is at revision {current or 'none'}, and this version needs {head}",
        "gregale db upgrade, or start the server, which does the same",
    )


def _version(kind: str, text: str) -> Finding:
    numbers = tuple(int(p) for p in text.split("-")[0].split()[0].split(".") if p.isdigit())
    oldest = _OLDEST[kind]
    wanted = ".".join(map(str, oldest))
    if numbers >= oldest:
        return Finding("ok", "version", f"{kind} {text}")
    return Finding("failure", "version", f"{kind} {text} is too old", f"Use {wanted} or newer")


def _skew(name: str, theirs: float, ours: float) -> Finding:
    skew = abs(theirs - ours)
    if skew <= _MOST_SKEW:
        return Finding("ok", "clock", f"It differs from {name}'s by {skew:.2f} s")
    return Finding(
        "warning",
        "clock",
        f"It differs from {name}'s by {skew:.1f} s",
        "Synchronise the clocks (NTP): timers and heartbeats go by them",
    )


def _postgresql(connection: Connection, now: float) -> Iterator[Finding]:
    yield _version("postgresql", str(connection.scalar(sa.text("SHOW server_version"))))
    yield _skew(
        "the server", float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")) or 0), now
    )
    if connection.scalar(sa.text("SHOW synchronous_commit")) == "off":
        yield Finding(
            "warning",
            "durability",
            "synchronous_commit is off: a crash loses the last commits",
            "SET synchronous_commit = on",
        )
    else:
        yield Finding("ok", "durability", "Commits are flushed")
    if connection.scalar(sa.text("SHOW server_encoding")) != "UTF8":
        yield Finding("failure", "encoding", "The database is not in UTF8", "Create it with ENCODING 'UTF8'")
    if connection.scalar(sa.text("SELECT pg_is_in_recovery()")):
        yield Finding("failure", "role", "It is a standby, which takes no changes", "Name the primary")


def _mariadb(connection: Connection, now: float) -> Iterator[Finding]:
    def variable(name: str) -> Any:
        return connection.execute(sa.text("SHOW VARIABLES LIKE :name"), {"name": name}).one()[1]

    yield _version("mariadb", str(variable("version")))
    yield _skew("the server", float(connection.scalar(sa.text("SELECT UNIX_TIMESTAMP(NOW(6))")) or 0), now)
    flush = str(variable("innodb_flush_log_at_trx_commit"))
    if flush == "1":
        yield Finding("ok", "durability", "Commits are flushed")
    else:
        yield Finding(
            "warning",
            "durability",
            f"innodb_flush_log_at_trx_commit is {flush}: a power cut loses the last commits",
            "Set it to 1",
        )
    packet = int(variable("max_allowed_packet"))
    if packet < _SMALLEST_PACKET:
        yield Finding(
            "warning",
            "packets",
            f"max_allowed_packet is {packet} bytes: large batches are refused",
            "Set it to 64M or more",
        )
    if "STRICT_TRANS_TABLES" not in str(variable("sql_mode")):
        yield Finding(
            "failure",
            "sql_mode",
            "It is not strict: texts that are too long would be cut in silence",
            "Add STRICT_TRANS_TABLES to sql_mode",
        )
    collation = str(variable("collation_database"))
    if not collation.endswith("_bin"):
        yield Finding(
            "warning",
            "collation",
            f"{collation} takes names that differ by case as the same",
            "gregale db upgrade sets utf8mb4_nopad_bin for a new database",
        )


def _sqlite(connection: Connection, now: float) -> Iterator[Finding]:
    del now
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    level = {1: "normal: a power cut may lose the last commits", 2: "full"}.get(
        int(connection.exec_driver_sql("PRAGMA synchronous").scalar() or 0), "off"
    )
    yield Finding("ok", "durability", f"journal {mode}, synchronous {level}")
    broken = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if broken != "ok":
        yield Finding("failure", "file", f"It is damaged: {broken}", "Restore it from a backup")
