"""`make demo`: serve Gregale in one process, put a real workflow on it over HTTP, show its progress and its result."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
console = Console(highlight=False, soft_wrap=True)
PATIENCE = 60.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="gregale-demo-") as folder:
        source = Path(folder, "data")
        source.mkdir()
        for name in ("orders", "customers", "stock"):
            (source / f"{name}.csv").write_text(f"{name}\n" * 1000)
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gregale.cli.main",
                "serve",
                "--port",
                "0",
                "--database",
                f"{folder}/gregale.sqlite",
                "--allow-command",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            line = server.stdout.readline().strip()
            if "http" not in line:
                console.print(f"[red]The server did not start: {line}[/]")
                return 1
            console.print(f"[bold]{line}[/] (api, engine and executor in one process, SQLite)\n")
            with httpx.Client(base_url=line.split()[-1]) as client:
                return run(client, source, Path(folder, "backups"))
        finally:
            server.terminate()
            server.wait(10)


def run(client: httpx.Client, source: Path, target: Path) -> int:
    text = (ROOT / "examples" / "backup.yaml").read_text()
    client.post("/workflows", content=text).raise_for_status()
    console.print(
        "POST /v2/workflows   examples/backup.yaml: archive a folder, checksum every file, verify, keep the newest three"
    )
    started = client.post(
        "/executions", json={"workflow_name": "backup", "input": {"source": str(source), "target": str(target)}}
    )
    started.raise_for_status()
    execution = started.json()
    console.print(f"POST /v2/executions  {execution['id']}: {execution['state']}\n")
    seen: dict[str, str] = {}
    deadline = time.monotonic() + PATIENCE
    while True:
        for task in client.get(f"/executions/{execution['id']}/tasks").json()["tasks"]:
            if seen.get(task["id"]) != task["state"]:
                seen[task["id"]] = task["state"]
                style = {"SUCCESS": "green", "ERROR": "red"}.get(task["state"], "cyan")
                items = json.loads(task["runtime_context"]).get("with_items")
                console.print(
                    f"  [{style}]{task['state']:<8}[/] {task['name']}" + (f" ({items['count']} items)" if items else "")
                )
        execution = client.get(f"/executions/{execution['id']}").json()
        if execution["state"] not in ("RUNNING", "PAUSED", "IDLE"):
            break
        if time.monotonic() > deadline:
            console.print("[red]The workflow did not finish in time[/]")
            return 1
        time.sleep(0.02)
    return show(execution)


def show(execution: dict[str, str]) -> int:
    good = execution["state"] == "SUCCESS"
    console.print(f"\n[bold {'green' if good else 'red'}]{execution['state']}[/] {execution['workflow_name']}")
    if execution["state_info"]:
        console.print(execution["state_info"], markup=False)
    output = json.loads(execution["output"])
    table = Table(box=None, show_header=False)
    for key, value in output.items():
        table.add_row(f"[dim]{key}[/]", "".join(value).strip() if isinstance(value, list) else str(value))
    console.print(table)
    console.print(
        "\nNext: [bold].venv/bin/gregale run examples/deploy.yaml -i 'hosts=\\[web1, web2]' -i version=2[/]"
        "\n      [bold].venv/bin/gregale test examples/*_test.yaml[/]   and README.md"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
