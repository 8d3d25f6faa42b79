"""The house: which room may import which, how large files and functions are, what the package list says."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stratovirt.document.sections import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "stratovirt"

GROUND = {"errors", "findings", "image", "load", "log", "paths", "record", "units"}
# Each room may import the rooms of its own line that stand to its right, and the ground floor.
MAY_IMPORT = {
    "launcher": {"cli"},
    "cli": {"app", "compat", "start"},
    "app": {"compat", "document", "control", "doctor", "start"},
    "doctor": {"builder", "machine", "devices", "core"},
    "start": {"document", "builder", "control"},
    "compat": {"document", "devices"},
    "document": {"devices"},
    "builder": {"machine", "boot", "devices", "virtio", "core", "sandbox"},
    "machine": {"boot", "devices", "virtio", "core"},
    "control": {"machine", "sandbox", "core"},
    "devices": {"virtio", "core"},
    "virtio": {"core"},
    "boot": set(),
    "core": set(),
    "sandbox": {"core"},
}
C_CORE = PACKAGE / "core" / "src"
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 45


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from runtime_nodes(node)


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in runtime_nodes(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "stratovirt":
            names = [f"stratovirt.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        rooms |= {name.split(".")[1] for name in names if name.startswith("stratovirt.")}
    return rooms


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_to_its_right(path: Path) -> None:
    room = room_of(path)
    allowed = MAY_IMPORT.get(room, set()) | GROUND | {room, "__version__"}
    if room in {"__init__", "__main__"}:
        allowed |= {"cli"}

    assert imported_rooms(path) <= allowed


def test_devices_do_not_import_each_other() -> None:
    tables = {path.stem for path in (PACKAGE / "devices").glob("*.py")} - {"__init__", "device", "image"}
    for name in tables:
        tree = ast.parse((PACKAGE / "devices" / f"{name}.py").read_text())
        asked = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "stratovirt.devices":
                asked |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                asked.add(node.module.removeprefix("stratovirt.devices."))
            elif isinstance(node, ast.Import):
                asked |= {alias.name.removeprefix("stratovirt.devices.") for alias in node.names}

        assert not asked & tables, name


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    too_long = {f.name for f in functions if (f.end_lineno or 0) - f.lineno >= MAX_FUNCTION_LINES}

    assert len(text.splitlines()) <= MAX_FILE_LINES
    assert too_long == set()


def test_c_files_stay_small() -> None:
    too_long = {p.name for p in C_CORE.rglob("*.[ch]") if len(p.read_text().splitlines()) > 500}

    assert too_long == set()


def neutral(pattern: str) -> list[Path]:
    """Return the files that are in no architecture's room."""
    rooms = set(ARCHITECTURES)
    return [p for p in sorted(PACKAGE.rglob(pattern)) if not rooms & set(p.relative_to(PACKAGE).parts)]


def arch_names() -> set[str]:
    """Return all that the rooms of the core add to what Python and C can say: calls, structures, requests."""
    declared = "".join(path.read_text() for path in C_CORE.glob("*/arch_*.h") if path.stem != "arch_calls")
    return set(re.findall(r"^(?:#define|struct|int) (\w+)", declared, re.MULTILINE))


def test_neutral_rooms_know_no_architecture() -> None:
    offenders = {
        (str(path.relative_to(PACKAGE)), architecture)
        for path in neutral("*.py")
        for architecture in ARCHITECTURES
        if f".{architecture}" in path.read_text() or f"{architecture}/" in path.read_text()
    }

    assert offenders == set()


def test_the_room_of_the_machine_is_found_by_name_in_one_place() -> None:
    """The start image follows it: what it does not find there is not part of a start."""
    choosing = {
        str(path.relative_to(PACKAGE))
        for path in neutral("*.py")
        if re.search(r"(boot|machine|core)\.\{", path.read_text())
    }

    assert choosing == {"machine/board.py", "launcher/image_writer.py"}


def test_common_c_does_not_ask_which_architecture_it_is() -> None:
    words = [f'"{name}/' for name in ARCHITECTURES] + [f"__{name}__" for name in ARCHITECTURES]
    offenders = {
        (path.name, word)
        for path in [*neutral("*.c"), *neutral("*.h")]
        for word in words
        if word in path.read_text()
    }

    assert offenders == set()


def test_common_rooms_name_nothing_that_only_one_architecture_has() -> None:
    names = arch_names()
    offenders = {
        (str(path.relative_to(PACKAGE)), word)
        for pattern in ("*.c", "*.h", "*.py")
        for path in neutral(pattern)
        for word in names & set(re.findall(r"\w+", path.read_text()))
    }

    assert {"kvm_sregs", "KVM_SET_CPUID2", "sv_board_create"} <= names
    assert offenders == set()


def test_the_rooms_of_the_core_have_the_same_files_to_be_chosen_by() -> None:
    rooms = {path.name: {file.name for file in path.iterdir()} for path in C_CORE.iterdir() if path.is_dir()}
    wanted = {"arch.h", "arch_abi.h", "arch_calls.h", "arch_kvm.h", "exits.c", "switches"}

    assert set(rooms) == set(ARCHITECTURES)
    assert [name for name, files in rooms.items() if wanted - files] == []


def test_the_package_list_names_every_folder() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}

    assert listed == found


def test_every_c_unit_has_one_owner_of_threads() -> None:
    """Guest memory and rings stay a plain library that can be fuzzed: no KVM, no threads, no allocation."""
    forbidden = ("linux/kvm.h", "pthread", "malloc(", "calloc(", "printf(")
    pure = ["guestmem.c", "virtq.c", "ratelimit.c"]
    found = {(name, word) for name in pure for word in forbidden if word in (C_CORE / name).read_text()}

    assert found == set()
