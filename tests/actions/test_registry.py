"""Plug-ins, adapters, limits of running an action."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from gregale.actions import ActionContext, ActionSettings, Registry, Result, UnknownAction, action
from gregale.actions.contract import from_function
from gregale.executor.run import Actions, run


async def greet(context: ActionContext, name: str, greeting: str = "Hello") -> dict[str, str]:
    """Greets.

    More text."""
    return {"text": f"{greeting}, {name}", "in": context.workflow_name}


def blocking(seconds: float = 0) -> str:
    del seconds
    return threading.current_thread().name


@action("own.name", is_sync=False, idempotent=True)
async def declared(**anything: Any) -> None:
    del anything


def outcome(name: str, given: dict[str, Any], registry: Registry, timeout: float | None = None) -> Result | None:
    return asyncio.run(run(Actions(registry), name, given, ActionContext(workflow_name="wf"), timeout))


def test_a_plain_function_with_a_signature_is_enough() -> None:
    made = from_function(greet)
    assert [(p.name, p.required) for p in made.info.parameters] == [("name", True), ("greeting", False)]
    assert (made.signature, made.description, made.takes_context) == ('name, greeting="Hello"', "Greets.", True)
    registry = Registry(extra=[made, from_function(blocking), from_function(declared)])
    assert outcome("greet", {"name": "you"}, registry) == Result({"text": "Hello, you", "in": "wf"})
    result = outcome("blocking", {}, registry)
    assert result is not None
    assert result.data != threading.current_thread().name  # in a thread of its own
    info = registry.get("own.name").info
    assert (info.is_sync, info.idempotent, info.any_parameters) == (False, True, True)


class _Entry:
    def __init__(self, name: str, loaded: Any):
        self.name = name
        self._loaded = loaded

    def load(self) -> Any:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


def test_actions_come_by_entry_point_and_a_broken_one_keeps_nothing_else_from_working(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mistral_lib import actions as lib

    class Old(lib.Action):
        def __init__(self, size: int, label: str = "x"):
            super().__init__()
            self.size, self.label = size, label

        def run(self, context: Any) -> Any:
            if self.size < 0:
                return lib.Result(error="negative")
            return {"label": self.label * self.size, "wf": context.execution.workflow_name}

    class Later(lib.Action):
        def run(self, context: Any) -> Any:
            return None

        def is_sync(self) -> bool:
            return False

    class Neither:
        pass

    found = {
        "gregale.actions": [_Entry("my.greet", greet), _Entry("my.broken", ImportError("no module"))],
        "mistral.actions": [_Entry("old.one", Old), _Entry("old.later", Later), _Entry("old.neither", Neither)],
    }
    monkeypatch.setattr("gregale.actions.registry.entry_points", lambda group: found[group])
    registry = Registry()
    assert outcome("my.greet", {"name": "x"}, registry) == Result({"text": "Hello, x", "in": "wf"})
    assert outcome("old.one", {"size": 2}, registry) == Result({"label": "xx", "wf": "wf"})
    assert outcome("old.one", {"size": -1}, registry) == Result(error="negative")
    assert [(p.name, p.required) for p in registry.get("old.one").info.parameters] == [("size", True), ("label", False)]
    assert not registry.get("old.later").info.is_sync
    assert "no module" in registry.broken["my.broken"]
    assert "neither a function nor" in registry.broken["old.neither"]
    with pytest.raises(UnknownAction, match="did not load"):
        registry.get("my.broken")


def test_allow_and_deny_decide_which_actions_exist() -> None:
    assert Registry(ActionSettings(allow=("std.noop",), plugins=False)).names() == ["std.noop"]
    assert "std.ssh" not in Registry(ActionSettings(deny=("std.ssh",))).names()


def test_every_outcome_is_a_result() -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    async def odd() -> Any:
        return object()

    async def raises() -> None:
        raise KeyError("k")

    registry = Registry(extra=[from_function(f) for f in (slow, odd, raises)])
    texts = {name: outcome(name, {}, registry, 0.05).error for name in ("slow", "odd", "raises", "no.such")}  # type: ignore[union-attr]
    assert "longer than its task's timeout" in texts["slow"]
    assert "cannot be stored as JSON" in texts["odd"]
    assert "The action raised an exception [action=raises" in texts["raises"]
    assert "Failed to find action" in texts["no.such"]
