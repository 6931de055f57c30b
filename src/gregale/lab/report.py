"""What a drill has to say: what was broken, when, what was observed, and whether everything held."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from gregale.lab.checks import Check


class Fault(msgspec.Struct, frozen=True):
    """Something that was broken on purpose. Seconds from the beginning of the drill; `recovered` from its end to the next change of
    state that was committed."""

    kind: str
    since: float
    until: float
    recovered: float | None = None


class Report(msgspec.Struct):
    """`wrong`: executions that did not end as they must; `stuck`: those that did not end; `at_rest`: seconds from the last start
    until everything had ended."""

    drill: str
    database: str
    seconds: float = 0.0
    executions: int = 0
    states: dict[str, int] = {}
    operations: dict[str, int] = {}
    refusals: dict[str, int] = {}
    faults: list[Fault] = []
    wrong: list[str] = []
    stuck: list[str] = []
    duplicates: int = 0
    at_rest: float = 0.0
    checks: list[Check] = []
    notes: dict[str, Any] = {}

    @property
    def faults_by_kind(self) -> dict[str, int]:
        return dict(Counter(f.kind for f in self.faults))

    def failures(self, needs_faults: bool = True, floor: float = 0.5) -> list[str]:
        """Everything that did not hold. A drill that broke nothing, or in which too little succeeded, has shown nothing."""
        found = [*self.wrong, *(f"stuck: {key}" for key in self.stuck)]
        found += [f"{check.name}: {place}" for check in self.checks for place in check.broken]
        if self.refusals.get("500"):
            found.append(f"{self.refusals['500']} requests were answered with 500")
        if self.duplicates:
            found.append(f"{self.duplicates} unsafe actions ran more than once")
        if needs_faults and not self.faults:
            found.append("no fault was made: this drill has shown nothing")
        if not self.executions or self.states.get("SUCCESS", 0) < floor * self.executions:
            found.append(f"only {self.states.get('SUCCESS', 0)} of {self.executions} executions succeeded")
        return found

    def show(self, console: Console) -> None:
        failed = self.failures(bool(self.faults))
        verdict = "[bold red]failed[/]" if failed else "[green]held[/]"
        console.print(f"[bold]{self.drill}[/] on {self.database}: {verdict} after {self.seconds:.0f} s")
        facts = Table(box=None, show_header=False, pad_edge=False)
        facts.add_column(style="dim")
        facts.add_column()
        ended = ", ".join(f"{n} {state}" for state, n in sorted(self.states.items()))
        facts.add_row("executions", f"{self.executions} ({ended})")
        facts.add_row("starts", ", ".join(f"{n} {r}" for r, n in sorted(self.operations.items())))
        facts.add_row("faults", ", ".join(f"{n} × {k}" for k, n in sorted(self.faults_by_kind.items())) or "none")
        recovered = [f.recovered for f in self.faults if f.recovered is not None]
        if recovered:
            facts.add_row("next change", f"{max(recovered):.1f} s after a fault at the most")
        facts.add_row("at rest", f"{self.at_rest:.1f} s after the last start")
        facts.add_row("unsafe twice", str(self.duplicates))
        facts.add_row("stuck", str(len(self.stuck)))
        for name, value in self.notes.items():
            facts.add_row(name, str(value))
        console.print(facts)
        for check in self.checks:
            mark = "[red]✗[/]" if check.broken else "[green]✓[/]"
            console.print(f"  {mark} {check.name} ({check.looked_at} looked at)")
        for fault in failed[:20]:
            console.print(f"  {fault}", style="red", markup=False)
