"""Small fixed pieces of work, each the same to the instruction whenever it is done: what `check` counts.

As a program it does what its standard input names, a line at a time, and says when it is done.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator

from gregale.actions import ActionSettings, Registry
from gregale.bench.core import once, spec
from gregale.bench.shapes import Reference, about
from gregale.core import ActionDone, Decision, Definition, Work
from gregale.lab.simulation.run import simulate
from gregale.rehearsal.world import World
from gregale.store import Database, commit, load, upgrade
from gregale.store.definitions import spec_hash

_TASKS = 60


def _calibrate() -> None:
    """What the interpreter itself costs here: other builds of it take other numbers of instructions for the same."""
    table: dict[str, list[int]] = {}
    for i in range(100_000):
        table.setdefault(str(i % 997), []).append(i * i)


def _core(reference: Reference, registry: Registry) -> None:
    body = spec(reference)
    for _ in range(10):
        once(body, reference, registry)


class _Recorded(World):
    """Keeps what each decision has changed."""

    def __init__(self, registry: Registry):
        super().__init__(registry.info, lambda command: ActionDone(command.action_id, None, attempt=command.attempt))
        self.decided: list[list[Work]] = []

    def _commit(self, decision: Decision) -> None:
        self.decided.append([work for work in decision.works.values() if work.changed()])
        super()._commit(decision)


def _batches(reference: Reference, registry: Registry) -> list[list[Work]]:
    world = _Recorded(registry)
    body = spec(reference)
    world.define(Definition("d", "bench", "", body, spec_hash(body.body)))
    world.create("bench", reference.input)
    world.run()
    return world.decided


def _store(batches: list[list[Work]], databases: Iterator[Database]) -> None:
    database = next(databases)
    for works in batches:
        database.write(commit, works)
    database.read(load, [batches[0][0].execution.id])


def _empty() -> Database:
    made = Database()
    upgrade(made)
    return made


def parts() -> dict[str, Callable[[], object]]:
    """Each part by its name, prepared so that nothing but itself is counted; the store can be done twice."""
    registry = Registry(ActionSettings(plugins=False))
    reference = about("combined", _TASKS)
    batches, databases = _batches(reference, registry), iter([_empty(), _empty()])
    return {
        "calibration": _calibrate,
        "core": lambda: _core(reference, registry),
        "store": lambda: _store(batches, databases),
        "engine": lambda: simulate(1, quiet=True),
    }


def main() -> None:
    found = parts()
    for run in found.values():
        run()  # caches are filled, statements compiled
    gc.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        found[line.strip()]()
        print("done", flush=True)


if __name__ == "__main__":
    main()
