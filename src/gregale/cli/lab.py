"""`gregale lab`: a cluster on this machine, to try things on, and to break."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gregale.cli.styles import STYLES
from gregale.lab import Lab, LabError
from gregale.lab.control import Control, ask

lab = typer.Typer(
    help="A whole cluster on this machine: start it, break it on purpose, see it recover.\n\n"
    "The servers come from Debian's packages: apt-get install postgresql mariadb-server rabbitmq-server",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Option(help="Where the lab can be found by other commands.")]
Db = Annotated[str, typer.Option("--db", help="postgresql or mariadb.")]
Broker = Annotated[str, typer.Option(help="rabbitmq.")]
_HERE = Path(".gregale-lab")


def _fail(error: Exception) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)


def _ask(folder: Path, command: str, **given: Any) -> Any:
    try:
        return ask(folder, command, **given)
    except LabError as e:
        raise _fail(e) from None


def _known(db: str, broker: str = "rabbitmq") -> None:
    if db not in ("postgresql", "mariadb"):
        raise _fail(LabError(f"--db is postgresql or mariadb, not {db}"))
    if broker != "rabbitmq":
        raise _fail(LabError(f"--broker is rabbitmq, not {broker}"))


@lab.command()
def up(
    engines: Annotated[int, typer.Option(min=1)] = 1,
    executors: Annotated[int, typer.Option(min=1)] = 1,
    apis: Annotated[int, typer.Option(min=1)] = 1,
    db: Db = "postgresql",
    broker: Broker = "rabbitmq",
    folder: Folder = _HERE,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running, until gregale lab down.")] = False,
) -> None:
    """Start servers and components, on free ports. Ctrl-C, or gregale lab down, ends all of it.

    Example: gregale lab up --engines 3 --executors 3 --db postgresql --broker rabbitmq
    """
    _known(db, broker)
    if detach:
        _detached(folder, engines, executors, apis, db)
        return
    try:
        with Lab(db) as started:  # type: ignore[arg-type]
            started.topology(apis, engines, executors)
            control = Control(started, folder)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: control.down.set())
            try:
                _status(control.status(), False)
                typer.echo(f"gregale execution list --url {started.api.removesuffix('/v2')}", err=True)
                typer.echo("up; Ctrl-C ends it", err=True)
                while not control.down.wait(1.0):
                    pass
            finally:
                control.close()
    except LabError as e:
        raise _fail(e) from None


def _detached(folder: Path, engines: int, executors: int, apis: int, db: str) -> None:
    command = [sys.executable, "-m", "gregale.cli.main", "lab", "up", "--folder", str(folder), "--db", db]
    command += ["--engines", str(engines), "--executors", str(executors), "--apis", str(apis)]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lab.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        try:
            _status(ask(folder, "status"), False)
            return
        except LabError:
            time.sleep(0.2)
    raise _fail(LabError((folder / "lab.log").read_text()[-2000:]))


def _status(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("name", "kind", "state", "pid", "address"):
        table.add_column(name)
    colours = {"up": "green", "paused": "yellow", "down": "red"}
    for one in found:
        state = f"[{colours[one['state']]}]{one['state']}[/]"
        table.add_row(one["name"], one["kind"], state, str(one.get("pid", "")), one["address"])
    Console(highlight=False).print(table)


@lab.command()
def status(
    folder: Folder = _HERE, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False
) -> None:
    """What runs, where it answers, what is paused or down."""
    _status(_ask(folder, "status"), as_json)


@lab.command()
def start(kind: Annotated[str, typer.Argument(help="api, engine or executor.")], folder: Folder = _HERE) -> None:
    """Start one more component. Example: gregale lab start engine"""
    typer.echo(_ask(folder, "start", kind=kind))


@lab.command()
def stop(name: str, folder: Folder = _HERE) -> None:
    """Stop a component as an operator would (SIGTERM), and wait until it has left."""
    typer.echo(f"{name} ended with {_ask(folder, 'stop', name=name)}")


@lab.command()
def kill(name: str, folder: Folder = _HERE) -> None:
    """Kill a component (SIGKILL). Example: gregale lab kill engine-1"""
    _ask(folder, "kill", name=name)


@lab.command()
def pause(name: str, folder: Folder = _HERE) -> None:
    """Let a component hang (SIGSTOP), until gregale lab resume."""
    _ask(folder, "pause", name=name)


@lab.command()
def resume(name: str, folder: Folder = _HERE) -> None:
    """Let a component that hangs go on."""
    _ask(folder, "resume", name=name)


@lab.command()
def outage(
    what: Annotated[str, typer.Argument(help="database or broker.")],
    how: Annotated[str, typer.Option(help="stopped, killed, paused, cut or held.")] = "cut",
    seconds: Annotated[float, typer.Option(min=0.0)] = 5.0,
    of: Annotated[str | None, typer.Option(help="Only from this component (cut or held).")] = None,
    folder: Folder = _HERE,
) -> None:
    """Take a server away for some seconds. Example: gregale lab outage database --how paused --seconds 10"""
    if what not in ("database", "broker"):
        raise _fail(LabError(f"database or broker, not {what}"))
    _ask(folder, "outage", what=what, how=how, seconds=seconds, of=of)


@lab.command()
def drop(
    kind: Annotated[
        str, typer.Argument(help="start, wake, action_done, run_action; * is any; none ends all of it.")
    ] = "*",
    rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the messages that are lost.")] = 0.05,
    repeat: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share that comes twice.")] = 0.0,
    delay: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share that comes late.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=0.0, help="How late.")] = 1.0,
    folder: Folder = _HERE,
) -> None:
    """Lose, repeat or delay messages from now on. Example: gregale lab drop action_done --rate 0.1; gregale lab drop none"""
    wanted = (
        {} if kind == "none" else {"drop": {kind: rate}, "repeat": {kind: repeat}, "delay": {kind: [delay, seconds]}}
    )
    _ask(folder, "faults", wanted=wanted)


@lab.command()
def down(folder: Folder = _HERE) -> None:
    """End a lab and everything of it."""
    _ask(folder, "down")


@lab.command()
def drill(
    name: Annotated[str, typer.Argument(help="A scenario; 'list' names them.")],
    db: Db = "postgresql",
    seconds: Annotated[float | None, typer.Option(help="How long; each scenario has its own time.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Executions started a second.")] = 8.0,
    seed: Annotated[int, typer.Option(help="Of the load and of what is broken at random.")] = 1,
    engines: Annotated[int, typer.Option(min=1)] = 3,
    executors: Annotated[int, typer.Option(min=1)] = 3,
    apis: Annotated[int, typer.Option(min=1)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    history: Annotated[Path | None, typer.Option(help="Keep the history of operations here (JSON lines).")] = None,
) -> None:
    """Run a scenario under load in a lab of its own, and report what was broken, what was observed, and what held.

    Example: gregale lab drill database-outages --db mariadb
    """
    import msgspec

    from gregale.lab import drills

    if name == "list" or name not in drills.SCENARIOS:
        for known, (scenario, usual) in drills.SCENARIOS.items():
            typer.echo(f"{known:<18} {usual:>4.0f} s  {(scenario.__doc__ or '').strip()}")
        raise typer.Exit(0 if name == "list" else 2)
    _known(db)
    try:
        with Lab(db) as started, Progress(console=Console(stderr=True), transient=True) as progress:  # type: ignore[arg-type]
            whole = drills.SCENARIOS[name][1] if seconds is None else seconds
            task = progress.add_task(f"{name} on {db}", total=whole + 10)
            started.topology(apis, engines, executors)
            ticking = threading.Event()
            ticker = threading.Thread(target=lambda: _tick(progress, task, ticking), daemon=True)
            ticker.start()
            drilled = drills.Drill(started, name, whole, rate, seed)
            report = drilled.run(drills.SCENARIOS[name][0])
            ticking.set()
            if history is not None:
                drilled.load.save(history)
    except LabError as e:
        raise _fail(e) from None
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        report.show(Console(highlight=False))
    if report.failures(name != "stable"):
        raise typer.Exit(1)


@lab.command()
def check(
    history: Annotated[Path, typer.Argument(help="What 'gregale lab drill --history' has written.")],
) -> None:
    """Check the history of a drill again, without the lab: what clients were told against what was there in the end.

    Example: gregale lab check history.jsonl
    """
    from gregale.lab import checks
    from gregale.lab.load import read_history

    try:
        operations = read_history(history)
    except LabError as e:
        raise _fail(e) from None
    found = checks.history(operations)
    for kind in ("start", "read"):
        results = [o.result for o in operations if o.kind == kind]
        typer.echo(f"{kind:<6} " + ", ".join(f"{results.count(r)} {r}" for r in sorted(set(results))))
    typer.echo(f"{'✗' if found.broken else '✓'} {found.name} ({found.looked_at} executions looked at)")
    for broken in found.broken[:20]:
        typer.echo(f"  {broken}")
    if found.broken or not found.looked_at:
        raise typer.Exit(1)


def _tick(progress: Progress, task: Any, done: threading.Event) -> None:
    while not done.wait(0.5):
        progress.advance(task, 0.5)


@lab.command()
def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    start_: Annotated[int, typer.Option("--start", help="The first one.")] = 0,
    trace: Annotated[bool, typer.Option("--trace", help="Show everything that happened in a seed that fails.")] = False,
) -> None:
    """Run the real code on a virtual clock, with the faults that each seed draws.

    Example: gregale lab simulate --seeds 2000 --start 0
    """
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of what a seed repeats
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "gregale.cli.main", *sys.argv[1:]])  # noqa: S606
    from gregale.lab.simulation import Failure, campaign

    out = Console(highlight=False)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("seeds", total=seeds)
        try:
            found = campaign(range(start_, start_ + seeds), lambda: progress.advance(task))
        except Failure as e:
            if trace:
                out.print("\n".join(e.trace), markup=False)
            out.print(str(e), style=STYLES["ERROR"], markup=False)
            raise typer.Exit(1) from None
    out.print(
        f"{found.seeds} seeds held: {found.executions} executions, {found.commits} commits, {found.messages} messages"
    )
    out.print("faults: " + ", ".join(f"{n} × {kind}" for kind, n in sorted(found.faults.items())))
