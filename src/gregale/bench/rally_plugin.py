"""The reference workflows as scenarios of OpenStack Rally (extra `gregale[rally]`), which finds them by the entry point `rally_plugins`.

    GregaleWorkflows.run:
      - args: {url: "http://127.0.0.1:8989", workflow: sequence, n: 10}
        runner: {constant: {times: 20, concurrency: 4}}

An iteration uploads a workflow, runs it once, checks how it ended, and removes it; each of these is an atomic action of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

from rally.task import atomic, scenario, types, validation

from gregale.bench.shapes import SHAPES
from gregale.bench.target import Target, TargetError
from gregale.bench.watch import Watch


@types.convert()
@validation.add("enum", param_name="workflow", values=list(SHAPES))
@validation.add("number", param_name="n", minval=1, integer_only=True, nullable=True)
@validation.add("number", param_name="x", minval=1, integer_only=True, nullable=True)
@scenario.configure(name="GregaleWorkflows.run")
class Run(scenario.Scenario):
    """One execution of a reference workflow on a server of the Mistral API v2."""

    def run(self, url: str, workflow: str, n: int = 10, x: int = 10, action: str = "std.noop") -> None:
        """Run a reference workflow and check its state, its output and its tasks.

        :param url: where the server answers, with or without /v2
        :param workflow: sequence, parallel, parallel-sequences, parallel-joined, sequences-joined, with-items or combined
        :param n: how many tasks, or items, or tasks of each sequence
        :param x: how many sequences
        :param action: what every task runs
        """
        asyncio.run(self._run(url, workflow, n, x, {"action": action}))

    async def _run(self, url: str, workflow: str, n: int, x: int, action: dict[str, Any]) -> None:
        reference = SHAPES[workflow](n, x, action)
        async with Target(url) as target:
            with atomic.ActionTimer(self, "upload"):
                name = await target.define(reference)
            with atomic.ActionTimer(self, f"execute_{workflow}"):
                async with Watch(target, name) as watch:
                    key = await target.start(name, reference.input)
                    await watch.ended(key)
            with atomic.ActionTimer(self, "check"):
                wrong = await target.wrong(await target.execution(key), reference)
            if wrong is not None:
                raise TargetError(wrong)
            with atomic.ActionTimer(self, "remove"):
                await target.remove(name)
