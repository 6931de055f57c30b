"""What all tests share. Generated examples are the same in every run; the profile `night` draws fresh ones, and many:
HYPOTHESIS_PROFILE=night pytest tests/core/test_random_workflows.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from gregale import service
from gregale.lab import DatabaseServer, LabError, MariaDB, PostgreSQL, RabbitMQ, Server
from gregale.store import Database, upgrade

S = TypeVar("S", bound=Server)

_QUIET = list(HealthCheck)
settings.register_profile("dev", max_examples=60, deadline=None, derandomize=True, suppress_health_check=_QUIET)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=_QUIET)
settings.register_profile("night", max_examples=20_000, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first, then what shares a server, so that no worker has these left when the others have nothing."""
    items.sort(key=lambda i: (i.get_closest_marker("long") is None, i.get_closest_marker("xdist_group") is None))


@pytest.fixture(scope="session", autouse=True)
def _migrated_once() -> Iterator[None]:
    """Services in memory begin with a copy of one migrated database: hundreds of tests save a tenth of a second each. Migrations
    themselves are tested on files and servers."""
    template = Database()
    upgrade(template)

    def copied(database: Database) -> None:
        if not database.in_memory:
            upgrade(database)
            return
        with template.engine.connect() as full, database.engine.connect() as empty:
            full.connection.driver_connection.backup(empty.connection.driver_connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "upgrade", copied)
        yield
    template.close()


@contextmanager
def _started(server: S) -> Iterator[S]:
    """Without the server's program its tests are left out; where nothing may be left out, they fail."""
    try:
        server.start()
    except LabError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(e))
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A server of this worker's own."""
    with _started(PostgreSQL()) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A server of this worker's own."""
    with _started(MariaDB()) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A broker of this worker's own."""
    with _started(RabbitMQ()) as server:
        yield server


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql")),
        pytest.param("mariadb", marks=pytest.mark.xdist_group("mariadb")),
    ]
)
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/g.sqlite"
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server.create_database()
