"""Tests of workflows written in YAML: what to run, what the actions pretend, what must come out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from gregale import yamltext
from gregale.actions import ActionContext, Registry
from gregale.actions.std.basic import pause_seconds
from gregale.core import ActionDone, ActionInfo, Execution, Rejected, RunAction
from gregale.core.scope import result as task_result
from gregale.core.work import Work
from gregale.executor.run import Actions
from gregale.executor.run import run as run_action
from gregale.expressions import ExpressionError
from gregale.language import InvalidDocument, kind_of
from gregale.rehearsal.mocks import InvalidMock, Mocks
from gregale.rehearsal.world import World

_REAL = ("std.noop", "std.echo", "std.fail", "std.sleep", "std.test_dict", "std.js", "std.javascript")
"""Actions that touch nothing outside: they run for real, in no time."""


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`output` and `state_info` (a part of it) of the workflow; `tasks`: a state, or a map of state, published, result, runs;
    `ran`, `not_ran`: names; `calls`: per action or `task:<name>` a number, or the inputs in order (each a subset);
    `took`: virtual seconds."""

    state: str = "SUCCESS"
    output: Any = msgspec.UNSET
    state_info: str | None = None
    tasks: dict[str, Any] = {}
    ran: list[str] = []
    not_ran: list[str] = []
    calls: dict[str, Any] = {}
    took: float | None = None
    rejected: str | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    run: str = ""
    input: dict[str, Any] = {}
    params: dict[str, Any] = {}
    env: dict[str, Any] = {}
    mocks: dict[str, Any] = {}
    expect: Expect = Expect()


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`workflow`: a file, or several, beside the test file."""

    workflow: str | list[str]
    tests: list[Case]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a case: `problems` is empty when it passed."""

    name: str
    problems: tuple[str, ...]
    took: float
    tasks: tuple[tuple[str, str], ...] = ()


class InvalidSuite(ValueError):
    """A test file that cannot be read, or workflows of it that are not valid."""


def read_suite(path: Path) -> Suite:
    """Raises InvalidSuite."""
    try:
        return msgspec.convert(yamltext.parse(path.read_bytes()).data, Suite)
    except (OSError, yamltext.YamlError, msgspec.ValidationError) as e:
        raise InvalidSuite(f"{path}: {e}") from None


def run_suite(path: Path, registry: Registry, only: str | None = None) -> list[Outcome]:
    """Run every case of a test file, or those whose name contains `only`. Raises InvalidSuite."""
    suite = read_suite(path)
    files = [suite.workflow] if isinstance(suite.workflow, str) else suite.workflow
    texts = []
    for name in files:
        try:
            texts.append((path.parent / name).read_text())
        except OSError as e:
            raise InvalidSuite(f"{path}: cannot read {name}: {e.strerror}") from None
    return [_run(case, texts, registry) for case in suite.tests if only is None or only in case.name]


class _Stage:
    """The world of one case, with every call recorded."""

    def __init__(self, case: Case, texts: list[str], registry: Registry):
        self.case = case
        self.registry = registry
        self.mocks = Mocks(case.mocks)
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.problems: list[str] = []
        self.world = World(self._info, self._handle)
        self.names: list[str] = []
        for text in texts:
            kind = kind_of(yamltext.parse(text).data)
            if kind == "workbook":
                self.names += self.world.add_workbook(text)
            elif kind == "actions":
                self.world.add_actions(text)
            else:
                self.names += self.world.add_workflows(text)

    def _info(self, name: str) -> ActionInfo | None:
        known = self.registry.info(name)
        if known is None and self.mocks.matches(name):
            return ActionInfo(name, any_parameters=True)
        return known

    def _handle(self, command: RunAction) -> ActionDone | None:
        execution = self.world.executions_by_id[command.execution_id]
        task = execution.tasks[command.task_id].name if command.task_id else ""
        self.calls.append((command.action, task, command.input))
        mocked = self.mocks.outcome(command.action, task, command.input)
        if mocked is not None:
            if mocked.never:
                return None
            return self._later(
                command,
                ActionDone(command.action_id, mocked.result, mocked.error, mocked.cancel, command.attempt),
                mocked.after,
            )
        if not command.is_sync:
            return None
        if command.action not in _REAL:
            self.problems.append(f"task '{task}' called {command.action}, which is not mocked: add it under mocks")
            return ActionDone(command.action_id, error=f"{command.action} is not mocked", attempt=command.attempt)
        given = dict(command.input)
        seconds = pause_seconds(given.pop("delay", 0) if command.action == "std.echo" else given.get("seconds", 0))
        if command.action == "std.sleep":
            given["seconds"] = 0
        result = asyncio.run(
            run_action(Actions(self.registry), command.action, given, ActionContext(command.action_id))
        )
        assert result is not None
        done = ActionDone(command.action_id, result.data, result.error, result.cancel, command.attempt)
        return self._later(command, done, seconds)

    def _later(self, command: RunAction, done: ActionDone, seconds: float) -> ActionDone | None:
        if seconds <= 0:
            return done
        self.world.at(self.world.now + seconds, command.execution_id, done)
        return None


