"""The start image: modules come from it, but never stale ones, and never of another Python."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from stratovirt import image
from stratovirt.launcher import image_writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a package that can be imported."""
    package = tmp_path / "imaged"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("VALUE = 1\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "deep.py").write_text("VALUE = 2\n")
    (package / "top.py").write_text("from imaged.inner import deep\nDOUBLE = deep.VALUE * 2\n")
    sys.path.insert(0, str(tmp_path))
    yield package
    sys.path.remove(str(tmp_path))
    image.drop()
    for name in [name for name in sys.modules if name.split(".")[0] == "imaged"]:
        del sys.modules[name]


def as_file(data: bytes) -> image.File:
    fd = os.memfd_create("image")
    os.write(fd, data)
    return image.File(fd)


def install(folder: Path, *, final: bool = False) -> image.Image:
    groups = {"all": ("top", "inner.*")}
    found = image.read(
        str(folder), as_file(image_writer.build(str(folder), "imaged", final=final, groups=groups))
    )
    assert found is not None
    sys.meta_path.insert(0, found)
    return found


def test_modules_come_from_the_image_and_know_their_files(folder: Path) -> None:
    found = install(folder)
    deep = __import__("imaged.inner.deep", fromlist=["VALUE"])

    assert deep.VALUE == 2
    loader: object = deep.__spec__ and deep.__spec__.loader
    assert loader is found
    assert deep.__file__ == str(folder / "inner" / "deep.py")
    assert sys.modules["imaged"].__path__ == [str(folder)]


def test_a_module_that_changed_is_read_from_its_source(folder: Path) -> None:
    install(folder)
    (folder / "inner" / "deep.py").write_text("VALUE = 33\n")
    deep = __import__("imaged.inner.deep", fromlist=["VALUE"])

    assert deep.VALUE == 33


def test_a_module_that_was_removed_is_gone(folder: Path) -> None:
    install(folder)
    os.remove(folder / "inner" / "deep.py")

    with pytest.raises(ModuleNotFoundError):
        __import__("imaged.inner.deep", fromlist=["VALUE"])


def test_a_final_image_needs_no_source(folder: Path) -> None:
    install(folder, final=True)
    os.remove(folder / "inner" / "deep.py")

    assert __import__("imaged.inner.deep", fromlist=["VALUE"]).VALUE == 2


def test_a_group_is_made_at_once_each_module_behind_what_it_imports(folder: Path) -> None:
    found = install(folder)
    found.preload("all")

    names = [name for name in sys.modules if name.split(".")[0] == "imaged"]
    assert names == ["imaged", "imaged.inner", "imaged.inner.deep", "imaged.top"]
    assert sys.modules["imaged.top"].DOUBLE == 4
    assert sys.modules["imaged"].inner.deep is sys.modules["imaged.inner.deep"]
    spec = sys.modules["imaged.inner"].__spec__
    assert spec is not None
    assert spec.submodule_search_locations == [str(folder / "inner")]


def test_functions_of_a_group_do_not_say_their_types_and_know_their_lines(folder: Path) -> None:
    (folder / "top.py").write_text(
        "def half(number: int, *more: str, key: int = 1, **rest: str) -> float:\n    return number / 0\n"
    )
    found = install(folder)
    found.preload("all")
    half = sys.modules["imaged.top"].half

    assert half.__annotations__ == {}
    assert half.__kwdefaults__ == {"key": 1}
    with pytest.raises(ZeroDivisionError) as caught:
        half(1)
    where = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (where.filename, where.lineno) == ("imaged/top.py", 2)


def test_a_group_with_a_module_that_changed_is_imported_as_usual(folder: Path) -> None:
    found = install(folder)
    (folder / "inner" / "deep.py").write_text("VALUE = 33\n")
    found.preload("all")

    assert "imaged" not in sys.modules
    assert __import__("imaged.top", fromlist=["DOUBLE"]).DOUBLE == 66


def test_a_module_of_a_group_that_fails_is_not_left_behind(folder: Path) -> None:
    (folder / "top.py").write_text("raise ValueError('at import')\n")
    found = install(folder)

    with pytest.raises(ValueError, match="at import"):
        found.preload("all")
    assert "imaged.top" not in sys.modules


@pytest.mark.parametrize("data", [b"", b"something else", image.head(), image.head() + b"\x00\x01"])
def test_what_is_no_image_of_this_python_is_ignored(data: bytes) -> None:
    file = as_file(data)
    assert image.read("/nowhere", file) is None
    file.close()


def test_an_image_of_another_python_is_ignored(folder: Path) -> None:
    data = image_writer.build(str(folder), "imaged", final=True).replace(b"cpython-", b"cpython-9", 1)

    assert image.read(str(folder), as_file(data)) is None
