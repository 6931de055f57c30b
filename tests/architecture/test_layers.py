"""Rules that hold for the whole of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from gregale.bus import Message
from gregale.lab.drills import SCENARIOS

SOURCE = Path(__file__).parents[2] / "src" / "gregale"
WALL = 400


def test_no_file_is_longer_than_the_wall() -> None:
    long = {
        str(f.relative_to(SOURCE)): n
        for f in SOURCE.rglob("*.py")
        if "versions" not in f.parts and (n := len(f.read_text().splitlines())) > WALL
    }
    assert long == {}


def test_the_core_has_no_await() -> None:
    for file in (SOURCE / "core").rglob("*.py"):
        assert not re.search(r"\b(await|async def)\b", file.read_text()), file.name


def test_every_package_says_what_it_is_for() -> None:
    for package in SOURCE.rglob("__init__.py"):
        if "versions" not in package.parts and "migrations" not in package.parts:
            assert package.read_text().lstrip().startswith('"""'), package


@pytest.mark.parametrize("page", ["coverage.md", "protocol.md", "scenarios.md"])
def test_every_test_that_a_table_names_exists(page: str) -> None:
    root = SOURCE.parents[1]
    table = (root / "docs" / page).read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", table)
    assert len(named) > 10
    for file, test in named:
        text = (root / file).read_text()
        assert not test or f"def {test}" in text, f"{file}::{test}"


def test_every_kind_of_message_has_its_line_in_the_protocol() -> None:
    page = (SOURCE.parents[1] / "docs" / "protocol.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    for kind in get_args(Message):
        tag = kind.__struct_config__.tag
        [line] = [found for found in lines if found.startswith(f"| `{tag}` ")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 7
        assert all(cells), f"a gap in the line of {tag}"


def test_every_scenario_of_the_list_has_its_line() -> None:
    page = (SOURCE.parents[1] / "docs" / "scenarios.md").read_text()
    assert [int(n) for n in re.findall(r"^\| S(\d+) \|", page, re.MULTILINE)] == list(range(1, 28))
    for name in re.findall(r"drills? `([\w-]+)`", page):
        assert name in SCENARIOS, name
