"""Requests made from the OpenAPI document, sensible and not: none makes a fault of ours, and replies are as the document says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.served import Served

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)
# a stream never ends, maintenance would refuse everything after it, and a drained member runs nothing more
LEFT_OUT = ("get_v2_events", "put_maintenance", "post_v2_cluster_members_name_drain")
EXAMPLES = {"sqlite": "12", "postgresql": "4", "mariadb": "4"}
"""For each operation; GREGALE_FUZZ_EXAMPLES says another number. What depends on the database is few kinds of statements."""


@pytest.mark.long
def test_no_request_makes_a_fault(tmp_path: Path, any_database: str) -> None:
    mode = "none" if "sqlite" in any_database else "headers"
    (tmp_path / "g.toml").write_text(
        f'[api]\nallow_action_execution_deletion = true\nvalidation = "enabled"\n[api.auth]\nmode = "{mode}"\n'
    )
    served = Served(tmp_path, "--config", str(tmp_path / "g.toml"), "--database", any_database)
    base = served.url.removesuffix("/v2")
    report = tmp_path / "report.json"
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{base}/openapi.json"]
    examples = os.environ.get("GREGALE_FUZZ_EXAMPLES", EXAMPLES[any_database.partition("+")[0].partition(":")[0]])
    command += ["-H", "X-Roles: admin", "-H", "X-Project-Id: fuzz", "--checks", CHECKS, "-n", examples, "-w", "1"]
    command += ["--phases", "coverage,fuzzing,stateful", "--generation-deterministic", "--continue-on-failure"]
    command += ["--warnings", "off", "--report-json-path", str(report)]
    for operation in LEFT_OUT:
        command += ["--exclude-operation-id", operation]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "No issues found" in done.stdout
    document = httpx.get(f"{base}/openapi.json").json()
    operations = sum(len(verbs) for verbs in document["paths"].values())
    assert f"Tested: {operations - len(LEFT_OUT)}" in done.stdout
    generated = [line for line in done.stdout.splitlines() if "generated" in line]
    print(f"{mode}: {operations} operations, {generated}")
    assert json.loads(report.read_text())
    for status, body in ((400, b"{"), (400, b"[]"), (400, b'{"status": "x"}'), (415, b"<a/>")):
        kind = "text/xml" if status == 415 else "application/json"
        assert httpx.put(f"{base}/maintenance", content=body, headers={"Content-Type": kind}).status_code == status
    log = (tmp_path / "server.log").read_text()
    assert "Traceback" not in log, log[-4000:]
    served.stop()
