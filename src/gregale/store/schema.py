"""All tables. Times are seconds since the epoch (UTC); values of any shape are JSON text.

An execution's row carries `revision`: every decision raises it in the same UPDATE that compares it. Definitions and the
bodies that executions run are apart: an execution keeps the body it started with, stored once per content (`specs`).

No table refers to another by a foreign key: every row of an execution is written in the transaction that swaps the execution's
revision, so none can appear without it; what a deleted execution leaves is collected in bounded steps (`garbage`).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

ID = sa.String(64)
NAME = sa.String(255)
TIME = sa.Double
JSON = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
STATE = sa.String(16)

specs = sa.Table(
    "specs",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("body", JSON, nullable=False),
)


def _definition(name: str, *columns: sa.Column[object]) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("namespace", NAME, nullable=False, default=""),
        sa.Column("project_id", NAME, nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("definition", JSON, nullable=False),
        *columns,
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.UniqueConstraint("name", "namespace", "project_id"),
    )


workbooks = _definition("workbooks")
workflows = _definition(
    "workflows",
    sa.Column("spec_hash", sa.String(64), nullable=False),
    sa.Column("workbook", NAME, nullable=False, default=""),
    sa.Column("checksum", sa.String(32), nullable=True),
    sa.Column("is_system", sa.Boolean, nullable=False, default=False),
)
actions = _definition(
    "actions",
    sa.Column("body", JSON, nullable=False),
    sa.Column("input", JSON, nullable=False),
    sa.Column("description", JSON, nullable=False),
)
environments = sa.Table(
    "environments",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("description", JSON, nullable=True),
    sa.Column("variables", JSON, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=True),
    sa.UniqueConstraint("name", "project_id"),
)
changes = sa.Table(
    "changes",
    metadata,
    sa.Column("what", sa.String(32), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""`definitions`, `events`: grow with every change of a definition or an event trigger, so that caches know when they are stale."""

