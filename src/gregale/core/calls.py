"""What a task calls: actions with their parameters checked, ad-hoc actions unfolded, sub-workflows found
(language spec 5.3, 7.4 and 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gregale import expressions
from gregale.core.errors import InvalidInput, invalid_input
from gregale.core.scope import ExecutionScope
from gregale.core.view import ActionInfo, Definition, Parameter
from gregale.core.work import Work
from gregale.expressions import MapScope, Scope
from gregale.language import ActionSpec
from gregale.language.spec import REQUIRED

MAX_ADHOC_DEPTH = 30


class ActionNotFound(InvalidInput):
    """No action of that name. `graceful` where the task may handle it (a missing base, spec 7.4)."""

    def __init__(self, name: str, namespace: str, graceful: bool = False):
        self.graceful = graceful
        super().__init__(f"Failed to find action [action_name={name}, namespace={namespace}]")


class BrokenAdhoc(InvalidInput):
    """An ad-hoc action whose own definition cannot be carried out; the task may handle it."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """An action ready to be scheduled: as the task names it, and as it really runs."""

    info: ActionInfo
    name: str
    input: dict[str, Any]
    base: ActionInfo
    base_input: dict[str, Any]

    @property
    def runs(self) -> tuple[str, dict[str, Any]] | None:
        """The action and input for an executor, None where they are those that the task names."""
        if self.base is self.info and not self.base.runs_as:
            return None
        return self.base.runs_as or self.base.name, self.base_input


def find_action(work: Work, name: str) -> ActionInfo | None:
    """`<workbook>.<name>` first where the workflow came from a workbook, in the definition's namespace (spec 8)."""
    execution = work.execution
    view = work.decision.view
    if execution.workbook:
        found = view.action(f"{execution.workbook}.{name}", execution.namespace, execution.project_id)
        if found is not None:
            return found
    return view.action(name, execution.namespace, execution.project_id)


def prepare(work: Work, name: str, given: dict[str, Any], scope: ExecutionScope) -> Call:
    """Raises ActionNotFound, InvalidInput, BrokenAdhoc, ExpressionError."""
    info = find_action(work, name)
    if info is None:
        raise ActionNotFound(name, work.execution.namespace)

    def lookup(base: str) -> ActionInfo | None:
        return work.decision.view.action(base, work.execution.namespace, work.execution.project_id)

    return unfold(info, given, scope, lookup, work.execution.namespace)


def unfold(info: ActionInfo, given: dict[str, Any], scope: Scope, lookup: Any, namespace: str) -> Call:
    """Check parameters and go down through ad-hoc actions to the action that runs."""
    check_parameters(info, given)
    current, values = info, given
    seen = [info.name]
    while current.adhoc is not None:
        try:
            values = _base_input(current.adhoc, values, scope)
        except expressions.ExpressionError as e:
            raise BrokenAdhoc(str(e)) from None
        base = lookup(current.adhoc.base)
        if base is None:
            raise ActionNotFound(current.adhoc.base, namespace, graceful=True)
        if base.name in seen or len(seen) > MAX_ADHOC_DEPTH:
            raise BrokenAdhoc(f"The ad-hoc action '{info.name}' is based on itself: {' → '.join([*seen, base.name])}")
        seen.append(base.name)
        try:
            check_parameters(base, values)
        except InvalidInput as e:
            raise BrokenAdhoc(str(e)) from None
        current = base
    return Call(info, info.name, given, current, values)


def check_parameters(info: ActionInfo, given: dict[str, Any]) -> None:
    """Raises InvalidInput, naming every missing and unexpected parameter."""
    if info.any_parameters:
        return
    names = {p.name for p in info.parameters}
    missing = [p.name for p in info.parameters if p.required and p.name not in given]
    wrong = invalid_input(info.name, "action", missing, [n for n in given if n not in names])
    if wrong is not None:
        raise wrong


class _Over(MapScope):
    """An ad-hoc action's own input above the scope it is called in."""

    def __init__(self, own: dict[str, Any], below: Scope):
        super().__init__(own)
        self._below = below

    def __getitem__(self, name: str) -> Any:
        return self._data[name] if name in self._data else self._below[name]

    def env(self) -> dict[str, Any]:
        return self._below.env()

    def global_(self, name: str) -> Any:
        return self._below.global_(name)

    def uuid(self) -> str:
        return self._below.uuid()


def _base_input(spec: ActionSpec, given: dict[str, Any], scope: Scope) -> dict[str, Any]:
    own = {**{n: d for n, d in spec.input.items() if d is not REQUIRED}, **given}
    result: dict[str, Any] = expressions.evaluate(spec.base_input, _Over(own, scope))
    return result


def transform(info: ActionInfo, value: Any, lookup: Any) -> Any:
    """Pass a base result through the `output` of each ad-hoc action, innermost first (spec 7.4). Raises ExpressionError."""
    chain: list[ActionSpec] = []
    current: ActionInfo | None = info
    while current is not None and current.adhoc is not None and len(chain) < MAX_ADHOC_DEPTH:
        chain.append(current.adhoc)
        current = lookup(current.adhoc.base)
    for spec in reversed(chain):
        if spec.has_output and value:  # [Q 7.4] over a falsy result the output stays literal text
            value = expressions.evaluate(spec.output, _Result(value))
        elif spec.has_output:
            value = spec.output
    return value


class _Result(Scope):
    """`$` is a result of any type."""

    def __init__(self, value: Any):
        self._value = value

    def root(self) -> Any:
        return self._value

    def __contains__(self, name: object) -> bool:
        return isinstance(self._value, dict) and name in self._value

    def __getitem__(self, name: str) -> Any:
        return self._value[name]

    def __iter__(self) -> Any:
        return iter(self._value)

    def __len__(self) -> int:
        return len(self._value)


def find_workflow(work: Work, name: str) -> Definition | None:
    """`<workbook>.<name>` first, each in the start namespace and then in the default one (spec 8)."""
    execution = work.execution
    start = execution.params.get("namespace") or ""
    names = [f"{execution.workbook}.{name}", name] if execution.workbook else [name]
    for candidate in names:
        for namespace in dict.fromkeys((start, "")):
            found = work.decision.view.workflow(candidate, namespace, execution.project_id)
            if found is not None:
                return found
    return None


def adhoc_info(name: str, spec: ActionSpec, find: Callable[[str], ActionSpec | ActionInfo | None]) -> ActionInfo:
    """What is known of an ad-hoc action: its own signature, and the rest from its innermost base (spec 7.4).

    `find` gives an ad-hoc action's spec or another action's info by name; a cycle of bases ends the search.
    """
    seen = {name}
    found = find(spec.base)
    while isinstance(found, ActionSpec):
        if found.name in seen:
            found = None
            break
        seen.add(found.name)
        found = find(found.base)
    return ActionInfo(
        name=name,
        is_sync=found.is_sync if found is not None else True,
        parameters=tuple(Parameter(n, default is REQUIRED) for n, default in spec.input.items()),
        idempotent=found.idempotent if found is not None else False,
        adhoc=spec,
    )
