"""The tests that SPECIFICATION.md and docs/ name are there, and every promise names one."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "SPECIFICATION.md", *sorted((ROOT / "docs").rglob("*.md"))]
# `tests/room/test_a.py::test_b`, or a file alone, which is then in the room of the one before it.
NAME = re.compile(r"`((?:tests/)?[\w/]*?(?:test|fuzz)_\w+\.(?:py|c)|tests/[\w/.]*)(?:::(\w+))?`")
SHOWN = ("checked by", "shown by")
COMMAND = re.compile(r"`(make [\w-]+|docs/guidebook\.md|compat/qmp\.json)`")


def missing(text: str) -> list[str]:
    """Return the tests that a page names and that are not there."""
    found = []
    room = ROOT / "tests"
    for name, function in NAME.findall(text):
        path = ROOT / name if name.startswith("tests/") else room / name
        room = path if path.is_dir() else path.parent
        if not path.exists():
            found.append(name)
        elif function and function not in functions(path):
            found.append(f"{name}::{function}")
    return found


def functions(path: Path) -> set[str]:
    """Return the names of a module's functions."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def promises(text: str) -> Iterator[tuple[str, str]]:
    """Yield each row of the tables that say what shows it: its first cell, and that one."""
    column = -1
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            column = -1
        elif column < 0:
            column = next((i for i, cell in enumerate(cells) if cell in SHOWN), len(cells))
        elif column < len(cells) and not set(line) <= set("|-: "):
            yield cells[0], cells[column]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    assert missing(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_promise_of_a_page_names_what_shows_it(page: Path) -> None:
    rows = promises(page.read_text())

    assert [row for row, shown in rows if not NAME.search(shown) and not COMMAND.search(shown)] == []


def test_every_table_of_the_threat_model_says_what_shows_it() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    headings = re.findall(r"^(\|.*\|)\n\|[-|]+\|$", text, re.MULTILINE)

    assert any("| who |" in heading for heading in headings)
    assert [heading for heading in headings if "shown by" not in heading] == []


def test_a_name_that_is_not_there_is_found() -> None:
    there = "`tests/guest/test_net.py`, `test_tiny.py`, `tests/fuzz/`, `tests/unit/test_app.py::call`"
    absent = "`test_no.py`, `tests/core/fuzz_no.c`, `tests/contract/test_named_tests.py::test_no`"

    assert missing(there) == []
    assert missing(absent) == [
        "test_no.py",
        "tests/core/fuzz_no.c",
        "tests/contract/test_named_tests.py::test_no",
    ]
