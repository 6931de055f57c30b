"""Many seeds hold; every message may be lost; every order of the last steps is right; and a missing defence is found."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from gregale.core import complete as core_complete
from gregale.core import start as core_start
from gregale.core.state import State
from gregale.engine.committing import Committer
from gregale.engine.publishing import message_of
from gregale.executor import executor as executor_module
from gregale.lab.simulation import Failure, campaign, simulate
from gregale.lab.simulation.world import World

store_commit = import_module("gregale.store.commit")  # the package has a function of that name

SEEDS = 2000
WORKERS = 2
FOUND_WITHIN = 150
"""Seeds in which the simulation finds any defence missing."""


@pytest.mark.parametrize("part", range(WORKERS))
def test_two_thousand_seeds_hold(part: int) -> None:
    number = SEEDS // WORKERS
    command = [sys.executable, "-m", "gregale.cli.main", "lab", "simulate"]
    done = subprocess.run(
        [*command, "--seeds", str(number), "--start", str(part * number), "--trace"],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{number} seeds held" in done.stdout
    for fault in (
        "crash",
        "hang",
        "drop",
        "repeat",
        "delay",
        "unheard",
        "database away",
        "broker away",
        "broker wiped",
    ):
        assert fault in done.stdout, f"no seed has drawn '{fault}'"


def test_the_same_seed_does_the_same_again() -> None:
    command = [sys.executable, "-m", "gregale.cli.main", "lab", "simulate", "--seeds", "3", "--start", "77"]
    first, second = (
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert first.stdout == second.stdout
    assert "3 seeds held" in first.stdout


@pytest.mark.parametrize("seed", [3, 11, 24])
def test_every_single_message_may_be_lost(seed: int) -> None:
    undisturbed = simulate(seed, quiet=True)
    assert undisturbed.messages > 5
    delays = []
    for number in range(undisturbed.messages):
        outcome = simulate(seed, lose=number, quiet=True)
        delays.append(outcome.seconds - undisturbed.seconds)
    print(f"a lost message costs {max(delays):.1f} s at the most")
    assert max(delays) < 20


# A missing defence is found ------------------------------------------------------------------------------------------


def no_swap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store_commit, "_STILL", store_commit._STILL.replace("t.revision = v.seen", "1 = 1"))


def no_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(executor_module, "needs_claim", lambda message, delivery: False)


def no_terminal_guard(patch: pytest.MonkeyPatch) -> None:
    original = core_complete.action_done

    def again(work: Any, event: Any) -> None:
        child = work.execution.children.get(event.action_id)
        if child is not None and child.state.completed:
            work.change_child(child, state=State.RUNNING)
            task = work.task(child.task_id)
            if task.state.completed:
                work.update(task, state=State.RUNNING, processed=False)
        original(work, event)

    patch.setattr(core_complete, "action_done", again)
    patch.setattr(store_commit, "_STILL", "t.revision = v.seen")


def publish_before_commit(patch: pytest.MonkeyPatch) -> None:
    original = Committer._commit

    async def early(self: Committer, decided: Any) -> Any:
        works = [w for decision, _ in decided for w in decision.works.values()]
        await self._engine.publisher.send([message_of(w.execution.root_id, c) for w in works for c in w.commands])
        return await original(self, decided)

    patch.setattr(Committer, "_commit", early)


DEFENCES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the swap": no_swap,
    "the claim": no_claim,
    "the terminal guard": no_terminal_guard,
    "publishing after the commit": publish_before_commit,
}


def found_within(seeds: Iterator[int], prepare: Callable[[World], None] | None = None) -> Failure | None:
    for seed in seeds:
        try:
            simulate(seed, prepare=prepare)
        except Failure as e:
            return e
    return None


@pytest.mark.parametrize("defence", list(DEFENCES))
def test_the_simulation_sees_that_a_defence_is_missing(defence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DEFENCES[defence](monkeypatch)
    failure = found_within(iter(range(FOUND_WITHIN)))
    assert failure is not None, f"nothing was noticed in {FOUND_WITHIN} seeds"
    print(f"without {defence}: {failure}")
    assert "replay: PYTHONHASHSEED=0 gregale lab simulate --seeds 1 --start" in str(failure)
    assert failure.trace


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the code has to say about its faults is in the trace."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", ["timers", "results", "abandoned", "unheld", "unstarted", "idle"])
def test_the_simulation_sees_that_a_sweep_is_missing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_start, "MAX_CHAIN", 2)  # chains of tasks go on in turns of their own, by messages

    def prepare(world: World) -> None:
        world.skipped_sweeps.add(kind)

    failure = found_within(iter(range(FOUND_WITHIN)), prepare)
    assert failure is not None, f"nothing was noticed in {FOUND_WITHIN} seeds"
    print(f"without the sweep for {kind}: {failure}")


def test_a_campaign_in_which_nothing_goes_wrong_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from gregale.lab.simulation import run

    monkeypatch.setattr(run, "_RATES", {})
    monkeypatch.setattr(run, "_EVENTS", ())
    monkeypatch.setattr(run, "simulate", lambda seed: run.Outcome(seed, {}, 1, 1, 1, 1.0))
    with pytest.raises(AssertionError, match="shown nothing"):
        campaign(range(60))