def _run(case: Case, texts: list[str], registry: Registry) -> Outcome:
    try:
        stage = _Stage(case, texts, registry)
    except (InvalidDocument, InvalidMock, yamltext.YamlError) as e:
        return Outcome(case.name, (str(e),), 0.0)
    started = stage.world.now
    name = case.run or (stage.names[0] if stage.names else "")
    params = {**case.params, **({"env": case.env} if case.env else {})}
    try:
        execution_id = stage.world.create(name, case.input, params)
    except KeyError:
        return Outcome(case.name, (f"no workflow '{name}'; there are: {', '.join(stage.names)}",), 0.0)
    except (Rejected, ExpressionError) as e:
        wanted = case.expect.rejected
        fits = wanted is not None and wanted in str(e)
        return Outcome(case.name, () if fits else (f"the start was refused: {e}",), 0.0)
    try:
        stage.world.run()
    except RuntimeError as e:
        return Outcome(case.name, (str(e),), stage.world.now - started)
    execution = stage.world.executions_by_id[execution_id]
    problems = stage.problems + _compare(case.expect, execution, stage, stage.world.now - started)
    tasks = tuple((t.name, t.state.value) for t in _tasks(execution))
    return Outcome(case.name, tuple(problems), stage.world.now - started, tasks)


def _tasks(execution: Execution) -> list[Any]:
    return sorted(execution.tasks.values(), key=lambda t: t.seq)


def _compare(expect: Expect, execution: Execution, stage: _Stage, took: float) -> list[str]:
    problems = []
    if expect.rejected is not None:
        problems.append(f"the start was to be refused with '{expect.rejected}', and was accepted")
    if execution.state.value != expect.state:
        why = f": {execution.state_info}" if execution.state_info else ""
        problems.append(f"state is {execution.state.value}, expected {expect.state}{why}")
    if expect.output is not msgspec.UNSET and execution.output != expect.output:
        problems.append(f"output is {_json(execution.output)}, expected {_json(expect.output)}")
    if expect.state_info is not None and expect.state_info not in (execution.state_info or ""):
        problems.append(f"state_info is {execution.state_info!r}, expected to contain {expect.state_info!r}")
    if expect.took is not None and abs(took - expect.took) > 1e-6:
        problems.append(f"it took {took:g} s, expected {expect.took:g} s")
    ran = [t.name for t in _tasks(execution)]
    problems += [f"task '{n}' did not run" for n in expect.ran if n not in ran]
    problems += [f"task '{n}' ran" for n in expect.not_ran if n in ran]
    work = Work(execution, stage.world.decision())
    for name, wanted in expect.tasks.items():
        problems += _compare_task(name, {"state": wanted} if isinstance(wanted, str) else wanted, execution, work)
    for pattern, calls in expect.calls.items():
        problems += _compare_calls(pattern, calls, stage.calls)
    return problems


def _compare_task(name: str, wanted: dict[str, Any], execution: Execution, work: Work) -> list[str]:
    found = [t for t in _tasks(execution) if t.name == name]
    if not found:
        return [f"task '{name}' did not run"]
    last = found[-1]
    actual = {
        "state": last.state.value,
        "published": last.published or {},
        "result": task_result(work, last),
        "runs": len(found),
    }
    unknown = [k for k in wanted if k not in actual]
    problems = [f"task '{name}': cannot check '{k}'; known are {', '.join(actual)}" for k in unknown]
    return problems + [
        f"task '{name}': {key} is {_json(actual[key])}, expected {_json(value)}"
        for key, value in wanted.items()
        if key in actual and actual[key] != value
    ]


def _compare_calls(pattern: str, wanted: Any, calls: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    made = [given for action, task, given in calls if pattern in (action, f"task:{task}")]
    if isinstance(wanted, int):
        return [] if len(made) == wanted else [f"{pattern} was called {len(made)} times, expected {wanted}"]
    if len(made) != len(wanted):
        return [f"{pattern} was called {len(made)} times, expected {len(wanted)}: {_json(made)}"]
    return [
        f"call {i + 1} of {pattern}: {key} is {_json(given.get(key))}, expected {_json(value)}"
        for i, (given, subset) in enumerate(zip(made, wanted, strict=True))
        for key, value in subset.items()
        if given.get(key) != value
    ]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
