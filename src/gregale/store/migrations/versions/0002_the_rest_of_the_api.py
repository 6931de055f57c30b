"""The rest of the API: triggers, shares, code sources, events, notifications; no foreign keys any more"""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")

_WITH_KEYS = ("action_executions", "arrivals", "contexts", "tasks", "timers")


def upgrade() -> None:
    connection = op.get_bind()
    for table in _WITH_KEYS:
        [key] = sa.inspect(connection).get_foreign_keys(table)
        name = "fk_%(table_name)s_%(column_0_name)s"
        with op.batch_alter_table(table, naming_convention={"fk": name}) as batch:
            batch.drop_constraint(key["name"] or f"fk_{table}_execution_id", type_="foreignkey")
    with op.batch_alter_table("tasks") as batch:
        batch.add_column(sa.Column("project_id", sa.String(length=255), nullable=True))
        batch.add_column(sa.Column("tags", LONG, nullable=True))
    _fill_tasks(connection)
    with op.batch_alter_table("tasks") as batch:
        batch.alter_column("project_id", existing_type=sa.String(length=255), nullable=False)
        batch.alter_column("tags", existing_type=LONG, nullable=False)
    op.create_table(
        "code_sources",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("tags", LONG, nullable=False),
        sa.Column("content", LONG, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code_sources")),
        sa.UniqueConstraint("name", "namespace", "project_id", name=op.f("uq_code_sources_name_namespace_project_id")),
    )
    op.create_table(
        "cron_triggers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("workflow_name", sa.String(length=255), nullable=False),
        sa.Column("workflow_input", LONG, nullable=False),
        sa.Column("workflow_params", LONG, nullable=False),
        sa.Column("pattern", sa.String(length=128), nullable=True),
        sa.Column("first_execution_time", sa.Double(), nullable=True),
        sa.Column("next_execution_time", sa.Double(), nullable=False),
        sa.Column("remaining_executions", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("security", LONG, nullable=True),
        sa.Column("last_error", LONG, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cron_triggers")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_cron_triggers_fingerprint")),
        sa.UniqueConstraint("name", "project_id", name=op.f("uq_cron_triggers_name_project_id")),
    )
    op.create_index(
        op.f("ix_cron_triggers_next_execution_time"), "cron_triggers", ["next_execution_time"], unique=False
    )
    op.create_index(op.f("ix_cron_triggers_workflow_id"), "cron_triggers", ["workflow_id"], unique=False)
    op.create_table(
        "dynamic_actions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("class_name", sa.String(length=255), nullable=False),
        sa.Column("code_source_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dynamic_actions")),
        sa.UniqueConstraint(
            "name", "namespace", "project_id", name=op.f("uq_dynamic_actions_name_namespace_project_id")
        ),
    )
    op.create_index(op.f("ix_dynamic_actions_code_source_id"), "dynamic_actions", ["code_source_id"], unique=False)
    op.create_table(
        "event_triggers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("workflow_input", LONG, nullable=False),
        sa.Column("workflow_params", LONG, nullable=False),
        sa.Column("exchange", sa.String(length=255), nullable=False),
        sa.Column("topic", sa.String(length=255), nullable=False),
        sa.Column("event", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("security", LONG, nullable=True),
        sa.Column("last_error", LONG, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_triggers")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_event_triggers_fingerprint")),
    )
    op.create_index(op.f("ix_event_triggers_exchange_topic"), "event_triggers", ["exchange", "topic"], unique=False)
    op.create_index(op.f("ix_event_triggers_workflow_id"), "event_triggers", ["workflow_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("root_id", sa.String(length=64), nullable=False),
        sa.Column("execution_id", sa.String(length=64), nullable=False),
        sa.Column("workflow_name", sa.String(length=255), nullable=False),
        sa.Column("body", LONG, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_at"), "events", ["at"], unique=False)
    op.create_index(op.f("ix_events_project_id_seq"), "events", ["project_id", "seq"], unique=False)
    op.create_index(op.f("ix_events_root_id_seq"), "events", ["root_id", "seq"], unique=False)
    op.create_table(
        "garbage",
        sa.Column("execution_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_garbage")),
    )
    op.create_table(
        "held",
        sa.Column("execution_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_held")),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("execution_id", sa.String(length=64), nullable=False),
        sa.Column("root_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("publisher", LONG, nullable=False),
        sa.Column("lane", sa.String(length=64), nullable=False),
        sa.Column("payload", LONG, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("last_error", LONG, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(op.f("ix_notifications_execution_id"), "notifications", ["execution_id"], unique=False)
    op.create_index(op.f("ix_notifications_lane_state_seq"), "notifications", ["lane", "state", "seq"], unique=False)
    op.create_index(
        op.f("ix_notifications_project_id_created_at_id"),
        "notifications",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_notifications_state_due"), "notifications", ["state", "due"], unique=False)
    op.create_table(
        "security",
        sa.Column("root_id", sa.String(length=64), nullable=False),
        sa.Column("credentials", LONG, nullable=False),
        sa.PrimaryKeyConstraint("root_id", name=op.f("pk_security")),
    )
    op.create_table(
        "shares",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("member_id", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
        sa.UniqueConstraint("workflow_id", "member_id", name=op.f("uq_shares_workflow_id_member_id")),
    )
    op.create_index(op.f("ix_shares_member_id_status"), "shares", ["member_id", "status"], unique=False)
    op.create_table(
        "switches",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_switches")),
    )
    op.create_index(
        op.f("ix_action_executions_project_id_created_at_id"),
        "action_executions",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.add_column("executions", sa.Column("secrets", LONG, nullable=True))
    op.drop_index(op.f("ix_executions_workflow_name"), table_name="executions")
    op.create_index(op.f("ix_executions_parent_id"), "executions", ["parent_id"], unique=False)
    op.create_index(
        op.f("ix_executions_project_id_created_at_id"), "executions", ["project_id", "created_at", "id"], unique=False
    )
    op.create_index(op.f("ix_executions_state_updated_at"), "executions", ["state", "updated_at"], unique=False)
    op.create_index(
        op.f("ix_executions_workflow_id_state_created_at"),
        "executions",
        ["workflow_id", "state", "created_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_executions_workflow_name_created_at_id"),
        "executions",
        ["workflow_name", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_tasks_project_id_created_at_id"), "tasks", ["project_id", "created_at", "id"], unique=False
    )


def _fill_tasks(connection: sa.Connection) -> None:
    """Projects of tasks from their executions, tags from the definitions that these run."""

    connection.execute(
        sa.text(
            "UPDATE tasks SET tags = '[]',"
            " project_id = (SELECT project_id FROM executions WHERE executions.id = tasks.execution_id)"
        )
    )
    for spec_hash, body in connection.execute(sa.text("SELECT hash, body FROM specs")).all():
        for name, task in json.loads(body).get("tasks", {}).items():
            tags = task.get("tags") if isinstance(task, dict) else None
            if tags:
                connection.execute(
                    sa.text(
                        "UPDATE tasks SET tags = :tags WHERE name = :name AND execution_id IN"
                        " (SELECT id FROM executions WHERE spec_hash = :spec)"
                    ),
                    {"tags": json.dumps(tags, ensure_ascii=False), "name": name, "spec": spec_hash},
                )
