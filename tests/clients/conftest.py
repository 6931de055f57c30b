"""One served Gregale for all tests of the clients in a worker, open to everything that they can ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import Served

OPEN = [
    f'"{resource}:{verb}": "@"'
    for resource in ("code_sources", "dynamic_actions")
    for verb in ("create", "delete", "get", "list", "update")
]
POLICY = "\n".join([*OPEN, '"workflows:publicize": "@"', ""])


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "gregale.toml").write_text(
        f'[api]\nallow_action_execution_deletion = true\n[api.auth]\nmode = "headers"\npolicy_file = "{folder}/policy.yaml"\n'
    )
    made = Served(folder, "--config", str(folder / "gregale.toml"))
    yield made
    made.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
