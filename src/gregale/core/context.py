"""Data contexts with shared structure (language spec 4.2 and 4.3).

A context is what one branch has published so far: variables, and a version counter per published path. Each publish makes a
new layer over its parent; a join makes a layer that merges several. Layers are immutable and stored once: what a context costs
grows with what is published, not with tasks times variables.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from immutables import Map

Versions = Map[str, int]
Layers = Map[int, "Context"]

ROOT = 0


class Context(msgspec.Struct, frozen=True, gc=False):
    """One layer. `own` is what it published, `touched` the variables that differ from every parent."""

    seq: int
    parents: tuple[int, ...]
    own: dict[str, Any]
    touched: frozenset[str]
    variables: Map[str, Any]
    versions: Versions

    def as_dict(self) -> dict[str, Any]:
        """Variables and `__versions`, as an inbound context is shown (spec 5.11)."""
        if self.seq == ROOT:
            return {}
        return {**dict(self.variables.items()), "__versions": dict(self.versions.items())}


EMPTY = Context(ROOT, (), {}, frozenset(), Map(), Map())


def layer(layers: Layers, seq: int) -> Context:
    found: Context = layers.get(seq, EMPTY)
    return found


def publish(parent: Context, seq: int, values: dict[str, Any], deep: bool = False) -> Context:
    """A layer with `values` over `parent`: a top-level replace, or a deep merge of maps (`merge_strategy: merge`)."""
    variables, versions = parent.variables, parent.versions
    with variables.mutate() as mutation:
        for name, value in values.items():
            old = variables.get(name)
            mutation[name] = (
                merged_maps(old, value) if deep and isinstance(old, dict) and isinstance(value, dict) else value
            )
        variables = mutation.finish()
    with versions.mutate() as bump:
        for path in _leaves(values, ""):
            bump[path] = bump.get(path, 0) + 1
        versions = bump.finish()
    return Context(seq, (parent.seq,), values, frozenset(values), variables, versions)


def _leaves(values: dict[str, Any], prefix: str) -> Iterable[str]:
    for name, value in values.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path


def merged_maps(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`new` over `old`, maps in maps merged as well."""
    result = dict(old)
    for name, value in new.items():
        before = result.get(name)
        result[name] = merged_maps(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def merge(layers: Layers, sources: Sequence[int], seq: int) -> Context:
    """The layer that joins `sources` (in task creation order): per variable, maps merge, else the higher version wins and
    the first of equals stays. Only variables that some source changed since their common past are looked at.
    """
    parents = tuple(dict.fromkeys(sources))
    contexts = [layer(layers, s) for s in parents]
    touching = _touching(layers, contexts)
    base = contexts[0]
    variables, versions = base.variables, base.versions
    new_versions = versions.mutate()
    changed = []
    for name in sorted(touching):
        order = sorted(touching[name])
        untouched = next((i for i in range(len(order) + 1) if i >= len(order) or order[i] != i), None)
        if untouched is not None and untouched < len(contexts):
            order = sorted({*order, untouched})
        value, found = _merged(name, [contexts[i] for i in order], new_versions)
        if found:
            changed.append((name, value))
    with variables.mutate() as mutation:
        for name, value in changed:
            mutation[name] = value
        variables = mutation.finish()
    return Context(seq, parents, {}, frozenset(touching), variables, new_versions.finish())


def _touching(layers: Layers, contexts: list[Context]) -> dict[str, set[int]]:
    """Which contexts (by position) changed which variables since the past that all of them share.

    Walks layers from the newest down; a bit set says which contexts stand on a layer. Where every layer left is under all
    of them, the common past is reached.
    """
    everyone = (1 << len(contexts)) - 1
    reached: dict[int, int] = {}
    heap: list[int] = []
    for position, context in enumerate(contexts):
        if context.seq not in reached:
            heapq.heappush(heap, -context.seq)
        reached[context.seq] = reached.get(context.seq, 0) | 1 << position
    partial = sum(1 for mask in reached.values() if mask != everyone)
    touching: dict[str, set[int]] = {}
    while heap and partial:
        seq = -heapq.heappop(heap)
        mask = reached.pop(seq)
        if mask != everyone:
            partial -= 1
        current = layer(layers, seq)
        if mask != everyone and current.touched:
            positions = _bits(mask)
            for name in current.touched:
                touching.setdefault(name, set()).update(positions)
        for parent in current.parents:
            before = reached.get(parent)
            if before is None:
                heapq.heappush(heap, -parent)
            after = (before or 0) | mask
            partial += (after != everyone) - (before is not None and before != everyone)
            reached[parent] = after
    return touching


def _bits(mask: int) -> list[int]:
    result = []
    while mask:
        low = mask & -mask
        result.append(low.bit_length() - 1)
        mask ^= low
    return result


_NONE: Any = object()


def _merged(name: str, contexts: list[Context], versions: Any) -> tuple[Any, bool]:
    """Fold one variable over `contexts` in order, raising the version counters in `versions`."""
    value: Any = _NONE
    for context in contexts:
        other = context.variables.get(name, _NONE)
        if other is _NONE:
            continue
        value = other if value is _NONE else _merge_value(name, value, other, versions, context.versions)
        _raise_versions(name, other, versions, context.versions)
    return value, value is not _NONE


def _merge_value(path: str, left: Any, right: Any, left_versions: Any, right_versions: Versions) -> Any:
    if left is right:
        return left
    if isinstance(left, dict) and isinstance(right, dict):
        result = dict(left)
        for key, value in right.items():
            if key in result:
                result[key] = _merge_value(f"{path}.{key}", result[key], value, left_versions, right_versions)
            else:
                result[key] = value
        return result
    return right if right_versions.get(path, 0) > left_versions.get(path, 0) else left


def _raise_versions(path: str, value: Any, versions: Any, others: Versions) -> None:
    """Afterwards each path counts the highest version of any source."""
    if others.get(path, 0) > versions.get(path, 0):
        versions[path] = others[path]
    if isinstance(value, dict):
        for key, inner in value.items():
            _raise_versions(f"{path}.{key}", inner, versions, others)


def rebuild(rows: Iterable[tuple[int, tuple[int, ...], dict[str, Any]]], deep: bool = False) -> Layers:
    """Layers from stored rows `(seq, parents, own)`, in order of `seq`; a row with several parents is a merge."""
    layers: Layers = Map()
    for seq, parents, own in rows:
        if len(parents) > 1:
            made = merge(layers, parents, seq)
        else:
            made = publish(layer(layers, parents[0]), seq, own, deep)
        layers = layers.set(seq, made)
    return layers
