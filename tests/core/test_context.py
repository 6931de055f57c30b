"""Contexts: merging against the definition of spec 4.3, and what they cost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from immutables import Map

from gregale.core import context
from gregale.core.context import Context

VALUES = st.one_of(
    st.integers(0, 3),
    st.none(),
    st.dictionaries(
        st.sampled_from("xyz"),
        st.one_of(st.integers(0, 3), st.dictionaries(st.sampled_from("pq"), st.integers(0, 3), max_size=2)),
        max_size=3,
    ),
)
PUBLISHES = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 20), PUBLISHES),
        st.tuples(st.just("merge"), st.lists(st.integers(0, 20), min_size=2, max_size=4), st.just({})),
    ),
    max_size=14,
)


def naive_merge(contexts: list[Context]) -> tuple[dict[str, Any], dict[str, int]]:
    """Fold whole contexts pair by pair, as the specification words it."""
    values, versions = dict(contexts[0].variables.items()), dict(contexts[0].versions.items())
    for other in contexts[1:]:
        theirs = dict(other.versions.items())
        values = _merge(values, dict(other.variables.items()), versions, theirs, "")
        for path, number in theirs.items():
            versions[path] = max(versions.get(path, 0), number)
    return values, versions


def _merge(
    left: dict[str, Any], right: dict[str, Any], lv: dict[str, int], rv: dict[str, int], prefix: str
) -> dict[str, Any]:
    result = dict(left)
    for key, value in right.items():
        path = f"{prefix}.{key}" if prefix else key
        if key not in result:
            result[key] = value
        elif isinstance(result[key], dict) and isinstance(value, dict):
            result[key] = _merge(result[key], value, lv, rv, path)
        elif rv.get(path, 0) > lv.get(path, 0):
            result[key] = value
    return result


def build(steps: list[Any]) -> Map[int, Context]:
    layers: Map[int, Context] = Map()
    for number, (kind, where, values) in enumerate(steps, 1):
        if kind == "publish":
            made = context.publish(context.layer(layers, where % number), number, values)
        else:
            made = context.merge(layers, [w % number for w in where], number)
        layers = layers.set(number, made)
    return layers


@given(STEPS, st.lists(st.integers(0, 20), min_size=2, max_size=5))
def test_merging_only_what_differs_equals_merging_everything(steps: list[Any], sources: list[int]) -> None:
    layers = build(steps)
    wanted = list(dict.fromkeys(s % (len(steps) + 1) for s in sources))
    merged = context.merge(layers, wanted, 99)
    values, _ = naive_merge([context.layer(layers, s) for s in wanted])
    assert dict(merged.variables.items()) == values


@given(STEPS)
def test_layers_rebuilt_from_rows_are_the_same(steps: list[Any]) -> None:
    layers = build(steps)
    rebuilt = context.rebuild((seq, layer.parents, layer.own) for seq, layer in sorted(layers.items()))
    for seq, layer in layers.items():
        assert rebuilt[seq].variables == layer.variables
        assert rebuilt[seq].versions == layer.versions


def test_a_merge_looks_only_at_what_the_branches_published() -> None:
    base = context.publish(context.EMPTY, 1, {f"v{i}": {"n": i} for i in range(1000)})
    layers: Map[int, Context] = Map({1: base})
    for seq in range(2, 502):
        layers = layers.set(seq, context.publish(base, seq, {f"own{seq}": seq}))
    merged = context.merge(layers, list(range(2, 502)), 999)
    assert len(merged.touched) == 500
    assert len(merged.variables) == 1500
