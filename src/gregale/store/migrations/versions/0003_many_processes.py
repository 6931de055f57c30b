"""Many processes: partitions and their owners, results that no message carries, dead letters"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    op.add_column("executions", sa.Column("tag", sa.String(length=36), nullable=True))
    op.add_column("action_executions", sa.Column("claims", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_action_executions_holder_state", "action_executions", ["holder", "state"])
    op.add_column("members", sa.Column("address", sa.String(length=255), nullable=True))
    op.create_table(
        "partitions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_partitions")),
    )
    op.create_table(
        "results",
        sa.Column("action_id", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", LONG, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("action_id", "attempt", name=op.f("pk_results")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("reason", LONG, nullable=False),
        sa.Column("body", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index(op.f("ix_dead_letters_at"), "dead_letters", ["at"])
    op.bulk_insert(
        sa.table("partitions", sa.column("number"), sa.column("epoch"), sa.column("since")),
        [{"number": n, "epoch": 0, "since": 0.0} for n in range(32)],
    )
