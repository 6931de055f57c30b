"""`gregale run`: a workflow in this process, no server, with its progress."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gregale.actions import ActionSettings, CommandSettings, HttpSettings
from gregale.cli.load import map_file, pairs, read_any, value_of
from gregale.cli.progress import Progress
from gregale.core import Execution, Rejected, Stop
from gregale.expressions import ExpressionError
from gregale.language import Document
from gregale.rehearsal.mocks import MockedRegistry, Mocks, Outcome
from gregale.service import Service, ServiceSettings, new_id
from gregale.store import definitions
from gregale.store.ownership import Owner

_PROJECT = "<default-project>"
CANCELLED_EXIT = 130


def run(
    file: Annotated[Path, typer.Argument(help="A document of workflows or a workbook.")],
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Which one; the first without it.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="key=value; the value is YAML. Repeatable.")
    ] = None,
    input_file: Annotated[Path | None, typer.Option("--input-file", "-I", help="A YAML or JSON map of inputs.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="key=value for env(). Repeatable.")] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="key=value, e.g. task_name=deploy. Repeatable.")
    ] = None,
    mock: Annotated[
        list[str] | None,
        typer.Option(help="ACTION=VALUE: pretend. ACTION may hold *; VALUE 'error: TEXT' fails. Repeatable."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Run a workflow here and now: no server, nothing is kept.

    Exit code 0 for SUCCESS, 1 for ERROR, 130 when cancelled (Ctrl-C), 2 when it could not start.

    Example: gregale run deploy.yaml -i host=web1 -i 'ports=[80, 443]' --mock 'std.ssh=done'
    """
    document = read_any(file)
    names = [w.name for w in document.workflows]
    if not names:
        typer.echo(f"error: {file} holds no workflow", err=True)
        raise typer.Exit(2)
    chosen = _choose(workflow, names, document)
    inputs = {**(map_file(input_file) if input_file else {}), **pairs(given or [], "--input")}
    params: dict[str, Any] = pairs(param or [], "--param")
    if env:
        params["env"] = pairs(env, "--env")
    try:
        execution = asyncio.run(_run(document, chosen, inputs, params, _mocks(mock or []), as_json))
    except (Rejected, ExpressionError) as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(_result(execution), indent=2, ensure_ascii=False))
    raise typer.Exit({"SUCCESS": 0, "CANCELLED": CANCELLED_EXIT}.get(execution.state.value, 1))


def _choose(wanted: str | None, names: list[str], document: Document) -> str:
    if wanted is None:
        return names[0]
    book = f"{document.workbook.name}." if document.workbook else ""
    for candidate in (wanted, book + wanted):
        if candidate in names:
            return candidate
    typer.echo(f"error: no workflow '{wanted}'; there are: {', '.join(names)}", err=True)
    raise typer.Exit(2)


def _mocks(given: list[str]) -> Mocks:
    outcomes = {}
    for one in given:
        pattern, separator, text = one.partition("=")
        if not separator:
            typer.echo(f"error: --mock '{one}' is not of the form ACTION=VALUE", err=True)
            raise typer.Exit(2)
        failed = text.startswith("error:")
        outcomes[pattern] = Outcome(error=text[6:].strip() or "mocked") if failed else Outcome(result=value_of(text))
    return Mocks(outcomes)


def _result(execution: Execution) -> dict[str, Any]:
    return {
        "workflow": execution.workflow_name,
        "state": execution.state.value,
        "state_info": execution.state_info,
        "input": execution.input,
        "output": execution.output,
        "tasks": [
            {
                "name": t.name,
                "state": t.state.value,
                "state_info": t.state_info,
                "published": t.published,
                "seconds": None
                if t.started_at is None or t.finished_at is None
                else round(t.finished_at - t.started_at, 3),
            }
            for t in sorted(execution.tasks.values(), key=lambda t: t.seq)
        ],
    }


async def _run(
    document: Document, name: str, inputs: dict[str, Any], params: dict[str, Any], mocks: Mocks, quiet: bool
) -> Execution:
    http = HttpSettings(denied_cidrs=())  # on one's own machine, one's own services are fair targets
    service = Service(ServiceSettings(actions=ActionSettings(http=http, command=CommandSettings(enabled=True))))
    service.registry = MockedRegistry(mocks, service.registry)
    service.engine.registry = service.registry.info
    progress = Progress(sys.stderr if quiet else sys.stdout, quiet)
    service.engine.listen(progress.saw)
    async with service:
        await service.database.writing(_store, document)
        made = await service.engine.create(name, "", inputs, params, "", _PROJECT)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: asyncio.ensure_future(_cancel(service, made.id)))
        with progress.watching(made.id):
            await progress.done.wait()
    return progress.result()


async def _cancel(service: Service, execution_id: str) -> None:
    await service.engine.apply(execution_id, Stop("CANCELLED", "Cancelled by Ctrl-C"))
    assert service.executor is not None
    service.executor.cancel()


def _store(connection: Any, document: Document) -> None:
    owner = Owner(_PROJECT, time.time(), new_id)
    if document.workbook is not None:
        definitions.save_workbook(connection, document, "", owner, False)
    else:
        definitions.save_workflows(connection, document, owner, False)
