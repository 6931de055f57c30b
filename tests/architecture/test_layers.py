"""Rules that hold for the whole of the code."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_every_line_of_the_coverage_table_names_tests_that_exist() -> None:
    root = SOURCE.parents[1]
    table = (root / "docs" / "coverage.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", table)
    assert len(named) > 60
    for file, test in named:
        text = (root / file).read_text()
        assert not test or f"def {test}" in text, f"{file}::{test}"
