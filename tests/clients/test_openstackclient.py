"""The plug-in of OpenStack's common client: list and show of every resource, without any Keystone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.served import Served

LISTS = (
    "workbook list",
    "workflow list",
    "action definition list",
    "workflow env list",
    "workflow execution list",
    "task execution list",
    "action execution list",
    "cron trigger list",
    "event trigger list",
    "code source list",
    "dynamic action list",
)


def openstack(served: Served, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    command = [str(Path(sys.executable).with_name("openstack")), "--os-auth-type", "none", "--os-endpoint", served.url]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 0, f"openstack {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def test_lists_of_every_resource_and_a_whole_execution(served: Served, folder: Path) -> None:
    file = folder / "w.yaml"
    file.write_text("version: '2.0'\noscwf: {tasks: {t: {action: std.echo output=1}}}\n")
    assert json.loads(openstack(served, "workflow", "create", str(file), "-f", "json"))[0]["Name"] == "oscwf"
    made = json.loads(openstack(served, "workflow", "execution", "create", "oscwf", "-f", "json"))
    served.wait(made["ID"])
    assert (
        json.loads(openstack(served, "workflow", "execution", "show", made["ID"], "-f", "json"))["State"] == "SUCCESS"
    )
    assert json.loads(openstack(served, "workflow", "show", "oscwf", "-f", "json"))["Name"] == "oscwf"


@pytest.mark.parametrize("command", LISTS)
def test_list(served: Served, command: str) -> None:
    assert isinstance(json.loads(openstack(served, *command.split(), "-f", "json")), list)
