"""Random workflows, random outcomes, random order of delivery: every execution comes to rest, whatever happens on the way."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gregale.core import ActionDone, Decision, Pause, Rejected, Rerun, Resume, RunAction, Skip, Stop, Sweep
from gregale.core.invariants import broken
from gregale.language import InvalidDocument
from gregale.language.read import dumped
from gregale.rehearsal.world import World
from gregale.store import Database, commit, load, upgrade
from tests.core.test_purity import assert_same
from tests.play import REGISTRY

SIZE = 7
CLAUSES = ("on-success", "on-error", "on-complete", "on-skip")


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    """A body whose transitions only go forward, so that it ends if nothing is lost."""
    tasks: dict[str, Any] = {}
    for position in range(SIZE):
        later = [f"t{i}" for i in range(position + 1, SIZE)]
        body: dict[str, Any] = {"action": draw(st.sampled_from(["std.noop", "std.noop", "std.async_noop"]))}
        if draw(st.booleans()):
            body["publish"] = {draw(st.sampled_from("xyz")): draw(st.sampled_from([position, "<% task().result %>"]))}
        for clause in draw(st.lists(st.sampled_from(CLAUSES), unique=True, max_size=2)):
            targets = draw(
                st.lists(
                    st.sampled_from([*later, "noop", "pause", "fail"] if later else ["noop"]),
                    unique=True,
                    min_size=1,
                    max_size=3,
                )
            )
            guarded = draw(st.sampled_from([None, None, "<% true %>", "<% false %>"]))
            body[clause] = [{t: guarded} if guarded else t for t in targets]
        kind = draw(st.sampled_from(["plain"] * 5 + ["items", "sub", "missing"]))
        if kind == "items":
            body["with-items"] = "i in <% [1, 2, 3] %>"
            body["concurrency"] = draw(st.integers(0, 2))
        elif kind != "plain":
            del body["action"]
            body["workflow"] = "sub" if kind == "sub" else "no_such_workflow"
        for policy in draw(
            st.lists(
                st.sampled_from(["wait-before", "wait-after", "timeout", "retry", "pause-before"]),
                unique=True,
                max_size=1,
            )
        ):
            body[policy] = {"retry": {"count": 1, "delay": 2}, "pause-before": True}.get(policy, 3)
        tasks[f"t{position}"] = body
    for name, body in tasks.items():
        inbound = sum(
            any(name in (t if isinstance(t, str) else next(iter(t)),) for c in CLAUSES for t in other.get(c, ()))
            for other in tasks.values()
        )
        if inbound and draw(st.booleans()):
            body["join"] = draw(st.sampled_from(["all", "one", inbound]))
    return {"tasks": tasks}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["deliver"] * 6 + ["twice", "timer", "pause", "resume", "rerun", "skip", "sweep"]),
        st.integers(0, 50),
    ),
    max_size=40,
)
OUTCOMES = st.lists(st.sampled_from(["ok", "ok", "ok", "error", "cancel"]), min_size=1, max_size=12)


@given(workflows(), OUTCOMES, STEPS)
def test_every_execution_comes_to_rest(body: dict[str, Any], outcomes: list[str], steps: list[tuple[str, int]]) -> None:
    drive(body, outcomes, steps, None)


@settings(max_examples=settings.default.max_examples // 3)
@given(workflows(), OUTCOMES, STEPS)
def test_every_decision_can_be_stored_and_is_read_back_as_it_was(
    body: dict[str, Any], outcomes: list[str], steps: list[tuple[str, int]]
) -> None:
    database = Database()
    upgrade(database)
    drive(body, outcomes, steps, database)
    database.close()


def drive(body: dict[str, Any], outcomes: list[str], steps: list[tuple[str, int]], database: Database | None) -> None:
    """Run a workflow through random steps to its rest."""
    given_out = 0

    def handler(command: RunAction) -> ActionDone | None:
        nonlocal given_out
        outcome = outcomes[given_out % len(outcomes)]
        given_out += 1
        return ActionDone(
            command.action_id, given_out, "no" if outcome == "error" else None, outcome == "cancel", command.attempt
        )

    world = World(REGISTRY.info, handler) if database is None else Stored(REGISTRY.info, handler, database)
    try:
        world.add_workflows(
            dumped(
                {
                    "version": "2.0",
                    "wf": body,
                    "sub": {"tasks": {"a": {"on-success": "b"}, "b": {"action": "std.noop"}}},
                }
            )
        )
    except InvalidDocument:
        return  # a join of more than leads to it, say
    execution_id = world.create("wf")
    for step, choice in steps:
        with suppress(Rejected):
            one_step(world, execution_id, step, choice)
        check(world)
    settle(world, execution_id)
    check(world)
    found = world.executions_by_id[execution_id]
    assert found.state.completed, f"{found.state}: { {t.name: t.state.value for t in found.tasks.values()} }"
    before = dict(world.executions_by_id)
    world.apply(execution_id, Sweep())
    assert world.executions_by_id == before  # there was nothing to mend


class Stored(World):
    """Commits every decision, and compares what is read back with what is in memory."""

    def __init__(self, actions: Any, handler: Any, database: Database):
        super().__init__(actions, handler)
        self.database = database

    def _commit(self, decision: Decision) -> None:
        works = [w for w in decision.works.values() if w.changed()]
        self.database.write(commit, works)
        super()._commit(decision)
        for loaded in self.database.read(load, [w.execution.id for w in works]):
            assert_same(loaded, self.executions_by_id[loaded.id])


def one_step(world: World, execution_id: str, step: str, choice: int) -> None:
    execution = world.executions_by_id[execution_id]
    tasks = sorted(execution.tasks.values(), key=lambda t: t.seq)
    if step in ("deliver", "twice") and world.queue:
        world.queue.rotate(-(choice % len(world.queue)))  # messages overtake each other
        command = world.queue[0]
        world.step()
        if step == "twice":
            world.queue.append(command)
    elif step == "timer" and world.timers:
        world.fire()
    elif step == "pause":
        world.apply(execution_id, Pause())
    elif step == "resume":
        world.apply(execution_id, Resume())
    elif step == "sweep":
        world.apply(execution_id, Sweep())
    elif step in ("rerun", "skip") and tasks:
        task = tasks[choice % len(tasks)]
        world.apply(execution_id, Rerun(task.id) if step == "rerun" else Skip(task.id))


def settle(world: World, execution_id: str) -> None:
    """Faults have stopped: deliver everything, resume what pauses, and it must end."""
    for _ in range(60):
        world.run(max_steps=5000)
        for execution in list(world.executions_by_id.values()):
            if execution.state == "PAUSED":
                world.apply(execution.id, Resume())
        if world.executions_by_id[execution_id].state.completed and not world.queue:
            return


def check(world: World) -> None:
    for execution in world.executions_by_id.values():
        assert broken(execution) == []


def test_a_stopped_execution_is_told_from_one_that_moves() -> None:
    world = World(REGISTRY.info, lambda command: None)
    world.add_workflows("version: '2.0'\nwf: {tasks: {a: {action: std.noop}}}")
    execution_id = world.create("wf")
    world.run()
    assert broken(world.executions_by_id[execution_id]) == []
    import msgspec

    wrong = msgspec.structs.replace(world.executions_by_id[execution_id], open=0)
    assert broken(wrong) == ["open is 0, a recount gives 1", "nothing in it can move, and it is still RUNNING"]
    world.apply(execution_id, Stop("CANCELLED"))