shares = sa.Table(
    "shares",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("workflow_id", ID, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("member_id", NAME, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=True),
    sa.UniqueConstraint("workflow_id", "member_id"),
    sa.Index(None, "member_id", "status"),
)
"""Workflows that a project (`project_id`) offers to another one (`member_id`)."""

code_sources = sa.Table(
    "code_sources",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", NAME, nullable=False),
    sa.Column("namespace", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("tags", JSON, nullable=False),
    sa.Column("content", JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=True),
    sa.UniqueConstraint("name", "namespace", "project_id"),
)
dynamic_actions = sa.Table(
    "dynamic_actions",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", NAME, nullable=False),
    sa.Column("namespace", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("class_name", NAME, nullable=False),
    sa.Column("code_source_id", ID, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=True),
    sa.UniqueConstraint("name", "namespace", "project_id"),
    sa.Index(None, "code_source_id"),
)
cron_triggers = sa.Table(
    "cron_triggers",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("workflow_id", ID, nullable=False),
    sa.Column("workflow_name", NAME, nullable=False),
    sa.Column("workflow_input", JSON, nullable=False),
    sa.Column("workflow_params", JSON, nullable=False),
    sa.Column("pattern", sa.String(128), nullable=True),
    sa.Column("first_execution_time", TIME, nullable=True),
    sa.Column("next_execution_time", TIME, nullable=False),
    sa.Column("remaining_executions", sa.Integer, nullable=True),
    sa.Column("fingerprint", sa.String(64), nullable=True),
    sa.Column("security", JSON, nullable=True),
    sa.Column("last_error", JSON, nullable=True),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=True),
    sa.UniqueConstraint("name", "project_id"),
    sa.UniqueConstraint("fingerprint"),
    sa.Index(None, "next_execution_time"),
    sa.Index(None, "workflow_id"),
)
"""`fingerprint`: the hash of what may not be there twice, null where it may. `security`: credentials for the executions started."""

event_triggers = sa.Table(
    "event_triggers",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("workflow_id", ID, nullable=False),
    sa.Column("workflow_input", JSON, nullable=False),
    sa.Column("workflow_params", JSON, nullable=False),
    sa.Column("exchange", NAME, nullable=False),
    sa.Column("topic", NAME, nullable=False),
    sa.Column("event", NAME, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("security", JSON, nullable=True),
    sa.Column("last_error", JSON, nullable=True),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=True),
    sa.UniqueConstraint("fingerprint"),
    sa.Index(None, "exchange", "topic"),
    sa.Index(None, "workflow_id"),
)

executions = sa.Table(
    "executions",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("root_id", ID, nullable=False),
    sa.Column("parent_id", ID, nullable=True),
    sa.Column("parent_task_id", ID, nullable=True),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("workflow_id", ID, nullable=False),
    sa.Column("workflow_name", NAME, nullable=False),
    sa.Column("namespace", NAME, nullable=False),
    sa.Column("workbook", NAME, nullable=False),
    sa.Column("spec_hash", sa.String(64), nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("description", JSON, nullable=False),
    sa.Column("tags", JSON, nullable=False),
    sa.Column("state", STATE, nullable=False),
    sa.Column("state_info", JSON, nullable=True),
    sa.Column("started", sa.Boolean, nullable=False),
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("input", JSON, nullable=False),
    sa.Column("params", JSON, nullable=False),
    sa.Column("context", JSON, nullable=False),
    sa.Column("backlog", JSON, nullable=False),
    sa.Column("output", JSON, nullable=True),
    sa.Column("secrets", JSON, nullable=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("tag", sa.String(36), nullable=True),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=False),
    sa.Index(None, "root_id"),
    sa.Index(None, "parent_id"),
    sa.Index(None, "parent_task_id"),
    sa.Index(None, "state", "partition"),
    sa.Index(None, "created_at", "id"),
    sa.Index(None, "project_id", "created_at", "id"),
    sa.Index(None, "workflow_id", "state", "created_at"),
    sa.Index(None, "workflow_name", "created_at", "id"),
    sa.Index(None, "state", "updated_at"),
)
"""`secrets`: names of inputs that lists do not show, null for none. `tag`: the commit that wrote the row last, for who did not hear
whether it was his."""

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("execution_id", ID, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("tags", JSON, nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("state", STATE, nullable=False),
    sa.Column("state_info", JSON, nullable=True),
    sa.Column("inbound", sa.Integer, nullable=False),
    sa.Column("outbound", sa.Integer, nullable=False),
    sa.Column("published", JSON, nullable=True),
    sa.Column("processed", sa.Boolean, nullable=False),
    sa.Column("progress", JSON, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=False),
    sa.Column("started_at", TIME, nullable=True),
    sa.Column("finished_at", TIME, nullable=True),
    sa.Index(None, "execution_id", "seq"),
    sa.Index(None, "created_at", "id"),
    sa.Index(None, "project_id", "created_at", "id"),
)
"""`progress`: everything of a task that only the core reads (routing, policies, items, attempts), as one JSON value."""

action_executions = sa.Table(
    "action_executions",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("execution_id", ID, nullable=True),
    sa.Column("task_id", ID, nullable=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("item", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", STATE, nullable=False),
    sa.Column("state_info", JSON, nullable=True),
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("input", JSON, nullable=False),
    sa.Column("output", JSON, nullable=True),
    sa.Column("base", JSON, nullable=True),
    sa.Column("is_sync", sa.Boolean, nullable=False),
    sa.Column("safe_rerun", sa.Boolean, nullable=False),
    sa.Column("target", NAME, nullable=True),
    sa.Column("timeout", sa.Integer, nullable=True),
    sa.Column("description", JSON, nullable=True),
    sa.Column("holder", ID, nullable=True),
    sa.Column("held_since", TIME, nullable=True),
    sa.Column("heartbeat", TIME, nullable=True),
    sa.Column("claims", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=False),
    sa.Index(None, "execution_id"),
    sa.Index(None, "task_id"),
    sa.Index(None, "holder", "state"),
    sa.Index(None, "state", "kind"),
    sa.Index(None, "created_at", "id"),
    sa.Index(None, "project_id", "created_at", "id"),
)
"""Actions, and the links from tasks to sub-workflows (`kind` WORKFLOW). `holder` is the member that claimed the action,
`claims` how often one has."""

contexts = sa.Table(
    "contexts",
    metadata,
    sa.Column("execution_id", ID, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("parents", JSON, nullable=False),
    sa.Column("own", JSON, nullable=False),
)
arrivals = sa.Table(
    "arrivals",
    metadata,
    sa.Column("execution_id", ID, nullable=False),
    sa.Column("join_id", ID, primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("source_id", ID, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("source_name", NAME, nullable=False),
    sa.Column("clause", sa.String(16), nullable=False),
    sa.Index(None, "execution_id"),
)
timers = sa.Table(
    "timers",
    metadata,
    sa.Column("task_id", ID, primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("stamp", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("execution_id", ID, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("due", TIME, nullable=False),
    sa.Index(None, "partition", "due"),
    sa.Index(None, "execution_id"),
)
garbage = sa.Table("garbage", metadata, sa.Column("execution_id", ID, primary_key=True))
"""Executions that were deleted and whose tasks, actions and the rest are still to be collected."""

security = sa.Table(
    "security",
    metadata,
    sa.Column("root_id", ID, primary_key=True),
    sa.Column("credentials", JSON, nullable=False),
)
"""What the actions of a tree of executions may present to other services. Never shown."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at", TIME, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("root_id", ID, nullable=False),
    sa.Column("execution_id", ID, nullable=False),
    sa.Column("workflow_name", NAME, nullable=False),
    sa.Column("body", JSON, nullable=False),
    sa.Index(None, "root_id", "seq"),
    sa.Index(None, "project_id", "seq"),
    sa.Index(None, "at"),
    sqlite_autoincrement=True,
)
"""What each commit changed in one execution, in the order of commits; kept for a while."""

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
    sa.Column("execution_id", ID, nullable=False),
    sa.Column("root_id", ID, nullable=False),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("publisher", JSON, nullable=False),
    sa.Column("lane", sa.String(64), nullable=False),
    sa.Column("payload", JSON, nullable=False),
    sa.Column("state", STATE, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due", TIME, nullable=False),
    sa.Column("last_error", JSON, nullable=True),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=False),
    sa.Index(None, "state", "due"),
    sa.Index(None, "lane", "state", "seq"),
    sa.Index(None, "execution_id"),
    sa.Index(None, "project_id", "created_at", "id"),
)
"""Notifications to send, in order within a `lane` (one tree of executions and one publisher)."""
