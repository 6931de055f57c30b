"""Counts the instructions of small fixed runs of core, store and engine, and compares them with committed figures.

Instructions are the same on a busy machine and an idle one. What they come to also depends on the build of the interpreter, so each
figure is a ratio: to a piece of plain Python that is counted beside it. Valgrind counts them (Debian's package valgrind).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

_FIGURES = Path(__file__).with_name("instructions.json")
_WORSE = 1.15
_OPTIONS = ("--tool=callgrind", "--instr-atstart=no", "--vgdb-poll=10000")
_PARTS = ("calibration", "core", "store", "engine")


class CheckError(Exception):
    """The instructions cannot be counted: what is missing, and what to do."""


def count() -> dict[str, int]:
    """Instructions of each part. Raises CheckError."""
    tools = [shutil.which(name) for name in ("valgrind", "callgrind_control")]
    if tools[0] is None or tools[1] is None:
        raise CheckError("valgrind is not installed: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "count"
        program = (sys.executable, "-m", "gregale.bench.counted")
        child = subprocess.Popen(
            [tools[0], *_OPTIONS, f"--callgrind-out-file={out}", f"--vgdb-prefix={folder}/vgdb", *program],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(Path(folder) / "log").open("wb"),
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            _expect(child, "ready", Path(folder))
            _control(tools[1], folder, child.pid, "-i", "on")
            found = {}
            for number, part in enumerate(_PARTS, 1):
                child.stdin.write(part + "\n")
                child.stdin.flush()
                _expect(child, "done", Path(folder))
                _control(tools[1], folder, child.pid, "-d", part)
                found[part] = _counted(Path(f"{out}.{number}"))
            return found
        finally:
            child.kill()
            child.wait()


def _expect(child: subprocess.Popen[str], word: str, folder: Path) -> None:
    assert child.stdout is not None
    if (line := child.stdout.readline().strip()) != word:
        raise CheckError(f"the counted program said '{line}', not '{word}':\n{(folder / 'log').read_text()[-2000:]}")


def _control(tool: str, folder: str, pid: int, *what: str) -> None:
    done = subprocess.run(
        [tool, f"--vgdb-prefix={folder}/vgdb", *what, str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or "Error" in done.stdout + done.stderr:
        raise CheckError(f"callgrind_control {' '.join(what)}: {done.stdout}{done.stderr}")


def _counted(dump: Path) -> int:
    for line in dump.read_text().splitlines():
        if line.startswith(("summary:", "totals:")):
            return int(line.split()[1])
    raise CheckError(f"{dump} has no sum")


def main(
    update: Annotated[bool, typer.Option("--update", help="Make what is counted now the committed figures.")] = False,
) -> None:
    """Count instructions of core, store and engine, and fail where one takes 15 % more than the committed figure."""
    try:
        found = count()
    except CheckError as e:
        typer.echo(f"error: {e}", err=True)
        raise typer.Exit(1) from None
    ratios = {part: found[part] / found["calibration"] for part in _PARTS[1:]}
    if update:
        _FIGURES.write_bytes(
            msgspec.json.format(msgspec.json.encode({k: round(v, 4) for k, v in ratios.items()})) + b"\n"
        )
    committed = msgspec.json.decode(_FIGURES.read_bytes(), type=dict[str, float])
    table = Table(title="instructions, as multiples of the calibration's")
    for column in ("part", "millions", "now", "committed", "ratio"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, ratio in ratios.items():
        change = ratio / committed[part]
        style = "red" if change > _WORSE else ""
        table.add_row(
            part, f"{found[part] / 1e6:,.1f}", f"{ratio:.3f}", f"{committed[part]:.3f}", f"{change:.3f}", style=style
        )
    Console().print(table)
    worse = [part for part, ratio in ratios.items() if ratio > committed[part] * _WORSE]
    if worse:
        typer.echo(
            f"error: {', '.join(worse)}: more than 15 % above the committed figure. Find out why; if it is meant, "
            "python -m gregale.bench check --update",
            err=True,
        )
        raise typer.Exit(1)
