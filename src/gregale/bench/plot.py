"""Curves of a benchmark: throughput over nodes where their number was varied, else time per task over size."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from gregale.bench.results import Cell, Results

_WIDTH = 40


def _curves(results: Results) -> tuple[str, str, dict[str, list[tuple[int, float]]]]:
    """What the axes mean, and points by workflow."""
    cells = results.cells
    for kind in ("engines", "executors"):
        if len({getattr(c, kind) for c in cells}) > 1:
            return kind, "tasks/s", _by(cells, kind, "tasks_per_second")
    return "n", "ms per task", _by(cells, "n", "ms_per_task")


def _by(cells: list[Cell], across: str, up: str) -> dict[str, list[tuple[int, float]]]:
    found = defaultdict(list)
    for c in cells:
        rest = "" if across == "n" else f", n = {c.n:,}"
        if across == "engines" and len({o.executors for o in cells}) > 1:
            rest += f", {c.executors} executors"
        found[c.workflow + rest].append((getattr(c, across), getattr(c, up)))
    return {name: sorted(points) for name, points in found.items()}


def text(results: Results) -> str:
    """The curves as bars of characters."""
    across, up, curves = _curves(results)
    most = max(y for points in curves.values() for _, y in points)
    lines = []
    for name, points in curves.items():
        lines.append(f"{name}: {up} by {across}")
        for at, y in points:
            bar = "█" * max(1, round(y / most * _WIDTH))
            lines.append(f"{at:>8,} {bar} {y:,.4g} (× {y / points[0][1]:.2f})")
    return "\n".join(lines)


def svg(results: Results, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "gregale"  # the same figures give the same file
    from matplotlib import pyplot as plt

    across, up, curves = _curves(results)
    figure, axes = plt.subplots(figsize=(8, 5))
    for name, points in curves.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    if across == "n":
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title(", ".join(f"{k} {v}" for k, v in results.settings.items()), fontsize=9)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
