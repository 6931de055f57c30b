"""What an expression can see: the variables behind `$` and `_`, and what the functions of spec 3.2 ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Scope(Mapping[str, Any]):
    """A read-only mapping of variables, plus the questions that expression functions ask.

    The base answers as outside of any execution; the core answers for an execution and its current task.
    """

    def root(self) -> Any:
        """What `$` and `_` are when used whole: this mapping, unless the scope stands for another value."""
        return self

    def task(self, name: str | None = None) -> dict[str, Any] | None:
        del name
        return None

    def task_field(self, name: str | None, field: str) -> Any:
        """`task(name).field` without building the whole map. Raises KeyError or TypeError where that would fail."""
        task = self.task(name)
        if task is None:
            raise TypeError("no such task")
        return task[field]

    def tasks(
        self,
        workflow_execution_id: str | None = None,
        recursive: bool = False,
        state: str | None = None,
        flat: bool = False,
    ) -> list[dict[str, Any]]:
        del workflow_execution_id, recursive, state, flat
        return []

    def execution(self) -> dict[str, Any] | None:
        return None

    def executions(self, **filters: Any) -> list[dict[str, Any]]:
        del filters
        return []

    def env(self) -> dict[str, Any]:
        return {}

    def global_(self, name: str) -> Any:
        del name
        return None

    def uuid(self) -> str:
        raise LookupError("uuid() is not available here")


class MapScope(Scope):
    """A scope over a plain map, for evaluation outside of an execution."""

    def __init__(self, data: Mapping[str, Any], env: Mapping[str, Any] | None = None, new_id: Any = None):
        self._data = data
        self._env = env or {}
        self._new_id = new_id

    def __getitem__(self, name: str) -> Any:
        return self._data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def env(self) -> dict[str, Any]:
        return dict(self._env)

    def uuid(self) -> str:
        return str(self._new_id()) if self._new_id else super().uuid()
