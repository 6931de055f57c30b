"""`gregale graph`: a workflow as Mermaid, DOT, or a tree in the terminal."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.tree import Tree

from gregale.cli.load import read_any
from gregale.language import TaskSpec, WorkflowSpec
from gregale.language.spec import CLAUSES


class Format(StrEnum):
    text = "text"
    mermaid = "mermaid"
    dot = "dot"


_COLOURS = {"on-success": "green", "on-error": "red", "on-complete": "blue", "on-skip": "yellow", "requires": "blue"}


def graph(
    file: Annotated[Path, typer.Argument(help="A document of workflows or a workbook.")],
    workflow: Annotated[
        str | None, typer.Option("--workflow", "-w", help="Which workflow; all of them without it.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="text, mermaid or dot.")] = Format.text,
) -> None:
    """Draw a workflow.

    Example: gregale graph deploy.yaml -f dot | dot -Tsvg > deploy.svg
    """
    specs = read_any(file).workflows
    chosen = [s for s in specs if workflow is None or s.name == workflow or s.name.endswith("." + workflow)]
    if not chosen:
        typer.echo(
            f"error: no workflow '{workflow}' in {file}; there are: {', '.join(s.name for s in specs)}", err=True
        )
        raise typer.Exit(1)
    for spec in chosen:
        if form is Format.text:
            Console().print(_tree(spec))
        else:
            typer.echo(mermaid(spec) if form is Format.mermaid else dot(spec))


def edges(spec: WorkflowSpec) -> list[tuple[str, str, str, str]]:
    """(from, to, clause, guard) of every transition; engine commands are targets too."""
    if spec.type == "reverse":
        return [(r, name, "requires", "") for name, task in spec.tasks.items() for r in task.requires]
    return [
        (name, t.target, clause, t.guard or "")
        for name, task in spec.tasks.items()
        for clause in CLAUSES
        for t in task.clause(clause).transitions
    ]


def _label(task: TaskSpec) -> str:
    called = task.workflow or task.action or ""
    extra = " ×" if task.with_items else ""
    join = f" join:{task.join}" if task.join else ""
    return f"{task.name}{join}\n{called}{extra}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', "'").replace("\n", "\\n") + '"'


def mermaid(spec: WorkflowSpec) -> str:
    ids = {name: f"t{i}" for i, name in enumerate(spec.tasks)}
    lines = [f"%% {spec.name}", "flowchart TD"]
    for name, task in spec.tasks.items():
        text = _label(task).replace('"', "'").replace("\n", "<br/>")
        shape = ('{{"', '"}}') if task.join else ('[["', '"]]') if task.workflow else ('["', '"]')
        lines.append(f"  {ids[name]}{shape[0]}{text}{shape[1]}")
    for source, target, clause, guard in edges(spec):
        if target not in ids:
            ids[target] = f"c{len(ids)}"
            lines.append(f'  {ids[target]}(["{target}"])')
        arrow = "-.->" if clause == "on-error" else "-->"
        text = (clause + (f": {guard}" if guard else "")).replace('"', "'").replace("|", "/")
        lines.append(f'  {ids[source]} {arrow}|"{text}"| {ids[target]}')
    return "\n".join(lines)


def dot(spec: WorkflowSpec) -> str:
    lines = [
        f"digraph {_quoted(spec.name)} {{",
        "  node [shape=box, style=rounded, fontname=sans];",
        "  edge [fontname=sans, fontsize=10];",
    ]
    for name, task in spec.tasks.items():
        shape = ", shape=hexagon" if task.join else ", peripheries=2" if task.workflow else ""
        lines.append(f"  {_quoted(name)} [label={_quoted(_label(task))}{shape}];")
    for source, target, clause, guard in edges(spec):
        text = clause + (f"\n{guard}" if guard else "")
        style = ", style=dashed" if clause == "on-error" else ""
        lines.append(
            f"  {_quoted(source)} -> {_quoted(target)} [label={_quoted(text)}, color={_COLOURS[clause]}{style}];"
        )
    return "\n".join([*lines, "}"])


def _tree(spec: WorkflowSpec) -> Tree:
    root = Tree(f"[bold]{spec.name}[/bold] ({spec.type})")
    outgoing: dict[str, list[tuple[str, str, str]]] = {}
    for source, target, clause, guard in edges(spec):
        outgoing.setdefault(source, []).append((target, clause, guard))
    seen: set[str] = set()
    first = spec.start_tasks if spec.type == "direct" else tuple(n for n, t in spec.tasks.items() if not t.requires)
    todo = [(root, name, "", "") for name in reversed(first)]
    while todo:
        parent, name, clause, guard = todo.pop()
        how = f"[{_COLOURS[clause]}]{clause}[/] " if clause else ""
        when = f" [dim]if {guard}[/dim]".replace("[[", "\\[[") if guard else ""
        if name not in spec.tasks:
            parent.add(f"{how}[italic]{name}[/italic]{when}")
            continue
        again = name in seen
        task = spec.tasks[name]
        called = f" [dim]{task.workflow or task.action}{' ×' if task.with_items else ''}[/dim]"
        join = f" [magenta]join: {task.join}[/magenta]" if task.join else ""
        node = parent.add(
            f"{how}{name}{join}{'' if again else called}{when}{' [dim](see above)[/dim]' if again else ''}"
        )
        if not again:
            seen.add(name)
            todo.extend((node, t, c, g) for t, c, g in reversed(outgoing.get(name, [])))
    return root
