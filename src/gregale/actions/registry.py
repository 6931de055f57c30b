"""Which actions exist in a process: the standard set, gregale.command, and those of installed packages."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any

from gregale.actions.contract import Action, Result, arguments, from_function, raised, returned
from gregale.actions.settings import ActionSettings
from gregale.actions.std import STANDARD
from gregale.core import ActionInfo


class UnknownAction(LookupError):
    """No action of that name runs here."""


class Registry:
    """Actions by name. `broken` holds plug-ins that did not load, with the reason."""

    def __init__(self, settings: ActionSettings | None = None, extra: Iterable[Action] = ()):
        self.settings = settings or ActionSettings()
        self.broken: dict[str, str] = {}
        self._actions: dict[str, Action] = {}
        for function in STANDARD:
            self._add(from_function(function))
        if self.settings.command.enabled:
            from gregale.actions.command import command

            self._add(from_function(command))
        if self.settings.plugins:
            for group in ("gregale.actions", "mistral.actions"):
                self._load(group)
        for one in extra:
            self._add(one)

    def _add(self, action: Action) -> None:
        allow, deny = self.settings.allow, self.settings.deny
        if (not allow or action.info.name in allow) and action.info.name not in deny:
            self._actions[action.info.name] = action

    def _load(self, group: str) -> None:
        for entry in entry_points(group=group):
            if entry.name in self._actions:
                continue
            try:
                self._add(_adapted(entry.name, entry.load()))
            except Exception as e:  # a broken plug-in must not keep the others from working
                self.broken[entry.name] = f"{type(e).__name__}: {e}"

    def get(self, name: str) -> Action:
        """Raises UnknownAction."""
        found = self._actions.get(name)
        if found is None:
            reason = f": the plug-in did not load: {self.broken[name]}" if name in self.broken else ""
            raise UnknownAction(f"Failed to find action [action_name={name}]{reason}")
        return found

    def info(self, name: str) -> ActionInfo | None:
        found = self._actions.get(name)
        return None if found is None else found.info

    def at_once(self, name: str, given: dict[str, Any], action_id: str) -> Result | None:
        """The outcome of a trivial action, carried out here and now. None for any other, and for one that has to wait."""
        found = self._actions.get(name)
        if found is None or not found.trivial:
            return None
        try:
            coroutine = found.run(**arguments(found, given))
            coroutine.send(None)
        except StopIteration as e:
            return returned(name, action_id, e.value)
        except Exception as e:
            return raised(name, action_id, e)
        coroutine.close()
        return None

    def names(self) -> list[str]:
        return sorted(self._actions)


def _adapted(name: str, loaded: Any) -> Action:
    """A function as it is; a class of the `mistral_lib` contract through its adapter."""
    if inspect.isclass(loaded):
        from gregale.actions import mistral

        return mistral.adapted(name, loaded)
    return from_function(loaded, name)
