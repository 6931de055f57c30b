"""`gregale db` and `gregale doctor`, on each kind of database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from gregale.cli.main import app
from gregale.lab import RabbitMQ
from gregale.lab.servers import free_port
from gregale.store import Database
from gregale.store.migrate import head


def run(*arguments: str, code: int = 0, environment: dict[str, str] | None = None) -> str:
    done = CliRunner().invoke(app, list(arguments), env=environment)
    assert done.exit_code == code, f"{done.exit_code}: {done.output}{done.exception!r}"
    return done.output


def findings(*arguments: str, code: int = 0, environment: dict[str, str] | None = None) -> dict[str, Any]:
    return {f["about"]: f for f in json.loads(run(*arguments, "--json", code=code, environment=environment))}


def test_a_database_is_checked_and_upgraded(any_database: str) -> None:
    assert findings("db", "check", "-d", any_database)["schema"]["level"] == "warning"
    assert f"none → {head()}" in run("db", "upgrade", "-d", any_database)
    assert f"{head()} → {head()}" in run("db", "upgrade", "-d", any_database)
    found = findings("db", "check", "-d", any_database)
    assert {f["level"] for f in found.values()} == {"ok"}, found
    made = Database(any_database)
    with made.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    made.close()
    assert findings("db", "check", "-d", any_database, code=1)["schema"]["level"] == "failure"
    assert "use a newer Gregale" in run("db", "upgrade", "-d", any_database, code=1)


@pytest.mark.parametrize("url", ["postgresql+psycopg://x@127.0.0.1:1/x", "mariadb+pymysql://x@127.0.0.1:1/x"])
def test_a_database_that_does_not_answer_is_a_failure_in_a_line(url: str) -> None:
    found = findings("db", "check", "-d", url, code=1)["database"]
    assert (found["level"], "does not answer" in found["what"]) == ("failure", True)


def test_a_kind_of_database_that_is_not_supported_is_refused() -> None:
    assert "not on oracle" in run("db", "check", "-d", "oracle+nothing://x", code=2)


def test_the_doctor_sees_what_would_keep_a_server_from_working(tmp_path: Path) -> None:
    database = str(tmp_path / "g.sqlite")
    found = findings("doctor", "-d", database)
    assert found["authentication"]["level"] == "warning"
    assert found["actions"]["level"] == found["settings"]["level"] == "ok"
    file = tmp_path / "g.toml"
    (tmp_path / "policy.yaml").write_text('"nope": "@"\n')
    file.write_text(f'[api.auth]\nmode = "tokens"\npolicy_file = "{tmp_path}/policy.yaml"\n')
    broken = findings("doctor", "-d", database, "-c", str(file), code=1)["authentication"]
    assert (broken["level"], "No such rule" in broken["what"]) == ("failure", True)
    (tmp_path / "policy.yaml").write_text("{}\n")
    assert findings("doctor", "-d", database, "-c", str(file))["authentication"]["level"] == "ok"
    assert "ok       database: sqlite answers" in run("doctor", "-d", database)


def test_doctor_looks_at_the_broker(rabbitmq: RabbitMQ) -> None:
    found = findings("doctor", "-d", "sqlite://", environment={"GREGALE__BROKER__URL": rabbitmq.url()})
    assert found["broker"]["level"] == "ok"
    assert "RabbitMQ 3" in found["broker"]["what"]
    away = {"GREGALE__BROKER__URL": f"amqp://127.0.0.1:{free_port()}/"}
    found = findings("doctor", "-d", "sqlite://", code=1, environment=away)
    assert found["broker"]["level"] == "failure"
    assert "does not answer" in found["broker"]["what"]


def test_passwords_in_urls_are_not_shown() -> None:
    environment = {"GREGALE__BROKER__URL": "amqp://me:s3cret@mq/", "GREGALE__DATABASE": "mariadb+pymysql://u:p4ss@h/d"}
    shown = run("config", "show", "--changed", environment=environment)
    assert "amqp://me:***@mq/" in shown
    assert "mariadb+pymysql://u:***@h/d" in shown
    assert "s3cret" not in shown
