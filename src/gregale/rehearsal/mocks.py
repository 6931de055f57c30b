"""Actions that only pretend: what a test says they give, and what they were called with."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from gregale.actions.contract import Action, Result
from gregale.actions.registry import Registry
from gregale.core import ActionInfo


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a mocked call gives, `after` so many (virtual) seconds. `when`: only calls whose input has these values."""

    result: Any = None
    error: Any = None
    cancel: bool = False
    after: float = 0.0
    when: dict[str, Any] = {}
    never: bool = False


class InvalidMock(ValueError):
    """A mock that cannot be read."""


class Mocks:
    """Outcomes by pattern: an action's name (`std.http`, `tripleo.*`) or `task:<name>`, which wins."""

    def __init__(self, given: Mapping[str, Any] | None = None):
        self._outcomes: dict[str, list[Outcome]] = {}
        self._used: dict[str, int] = {}
        for pattern, value in (given or {}).items():
            self._outcomes[pattern] = [_outcome(pattern, v) for v in (value if isinstance(value, list) else [value])]

    def matches(self, name: str) -> bool:
        return self._pattern(name, None) is not None

    def _pattern(self, action: str, task: str | None) -> str | None:
        if task is not None and f"task:{task}" in self._outcomes:
            return f"task:{task}"
        for pattern in self._outcomes:
            if not pattern.startswith("task:") and fnmatchcase(action, pattern):
                return pattern
        return None

    def outcome(self, action: str, task: str | None, given: Mapping[str, Any]) -> Outcome | None:
        """The outcome of this call: of those whose `when` fits, the next one in turn, the last one again and again."""
        pattern = self._pattern(action, task)
        if pattern is None:
            return None
        fitting = [o for o in self._outcomes[pattern] if o.when and _fits(o.when, given)] or [
            o for o in self._outcomes[pattern] if not o.when
        ]
        if not fitting:
            return None
        key = f"{pattern} {fitting[0].when}"
        turn = self._used.get(key, 0)
        self._used[key] = turn + 1
        return fitting[min(turn, len(fitting) - 1)]


def _outcome(pattern: str, value: Any) -> Outcome:
    if isinstance(value, Outcome):
        return value
    if isinstance(value, dict) and value and value.keys() <= {"result", "error", "cancel", "after", "when", "never"}:
        try:
            return msgspec.convert(value, Outcome)
        except msgspec.ValidationError as e:
            raise InvalidMock(f"The mock of '{pattern}' cannot be read: {e}") from None
    return Outcome(result=value)


def _fits(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    return all(k in given and given[k] == v for k, v in wanted.items())


class MockedRegistry(Registry):
    """A registry in which mocked actions, known or not, give what their mock says."""

    def __init__(self, mocks: Mocks, real: Registry):
        super().__init__(real.settings)
        self._mocks = mocks
        self._real = real

    def get(self, name: str) -> Action:
        if not self._mocks.matches(name):
            return self._real.get(name)

        async def pretend(**given: Any) -> Any:
            outcome = self._mocks.outcome(name, None, given) or Outcome()
            return Result(error=outcome.error) if outcome.error is not None else outcome.result

        info = self._real.info(name) or ActionInfo(name, any_parameters=True)
        return Action(msgspec.structs.replace(info, is_sync=True, any_parameters=True), pretend, False)

    def info(self, name: str) -> ActionInfo | None:
        return self.get(name).info if self._mocks.matches(name) else self._real.info(name)
