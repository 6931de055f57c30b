"""What a running workflow shows: a live table on a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gregale.cli.styles import STYLES
from gregale.core import Execution, Task, Work

_MOST_ROWS = 40


class Progress:
    """Fed by the engine with what each commit has changed. `done` is set when the watched execution has ended."""

    def __init__(self, out: TextIO, quiet: bool):
        self.done = asyncio.Event()
        self._console = Console(file=out, highlight=False)
        self._quiet = quiet
        self._executions: dict[str, Execution] = {}
        self._shown: dict[str, str] = {}
        self._watched: str | None = None

    def saw(self, works: list[Work]) -> None:
        for work in works:
            self._executions[work.execution.id] = work.execution
            if not self._quiet and not self._console.is_terminal:
                for task in work.tasks.values():
                    self._line(work.execution, task)
        self._check()

    def _check(self) -> None:
        watched = self._executions.get(self._watched or "")
        if watched is not None and watched.state.completed:
            self.done.set()

    def _line(self, execution: Execution, task: Task) -> None:
        if self._shown.get(task.id) == task.state.value:
            return
        self._shown[task.id] = task.state.value
        why = f": {task.state_info.splitlines()[0]}" if task.state_info else ""
        prefix = "" if execution.id == self._watched else f"{execution.workflow_name}/"
        self._console.print(f"{task.state.value:<9} {prefix}{task.name}{why}", markup=False, soft_wrap=True)

    @contextmanager
    def watching(self, execution_id: str) -> Iterator[None]:
        self._watched = execution_id
        self._check()
        if self._quiet:
            yield
        elif self._console.is_terminal:
            with Live(get_renderable=self._table, console=self._console, refresh_per_second=10, transient=False):
                yield
            self._summary()
        else:
            yield
            self._summary()

    def result(self) -> Execution:
        return self._executions[self._watched or ""]

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("task", "state", "time", "items", ""):
            table.add_column(name, style="dim" if not name else None)
        rows = list(self._rows(self._watched or "", 0))
        for row in rows[-_MOST_ROWS:]:
            table.add_row(*row)
        return table

    def _rows(self, execution_id: str, depth: int) -> Iterator[tuple[str | Text, ...]]:
        execution = self._executions.get(execution_id)
        if execution is None:
            return
        for task in sorted(execution.tasks.values(), key=lambda t: t.seq):
            items = "" if task.items is None else f"{task.items.done}/{task.items.count}"
            info = (task.state_info or "").splitlines()
            state = Text(task.state.value, style=STYLES[task.state.value])
            yield "  " * depth + task.name, state, _seconds(task), items, info[0][:80] if info else ""
            for position in range(len(task.children)):
                child = execution.children[task.children[position]]
                if child.kind == "WORKFLOW":
                    yield from self._rows(child.id, depth + 1)

    def _summary(self) -> None:
        execution = self.result()
        self._console.print()
        self._console.print(
            Text.assemble((execution.state.value, STYLES[execution.state.value]), f" {execution.workflow_name}")
        )
        if execution.state_info:
            self._console.print(
                execution.state_info.strip(), markup=False, style="red" if execution.state.value == "ERROR" else ""
            )
        if execution.output:
            self._console.print(
                json.dumps(execution.output, indent=2, ensure_ascii=False), markup=False, soft_wrap=True
            )


def _seconds(task: Task) -> str:
    if task.started_at is None:
        return ""
    return f"{(task.finished_at or time.time()) - task.started_at:.1f} s"
