"""Both languages: typing, text, errors, bounds (language spec 3)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gregale import expressions
from gregale.expressions import ExpressionError, MapScope, Settings

DATA = {"i": 3, "l": [1, 2], "m": {"k": "v"}, "n": None, "t": True, "s": "text", "secret": "hunter2"}


def ev(value: Any, data: dict[str, Any] | None = None) -> Any:
    return expressions.evaluate(value, MapScope(DATA if data is None else data, env={"e": 1}, new_id=lambda: "id"))


@pytest.mark.parametrize(
    ("yaql", "jinja", "expected"),
    [
        ("<% $.i %>", "{{ _.i }}", 3),
        ("<% $.l %>", "{{ _.l }}", [1, 2]),
        ("<% $.m %>", "{{ _.m }}", {"k": "v"}),
        ("<% $.n %>", "{{ _.n }}", None),
        ("<% $.t %>", "{{ _.t }}", True),
        ("<% $.m.k %>", "{{ _.m.k }}", "v"),
        ("v=<% $.i %>", "v={{ _.i }}", "v=3"),
        ("<% $.t %>,<% $.n %>,<% $.m %>", "{{ _.t }},{{ _.n }},{{ _.m }}", "True,None,{'k': 'v'}"),
        (" <% $.i %>", " {{ _.i }}", " 3"),
        ("<% $.i %> <% $.i %>", "{{ _.i }} {{ _.i }}", "3 3"),
        ("<% env().e %>", "{{ env().e }}", 1),
        ("<% $.get(x, 5) %>", "{{ _.x|default(5) }}", 5),
        ("<% uuid() %>", "{{ uuid() }}", "id"),
    ],
)
def test_typing_values_survive_and_text_mixes_become_strings(yaql: str, jinja: str, expected: Any) -> None:
    assert ev(yaql) == expected
    assert ev(jinja) == expected
    assert type(ev(yaql)) is type(ev(jinja)) is type(expected)


def test_yaql_typing_bare_words_are_constants() -> None:
    assert ev("<% $.s = text %>") is True
    assert ev("<% word %>") == "word"


def test_jinja_typing_blocks_render_also_alone_and_one_trailing_newline_is_dropped() -> None:
    assert ev("{% if _.t %}yes{% endif %}") == "yes"
    assert ev("{% for x in _.l %}{{ x }};{% endfor %}") == "1;2;"
    assert ev("{{ _.i }}\n") == "3"
    assert ev('{{ {"a": {"b": 1}} }}') == "{'a': {'b': 1}}"  # the inner }} breaks purity [Q]


def test_a_yaql_expression_split_over_lines_is_literal_text() -> None:
    assert ev("<% $.i +\n 1 %>") == "<% $.i +\n 1 %>"


def test_jinja_handles_the_whole_of_a_mixed_string() -> None:
    assert ev("{{ _.i }} <% $.i %>") == "3 <% $.i %>"


def test_values_are_walked_to_any_depth_and_keys_are_never_evaluated() -> None:
    assert ev({"<% $.i %>": [{"x": ["<% $.i %>", 5, None]}]}) == {"<% $.i %>": [{"x": [3, 5, None]}]}


def test_sets_and_iterators_become_lists() -> None:
    assert sorted(ev("<% $.l.toSet() %>")) == [1, 2]
    assert ev("<% range(0, 3) %>") == [0, 1, 2]
    assert ev("<% $.l.select($ * 2) %>") == [2, 4]


@pytest.mark.parametrize(
    "text",
    [
        "<% $.zz %>",
        "{{ _.zz }}",
        "<% $.m.zz %>",
        "{{ _.m.zz }}",
        "<% nope() %>",
        "{{ nope() }}",
        "<% json_parse('{') %>",
        "<% data() %>",
    ],
)
def test_missing_keys_and_unknown_functions_are_errors(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"Can not evaluate (YAQL|Jinja) expression \[expression=.*, error="):
        ev(text)


@pytest.mark.parametrize(
    "text",
    [
        "<% $.foo() %>",
        "<% $.secret.foo.bar %>",
        "<% int($.secret) %>",
        "<% $.zz %>",
        "{{ _.secret.foo.bar }}",
        "<% $.secret + 1 %>",
        "<% json_parse($.secret) %>",
    ],
)
def test_secrets_never_appear_in_error_texts(text: str) -> None:
    with pytest.raises(ExpressionError) as e:
        ev(text)
    assert "hunter2" not in str(e.value)


def test_yaml_parse_takes_anchors_as_text() -> None:
    assert ev("<% yaml_parse('{a: &x 1, b: *x}') %>") == {"a": "&x 1", "b": "*x"}


ENDLESS = (
    "<% range(0, 1000000000).sum() %>",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
)
BACKTRACKING = "<% ('a' * 40 + 'b') =~ '(a+)+$' %>"


@pytest.mark.parametrize("text", [*ENDLESS, BACKTRACKING])
def test_no_expression_can_hang_an_engine(text: str, bounds: None) -> None:
    started = time.monotonic()
    with pytest.raises(ExpressionError, match=r"longer than 0.3 s"):
        ev(text)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("text", ENDLESS)
def test_no_expression_can_hang_another_thread(text: str, bounds: None) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ExpressionError, match=r"longer than 0.3 s"):
        pool.submit(ev, text).result(10)


@pytest.mark.parametrize(
    "text",
    [
        "<% 'a' * 1000000000 %>",
        "<% pow(10, 100000000) %>",
        "{{ 'a' * 1000000000 }}",
        "{{ 10 ** 100000000 }}",
        "<% [1] * 1000000000 %>",
        "<% 1000000000 * [1] %>",
        "{{ range(1000000)|list }}",
        "<% repeat(1).toList() %>",
    ],
)
def test_no_expression_can_eat_the_memory(text: str, bounds: None) -> None:
    with pytest.raises(ExpressionError):
        ev(text)


def test_jinja_is_sandboxed() -> None:
    with pytest.raises(ExpressionError):
        ev("{{ ''.__class__.__mro__ }}")
    with pytest.raises(ExpressionError):
        ev("{{ _.l.append(1) }}")


@pytest.fixture
def bounds() -> Iterator[None]:
    expressions.configure(Settings(seconds=0.3))
    yield
    expressions.configure(Settings())


@pytest.mark.parametrize(
    ("language", "text", "other"), [("yaql", "<% 1 %>", "{{ 1 }}"), ("jinja", "{{ 1 }}", "<% 1 %>")]
)
def test_language_switch_off_refuses_at_upload_and_at_evaluation(language: str, text: str, other: str) -> None:
    expressions.configure(Settings(languages=frozenset({"yaql", "jinja"} - {language})))
    try:
        wrong = expressions.check(text)
        assert wrong is not None
        assert "switched off" in wrong.message
        with pytest.raises(ExpressionError, match="switched off"):
            ev(text)
        assert expressions.check(other) is None
        assert ev(other) == 1
    finally:
        expressions.configure(Settings())


def test_mixed_languages_are_refused_by_the_check() -> None:
    wrong = expressions.check("<% 1 %> {{ 2 }}")
    assert wrong is not None
    assert wrong.kind == "expression"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<% $.a.b + $.c %>", {"a", "c"}),
        ("<% $.l.where($.x > $.y) %>", {"l"}),
        ("<% concat($.a, $.b) %>", {"a", "b"}),
        ("<% $.get(x) %>", set()),
        ("{{ _.a.b + _.c }}", {"a", "c"}),
        ("{{ _.a|default(1) }}", set()),
        ("plain", set()),
    ],
)
def test_variables_that_an_expression_certainly_reads(text: str, found: set[str]) -> None:
    assert expressions.variables(text) == found


def test_functions_can_be_added_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from gregale.expressions import functions, jinja_engine, yaql_engine

    monkeypatch.setattr(functions, "added", lambda: {"twice": lambda x: x * 2})
    yaql_engine._root_context.cache_clear()
    jinja_engine._environment.cache_clear()
    try:
        assert ev("<% twice($.i) %>") == 6
        assert ev("{{ twice(4) }} {{ 5|twice }}") == "8 10"
    finally:
        yaql_engine._root_context.cache_clear()
        jinja_engine._environment.cache_clear()


@pytest.mark.parametrize(
    "name", ["env", "task", "tasks", "execution", "executions", "root", "uuid", "global_", "task_field"]
)
def test_variables_may_be_called_like_what_a_scope_can_do(name: str) -> None:
    assert ev(f"{{{{ _.{name} }}}}", {name: 5}) == 5
    assert ev(f"<% $.{name} %>", {name: 5}) == 5
    with pytest.raises(ExpressionError):
        ev(f"{{{{ _.{name} }}}}", {"other": 5})


def test_the_whole_context_is_a_map_in_both_languages() -> None:
    assert ev("{{ _ }}") == ev("<% $ %>") == DATA
    assert ev("{{ _|length }} {{ _ }}", {"a": 1}) == "1 {'a': 1}"
