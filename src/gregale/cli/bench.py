"""`gregale bench`: what a server does in a second, and how long it takes, measured over its REST API."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

try:
    from gregale.bench import places, plot, results, sweep
    from gregale.bench.target import TargetError
except ModuleNotFoundError as e:
    raise SystemExit(f"error: benchmarks need more packages ({e.name}): pip install 'gregale[bench]'") from None
from gregale.bench.shapes import SHAPES
from gregale.lab import LabError

bench = typer.Typer(
    help="Measure a server of the Mistral API v2: one that runs, one process, or a cluster of the lab.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _fail(message: object) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(1)


def _numbers(text: str, what: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
        if min(found) < 1:
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f"{what} are whole numbers from 1, with commas; not '{text}'") from None
    return found


def _pairs(given: list[str], what: str) -> dict[str, str]:
    found = dict(part.partition("=")[::2] for part in given)
    if not all(found.values()):
        raise typer.BadParameter(f"{what} are written KEY=VALUE")
    return found


def _shares(given: list[str]) -> dict[str, float]:
    try:
        found = {kind: float(share) for kind, share in _pairs(given, "shares").items()}
    except ValueError:
        raise typer.BadParameter("a share is a part of one CPU, such as 0.1") from None
    if not found.keys() <= {"api", "engine", "executor"} or not all(0 < s <= 1 for s in found.values()):
        raise typer.BadParameter("shares are KIND=PART, of api, engine or executor, above 0 and at most 1")
    return found


def _place(url: str | None, db: str, settings: dict[str, Any], shares: dict[str, float]) -> places.Place:
    if url is not None:
        return places.Elsewhere(url)
    if db == "sqlite":
        return places.OneProcess(settings)
    return places.Cluster(db, settings, shares)


@bench.command()
def run(
    url: Annotated[
        str | None, typer.Option(help="A server that runs: of Gregale, or of anything with the same API.")
    ] = None,
    lab: Annotated[
        bool, typer.Option("--lab", help="Servers and components of the lab, on this machine (the default).")
    ] = False,
    workflows: Annotated[str, typer.Option(help=f"With commas, of: {', '.join(SHAPES)}.")] = ",".join(SHAPES),
    n: Annotated[str, typer.Option(help="Sizes, with commas.")] = "10,100,1000",
    x: Annotated[str, typer.Option(help="Numbers of sequences, with commas.")] = "10",
    engines: Annotated[str, typer.Option(help="Numbers of engines, with commas.")] = "1",
    executors: Annotated[str, typer.Option(help="Numbers of executors, with commas.")] = "1",
    db: Annotated[
        str, typer.Option("--db", help="postgresql or mariadb, or sqlite for one process with all in it.")
    ] = "postgresql",
    broker: Annotated[str, typer.Option(help="rabbitmq.")] = "rabbitmq",
    executions: Annotated[
        int, typer.Option(min=0, help="Of each workflow and size; 0: some thousand tasks' worth.")
    ] = 0,
    at_once: Annotated[int, typer.Option(min=1, help="Executions under way at any time.")] = 8,
    per_engine: Annotated[
        bool, typer.Option("--per-engine", help="So many executions for each engine: the load grows with them.")
    ] = False,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Instead: so many a second, whatever the server does.")
    ] = None,
    warm_up: Annotated[int, typer.Option(min=0, help="Executions before, which do not count.")] = 2,
    action: Annotated[str, typer.Option(help="What every task runs.")] = "std.noop",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of every component, as KEY=VALUE.")
    ] = None,
    share: Annotated[list[str] | None, typer.Option(help="Hold components to a part of a CPU: engine=0.1")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Keep the results in a file.")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="Draw the curve, as SVG.")] = None,
) -> None:
    """Run reference workflows, check how each ends, and show times, throughput, CPU and memory.

    Examples: gregale bench run --db sqlite --n 10,100
              gregale bench run --workflows sequence --engines 1,2,4 --share engine=0.1 --per-engine --plot curve.svg
              gregale bench run --url http://mistral:8989/v2 --n 10 --json there.json
    """
    if url is not None and lab:
        raise typer.BadParameter("--url names a server that runs, --lab starts one: there can be one of them")
    wanted = tuple(workflows.split(","))
    if unknown := [w for w in wanted if w not in SHAPES]:
        raise typer.BadParameter(f"there is no workflow {', '.join(unknown)}; there are {', '.join(SHAPES)}")
    if db not in ("postgresql", "mariadb", "sqlite") or broker != "rabbitmq":
        raise typer.BadParameter("--db is postgresql, mariadb or sqlite, and --broker is rabbitmq")
    plan = sweep.Plan(
        wanted,
        _numbers(n, "sizes"),
        _numbers(x, "numbers of sequences"),
        _numbers(engines, "numbers of engines"),
        _numbers(executors, "numbers of executors"),
        executions,
        at_once,
        per_engine,
        rate,
        warm_up,
        action,
    )
    if (url is not None or db == "sqlite") and (len(plan.engines) > 1 or len(plan.executors) > 1):
        raise typer.BadParameter("numbers of nodes can be varied in the lab alone, on postgresql or mariadb")
    chosen = _pairs(settings or [], "settings")
    shares = _shares(share or [])
    place = _place(url, db, dict(chosen), shares)
    about: dict[str, Any] = {"server": url or ("one process, sqlite" if db == "sqlite" else f"{db}, {broker}")}
    about |= {"action": action, **chosen, **{f"share of {kind}": part for kind, part in shares.items()}}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended in the way out
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress, place:
            bar, cells, last = progress.add_task("starting", total=plan.cells()), -1, ""

            def tell(label: str, part: float) -> None:
                nonlocal cells, last
                cells, last = cells + (label != last), label
                progress.update(bar, description=label, completed=cells + part)

            found = sweep.run(place, plan, about, tell)
    except (TargetError, LabError) as e:
        raise _fail(e) from None
    _show(found, json_file, plot_file)


def _show(found: results.Results, json_file: Path | None, plot_file: Path | None) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(results.table(found))
    if found.cells[0].cpu:
        console.print(results.processes(found))
    console.print(plot.text(found), highlight=False)
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    if plot_file is not None:
        plot.svg(found, plot_file)
    wrong = [why for cell in found.cells for why in cell.wrong]
    if wrong:
        raise _fail(f"{len(wrong)} executions did not end as they must, the first: {wrong[0]}")


@bench.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A file that `bench run --json` has written.")],
    after: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Two files of results, cell by cell.

    Example: gregale bench compare before.json after.json
    """
    try:
        shown, alone = results.compared(results.read(before), results.read(after))
    except results.ResultsError as e:
        raise _fail(e) from None
    Console(width=None if sys.stdout.isatty() else 200).print(shown)
    if alone:
        typer.echo(f"only in one of them: {'; '.join(sorted(alone))}", err=True)
