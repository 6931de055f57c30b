"""Reading over the API with a long history, beside the same on an all but empty database, turn by turn.

Both databases are SQLite files; each question is asked of both in turn, and medians are compared.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy.engine import Connection

from gregale.core.partition import partition_of
from gregale.language import read_workflows
from gregale.service import Service, ServiceSettings
from gregale.store import Database, definitions, upgrade
from gregale.store.definitions import spec_hash
from gregale.store.ownership import Owner
from gregale.store.schema import action_executions, executions, tasks

_PROJECT = "<default-project>"
_EACH = 20
_LIVE = 1_000
_GOAL = 1.5


def _fill(connection: Connection, number: int, workflow_id: str, body_hash: str, before: float) -> None:
    """Finished executions of 20 tasks with an action each, one second apart, ending at `before`."""
    new_executions, new_tasks, new_actions = [], [], []
    for i in range(number):
        at = before - number + i
        key = str(uuid.uuid4())
        new_executions.append(
            {
                "id": key,
                "root_id": key,
                "partition": partition_of(key),
                "workflow_id": workflow_id,
                "workflow_name": "bench",
                "namespace": "",
                "workbook": "",
                "spec_hash": body_hash,
                "project_id": _PROJECT,
                "description": "",
                "tags": "[]",
                "state": "SUCCESS" if i % 10 else "ERROR",
                "started": True,
                "accepted": True,
                "input": '{"n":1}',
                "params": '{"namespace":"","env":{}}',
                "context": "{}",
                "backlog": "[]",
                "output": '{"r":' + '"' + "x" * 500 + '"}',
                "revision": 40,
                "created_at": at,
                "updated_at": at + 0.5,
            }
        )
        for t in range(_EACH):
            task = str(uuid.uuid4())
            new_tasks.append(
                {
                    "id": task,
                    "execution_id": key,
                    "seq": t + 1,
                    "name": f"t{t}",
                    "project_id": _PROJECT,
                    "tags": "[]",
                    "type": "ACTION",
                    "state": "SUCCESS",
                    "inbound": t,
                    "outbound": t + 1,
                    "published": '{"v":1}',
                    "processed": True,
                    "progress": "{}",
                    "created_at": at + t * 0.02,
                    "updated_at": at + t * 0.02,
                    "started_at": at,
                    "finished_at": at,
                }
            )
            new_actions.append(
                {
                    "id": str(uuid.uuid4()),
                    "execution_id": key,
                    "task_id": task,
                    "kind": "ACTION",
                    "name": "std.echo",
                    "project_id": _PROJECT,
                    "seq": t + 1,
                    "item": 0,
                    "attempt": 1,
                    "state": "SUCCESS",
                    "accepted": True,
                    "input": '{"output":1}',
                    "output": "1",
                    "is_sync": True,
                    "safe_rerun": True,
                    "created_at": at + t * 0.02,
                    "updated_at": at + t * 0.02,
                }
            )
    connection.execute(executions.insert(), new_executions)
    connection.execute(tasks.insert(), new_tasks)
    connection.execute(action_executions.insert(), new_actions)


def _prepare(path: Path, history: int, console: Console) -> None:
    database = Database(f"sqlite:///{path}", "normal")
    upgrade(database)
    lines = "".join(f"    t{t}: {{action: std.echo output=1}}\n" for t in range(_EACH))
    document = read_workflows(f"version: '2.0'\nbench:\n  tasks:\n{lines}")
    owner = Owner(_PROJECT, time.time(), lambda: str(uuid.uuid4()))
    [row] = database.write(definitions.save_workflows, document, owner, False)
    found = spec_hash(document.workflows[0].body)
    now = time.time()
    total = history // _EACH
    for start in track(range(0, total, 500), f"{history:,} tasks of history", console=console, disable=not total):
        number = min(500, total - start)
        database.write(_fill, number, row.id, found, now - 1000 - total + start + number)
    database.write(_fill, _LIVE, row.id, found, now)
    database.write(lambda connection: connection.exec_driver_sql("ANALYZE"))
    database.close()


async def _measure(paths: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds by question and database."""
    async with AsyncExitStack() as stack:
        clients: dict[str, httpx.AsyncClient] = {}
        for name, path in paths.items():
            service = await stack.enter_async_context(Service(ServiceSettings(database=f"sqlite:///{path}")))
            transport = httpx.ASGITransport(app=service.application())
            clients[name] = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://b/v2")
            )
        newest: dict[str, str] = {}
        for name, client in clients.items():
            page = (await client.get("/executions?limit=1&sort_keys=created_at&sort_dirs=desc")).json()
            newest[name] = page["executions"][0]["id"]
        questions = {
            "a page of 100 executions, newest first": "/executions?limit=100&sort_keys=created_at&sort_dirs=desc",
            "a page of 100 executions in ERROR": "/executions?limit=100&state=ERROR&sort_keys=created_at&sort_dirs=desc",
            "one execution": "/executions/{id}",
            "its tasks": "/executions/{id}/tasks",
            "a page of 100 tasks, newest first": "/tasks?limit=100&sort_keys=created_at&sort_dirs=desc",
            "a page of 100 action executions": "/action_executions?limit=100&sort_keys=created_at&sort_dirs=desc",
            "its report": "/executions/{id}/report",
        }
        took: dict[str, dict[str, list[float]]] = {q: {n: [] for n in clients} for q in questions}
        for number in range(rounds + 5):
            for question, url in questions.items():
                for name, client in clients.items():
                    start = time.perf_counter()
                    reply = await client.get(url.replace("{id}", newest[name]))
                    passed = time.perf_counter() - start
                    reply.raise_for_status()
                    if number >= 5:  # the first ones warm up
                        took[question][name].append(passed * 1000)
    return {q: {n: statistics.median(v) for n, v in by.items()} for q, by in took.items()}


def main(
    tasks: Annotated[int, typer.Option(help="Rows of history.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(help="How often each question is asked.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Reading over the API with a long history, beside the same on an all but empty database, turn by turn."""
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory() as folder:
        paths = {"empty": Path(folder) / "empty.sqlite", "history": Path(folder) / "history.sqlite"}
        _prepare(paths["empty"], 0, console)
        _prepare(paths["history"], tasks, console)
        found = asyncio.run(_measure(paths, rounds))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        table = Table(title=f"{tasks:,} tasks of history beside none (ms, medians; goal: at most {_GOAL} times)")
        for column in ("question", "empty", "history", "ratio"):
            table.add_column(column, justify="left" if column == "question" else "right")
        for question, by in found.items():
            ratio = by["history"] / by["empty"]
            table.add_row(question, f"{by['empty']:.2f}", f"{by['history']:.2f}", f"{ratio:.2f}")
        console.print(table)
    if any(by["history"] > _GOAL * by["empty"] for by in found.values()):
        raise typer.Exit(1)
