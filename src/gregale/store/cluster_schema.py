"""The tables of the cluster itself: its members, who owns what, and what could not be handled."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from gregale.store.schema import ID, JSON, NAME, TIME, metadata

members = sa.Table(
    "members",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("host", NAME, nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("started_at", TIME, nullable=False),
    sa.Column("heartbeat", TIME, nullable=False),
    sa.Column("address", NAME, nullable=True),
)
"""Every process, under a new id each time it enters. `state`: up, draining, gone or lost. `address`: of its HTTP server."""

partitions = sa.Table(
    "partitions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", ID, nullable=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("since", TIME, nullable=False),
)
"""Which engine looks after which executions. It is a lease that lasts while its owner's heartbeat goes on; `epoch` grows with
every change of owner."""

results = sa.Table(
    "results",
    metadata,
    sa.Column("action_id", ID, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", JSON, nullable=False),
    sa.Column("at", TIME, nullable=False),
)
"""Results of actions that no message could carry: too large, or the broker was away."""

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("queue", NAME, nullable=False),
    sa.Column("reason", JSON, nullable=False),
    sa.Column("body", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"), nullable=False),
    sa.Column("at", TIME, nullable=False),
    sa.Index(None, "at"),
)
"""Messages that nobody could handle."""

switches = sa.Table(
    "switches",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
)
"""`maintenance`: RUNNING, PAUSING or PAUSED for the whole cluster."""

held = sa.Table("held", metadata, sa.Column("execution_id", ID, primary_key=True))
"""Executions that maintenance paused, and that go on after it."""

upgrading = sa.Table("upgrading", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("since", TIME))
"""Its one row is the right to change the schema; made before any migration."""
